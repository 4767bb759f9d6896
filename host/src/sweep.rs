//! Brings parked deliveries back when their time has come: retries, internal events, and what a
//! crash left behind.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::catalog::Registry;
use crate::clock::Clock;
use crate::dispatch::Dispatch;
use crate::due::{LOOK_AGAIN, Step, Wake};
use crate::ledger::{Ledger, LedgerError};
use crate::name::ComponentId;
use crate::places::{Place, Places};
use crate::work::Work;

/// Deliveries that are brought back side by side.
pub const PLACES: usize = 64;

/// The one who brings parked deliveries back.
pub struct Sweep {
    pub dispatch: Dispatch,
    pub registry: Arc<Registry>,
    pub ledger: Ledger,
    pub clock: Arc<dyn Clock>,
    pub lease: Duration,
    /// Work in progress: a stop waits for it.
    pub work: Work,
    /// `PLACES` of them.
    pub places: Places,
}

impl Sweep {
    /// Runs what is due, waits for more, and ends when told.
    pub async fn run(self, stop: CancellationToken) {
        let changed = self.ledger.parked_changed();
        while !stop.is_cancelled() {
            let changed = changed.notified();
            let clock = self.clock.as_ref();
            let wake = Wake { clock, changed, stop: &stop, at_most: LOOK_AGAIN };
            // A stop must not wait for a place, and then claim.
            let Some(places) = stop.run_until_cancelled(self.places.all_free()).await else {
                return;
            };
            wake.rest("sweep", self.step(places).await).await;
        }
    }

    /// Claims as many due deliveries as there are free places. Each runs by itself, so that a slow
    /// one holds up no other.
    async fn step(&self, places: Vec<Place>) -> Result<Step, LedgerError> {
        let components = self.components();
        let _working = self.work.begin();
        let (now, free) = (self.clock.now(), u32::try_from(places.len()).unwrap_or(1));
        let claimed = self.ledger.claim_parked(now, self.lease, &components, free).await?;
        if claimed.is_empty() {
            return Ok(Step::Idle(self.ledger.next_due(&components).await?.parked));
        }
        for (delivery, mut place) in claimed.into_iter().zip(places) {
            place.hold(delivery.wire.bytes.len()).await;
            let dispatch = self.dispatch.clone();
            self.work.spawn(async move {
                dispatch.resume(delivery).await;
                drop(place);
            });
        }
        Ok(Step::Worked)
    }

    /// Those that can run here, and `-`, whose deliveries are decoded again.
    fn components(&self) -> Vec<ComponentId> {
        let catalog = self.registry.snapshot();
        let running = catalog.components().map(|component| component.id().clone());
        running.chain([ComponentId::none()]).collect()
    }
}
