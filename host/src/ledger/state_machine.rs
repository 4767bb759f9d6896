//! The ledger's rules, without a database: from which state to which, and under which claim.
//! The SQL writes what these functions give, and its `WHERE` clauses repeat their conditions; the
//! model in `model.rs` plays them against crashes, repeats and two hosts.
//!
//! ```text
//! received ──run──▶ done                  outbox:  waiting ──performed──▶ (no row)
//!     │                                            │  ▲
//!     ├──failed, or behind──▶ parked ◀─┐           │  └── again
//!     │                        │  ▲    │ retry     └──▶ dead ──retry──▶ waiting
//!     │                  claim │  │ failed
//!     │                        ▼  │    │
//!     │                      running ──┼──▶ done
//!     └──given up──────────────┴──▶ dead ──▶ discarded (parked ones too)
//! ```
//!
//! A claim is a fence: a number that only grows. Running is parked with a lease, its due time: a
//! host that dies leaves a row that is simply due again, and one that was only slow comes back
//! with an old number and changes nothing. What is done or discarded goes when it is older than the
//! dedup window.

use crate::clock::Timestamp;
use crate::delivery::DeliveryStatus;

use super::record::EffectStatus;

/// What a run came to, as far as the rules care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Done,
    Parked { due: Timestamp },
    Dead,
}

/// Whether an earlier delivery of the same ordered subject is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Free,
    Behind,
}

/// The part of a delivery's row that decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    pub status: DeliveryStatus,
    pub claim: i64,
    pub attempts: u32,
    /// Only a parked one has it.
    pub due: Option<Timestamp>,
}

impl Delivery {
    /// One that just came in and was run; `attempts` includes that run. Out of turn, the run counts
    /// for nothing, whatever it came to: it may have read what the earlier one has yet to write.
    pub fn enter(verdict: Verdict, attempts: u32, arrived: Timestamp, turn: Turn) -> Self {
        match turn {
            Turn::Free => Self::after(verdict, attempts, 0),
            Turn::Behind => Self::parked(arrived, attempts.saturating_sub(1), 0),
        }
    }

    /// An internal event, which nobody has run yet.
    pub fn internal(arrived: Timestamp) -> Self {
        Self::parked(arrived, 0, 0)
    }

    /// Takes it to run. The caller has seen to its turn.
    pub fn claim(self, now: Timestamp, lease_end: Timestamp) -> Option<Self> {
        let due = self.status == DeliveryStatus::Parked && self.due.is_some_and(|due| due <= now);
        due.then(|| Self { claim: self.claim + 1, due: Some(lease_end), ..self })
    }

    /// Whether a result under this claim is still wanted.
    pub fn accepts(self, claim: i64) -> bool {
        self.status == DeliveryStatus::Parked && self.claim == claim
    }

    /// What a run under a claim that the row accepts makes of it. The fence moves, so that one
    /// claim gives one result.
    pub fn settled(claim: i64, verdict: Verdict, attempts: u32) -> Self {
        Self::after(verdict, attempts, claim + 1)
    }

    /// A person wants it tried again.
    pub fn retry(self, now: Timestamp) -> Result<Self, DeliveryStatus> {
        match self.status {
            DeliveryStatus::Dead => Ok(Self::parked(now, 0, self.claim + 1)),
            status
            @ (DeliveryStatus::Done | DeliveryStatus::Parked | DeliveryStatus::Discarded) => {
                Err(status)
            }
        }
    }

    /// A person does not want it. A run that is under way is thrown away.
    pub fn discard(self) -> Result<Self, DeliveryStatus> {
        match self.status {
            DeliveryStatus::Parked | DeliveryStatus::Dead => Ok(Self {
                status: DeliveryStatus::Discarded,
                claim: self.claim + 1,
                due: None,
                ..self
            }),
            status @ (DeliveryStatus::Done | DeliveryStatus::Discarded) => Err(status),
        }
    }

    /// Whether pruning may let go of it: no broker brings its event again, nothing is left to do for
    /// it, and nobody has to decide. `effects` are those that wait or were refused.
    pub fn may_go(self, arrived: Timestamp, before: Timestamp, effects: usize) -> bool {
        match self.status {
            DeliveryStatus::Done | DeliveryStatus::Discarded => arrived < before && effects == 0,
            DeliveryStatus::Parked | DeliveryStatus::Dead => false,
        }
    }

    fn after(verdict: Verdict, attempts: u32, claim: i64) -> Self {
        match verdict {
            Verdict::Done => Self { status: DeliveryStatus::Done, claim, attempts, due: None },
            Verdict::Parked { due } => Self::parked(due, attempts, claim),
            Verdict::Dead => Self { status: DeliveryStatus::Dead, claim, attempts, due: None },
        }
    }

    fn parked(due: Timestamp, attempts: u32, claim: i64) -> Self {
        Self { status: DeliveryStatus::Parked, claim, attempts, due: Some(due) }
    }
}

/// Whether a delivery that now has this status may have its statements and effects written: only
/// what entered or left running as done or dead.
pub fn writes_effects(status: DeliveryStatus) -> bool {
    match status {
        DeliveryStatus::Done | DeliveryStatus::Dead => true,
        DeliveryStatus::Parked | DeliveryStatus::Discarded => false,
    }
}

/// What performing an effect came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Performance {
    Performed,
    Again { due: Timestamp, attempts: u32 },
    Dead,
}

/// The part of an outbox row that decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    pub status: EffectStatus,
    pub claim: i64,
    pub attempts: u32,
    pub due: Timestamp,
}

impl Waiting {
    /// One that is committed now, and due since its event arrived.
    pub fn enter(arrived: Timestamp) -> Self {
        Self { status: EffectStatus::Waiting, claim: 0, attempts: 0, due: arrived }
    }

    /// Takes it to perform. The caller has seen that it is its lane's lowest.
    pub fn claim(self, now: Timestamp, lease_end: Timestamp) -> Option<Self> {
        let due = self.status == EffectStatus::Waiting && self.due <= now;
        due.then(|| Self { claim: self.claim + 1, due: lease_end, ..self })
    }

    /// Whether a result under this claim is still wanted.
    pub fn accepts(self, claim: i64) -> bool {
        self.status == EffectStatus::Waiting && self.claim == claim
    }

    /// A person wants it performed after all, with the same id.
    pub fn retry(self, now: Timestamp) -> Option<Self> {
        match self.status {
            EffectStatus::Dead => Some(Self {
                status: EffectStatus::Waiting,
                claim: self.claim + 1,
                attempts: 0,
                due: now,
            }),
            EffectStatus::Waiting => None,
        }
    }

    /// What is left of a row that accepts the result: nothing once it is performed.
    pub fn finished(self, performance: Performance) -> Option<Self> {
        match performance {
            Performance::Performed => None,
            Performance::Again { due, attempts } => {
                Some(Self { claim: self.claim + 1, due, attempts, ..self })
            }
            Performance::Dead => {
                Some(Self { status: EffectStatus::Dead, claim: self.claim + 1, ..self })
            }
        }
    }
}
