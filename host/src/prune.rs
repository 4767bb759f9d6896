//! The ledger's upkeep.
//!
//! Lets go of deliveries that are handled and older than the dedup window: no broker brings their
//! event again. In small batches, with pauses in which commits go on.
//!
//! Parked and dead ones stay, whatever their age: a dead one is kept until a person decides. So does
//! one with an effect that waits or was refused. Beside that it sets free, once in a while, what is
//! put aside behind nobody.

use std::time::{Duration, Instant};

use std::sync::Arc;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::due::{Step, Wake};
use crate::ledger::{Ledger, LedgerError, Pruned};
use crate::telemetry::metrics::{self, Metrics};

/// The rest after nothing was old enough, or another host was at it.
const REST: Duration = Duration::from_secs(60);
/// A pause is as many times as long as the batch before it took.
const PAUSE: u32 = 2;

/// The one who prunes. Several hosts take turns.
pub struct Prune {
    pub ledger: Ledger,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    /// How old a delivery is before it may go.
    pub window: Duration,
}

impl Prune {
    /// Ends when told.
    pub async fn run(self, stop: CancellationToken) {
        let never = Notify::new();
        let mut looked: Option<Instant> = None;
        while !stop.is_cancelled() {
            let begun = Instant::now();
            let mut step = self.step().await;
            if step.is_ok() && looked.is_none_or(|looked| looked.elapsed() >= REST / 2) {
                step = self.ledger.free_stranded().await.and(step);
                looked = Some(begun);
            }
            let pause = match &step {
                Ok(Step::Worked) => begun.elapsed() * PAUSE,
                Ok(Step::Idle(_)) | Err(_) => Duration::ZERO,
            };
            let (clock, changed) = (self.clock.as_ref(), never.notified());
            let wake = Wake { clock, changed, stop: &stop, at_most: REST };
            wake.rest("pruning", step).await;
            stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
    }

    async fn step(&self) -> Result<Step, LedgerError> {
        let now = self.clock.now();
        match self.ledger.prune(now, now - self.window).await? {
            Pruned::Batch(gone) => {
                self.metrics.count(metrics::PRUNED, &[], gone);
                Ok(Step::Worked)
            }
            Pruned::Nothing | Pruned::Elsewhere => Ok(Step::Idle(Some(now + REST))),
        }
    }
}
