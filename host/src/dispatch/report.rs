//! What is counted and logged of a delivery: one line when it is finished, never its payload.

use std::sync::Arc;
use std::time::Duration;

use crate::contract::{Unreadable, UnreadableKind};
use crate::delivery::{DeliveryHead, LogLine};
use crate::dispatch::answer::Answer;
use crate::dispatch::decide::Attempt;
use crate::event::{Decoded, Origin, WireEvent};
use crate::ledger::{Committed, LedgerError};
use crate::name::{ComponentId, Pubsub, Topic};
use crate::runtime::Invocation;
use crate::telemetry::metrics::{self, Metrics};

/// What became of a delivery.
pub struct Finished {
    pub committed: Result<Committed, NotDurable>,
    /// Why it has no effects.
    pub why: Option<String>,
}

impl Finished {
    /// It did not run.
    pub fn behind() -> Self {
        Self { committed: Err(NotDurable::Behind), why: None }
    }

    /// Whether the run is the delivery's own: not a repeat, not thrown away, not to come again.
    pub fn counts(&self) -> bool {
        match self.committed {
            Ok(Committed::Done | Committed::Parked { behind: false } | Committed::Dead) => true,
            Ok(
                Committed::Parked { behind: true }
                | Committed::Repeat(_)
                | Committed::Superseded
                | Committed::StatementFailed { .. }
                | Committed::Locked { .. }
                | Committed::Unexpected { .. },
            )
            | Err(_) => false,
        }
    }

    /// Success for whatever is durable, or thrown away because another run is.
    pub fn answer(&self) -> Answer {
        match self.committed {
            Ok(
                Committed::Done
                | Committed::Parked { .. }
                | Committed::Dead
                | Committed::Repeat(_)
                | Committed::Superseded,
            ) => Answer::Success,
            Ok(
                Committed::StatementFailed { .. }
                | Committed::Locked { .. }
                | Committed::Unexpected { .. },
            )
            | Err(_) => Answer::Retry,
        }
    }
}

/// Why a delivery is not in the ledger; the event comes again.
#[derive(Debug, thiserror::Error)]
pub enum NotDurable {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(
        "`{0}` has no free place and {1} parked deliveries already; raise `concurrency` or \
         `max_parked` under [limits] if this lasts"
    )]
    Full(ComponentId, u64),
    #[error("an earlier event of its subject is to come again, before it")]
    Behind,
    #[error(
        "the ledger did not answer within {0:?}; if this lasts, see to its database, or raise \
         `patience` under [ingress]"
    )]
    Late(Duration),
}

/// An event that ended without a component's run.
pub struct Ended {
    pub head: DeliveryHead,
    pub wire: Arc<WireEvent>,
    /// Why, in words of the host's own; `None` when nothing is wrong with it.
    pub fault: Option<&'static str>,
    pub attempt: u32,
}

/// Turns what happened into metrics and log lines.
#[derive(Clone)]
pub struct Reporter {
    pub metrics: Metrics,
}

/// A delivery is being handled for as long as this lives.
pub struct InFlight<'a>(&'a Metrics);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.add(metrics::IN_FLIGHT, &[], -1.0);
    }
}

impl Reporter {
    pub fn in_flight(&self) -> InFlight<'_> {
        self.metrics.add(metrics::IN_FLIGHT, &[], 1.0);
        InFlight(&self.metrics)
    }

    /// An event came in and was understood.
    pub fn received(&self, decoded: &Decoded) {
        if let Some((expected, actual)) = &decoded.version_mismatch {
            let topic = text(decoded.topic.as_ref());
            let labels = [("topic", topic), ("expected", expected), ("actual", actual)];
            self.metrics.count(metrics::SCHEMA_MISMATCHES, &labels, 1);
            tracing::warn!(
                event = decoded.event.id,
                topic,
                expected,
                actual,
                "another schema version"
            );
        }
    }

    /// An event of a type that no contract knows: shared topics carry other people's events.
    pub fn unknown(&self, topic: Option<&Topic>, ty: &str) {
        self.metrics.count(metrics::UNKNOWN, &[("topic", text(topic))], 1);
        tracing::debug!(topic = text(topic), ty, "no contract knows this type; acknowledged");
    }

    /// An event that could not be decoded.
    pub fn unreadable(&self, unreadable: &Unreadable) {
        let topic = text(unreadable.topic.as_ref());
        self.metrics.count(metrics::UNREADABLE, &[("topic", topic)], 1);
        match &unreadable.kind {
            UnreadableKind::Parse | UnreadableKind::Type => {}
            UnreadableKind::Schema { version } => {
                let labels = [("topic", topic), ("schema_version", version)];
                self.metrics.count(metrics::SCHEMA_ERRORS, &labels, 1);
            }
            UnreadableKind::Version { expected, actual } => {
                self.mismatch(topic, expected, actual);
            }
        }
    }

    /// The version is the sender's text: what is no short version is one label together.
    fn mismatch(&self, topic: &str, expected: &str, actual: &str) {
        let is_version =
            actual.len() <= 5 && actual.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let actual = if is_version { actual } else { "other" };
        let labels = [("topic", topic), ("expected", expected), ("actual", actual)];
        self.metrics.count(metrics::SCHEMA_MISMATCHES, &labels, 1);
    }

    /// The sandbox is through with one run.
    pub fn invoked(&self, component: &ComponentId, invocation: &Invocation) {
        // What a guest writes may quote its event, so only a developer sees it here.
        for line in &invocation.log {
            let LogLine { level, text } = line;
            tracing::debug!(target: "wharf::guest", %component, %level, "{text}");
        }
        let labels = [("component", component.as_str())];
        self.metrics.time(metrics::SANDBOX_DURATION, &labels, invocation.duration);
        self.metrics.count(metrics::FUEL, &labels, invocation.fuel);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a histogram's buckets are megabytes apart"
        )]
        self.metrics.observe(metrics::MEMORY, &labels, invocation.memory as f64);
    }

    /// A delivery is durable, or could not be made so.
    pub fn delivered(&self, attempt: &Attempt<'_>, finished: &Finished, took: Duration) {
        let component = attempt.component.id().as_str();
        let ty = attempt.decoded.event.ty.as_str();
        let labels = [("consumer", component), ("event_type", ty)];
        match &finished.committed {
            Ok(Committed::Repeat(_)) => {
                self.metrics.count(metrics::REPEATS, &[("component", component)], 1);
            }
            Ok(Committed::Done) => self.consumed(attempt, took),
            Ok(Committed::Parked { behind: true }) | Err(_) => {}
            Ok(_) => self.metrics.count(metrics::PROCESSING_ERRORS, &labels, 1),
        }
        line(&attempt.head(), finished, attempt.failed + 1, took);
    }

    /// An event ended without a component's run. Its line says where the event came from: whoever
    /// sent it has nothing else to find it by.
    pub fn ended(&self, ended: &Ended, finished: &Finished) {
        let Ended { head, wire, fault, attempt } = ended;
        if let Ok(Committed::Repeat(_)) = finished.committed {
            let component = head.id.component.as_str();
            self.metrics.count(metrics::REPEATS, &[("component", component)], 1);
        }
        let (Ok(Committed::Dead), Some(fault)) = (&finished.committed, fault) else {
            line(head, finished, *attempt, Duration::ZERO);
            return;
        };
        let position = match &wire.arrival.origin {
            Origin::Topic(origin) => origin.position.as_deref(),
            Origin::Internal => None,
        };
        tracing::warn!(
            delivery = %head.id,
            pubsub = head.pubsub.as_ref().map(Pubsub::as_str),
            topic = head.topic.as_ref().map(Topic::as_str),
            position,
            event = said(&head.event_id),
            r#type = said(&head.event_type),
            outcome = "dead",
            attempt,
            fault,
            why = why(finished),
        );
    }

    fn consumed(&self, attempt: &Attempt<'_>, took: Duration) {
        let consumer = ("consumer", attempt.component.id().as_str());
        let ty = ("event_type", attempt.decoded.event.ty.as_str());
        let topic = ("topic", text(attempt.decoded.topic.as_ref()));
        self.metrics.count(metrics::CONSUMED, &[topic, consumer, ty], 1);
        self.metrics.time(metrics::PROCESSING_DURATION, &[consumer, ty], took);
    }
}

fn text(topic: Option<&Topic>) -> &str {
    topic.map_or("", Topic::as_str)
}

fn line(head: &DeliveryHead, finished: &Finished, attempt: u32, took: Duration) {
    let outcome = match &finished.committed {
        Ok(Committed::Done) => "done",
        Ok(Committed::Parked { behind: false }) => "parked",
        Ok(Committed::Parked { behind: true }) => "parked behind its subject",
        Ok(Committed::Dead) => "dead",
        Ok(Committed::Repeat(_)) => "repeat",
        Ok(Committed::Superseded) => "superseded",
        Ok(
            Committed::StatementFailed { .. }
            | Committed::Locked { .. }
            | Committed::Unexpected { .. },
        ) => "failed",
        Err(error) => {
            tracing::warn!(delivery = %head.id, event = head.event_id, %error, "not durable: RETRY");
            return;
        }
    };
    let (event, r#type) = (head.event_id.as_str(), head.event_type.as_str());
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let is_repeat = matches!(finished.committed, Ok(Committed::Repeat(_)));
    match finished.why.is_some() && !is_repeat {
        true => {
            let why = why(finished);
            tracing::warn!(delivery = %head.id, event, r#type, outcome, attempt, micros, why);
        }
        false => tracing::info!(delivery = %head.id, event, r#type, outcome, attempt, micros),
    }
}

/// A reason may quote the event, which only a developer should see in a log.
fn why(finished: &Finished) -> Option<&str> {
    finished.why.as_deref().filter(|_| tracing::enabled!(tracing::Level::DEBUG))
}

/// What could not be read is left out.
fn said(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
