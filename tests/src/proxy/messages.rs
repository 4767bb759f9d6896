//! As much of PostgreSQL's protocol as it takes to see a COMMIT: a message is a type byte, a length
//! that counts itself, and a body; the messages before the start of a session have no type byte.
//! (PostgreSQL's documentation, "Message Flow" and "Message Formats".)

use std::collections::BTreeSet;

/// Asks for encryption, before the session starts; answered by one byte without a length.
const ENCRYPTION: [[u8; 4]; 2] = [80_877_103_u32.to_be_bytes(), 80_877_104_u32.to_be_bytes()];

/// What a client sends.
#[derive(Default)]
pub struct Asks {
    rest: Vec<u8>,
    in_session: bool,
    /// Prepared statements that are a COMMIT, by name.
    prepared: BTreeSet<Vec<u8>>,
}

impl Asks {
    /// Whether a message that ends in these bytes asks for COMMIT.
    pub fn commits(&mut self, read: &[u8]) -> bool {
        self.rest.extend_from_slice(read);
        let mut commits = false;
        loop {
            if self.in_session {
                let Some((ty, body)) = typed(&mut self.rest) else { return commits };
                commits |= self.is_commit(ty, &body);
            } else {
                let Some(body) = sized(&mut self.rest, 0) else { return commits };
                self.in_session = !ENCRYPTION.iter().any(|code| body.starts_with(code));
            }
        }
    }

    fn is_commit(&mut self, ty: u8, body: &[u8]) -> bool {
        let mut texts = body.split(|byte| *byte == 0);
        let (first, second) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
        match ty {
            b'Q' => asks_for_commit(first),
            // Parse: a name and a query.
            b'P' => {
                match asks_for_commit(second) {
                    true => self.prepared.insert(first.to_owned()),
                    false => self.prepared.remove(first),
                };
                false
            }
            // Bind: a portal, and the name of what is to be run.
            b'B' => self.prepared.contains(second),
            _ => false,
        }
    }
}

/// One statement of several may be it.
fn asks_for_commit(query: &[u8]) -> bool {
    let query = String::from_utf8_lossy(query).to_uppercase();
    query.split(';').any(|statement| statement.trim() == "COMMIT")
}

/// What a server sends.
#[derive(Default)]
pub struct Answers {
    rest: Vec<u8>,
    in_session: bool,
}

impl Answers {
    /// Whether a message that ends in these bytes tells of a COMMIT that is done.
    pub fn committed(&mut self, read: &[u8]) -> bool {
        self.rest.extend_from_slice(read);
        let mut committed = false;
        // No encryption, says a byte of its own. (No message of a session's start is of that type.)
        while !self.in_session && self.rest.first() == Some(&b'N') && is_lone(&self.rest) {
            self.rest.remove(0);
        }
        while let Some((ty, body)) = typed(&mut self.rest) {
            self.in_session = true;
            committed |= ty == b'C' && body.starts_with(b"COMMIT");
        }
        committed
    }
}

/// A notice is an `N` too, but then its length follows.
fn is_lone(rest: &[u8]) -> bool {
    rest.len() == 1 || rest.get(1).is_some_and(u8::is_ascii_alphabetic)
}

/// Takes a whole message off.
fn typed(rest: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let ty = *rest.first()?;
    Some((ty, sized(rest, 1)?))
}

/// Takes a length and what it counts off, and so many bytes before.
fn sized(rest: &mut Vec<u8>, before: usize) -> Option<Vec<u8>> {
    let length = rest.get(before..before + 4)?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    let end = before + usize::try_from(length).ok()?;
    let body = rest.get(before + 4..end)?.to_owned();
    rest.drain(..end);
    Some(body)
}
