//! Brings parked deliveries back when their time has come: retries, internal events, and what a
//! crash left behind.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalog::Registry;
use crate::clock::{Clock, Timestamp};
use crate::dispatch::Dispatch;
use crate::ledger::{Ledger, LedgerError};
use crate::name::ComponentId;

/// Deliveries claimed at once.
const BATCH: u32 = 64;

/// The wait after the ledger could not be read.
const LEDGER_AWAY: Duration = Duration::from_secs(1);

/// The one who brings parked deliveries back.
pub struct Sweep {
    pub dispatch: Dispatch,
    pub registry: Arc<Registry>,
    pub ledger: Ledger,
    pub clock: Arc<dyn Clock>,
    pub lease: Duration,
    /// Work in progress: a stop waits for it.
    pub work: TaskTracker,
}

impl Sweep {
    /// Runs what is due, waits for more, and ends when told.
    pub async fn run(self, stop: CancellationToken) {
        let changed = self.ledger.parked_changed();
        while !stop.is_cancelled() {
            let wake = changed.notified();
            let components = self.components();
            let next = match self.resume_due(&components).await {
                Ok(0) => self.ledger.next_due(&components).await.map(|due| due.parked),
                Ok(_) => continue,
                Err(error) => Err(error),
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = wake => {}
                () = self.pause(next) => {}
            }
        }
    }

    async fn pause(&self, next: Result<Option<Timestamp>, LedgerError>) {
        match next {
            Ok(Some(at)) => self.clock.sleep_until(at).await,
            Ok(None) => std::future::pending().await,
            Err(error) => {
                tracing::warn!(%error, "the sweep cannot read the ledger; trying again");
                tokio::time::sleep(LEDGER_AWAY).await;
            }
        }
    }

    /// Those that can run here, and `-`, whose deliveries are decoded again.
    fn components(&self) -> Vec<ComponentId> {
        let catalog = self.registry.snapshot();
        let running = catalog.components().map(|component| component.id().clone());
        running.chain([ComponentId::none()]).collect()
    }

    /// Claims a batch of due deliveries and runs them side by side. Gives how many there were.
    async fn resume_due(&self, components: &[ComponentId]) -> Result<usize, LedgerError> {
        let _working = self.work.token();
        let now = self.clock.now();
        let claimed = self.ledger.claim_parked(now, self.lease, components, BATCH).await?;
        let count = claimed.len();
        join_all(claimed.into_iter().map(|delivery| self.dispatch.resume(delivery))).await;
        Ok(count)
    }
}
