//! Performs committed effects through the backend, each lane in sequence, until Dapr has taken
//! them or refused them for good. An effect may be performed twice, always with the same id.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, BackendError};
use crate::catalog::Registry;
use crate::clock::Clock;
use crate::dispatch::decide::{Ending, Rows, host_event, internal};
use crate::due::{Step, Wake};
use crate::effect::{Call, Outgoing};
use crate::ledger::{
    ClaimedEffect, EffectResult, FinishedEffect, Ledger, LedgerError, NewDelivery,
};
use crate::telemetry::metrics::{self, Metrics};
use crate::work::Work;

/// The longest wait between two tries of one effect.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Effects other than events that are performed side by side.
pub const PLACES: usize = 256;

/// What Dapr answered: the response of a call, else nothing.
type Performed = Result<Bytes, BackendError>;

/// The one who performs effects.
pub struct Relay {
    pub backend: Arc<dyn Backend>,
    pub registry: Arc<Registry>,
    pub ledger: Ledger,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    pub lease: Duration,
    pub batch: u32,
    /// Work in progress: a stop waits for it.
    pub work: Work,
    /// `PLACES` of them.
    pub places: Arc<Semaphore>,
}

impl Relay {
    /// Performs what is due, waits for more, and ends when told.
    pub async fn run(self, stop: CancellationToken) {
        let changed = self.ledger.outbox_changed();
        let relay = Arc::new(self);
        while !stop.is_cancelled() {
            let changed = changed.notified();
            let wake = Wake { clock: relay.clock.as_ref(), changed, stop: &stop };
            wake.rest("relay", relay.step().await).await;
        }
    }

    async fn step(self: &Arc<Self>) -> Result<Step, LedgerError> {
        match self.perform_due().await? {
            0 => Ok(Step::Idle(self.ledger.next_due(&[]).await?.outbox)),
            _ => Ok(Step::Worked),
        }
    }

    /// Claims a batch, at most one effect of each lane. Events go out together; anything else may
    /// take as long as its other side does, and is performed by itself, so that it holds up nobody.
    /// Gives how many there were.
    async fn perform_due(self: &Arc<Self>) -> Result<usize, LedgerError> {
        let _working = self.work.begin();
        let claimed = self.ledger.claim_outbox(self.clock.now(), self.lease, self.batch).await?;
        let count = claimed.len();
        let (events, others): (Vec<_>, Vec<_>) =
            claimed.into_iter().partition(|effect| matches!(effect.outgoing, Outgoing::Publish(_)));
        for effect in others {
            let place = Arc::clone(&self.places).acquire_owned().await;
            let place = place.expect("nobody closes the places");
            let relay = Arc::clone(self);
            self.work.spawn(async move {
                let result = relay.perform_one(&effect.outgoing).await;
                if let Err(error) = relay.finish(vec![(effect, result)]).await {
                    tracing::warn!(%error, "an effect is performed again: its end is not written");
                }
                drop(place);
            });
        }
        if !events.is_empty() {
            self.finish(self.publish(events).await).await?;
        }
        Ok(count)
    }

    async fn finish(&self, performed: Vec<(ClaimedEffect, Performed)>) -> Result<(), LedgerError> {
        let mut finished = Vec::with_capacity(performed.len());
        for (effect, result) in performed {
            self.count(&effect, result.as_ref().map(|_| ()));
            finished.extend(self.finished(effect, result).await);
        }
        self.ledger.finish_outbox(finished).await
    }

    /// Events go out together.
    async fn publish(&self, effects: Vec<ClaimedEffect>) -> Vec<(ClaimedEffect, Performed)> {
        let event = |effect: &ClaimedEffect| match &effect.outgoing {
            Outgoing::Publish(event) => Some(event.clone()),
            Outgoing::State(_)
            | Outgoing::Schedule(_)
            | Outgoing::Cancel(_)
            | Outgoing::Invoke(_) => None,
        };
        let events: Vec<_> = effects.iter().filter_map(event).collect();
        let started = Instant::now();
        let results = self.backend.publish(events).await;
        let took = started.elapsed();
        let results = results.into_iter().map(|result| result.map(|()| Bytes::new()));
        let published: Vec<_> = effects.into_iter().zip(results).collect();
        for (effect, result) in &published {
            self.count_publish(effect, result.as_ref().err(), took);
        }
        published
    }

    /// Anything but an event. Gives the response of a call.
    async fn perform_one(&self, outgoing: &Outgoing) -> Performed {
        let done = match outgoing.clone() {
            Outgoing::Publish(event) => {
                let mut results = self.backend.publish(vec![event]).await;
                let none = || Err(BackendError::Unavailable("it gave no answer".to_owned()));
                results.pop().unwrap_or_else(none)
            }
            Outgoing::State(write) => self.backend.write_state(write).await,
            Outgoing::Schedule(job) => self.backend.schedule(job).await,
            Outgoing::Cancel(cancel) => self.backend.cancel(cancel.name).await,
            Outgoing::Invoke(call) => return self.backend.invoke(call).await,
        };
        done.map(|()| Bytes::new())
    }

    /// `None` leaves the effect to its lease: it is performed again, with the same id.
    async fn finished(&self, effect: ClaimedEffect, result: Performed) -> Option<FinishedEffect> {
        let result = match (result, &effect.outgoing) {
            (Ok(response), Outgoing::Invoke(call)) => {
                let internal = self.result(&effect, call, Ok(&response));
                EffectResult::Performed { internal }
            }
            (Ok(_), _) => EffectResult::Performed { internal: Vec::new() },
            (Err(error), Outgoing::Invoke(call)) => self.call_failed(&effect, call, error),
            (Err(BackendError::Unavailable(error)), _) => {
                self.again(&effect, backoff(effect.attempts, effect.sequence), error)
            }
            (Err(BackendError::Refused(error)), outgoing) => {
                let (delivery, kind, target) =
                    (&effect.delivery, outgoing.kind(), outgoing.target());
                tracing::error!(%delivery, kind, target, error, "Dapr refuses an effect for good");
                let Rows { outbox, internal } = self.report(&effect, &error).await?;
                EffectResult::Dead { outbox, internal, error }
            }
        };
        Some(FinishedEffect { sequence: effect.sequence, claim: effect.claim, result })
    }

    fn again(&self, effect: &ClaimedEffect, wait: Duration, error: String) -> EffectResult {
        EffectResult::Again { at: self.clock.now() + wait, attempts: effect.attempts + 1, error }
    }

    /// A call is tried on its contract's schedule. Its last failure is told to the component, and
    /// to nobody else.
    fn call_failed(
        &self,
        effect: &ClaimedEffect,
        call: &Call,
        error: BackendError,
    ) -> EffectResult {
        let catalog = self.registry.snapshot();
        let retry = catalog.contracts.get(&call.contract).map(|contract| &contract.retry);
        let delay = retry.and_then(|retry| retry.delay_after(effect.attempts + 1));
        match (error, delay) {
            (BackendError::Unavailable(error), Some(delay)) => self.again(effect, delay, error),
            (BackendError::Unavailable(error) | BackendError::Refused(error), _) => {
                let (delivery, binding) = (&effect.delivery, &call.binding);
                tracing::warn!(%delivery, %binding, error, "a call of a binding is given up");
                let internal = self.result(effect, call, Err(&error));
                EffectResult::Dead { outbox: Vec::new(), internal, error }
            }
        }
    }

    /// The event that tells the component what came of its call, if it wants to know.
    fn result(
        &self,
        effect: &ClaimedEffect,
        call: &Call,
        outcome: Result<&[u8], &str>,
    ) -> Vec<NewDelivery> {
        let (catalog, now) = (self.registry.snapshot(), self.clock.now());
        match host_event::result(call, outcome, now) {
            Ok(event) => {
                let component = &effect.delivery.component;
                internal::delivery_to(&catalog, component, &event, call.trace.as_ref(), now)
            }
            Err(error) => {
                tracing::error!(delivery = %effect.delivery, error, "a result cannot be told");
                Vec::new()
            }
        }
    }

    /// The rows of `audit.failed` that tell of a refused effect; `None` when the ledger cannot say
    /// whose it is.
    async fn report(&self, effect: &ClaimedEffect, error: &str) -> Option<Rows> {
        match self.ledger.delivery(&effect.delivery).await {
            Ok(Some(detail)) => {
                let catalog = self.registry.snapshot();
                let ending = Ending { catalog: &catalog, now: self.clock.now() };
                let head = &detail.summary.head;
                Some(ending.refused(head, effect.index, error, effect.attempts + 1))
            }
            Ok(None) => Some(Rows::default()),
            Err(error) => {
                tracing::warn!(delivery = %effect.delivery, %error, "a refused effect waits for its report");
                None
            }
        }
    }

    fn count(&self, effect: &ClaimedEffect, result: Result<(), &BackendError>) {
        let result = result.map_or_else(kind, |()| "performed");
        let labels = [("kind", effect.outgoing.kind()), ("result", result)];
        self.metrics.count(metrics::EFFECTS, &labels, 1);
    }

    fn count_publish(&self, effect: &ClaimedEffect, error: Option<&BackendError>, took: Duration) {
        let Outgoing::Publish(event) = &effect.outgoing else { return };
        let topic = ("topic", event.topic.as_str());
        self.metrics.time(metrics::PUBLISH_DURATION, &[topic], took);
        match error {
            None => {
                let ty = event_type(&event.payload);
                // A dead letter keeps its sender's type, and senders could invent any number.
                let known = self.registry.snapshot().contracts.knows(&ty);
                let ty = ("event_type", if known { ty.as_str() } else { "other" });
                self.metrics.count(metrics::PUBLISHED, &[topic, ty], 1);
            }
            Some(error) => {
                let error_type = ("error_type", kind(error));
                self.metrics.count(metrics::PUBLISH_ERRORS, &[topic, error_type], 1);
            }
        }
    }
}

/// The `type` of the CloudEvent that went out.
fn event_type(payload: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Typed {
        r#type: String,
    }
    serde_json::from_slice::<Typed>(payload).map(|event| event.r#type).unwrap_or_default()
}

fn kind(error: &BackendError) -> &'static str {
    match error {
        BackendError::Unavailable(_) => "unavailable",
        BackendError::Refused(_) => "refused",
    }
}

/// Doubles from half a second, with up to a quarter more, so that many effects do not come back at once.
fn backoff(attempts: u32, sequence: i64) -> Duration {
    let base = Duration::from_millis(500).saturating_mul(1 << attempts.min(7)).min(LONGEST_WAIT);
    let spread = u32::try_from(sequence.unsigned_abs() % 26).unwrap_or(0);
    base + base * spread / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_and_ends_growing() {
        let waits: Vec<_> = (0..10).map(|attempts| backoff(attempts, 26)).collect();
        assert_eq!(waits.first(), Some(&Duration::from_millis(500)));
        assert!(waits.is_sorted());
        assert_eq!(waits.last(), Some(&LONGEST_WAIT));
        assert!(backoff(9, 25) <= LONGEST_WAIT * 5 / 4);
    }
}
