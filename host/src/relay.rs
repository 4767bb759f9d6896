//! Performs committed effects through the backend, each lane in sequence, until Dapr has taken
//! them or refused them for good. An effect may be performed twice, always with the same id.

mod count;
mod outcome;
mod perform;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::backend::Backend;
use crate::catalog::Registry;
use crate::clock::Clock;
use crate::due::{LOOK_AGAIN, Step, Wake};
use crate::failpoint::{Point, visit};
use crate::ledger::{ClaimedEffect, FinishedEffect, Ledger, LedgerError};
use crate::name::{Pubsub, Topic};
use crate::places::Places;
use crate::telemetry::metrics::Metrics;
use crate::work::Work;

use perform::{Performed, event};

/// Effects other than events that are performed side by side.
pub const PLACES: usize = 256;

/// Batches of events on their way: while one is published, another is claimed, and a third is
/// written down.
pub const BATCHES: usize = 4;

/// How long a batch that left nothing behind is awaited before the next is claimed: what comes
/// meanwhile goes out together. A slow one holds up nobody.
const TOGETHER: Duration = Duration::from_millis(50);

/// How long an effect waits that finds no free place.
const NO_PLACE: Duration = Duration::from_secs(1);

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
    /// When it was told last that effects wait.
    pub told: Mutex<Option<Instant>>,
    /// `PLACES` of them.
    pub places: Places,
    /// `BATCHES` of them.
    pub batches: Arc<Semaphore>,
}

impl Relay {
    /// Performs what is due, waits for more, and ends when told.
    pub async fn run(self, stop: CancellationToken) {
        let changed = self.ledger.outbox_changed();
        let relay = Arc::new(self);
        while !stop.is_cancelled() {
            let changed = changed.notified();
            // Taken before anything is claimed, so that no lease runs while it is waited for.
            let Some(batch) = stop.run_until_cancelled(relay.free_batch()).await else { return };
            let clock = relay.clock.as_ref();
            let wake = Wake { clock, changed, stop: &stop, at_most: LOOK_AGAIN };
            wake.rest("relay", relay.step(batch).await).await;
        }
    }

    async fn free_batch(&self) -> OwnedSemaphorePermit {
        let batch = Arc::clone(&self.batches).acquire_owned().await;
        batch.expect("nobody closes the batches")
    }

    async fn step(self: &Arc<Self>, batch: OwnedSemaphorePermit) -> Result<Step, LedgerError> {
        match self.perform_due(batch).await? {
            0 => Ok(Step::Idle(self.ledger.next_due(&[]).await?.outbox)),
            _ => Ok(Step::Worked),
        }
    }

    /// Claims a batch, at most one effect of each lane, and sets out to perform it. Gives how many
    /// there were.
    async fn perform_due(
        self: &Arc<Self>,
        batch: OwnedSemaphorePermit,
    ) -> Result<usize, LedgerError> {
        let _working = self.work.begin();
        let claimed = self.ledger.claim_outbox(self.clock.now(), self.lease, self.batch).await?;
        let count = claimed.len();
        let (events, others): (Vec<_>, Vec<_>) =
            claimed.into_iter().partition(|effect| event(effect).is_some());
        self.perform_each(others).await;
        if !events.is_empty() {
            let relay = Arc::clone(self);
            let publishing = self.work.spawn(async move {
                relay.publish_each_topic(events).await;
                drop(batch);
            });
            if u32::try_from(count).is_ok_and(|count| count < self.batch) {
                // Late or failed, it is seen to by itself.
                let _late = tokio::time::timeout(TOGETHER, publishing).await;
            }
        }
        Ok(count)
    }

    /// Whatever is no event may take as long as its other side does: each by itself, so that it
    /// holds up nobody. Those that find no place come again soon.
    async fn perform_each(self: &Arc<Self>, effects: Vec<ClaimedEffect>) {
        let mut waiting = Vec::new();
        for effect in effects {
            let place = self.places.try_one();
            let Some(place) = place.and_then(|place| place.try_hold(effect.outgoing.size())) else {
                waiting.push(effect);
                continue;
            };
            let relay = Arc::clone(self);
            self.work.spawn(async move {
                let result = relay.perform_one(&effect.outgoing).await;
                relay.finish(vec![(effect, result)]).await;
                drop(place);
            });
        }
        if !waiting.is_empty() {
            self.write(waiting.into_iter().map(|effect| self.no_place(&effect)).collect()).await;
        }
    }

    /// Those of one topic go out together. What is done at the same time is written down together;
    /// a slow topic keeps the others waiting no longer than that takes.
    async fn publish_each_topic(&self, events: Vec<ClaimedEffect>) {
        let mut topics: BTreeMap<(Pubsub, Topic), Vec<ClaimedEffect>> = BTreeMap::new();
        for effect in events {
            if let Some(event) = event(&effect) {
                let place = (event.pubsub.clone(), event.topic.clone());
                topics.entry(place).or_default().push(effect);
            }
        }
        let many = topics.len();
        let publishing = topics.into_values().map(|effects| self.publish(effects));
        let publishing: FuturesUnordered<_> = publishing.collect();
        let mut published = publishing.ready_chunks(many.max(1));
        while let Some(published) = published.next().await {
            self.finish(published.concat()).await;
        }
    }

    /// Writes down what became of effects. What cannot be written is performed again, after its
    /// lease.
    async fn finish(&self, performed: Vec<(ClaimedEffect, Performed)>) {
        if let Err(hit) = visit(Point::Performed) {
            tracing::warn!(%hit, "effects are performed again");
            return;
        }
        let mut finished = Vec::with_capacity(performed.len());
        for (effect, result) in performed {
            self.count(&effect, result.as_ref().map(|_| ()));
            finished.extend(self.finished(effect, result).await);
        }
        self.write(finished).await;
    }

    async fn write(&self, finished: Vec<FinishedEffect>) {
        let count = finished.len();
        if let Err(error) = self.ledger.finish_outbox(finished).await {
            tracing::warn!(%error, count, "effects are performed again: their end is not written");
        }
    }
}
