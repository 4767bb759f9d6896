//! What becomes of an invocation: pure decisions from what the handler gave, and the attempts so
//! far, to what the ledger is asked to write.

mod dead_letter;
mod ending;
pub mod host_event;
pub mod internal;
mod job;
mod rows;

use std::sync::Arc;
use std::time::Duration;

use crate::catalog::Catalog;
use crate::clock::Timestamp;
use crate::delivery::{DeliveryHead, LogLine};
use crate::effect::{Call, Effect, Invoke, Outgoing, OutgoingJob, Schedule};
use crate::event::{Decoded, WireEvent};
use crate::ledger::{Outcome, Submission};
use crate::name::EventKey;
use crate::runtime::{Component, Failure, Invocation};

use dead_letter::Death;
pub use ending::{AUDIT_FAILED, Ending};
use job::Cause;
pub use job::{Firing, firing};
use rows::Publisher;
pub use rows::Rows;

/// A delivery that needs something that is away waits as long as it has waited already, within
/// these bounds; it uses up no attempt.
const AWAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Up to a quarter more than the wait, by the key, so that many do not come back at once.
fn away(now: Timestamp, arrived: Timestamp, key: EventKey) -> Duration {
    let (shortest, longest) = AWAY;
    let [first, ..] = key.0;
    let wait = (now - arrived).to_std().unwrap_or_default().clamp(shortest, longest);
    wait + wait * u32::from(first) / (4 * 255)
}

/// One run of one component for one event, seen before or after it.
pub struct Attempt<'a> {
    pub catalog: &'a Catalog,
    pub component: &'a Component,
    pub decoded: &'a Decoded,
    pub wire: &'a Arc<WireEvent>,
    pub claim: Option<i64>,
    /// Attempts that failed before this one.
    pub failed: u32,
    /// When the event came in.
    pub arrived: Timestamp,
    pub now: Timestamp,
}

impl Attempt<'_> {
    /// After the run: its effects, another try at its time, or dead.
    pub fn submission(&self, invocation: Invocation) -> Submission {
        let Invocation { outcome, log, unavailable, .. } = invocation;
        match outcome {
            Ok(effects) => match self.rows(effects) {
                Ok(outcome) => self.submit(self.failed + 1, log, outcome),
                Err(error) => self.dead(error, log),
            },
            Err(failure) if unavailable => self.away(failure.to_string(), log),
            Err(failure @ Failure::Reject(_)) => self.dead(failure.to_string(), log),
            Err(failure) => self.failed(failure.to_string(), log),
        }
    }

    /// Something that it needs is away: parked, no attempt used.
    pub fn away(&self, error: String, log: Vec<LogLine>) -> Submission {
        let due = self.now + away(self.now, self.arrived, self.decoded.key);
        self.submit(self.failed, log, Outcome::Parked { due, error })
    }

    /// The attempt failed: parked until its next try, or dead after the last.
    pub fn failed(&self, error: String, log: Vec<LogLine>) -> Submission {
        let contract = self.catalog.contracts.get(&self.decoded.event.contract);
        let attempts = self.failed + 1;
        match contract.and_then(|contract| contract.retry.delay_after(attempts)) {
            Some(delay) => {
                self.submit(attempts, log, Outcome::Parked { due: self.now + delay, error })
            }
            None => self.dead(error, log),
        }
    }

    /// The component had no free place: parked, due now, no attempt used.
    pub fn saturated(&self) -> Submission {
        let concurrency = self.component.manifest().limits.concurrency;
        let error = format!(
            "all {concurrency} places of `{}` were taken; raise [limits] concurrency if this lasts",
            self.component.id()
        );
        self.submit(self.failed, Vec::new(), Outcome::Parked { due: self.now, error })
    }

    pub fn head(&self) -> DeliveryHead {
        internal::head(self.component, self.decoded, self.arrived)
    }

    fn submit(&self, attempts: u32, log: Vec<LogLine>, outcome: Outcome) -> Submission {
        let (head, claim) = (self.head(), self.claim);
        Submission { head, wire: Arc::clone(self.wire), claim, attempts, log, outcome }
    }

    fn dead(&self, error: String, log: Vec<LogLine>) -> Submission {
        let head = self.head();
        let attempts = self.failed + 1;
        let death = Death {
            head: &head,
            reason: &error,
            attempts,
            claim: self.claim.unwrap_or_default(),
            at: self.now,
        };
        let rows = Ending { catalog: self.catalog, now: self.now }.reports(self.wire, &death);
        self.submit(attempts, log, rows.dead(error))
    }

    /// The rows that the effects become; the contract of the causing event says in which dialect
    /// and on which topic a publish goes out.
    fn rows(&self, effects: Vec<Effect>) -> Result<Outcome, String> {
        let (mut statements, mut rows) = (Vec::new(), Rows::default());
        let publisher = Publisher {
            catalog: self.catalog,
            now: self.now,
            contract: &self.decoded.event.contract,
            source: &format!("wharf/{}", self.component.id()),
            trace: self.decoded.trace.as_ref(),
        };
        for (index, effect) in (0..).zip(effects) {
            match effect {
                Effect::Execute(statement) => statements.push(statement),
                Effect::Publish(publish) => publisher.publish(&mut rows, &publish, index)?,
                Effect::State(write) => rows.add(Outgoing::State(write), index),
                Effect::Schedule(job) => rows.add(Outgoing::Schedule(self.job(job)?), index),
                Effect::Cancel(cancel) => rows.add(Outgoing::Cancel(cancel), index),
                Effect::Invoke(invoke) => rows.add(Outgoing::Invoke(self.call(invoke)), index),
            }
        }
        Ok(Outcome::Done { statements, outbox: rows.outbox, internal: rows.internal })
    }

    /// What a job and a call come back to is the dialect and subject of the event that caused them.
    fn job(&self, job: Schedule) -> Result<OutgoingJob, String> {
        let event = &self.decoded.event;
        let cause = Cause {
            component: self.component.id().clone(),
            contract: event.contract.clone(),
            subject: event.subject.clone(),
            trace: self.decoded.trace.clone(),
        };
        cause.job(job, self.now)
    }

    fn call(&self, invoke: Invoke) -> Call {
        let Invoke { id, binding, operation, data, metadata } = invoke;
        let event = &self.decoded.event;
        let (contract, subject) = (event.contract.clone(), event.subject.clone());
        let trace = self.decoded.trace.clone();
        Call { id, binding, operation, data, metadata, contract, subject, trace }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_away_is_asked_ever_less_often() {
        let arrived = Timestamp::UNIX_EPOCH;
        let mut now = arrived;
        let waits: Vec<_> = std::iter::repeat_with(|| {
            let wait = away(now, arrived, EventKey([0; 16]));
            now += wait;
            wait.as_secs()
        })
        .take(10)
        .collect();
        assert_eq!(waits, [1, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        let spread = away(arrived, arrived, EventKey([255; 16]));
        assert_eq!(spread, Duration::from_millis(1250));
    }
}
