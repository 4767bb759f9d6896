//! What is written when an event ends without effects: unreadable, dead, or refused by Dapr. The
//! event itself goes to the dead-letter topic, and the contract's `audit.failed` tells of it.

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::clock::{Timestamp, rfc3339};
use crate::contract::Unreadable;
use crate::delivery::{DeliveryHead, DeliveryId};
use crate::dispatch::decide::dead_letter::{Death, letter};
use crate::dispatch::decide::internal;
use crate::dispatch::decide::rows::{Publisher, Rows};
use crate::effect::{Outgoing, OutgoingEvent, Publish};
use crate::event::{Decoded, Event, Origin, Trace, WireEvent};
use crate::ledger::{ClaimedDelivery, ClaimedEffect, Outcome, Submission};
use crate::name::{ComponentId, EventType, JobName, derived_id};

/// The host's own report of a delivery that died, canonical.
pub const AUDIT_FAILED: &str = "com.todo.audit.failed.v1";

const UNWANTED: &str = "no component wants it; give one [[on]] with the job, and retry it";

/// Where the effects that report a death stand, behind every effect that a handler can make.
const DEAD_LETTER: u32 = u32::MAX - 1;
const REPORT: u32 = u32::MAX;

/// Decides about events that end without a component's effects.
pub struct Ending<'a> {
    pub catalog: &'a Catalog,
    pub now: Timestamp,
}

impl Ending<'_> {
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

    /// A job of ours that no component wants is kept as dead under `-`, too.
    pub fn unwanted(
        &self,
        job: &JobName,
        event: &Event,
        trace: Option<&Trace>,
    ) -> Option<Submission> {
        let (decoded, wire) = internal::understood(self.catalog, event, trace)?;
        let head = internal::event_head(&decoded, self.now);
        Some(self.bury(head, wire, None, 1, format!("job `{job}`: {UNWANTED}")))
    }

    /// Tried by hand, and readable now: everyone who wants it gets it. A host's own event that still
    /// nobody wants stays dead.
    pub fn readable(&self, claimed: ClaimedDelivery, decoded: &Decoded) -> Submission {
        let wire = Arc::new(claimed.wire.clone());
        let internal = internal::of_decoded(self.catalog, decoded, &wire, self.now);
        if internal.is_empty() && wire.arrival.origin == Origin::Internal {
            return self.unreadable_again(claimed, UNWANTED.to_owned());
        }
        let ClaimedDelivery { head, claim, attempts, .. } = claimed;
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
        let fence = claim.unwrap_or_default();
        let death = Death { head: &head, reason: &reason, attempts, claim: fence, at: self.now };
        let outcome = self.reports(&wire, &death).dead(reason);
        Submission { head, wire, claim, attempts, log: Vec::new(), outcome }
    }

    /// An effect that Dapr refused for good is reported too, unless it is a report itself, or one
    /// was its cause.
    pub fn refused(&self, head: &DeliveryHead, effect: &ClaimedEffect, reason: &str) -> Rows {
        let (attempts, claim) = (effect.attempts + 1, effect.claim);
        let death = Death { head, reason, attempts, claim, at: self.now };
        let mut rows = Rows::default();
        if head.event_type != AUDIT_FAILED && effect.index != REPORT {
            self.report(&mut rows, None, &death, &effect.sequence.to_le_bytes());
        }
        rows
    }

    /// The dead letter and `audit.failed`. A death of a report, or of one of the host's own events,
    /// is not reported again: that would never end.
    pub fn reports(&self, wire: &WireEvent, death: &Death<'_>) -> Rows {
        let mut rows = Rows::default();
        if tells_nobody(death.head) {
            return rows;
        }
        match wire.arrival.origin {
            Origin::Topic(_) => {
                if let Some(letter) = self.dead_letter(wire, death) {
                    rows.add(Outgoing::Publish(letter), DEAD_LETTER);
                }
            }
            Origin::Internal => {}
        }
        self.report(&mut rows, wire.arrival.trace.as_ref(), death, &REPORT.to_le_bytes());
        rows
    }

    fn dead_letter(&self, wire: &WireEvent, death: &Death<'_>) -> Option<OutgoingEvent> {
        let head = death.head;
        let (contract, pubsub) = (head.contract.as_ref()?, head.pubsub.clone()?);
        let topic = self.catalog.contracts.dead_letter(contract, head.topic.as_ref()?);
        let key = head.id.key.0;
        Some(OutgoingEvent {
            pubsub,
            topic,
            id: derived_id(&[head.id.component.as_str().as_bytes(), &key, b"dead letter"])
                .to_string(),
            content_type: "application/cloudevents+json".to_owned(),
            payload: letter(&wire.bytes, death),
            partition_key: head.subject.clone(),
        })
    }

    /// `of` is the effect's sequence, or `REPORT` for the delivery itself. Its index would not do:
    /// each death of a delivery leaves a dead letter with the same.
    fn report(&self, rows: &mut Rows, trace: Option<&Trace>, death: &Death<'_>, of: &[u8]) {
        let first = self.catalog.contracts.iter().next().map(|contract| &contract.name);
        let Some(contract) = death.head.contract.as_ref().or(first) else { return };
        let published = self.audit_failed(death, of).and_then(|publish| {
            let Self { catalog, now } = *self;
            let publisher = Publisher { catalog, now, contract, source: "wharf", trace };
            publisher.publish(rows, &publish, REPORT)
        });
        if let Err(error) = published {
            tracing::error!(delivery = %death.head.id, error, "a dead delivery cannot be reported");
        }
    }

    fn audit_failed(&self, death: &Death<'_>, of: &[u8]) -> Result<Publish, String> {
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
        let claim = death.claim.to_le_bytes();
        Ok(Publish {
            id: derived_id(&[component, &key, b"audit.failed", of, &claim]).to_string(),
            ty: EventType::new(AUDIT_FAILED).map_err(|error| error.to_string())?,
            subject: head.subject.clone(),
            time: rfc3339(death.at),
            data: data.to_string(),
        })
    }
}

/// A report of a report would never end, and nobody outside knows the host's own events.
fn tells_nobody(head: &DeliveryHead) -> bool {
    head.event_type == AUDIT_FAILED || head.event_type.starts_with("com.wharf.")
}
