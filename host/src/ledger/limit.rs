//! How long the statements of components may take in one commit, all of them together: whoever
//! waits for the commit waits for all of them.

use std::time::{Duration, Instant};

use super::fault::Fault;
use crate::effect::Execute;

/// Begins with the commit. The ledger's own statements are not bound by it.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    timeout: Duration,
    begun: Instant,
}

/// What the next statement may take.
#[derive(Debug, Clone, Copy)]
pub struct Left {
    pub time: Duration,
    of: Duration,
    /// Nearly all of the time: what runs out of that is late by its own fault.
    pub whole: bool,
}

impl Limit {
    pub fn begin(timeout: Duration) -> Self {
        Self { timeout, begun: Instant::now() }
    }

    /// Fails when nothing is left.
    pub fn left(&self) -> Result<Left, Fault> {
        let spent = self.begun.elapsed();
        let left = self.timeout.checked_sub(spent).filter(|left| !left.is_zero());
        let time = left.ok_or_else(|| Fault::Late(late(self.timeout)))?;
        Ok(Left { time, of: self.timeout, whole: spent <= self.timeout / 10 })
    }
}

fn late(timeout: Duration) -> String {
    format!("the statements of one commit took longer than {timeout:?} together")
}

impl Left {
    /// Says which statement it was, unless it is late for what others took.
    pub fn blame(&self, fault: Fault, execute: &Execute) -> Fault {
        match fault {
            Fault::Late(_) if !self.whole => {
                let error = format!("{}; they ended with `{}`", late(self.of), execute.statement);
                Fault::Late(error)
            }
            fault => fault.of(execute),
        }
    }
}
