//! What a run read, kept so that it can be run again: the same event and the same reads give the
//! same effects. Bounded, since a handler may read as much as it likes; secrets are never kept.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::ReadError;
use crate::effect::{Secret, SqlRow, SqlValue, base64_text};
use crate::name::StoreName;

/// A read that went out, keyed by what was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Read {
    pub call: ReadCall,
    pub answer: ReadAnswer,
}

impl Read {
    /// About how many bytes it holds.
    pub fn size(&self) -> usize {
        let answer = match &self.answer {
            ReadAnswer::Rows(rows) => rows.iter().map(row_size).sum(),
            ReadAnswer::Value(value) => value.len(),
            ReadAnswer::Unavailable(text) | ReadAnswer::Failed(text) => text.len(),
            ReadAnswer::NoValue | ReadAnswer::Withheld | ReadAnswer::Unanswered => 0,
        };
        self.call.size() + answer
    }
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "read", rename_all = "snake_case")]
pub enum ReadCall {
    /// By the statement's name in the manifest.
    Query {
        statement: String,
        params: Vec<SqlValue>,
    },
    /// `key` is as the store knows it.
    State {
        store: StoreName,
        key: String,
    },
    Secret {
        store: StoreName,
        name: String,
    },
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadAnswer {
    Rows(Vec<SqlRow>),
    Value(#[serde(with = "base64_text")] Bytes),
    /// The store has no such key.
    NoValue,
    /// There was an answer about a secret, and it is not kept.
    Withheld,
    Unavailable(String),
    Failed(String),
    /// The run ended while it waited.
    Unanswered,
}

/// The values of secrets that a run read: held as long as the run is looked at, so that they can be
/// taken out of what it decided. Never written, and never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(pub Vec<String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

/// Collects the reads of a run.
pub struct Transcript {
    on: bool,
    complete: bool,
    bytes: usize,
    reads: Vec<Read>,
    secrets: Secrets,
}

/// The most bytes of reads that are kept of one run, both questions and answers.
const MOST_BYTES: usize = 1 << 20;

impl Transcript {
    /// One that keeps nothing costs nothing.
    pub fn new(on: bool) -> Self {
        Self { on, complete: true, bytes: 0, reads: Vec::new(), secrets: Secrets::default() }
    }

    /// The reads, whether these are all that were made, and the secrets among them.
    pub fn into_reads(self) -> (Vec<Read>, bool, Secrets) {
        (self.reads, self.complete, self.secrets)
    }

    /// Notes a read that goes out; its answer is noted next.
    pub fn asked(&mut self, call: impl FnOnce() -> ReadCall) {
        if !self.on {
            self.complete = false;
            return;
        }
        let call = call();
        if self.has_room(call.size()) {
            self.reads.push(Read { call, answer: ReadAnswer::Unanswered });
        }
    }

    pub fn rows(&mut self, answer: &Result<Vec<SqlRow>, ReadError>) {
        let size = answer.as_ref().map_or(0, |rows| rows.iter().map(row_size).sum());
        self.answered(size, || match answer {
            Ok(rows) => ReadAnswer::Rows(rows.clone()),
            Err(error) => error.into(),
        });
    }

    pub fn value(&mut self, answer: &Result<Option<Bytes>, ReadError>) {
        let size = answer.as_ref().map_or(0, |value| value.as_ref().map_or(0, Bytes::len));
        self.answered(size, || match answer {
            Ok(Some(value)) => ReadAnswer::Value(value.clone()),
            Ok(None) => ReadAnswer::NoValue,
            Err(error) => error.into(),
        });
    }

    pub fn secret(&mut self, answer: &Result<Option<Secret>, ReadError>) {
        if let Ok(Some(entries)) = answer {
            self.secrets.0.extend(entries.iter().map(|(_, value)| value.clone()));
        }
        self.answered(0, || match answer {
            Ok(_) => ReadAnswer::Withheld,
            Err(error) => error.into(),
        });
    }

    /// An answer without room takes its question with it: a read is kept whole or not at all.
    fn answered(&mut self, size: usize, answer: impl FnOnce() -> ReadAnswer) {
        if !self.on {
            return;
        }
        if !self.has_room(size) {
            self.reads.pop();
        } else if let Some(read) = self.reads.last_mut() {
            read.answer = answer();
        }
    }

    /// What comes after the first read without room is left out too.
    fn has_room(&mut self, more: usize) -> bool {
        self.bytes = self.bytes.saturating_add(more);
        let has_room = self.bytes <= MOST_BYTES;
        self.on &= has_room;
        self.complete &= has_room;
        has_room
    }
}

impl From<&ReadError> for ReadAnswer {
    fn from(error: &ReadError) -> Self {
        match error {
            ReadError::Unavailable(text) => Self::Unavailable(text.clone()),
            ReadError::Failed(text) => Self::Failed(text.clone()),
        }
    }
}

impl ReadCall {
    fn size(&self) -> usize {
        let content = match self {
            Self::Query { statement, params } => {
                statement.len() + params.iter().map(SqlValue::size).sum::<usize>()
            }
            Self::State { key, .. } => key.len(),
            Self::Secret { name, .. } => name.len(),
        };
        content + size_of::<Read>()
    }
}

fn row_size(row: &SqlRow) -> usize {
    row.iter().map(|(name, value)| name.len() + value.size()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(key: &str) -> ReadCall {
        ReadCall::State { store: StoreName::new("s").unwrap(), key: key.into() }
    }

    fn value(bytes: usize) -> Result<Option<Bytes>, ReadError> {
        Ok(Some(vec![0; bytes].into()))
    }

    #[test]
    fn reads_survive_json() {
        let mut transcript = Transcript::new(true);
        let params = vec![SqlValue::Bytes(vec![0, 255]), SqlValue::Null, SqlValue::Float(0.5)];
        transcript.asked(|| ReadCall::Query { statement: "find".into(), params });
        transcript.rows(&Ok(vec![vec![("n".into(), SqlValue::Integer(1))]]));
        transcript.asked(|| state("a"));
        transcript.value(&Ok(Some(Bytes::from_static(b"\0\xff"))));
        transcript.asked(|| state("b"));
        transcript.value(&Ok(None));
        transcript.asked(|| state("c"));
        transcript.value(&Err(ReadError::Unavailable("away".into())));
        transcript.asked(|| state("d"));
        let (reads, complete, _) = transcript.into_reads();
        assert!(complete);
        let json = serde_json::to_value(&reads).unwrap();
        assert_eq!(json[0]["call"]["params"][0], serde_json::json!({ "bytes": "AP8=" }));
        assert_eq!(json[1]["answer"], serde_json::json!({ "value": "AP8=" }));
        assert_eq!(json[4]["answer"], "unanswered");
        assert_eq!(serde_json::from_value::<Vec<Read>>(json).unwrap(), reads);
    }

    #[test]
    fn a_secret_leaves_nothing_but_its_name() {
        let mut transcript = Transcript::new(true);
        let store = StoreName::new("vault").unwrap();
        transcript.asked(|| ReadCall::Secret { store, name: "key".into() });
        transcript.secret(&Ok(Some(vec![("key".to_owned(), "hunter2".to_owned())])));
        let json = serde_json::to_string(&transcript.into_reads().0).unwrap();
        assert!(json.contains("\"key\"") && json.contains("withheld"), "{json}");
        assert!(!json.contains("hunter2"), "{json}");
    }

    #[test]
    fn what_has_no_room_is_left_out_and_said_so() {
        let mut transcript = Transcript::new(true);
        for (key, bytes) in [("a", 1000), ("b", MOST_BYTES), ("c", 1)] {
            transcript.asked(|| state(key));
            transcript.value(&value(bytes));
        }
        let (reads, complete, _) = transcript.into_reads();
        assert_eq!(reads.iter().map(|read| &read.call).collect::<Vec<_>>(), [&state("a")]);
        assert!(!complete);
    }

    #[test]
    fn one_that_keeps_nothing_says_whether_there_was_something() {
        assert!(Transcript::new(false).into_reads().1);
        let mut transcript = Transcript::new(false);
        transcript.asked(|| panic!("nothing is made of what is not kept"));
        transcript.value(&value(1));
        assert_eq!(transcript.into_reads(), (vec![], false, Secrets::default()));
    }
}
