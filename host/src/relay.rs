//! Performs committed effects through the backend, each lane in sequence, until Dapr has taken
//! them or refused them for good. An effect may be performed twice, always with the same id.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, BackendError};
use crate::catalog::Registry;
use crate::clock::Clock;
use crate::dispatch::decide::{Ending, Rows};
use crate::due::{Step, Wake};
use crate::ledger::{ClaimedEffect, EffectResult, FinishedEffect, Ledger, LedgerError};
use crate::telemetry::metrics::{self, Metrics};
use crate::work::Work;

/// The longest wait between two tries of one effect.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

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
}

impl Relay {
    /// Performs what is due, waits for more, and ends when told.
    pub async fn run(self, stop: CancellationToken) {
        let changed = self.ledger.outbox_changed();
        while !stop.is_cancelled() {
            let changed = changed.notified();
            let wake = Wake { clock: self.clock.as_ref(), changed, stop: &stop };
            wake.rest("relay", self.step().await).await;
        }
    }

    async fn step(&self) -> Result<Step, LedgerError> {
        match self.perform_due().await? {
            0 => Ok(Step::Idle(self.ledger.next_due(&[]).await?.outbox)),
            _ => Ok(Step::Worked),
        }
    }

    /// Claims a batch, at most one effect of each lane, and performs it. Gives how many there were.
    async fn perform_due(&self) -> Result<usize, LedgerError> {
        let _working = self.work.begin();
        let claimed = self.ledger.claim_outbox(self.clock.now(), self.lease, self.batch).await?;
        let count = claimed.len();
        if count > 0 {
            let finished = self.perform(claimed).await;
            self.ledger.finish_outbox(finished).await?;
        }
        Ok(count)
    }

    async fn perform(&self, claimed: Vec<ClaimedEffect>) -> Vec<FinishedEffect> {
        let started = Instant::now();
        let outgoing = claimed.iter().map(|effect| effect.outgoing.clone()).collect();
        let results = self.backend.publish(outgoing).await;
        let took = started.elapsed();
        let mut finished = Vec::with_capacity(claimed.len());
        for (effect, result) in claimed.into_iter().zip(results) {
            self.count(&effect, result.as_ref(), took);
            finished.extend(self.finished(effect, result).await);
        }
        finished
    }

    /// `None` leaves the effect to its lease: it is performed again, with the same id.
    async fn finished(
        &self,
        effect: ClaimedEffect,
        result: Result<(), BackendError>,
    ) -> Option<FinishedEffect> {
        let result = match result {
            Ok(()) => EffectResult::Performed,
            Err(BackendError::Unavailable(error)) => {
                let wait = backoff(effect.attempts, effect.sequence);
                let (at, attempts) = (self.clock.now() + wait, effect.attempts + 1);
                EffectResult::Again { at, attempts, error }
            }
            Err(BackendError::Refused(error)) => {
                let (delivery, topic) = (&effect.delivery, &effect.outgoing.topic);
                tracing::error!(%delivery, %topic, error, "Dapr refuses an effect for good");
                let Rows { outbox, internal } = self.report(&effect, &error).await?;
                EffectResult::Dead { outbox, internal, error }
            }
        };
        Some(FinishedEffect { sequence: effect.sequence, claim: effect.claim, result })
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

    fn count(&self, effect: &ClaimedEffect, result: Result<&(), &BackendError>, took: Duration) {
        let topic = ("topic", effect.outgoing.topic.as_str());
        self.metrics.time(metrics::PUBLISH_DURATION, &[topic], took);
        match result {
            Ok(()) => {
                let ty = event_type(&effect.outgoing.payload);
                // A dead letter keeps its sender's type, and senders could invent any number.
                let known = self.registry.snapshot().contracts.knows(&ty);
                let ty = ("event_type", if known { ty.as_str() } else { "other" });
                self.metrics.count(metrics::PUBLISHED, &[topic, ty], 1);
            }
            Err(error) => {
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
