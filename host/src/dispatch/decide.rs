//! What becomes of an invocation: pure decisions from what the handler gave, and the attempts so
//! far, to what the ledger is asked to write.

use std::sync::Arc;
use std::time::Duration;

use crate::catalog::Catalog;
use crate::clock::{Timestamp, rfc3339};
use crate::contract::{Encoded, Unreadable};
use crate::delivery::{DeliveryHead, DeliveryId, LogLine};
use crate::dispatch::dead_letter::{Death, letter};
use crate::dispatch::internal;
use crate::effect::{Effect, Outgoing, Publish};
use crate::event::{Arrival, Decoded, Origin, WireEvent};
use crate::ledger::{ClaimedDelivery, NewDelivery, NewEffect, Outcome, Submission};
use crate::name::{ComponentId, ContractName, EventType, Lane, derived_id};
use crate::runtime::{Component, Failure, Invocation};

/// The host's own report of a delivery that died, canonical.
pub const AUDIT_FAILED: &str = "com.todo.audit.failed.v1";

/// How long a delivery waits when something that it needs was away; it uses up no attempt.
const AWAY: Duration = Duration::from_secs(5);

/// Where the effects that report a death stand, behind every effect that a handler can make.
const DEAD_LETTER: u32 = u32::MAX - 1;
const REPORT: u32 = u32::MAX;

/// One run of one component for one event, seen before or after it.
pub struct Attempt<'a> {
    pub catalog: &'a Catalog,
    pub component: &'a Component,
    pub decoded: &'a Decoded,
    pub wire: &'a Arc<WireEvent>,
    pub claim: Option<i64>,
    /// Attempts that failed before this one.
    pub failed: u32,
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
            Err(failure) if unavailable => {
                let outcome = Outcome::Parked { due: self.now + AWAY, error: failure.to_string() };
                self.submit(self.failed, log, outcome)
            }
            Err(failure @ Failure::Reject(_)) => self.dead(failure.to_string(), log),
            Err(failure) => self.failed(failure.to_string(), log),
        }
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
        internal::head(self.component, self.decoded, self.now)
    }

    fn submit(&self, attempts: u32, log: Vec<LogLine>, outcome: Outcome) -> Submission {
        let (head, claim) = (self.head(), self.claim);
        Submission { head, wire: Arc::clone(self.wire), claim, attempts, log, outcome }
    }

    fn dead(&self, error: String, log: Vec<LogLine>) -> Submission {
        let head = self.head();
        let attempts = self.failed + 1;
        let death = Death { head: &head, reason: &error, attempts, at: self.now };
        let reports =
            Undeliverable { catalog: self.catalog, now: self.now }.reports(self.wire, &death);
        self.submit(attempts, log, reports.outcome(error))
    }

    /// The rows that the effects become; the contract of the causing event says in which dialect
    /// and on which topic a publish goes out.
    fn rows(&self, effects: Vec<Effect>) -> Result<Outcome, String> {
        let mut statements = Vec::new();
        let mut reports = Rows::default();
        let source = format!("wharf/{}", self.component.id());
        let contract = &self.decoded.event.contract;
        let undeliverable = Undeliverable { catalog: self.catalog, now: self.now };
        for (index, effect) in (0..).zip(effects) {
            match effect {
                Effect::Execute(statement) => statements.push(statement),
                Effect::Publish(publish) => {
                    undeliverable.publish(
                        &mut reports,
                        &self.wire.arrival,
                        contract,
                        &publish,
                        &source,
                        index,
                    )?;
                }
            }
        }
        Ok(Outcome::Done { statements, outbox: reports.outbox, internal: reports.internal })
    }
}

/// What the ledger writes beside the delivery's own row.
#[derive(Default)]
struct Rows {
    outbox: Vec<NewEffect>,
    internal: Vec<NewDelivery>,
}

impl Rows {
    fn outcome(self, error: String) -> Outcome {
        Outcome::Dead { error, outbox: self.outbox, internal: self.internal }
    }
}

/// Decisions about events that no component ran for.
pub struct Undeliverable<'a> {
    pub catalog: &'a Catalog,
    pub now: Timestamp,
}

impl Undeliverable<'_> {
    /// Kept as dead under `-`, with its bytes, so that a retry can decode it again.
    pub fn unreadable(&self, wire: Arc<WireEvent>, unreadable: Unreadable) -> Submission {
        let head = DeliveryHead {
            id: DeliveryId { component: ComponentId::none(), key: unreadable.key },
            subject: None,
            ordered: false,
            contract: unreadable.contract,
            pubsub: unreadable.pubsub,
            topic: unreadable.topic,
            digest: String::new(),
            event_id: unreadable.event_id,
            event_type: unreadable.event_type,
            received_at: self.now,
        };
        self.bury(head, wire, None, 1, unreadable.reason)
    }

    /// Tried by hand, and still not readable.
    pub fn unreadable_again(&self, claimed: ClaimedDelivery, reason: String) -> Submission {
        let ClaimedDelivery { head, wire, claim, attempts } = claimed;
        self.bury(head, Arc::new(wire), Some(claim), attempts + 1, reason)
    }

    /// Tried by hand, and readable now: everyone who wants it gets it.
    pub fn readable(&self, claimed: ClaimedDelivery, decoded: &Decoded) -> Submission {
        let ClaimedDelivery { head, wire, claim, attempts } = claimed;
        let wire = Arc::new(wire);
        let internal = internal::of_decoded(self.catalog, decoded, &wire, self.now);
        let outcome = Outcome::Done { statements: Vec::new(), outbox: Vec::new(), internal };
        Submission {
            head,
            wire,
            claim: Some(claim),
            attempts: attempts + 1,
            log: Vec::new(),
            outcome,
        }
    }

    fn bury(
        &self,
        head: DeliveryHead,
        wire: Arc<WireEvent>,
        claim: Option<i64>,
        attempts: u32,
        reason: String,
    ) -> Submission {
        let death = Death { head: &head, reason: &reason, attempts, at: self.now };
        let outcome = self.reports(&wire, &death).outcome(reason);
        Submission { head, wire, claim, attempts, log: Vec::new(), outcome }
    }

    /// An effect that Dapr refused for good is reported too, as internal deliveries.
    pub fn refused(
        &self,
        head: &DeliveryHead,
        index: u32,
        reason: &str,
        attempts: u32,
    ) -> Vec<NewDelivery> {
        let death = Death { head, reason, attempts, at: self.now };
        let mut rows = Rows::default();
        self.report(&mut rows, &Arrival::default(), &death, index);
        rows.internal
    }

    /// The dead letter and `audit.failed`. A death of a report, or of one of the host's own events,
    /// is not reported again: that would never end.
    fn reports(&self, wire: &WireEvent, death: &Death<'_>) -> Rows {
        let mut rows = Rows::default();
        let ty = death.head.event_type.as_str();
        if ty == AUDIT_FAILED || ty.starts_with("com.wharf.") {
            return rows;
        }
        match wire.arrival.origin {
            Origin::Topic(_) => rows.outbox.extend(self.dead_letter(wire, death)),
            Origin::Internal => {}
        }
        self.report(&mut rows, &wire.arrival, death, REPORT);
        rows
    }

    fn dead_letter(&self, wire: &WireEvent, death: &Death<'_>) -> Option<NewEffect> {
        let head = death.head;
        let (contract, pubsub) = (head.contract.as_ref()?, head.pubsub.clone()?);
        let topic = self.catalog.contracts.dead_letter(contract, head.topic.as_ref()?);
        let key = head.id.key.0;
        let outgoing = Outgoing {
            pubsub,
            topic,
            id: derived_id(&[head.id.component.as_str().as_bytes(), &key, b"dead letter"])
                .to_string(),
            content_type: "application/cloudevents+json".to_owned(),
            payload: letter(&wire.bytes, death),
            partition_key: head.subject.clone(),
        };
        Some(effect(outgoing, DEAD_LETTER, &wire.arrival))
    }

    /// `of` is the effect's index, or `REPORT` for the delivery itself.
    fn report(&self, rows: &mut Rows, cause: &Arrival, death: &Death<'_>, of: u32) {
        let first = self.catalog.contracts.iter().next().map(|contract| &contract.name);
        let Some(contract) = death.head.contract.as_ref().or(first) else { return };
        let published = self
            .audit_failed(death, of)
            .and_then(|publish| self.publish(rows, cause, contract, &publish, "wharf", REPORT));
        if let Err(error) = published {
            tracing::error!(delivery = %death.head.id, error, "a dead delivery cannot be reported");
        }
    }

    fn audit_failed(&self, death: &Death<'_>, of: u32) -> Result<Publish, String> {
        let head = death.head;
        let data = serde_json::json!({
            "component": head.id.component,
            "event_id": head.event_id,
            "event_type": head.event_type,
            "topic": head.topic,
            "reason": death.reason,
            "attempts": death.attempts,
        });
        let (component, key) = (head.id.component.as_str().as_bytes(), head.id.key.0);
        let (of, attempts) = (of.to_le_bytes(), death.attempts.to_le_bytes());
        Ok(Publish {
            id: derived_id(&[component, &key, b"audit.failed", &of, &attempts]).to_string(),
            ty: EventType::new(AUDIT_FAILED).map_err(|error| error.to_string())?,
            subject: head.subject.clone(),
            time: rfc3339(death.at),
            data: data.to_string(),
        })
    }

    fn publish(
        &self,
        rows: &mut Rows,
        cause: &Arrival,
        contract: &ContractName,
        publish: &Publish,
        source: &str,
        index: u32,
    ) -> Result<(), String> {
        let encoded = self.catalog.contracts.encode(contract, publish, source);
        match encoded.map_err(|error| error.to_string())? {
            Encoded::Topic(outgoing) => rows.outbox.push(effect(outgoing, index, cause)),
            Encoded::Internal(event) => {
                rows.internal.extend(internal::deliveries(self.catalog, &event, cause, self.now))
            }
        }
        Ok(())
    }
}

/// A publish with a subject goes in line with the others of its subject; one without is alone.
fn effect(outgoing: Outgoing, index: u32, cause: &Arrival) -> NewEffect {
    let last = outgoing.partition_key.as_deref().unwrap_or(&outgoing.id);
    let lane = Lane::of(&[outgoing.pubsub.as_str(), outgoing.topic.as_str(), last]);
    let trace = (cause.traceparent.clone(), cause.tracestate.clone());
    NewEffect { lane, index, outgoing, trace }
}
