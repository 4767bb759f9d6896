//! One delivery on its way: its turn, its run in the sandbox, its commit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::answer::Answer;
use super::decide::Attempt;
use super::order::{Before, Turn};
use super::report::{Finished, NotDurable};
use super::{Dispatch, Late};
use crate::catalog::Catalog;
use crate::clock::Timestamp;
use crate::event::{Decoded, WireEvent};
use crate::failpoint::{Point, visit};
use crate::ledger::{Committed, LedgerError, Submission};
use crate::runtime::{Call, Component, Permit};

/// How long a delivery waits for a free place in its component before it is parked.
const PERMIT_WAIT: Duration = Duration::from_millis(250);

/// How long a callback is held when its component may park no more.
const HOLD: Duration = Duration::from_secs(5);

/// How often a handler runs again at once because a row that it read had changed by the commit.
const FRESH_READS: u32 = 3;

/// One delivery on its way.
pub struct Run {
    pub catalog: Arc<Catalog>,
    pub component: Arc<Component>,
    pub decoded: Arc<Decoded>,
    pub wire: Arc<WireEvent>,
    pub turn: Option<Turn>,
    /// The fence, when the delivery was parked.
    pub claim: Option<i64>,
    /// Attempts that failed before this one.
    pub failed: u32,
    /// When the event came in.
    pub arrived: Timestamp,
    pub late: Late,
}

impl Dispatch {
    pub(super) async fn deliver(&self, mut run: Run) -> Answer {
        let before = match &mut run.turn {
            Some(turn) => turn.come().await,
            None => Before::Taken,
        };
        let started = Instant::now();
        let _in_flight = self.parts.reporter.in_flight();
        // A parked one has its place in the ledger, where newcomers of its subject wait behind it.
        let is_parked = run.claim.is_some();
        let finished = match before {
            Before::Gap if !is_parked => Finished::behind(),
            Before::Gap | Before::Taken => self.run(&run).await,
        };
        self.parts.reporter.delivered(&run.attempt(self), &finished, started.elapsed());
        let answer = finished.answer();
        let taken = is_parked || answer == Answer::Success;
        if let Some(turn) = run.turn.filter(|_| taken && before == Before::Taken) {
            turn.taken();
        }
        answer
    }

    /// Runs the handler and commits what it decided; again at once while its reads were stale.
    async fn run(&self, run: &Run) -> Finished {
        let mut again = 0;
        loop {
            let permit = match self.permit(run).await {
                Ok(permit) => permit,
                Err(finished) => return finished,
            };
            let call = run.call(self);
            let mut invocation = run.component.invoke(permit, call.clone()).await;
            self.parts.reporter.invoked(run.component.id(), &invocation);
            let record = self.parts.recorder.take(&run.component, &call, &mut invocation);
            let attempt = run.attempt(self);
            let log = invocation.log.clone();
            let finished = self.commit(attempt.submission(invocation), &run.late).await;
            let error = match &finished.committed {
                Ok(Committed::Unexpected { .. }) if again < FRESH_READS => {
                    again += 1;
                    continue;
                }
                Ok(Committed::Unexpected { statement, expected, touched }) => format!(
                    "statement `{statement}` touched {touched} rows instead of {expected}, also \
                     on fresh reads"
                ),
                Ok(Committed::StatementFailed { statement, error }) => {
                    format!("statement `{statement}` failed: {error}")
                }
                Ok(Committed::Locked { statement, error }) => {
                    let error = format!("statement `{statement}` waits: {error}");
                    return self.commit(attempt.away(error, log), &run.late).await;
                }
                Ok(_) | Err(_) => {
                    if let Some(record) = record.filter(|_| finished.counts()) {
                        self.parts.recorder.keep(record, finished.why.clone());
                    }
                    return finished;
                }
            };
            if let Some(record) = record {
                self.parts.recorder.keep(record, Some(error.clone()));
            }
            return self.commit(attempt.failed(error, log), &run.late).await;
        }
    }

    pub(super) async fn commit(&self, submission: Submission, late: &Notify) -> Finished {
        let why = submission.outcome.error().map(str::to_owned);
        if let Err(hit) = visit(Point::Ran) {
            return Finished { committed: Err(LedgerError::from(hit).into()), why };
        }
        let patience = self.parts.patience;
        let mut committing = std::pin::pin!(self.parts.ledger.commit(submission));
        let committed = match tokio::time::timeout(patience, &mut committing).await {
            Ok(committed) => committed,
            Err(_) => {
                tracing::warn!(?patience, "the ledger has not answered within that: RETRY");
                late.notify_one();
                committing.await
            }
        };
        Finished { committed: committed.map_err(NotDurable::from), why }
    }

    /// A place in the component. Without one the delivery is parked, due now; when enough are
    /// parked already, the callback is held, and then answered RETRY.
    async fn permit(&self, run: &Run) -> Result<Permit, Finished> {
        let component = &run.component;
        if let Some(permit) = component.permit(PERMIT_WAIT).await {
            return Ok(permit);
        }
        let parked = self.parts.parked.of(&self.parts.ledger, component.id());
        let Ok(parked) = tokio::time::timeout(self.parts.patience, parked).await else {
            return Err(Finished {
                committed: Err(NotDurable::Late(self.parts.patience)),
                why: None,
            });
        };
        match parked {
            Ok(parked)
                if run.claim.is_none() && parked >= component.manifest().limits.max_parked =>
            {
                component.permit(HOLD).await.ok_or_else(|| Finished {
                    committed: Err(NotDurable::Full(component.id().clone(), parked)),
                    why: None,
                })
            }
            Ok(_) => Err(self.commit(run.attempt(self).saturated(), &run.late).await),
            Err(error) => Err(Finished { committed: Err(error.into()), why: None }),
        }
    }
}

impl Run {
    fn attempt(&self, dispatch: &Dispatch) -> Attempt<'_> {
        Attempt {
            catalog: &self.catalog,
            component: &self.component,
            decoded: &self.decoded,
            wire: &self.wire,
            claim: self.claim,
            failed: self.failed,
            arrived: self.arrived,
            now: dispatch.parts.clock.now(),
        }
    }

    fn call(&self, dispatch: &Dispatch) -> Call {
        Call {
            decoded: Arc::clone(&self.decoded),
            wire: Arc::clone(&self.wire),
            attempt: self.failed + 1,
            now: dispatch.parts.clock.now(),
            seed: dispatch.parts.clock.draw(),
            reads: Arc::clone(&dispatch.parts.reads),
            record: self.component.manifest().recording.enabled,
        }
    }
}
