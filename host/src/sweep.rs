//! Brings parked deliveries back when their time has come: retries, internal events, and what a
//! crash left behind.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalog::Registry;
use crate::clock::Clock;
use crate::dispatch::Dispatch;
use crate::due::{Step, Wake};
use crate::ledger::{Ledger, LedgerError};
use crate::name::ComponentId;

/// Deliveries claimed at once.
const BATCH: u32 = 64;

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
            let changed = changed.notified();
            let wake = Wake { clock: self.clock.as_ref(), changed, stop: &stop };
            wake.rest("sweep", self.step().await).await;
        }
    }

    async fn step(&self) -> Result<Step, LedgerError> {
        let components = self.components();
        match self.resume_due(&components).await? {
            0 => Ok(Step::Idle(self.ledger.next_due(&components).await?.parked)),
            _ => Ok(Step::Worked),
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
