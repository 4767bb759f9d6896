//! What goes into the ledger, and what it answers.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::delivery::{DeliveryHead, DeliveryStatus, LogLine};
use crate::effect::{Execute, Outgoing};
use crate::event::WireEvent;
use crate::name::Lane;

/// A delivery that ran, with all that is to be written about it. Written whole or not at all.
#[derive(Debug, Clone)]
pub struct Submission {
    pub head: DeliveryHead,
    pub wire: Arc<WireEvent>,
    /// The fence under which it was claimed; `None` for one that just came in.
    pub claim: Option<i64>,
    /// Attempts so far, this one included where it counts.
    pub attempts: u32,
    pub log: Vec<LogLine>,
    pub outcome: Outcome,
}

impl Submission {
    /// About how much it may write: the events and payloads, not what surrounds them.
    pub fn bytes(&self) -> usize {
        let (outbox, internal) = self.outcome.effects();
        // One that was claimed has its event in the ledger already.
        let own = if self.claim.is_none() { self.wire.bytes.len() } else { 0 };
        let payloads = outbox.iter().map(|effect| effect.outgoing.size());
        let events = internal.iter().map(|delivery| delivery.wire.bytes.len());
        payloads.chain(events).fold(own, usize::saturating_add)
    }
}

/// What a run came to.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The handler returned ok: its statements run and its effects are kept, in this commit.
    Done { statements: Vec<Execute>, outbox: Vec<NewEffect>, internal: Vec<NewDelivery> },
    /// It failed and is due again.
    Parked { due: Timestamp, error: String },
    /// It is given up; what reports that (dead letter, `audit.failed`) goes with it.
    Dead { error: String, outbox: Vec<NewEffect>, internal: Vec<NewDelivery> },
}

impl Outcome {
    /// Why there are no effects.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Done { .. } => None,
            Self::Parked { error, .. } | Self::Dead { error, .. } => Some(error),
        }
    }
}

/// An effect for the relay to perform after the commit.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEffect {
    pub lane: Lane,
    /// Its place among the delivery's effects.
    pub index: u32,
    pub outgoing: Outgoing,
}

/// An internal event for one component. It enters as parked and due now; one that the ledger
/// already has is left as it is.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    pub head: DeliveryHead,
    pub wire: Arc<WireEvent>,
}

/// What became of a submission. Whatever says that something is written, is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    Done,
    /// As asked, or, whatever was asked, behind a parked delivery of the same ordered subject:
    /// then this run counted for nothing and comes again.
    Parked {
        behind: bool,
    },
    Dead,
    /// The ledger had it already, with this status. Nothing is written.
    Repeat(DeliveryStatus),
    /// The claim is no longer ours: the result is thrown away.
    Superseded,
    /// Its own SQL failed. Nothing is written: the caller parks it or gives it up.
    StatementFailed {
        statement: String,
        error: String,
    },
    /// Somebody holds what its SQL needs. Nothing is written: the caller parks it, as when anything
    /// else is away.
    Locked {
        statement: String,
        error: String,
    },
    /// A statement touched another number of rows than expected. Nothing is written: the caller
    /// runs the handler again, on fresh reads.
    Unexpected {
        statement: String,
        expected: u64,
        touched: u64,
    },
}
