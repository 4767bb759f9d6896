//! The rhythm of the relay, the sweep and pruning: do what is due, then wait for the next time, a
//! change, or the end.

use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::futures::Notified;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Timestamp};
use crate::ledger::LedgerError;

/// The wait after the ledger could not be used.
const LEDGER_AWAY: Duration = Duration::from_secs(1);

/// How long a rest is at most where another host on the same ledger may have left something, or died:
/// nobody here is told of that.
pub const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The rest where something is due that could not be taken: another host holds what is before it.
const PASSED_BY: Duration = Duration::from_millis(20);

/// What one step found.
pub enum Step {
    /// There was something; there may be more.
    Worked,
    /// Nothing is due before this time, if at all.
    Idle(Option<Timestamp>),
}

/// What ends a rest early.
pub struct Wake<'a> {
    pub clock: &'a dyn Clock,
    /// Taken before the step, so that no change is missed.
    pub changed: Notified<'a>,
    pub stop: &'a CancellationToken,
    /// It ends after this, whatever the clock says.
    pub at_most: Duration,
}

impl Wake<'_> {
    /// Returns when the next step is worth taking, or when there is to be none.
    pub async fn rest(self, who: &str, step: Result<Step, LedgerError>) {
        let until = match step {
            Ok(Step::Worked) => return,
            Ok(Step::Idle(None)) => std::future::pending().boxed(),
            Ok(Step::Idle(Some(at))) if at <= self.clock.now() => {
                tokio::time::sleep(PASSED_BY).boxed()
            }
            Ok(Step::Idle(Some(at))) => self.clock.sleep_until(at),
            Err(error) => {
                tracing::warn!(%error, "the {who} waits for the ledger");
                tokio::time::sleep(LEDGER_AWAY).boxed()
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.changed => {}
            () = until => {}
            () = tokio::time::sleep(self.at_most) => {}
        }
    }
}
