//! How many deliveries of each component are parked, for those that find no free place. Under
//! overload they are many at once: they ask the ledger together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::ledger::{Counts, Ledger, LedgerError};
use crate::name::ComponentId;

/// How old an answer may be. Whoever asks has waited longer than this for a place.
const FRESH: Duration = Duration::from_millis(100);

type Answer = Result<Counts, LedgerError>;

/// The last answer, shared by all who ask within a moment.
#[derive(Default)]
pub struct ParkedCounts {
    last: Mutex<Option<(Instant, Arc<Answer>)>>,
}

impl ParkedCounts {
    pub async fn of(&self, ledger: &Ledger, component: &ComponentId) -> Result<u64, LedgerError> {
        let mut last = self.last.lock().await;
        let answer = match &*last {
            Some((at, answer)) if at.elapsed() < FRESH => Arc::clone(answer),
            Some(_) | None => {
                let answer = Arc::new(ledger.counts().await);
                *last = Some((Instant::now(), Arc::clone(&answer)));
                answer
            }
        };
        drop(last);
        answer.as_ref().as_ref().map(|counts| counts.parked(component)).map_err(Clone::clone)
    }
}
