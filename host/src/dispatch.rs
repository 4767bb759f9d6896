//! An event's way through the host: decode, hand to each component that wants it, commit, answer.
//! The answer is SUCCESS only when the ledger has every delivery; whatever else happens, daprd
//! sends the event again.

pub mod answer;
pub mod decide;
mod enter;
pub mod order;
pub mod parked;
pub mod reads;
pub mod report;
pub mod room;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, join_all};
use tokio_util::sync::CancellationToken;

use crate::catalog::{Catalog, Registry};
use crate::clock::{Clock, Timestamp};
use crate::contract::{Decode, Unreadable};
use crate::event::{Arrival, Decoded, Origin, TopicOrigin, WireEvent};
use crate::failpoint::{Point, visit};
use crate::ledger::{ClaimedDelivery, Committed, Ledger, LedgerError, Submission};
use crate::name::ComponentId;
use crate::recorder::Recorder;
use crate::runtime::{Call, Component, Permit, Reads};
use crate::work::Work;

use answer::Answer;
use decide::{Attempt, Ending};
pub use enter::Entered;
use order::{Before, Order, Turn};
use parked::ParkedCounts;
use report::{Finished, NotDurable, Reporter};
use room::{Room, Share};

/// How long a delivery waits for a free place in its component before it is parked.
const PERMIT_WAIT: Duration = Duration::from_millis(250);

/// How long a callback is held when its component may park no more.
const HOLD: Duration = Duration::from_secs(5);

/// How often a handler runs again at once because a row that it read had changed by the commit.
const FRESH_READS: u32 = 3;

/// The pipeline. Cheap to clone.
#[derive(Clone)]
pub struct Dispatch {
    parts: Arc<Parts>,
}

/// What the pipeline is made of.
pub struct Parts {
    pub registry: Arc<Registry>,
    pub ledger: Ledger,
    /// What handlers read.
    pub reads: Arc<dyn Reads>,
    pub clock: Arc<dyn Clock>,
    pub reporter: Reporter,
    pub recorder: Arc<Recorder>,
    pub order: Order,
    pub parked: ParkedCounts,
    /// What may be in progress at a time.
    pub room: Room,
    /// How long the ledger may take to say that something is written.
    pub patience: Duration,
    /// Work in progress: a stop waits for it.
    pub work: Work,
    /// Once cancelled, events are answered RETRY.
    pub stop: CancellationToken,
}

/// One delivery on its way.
struct Run {
    catalog: Arc<Catalog>,
    component: Arc<Component>,
    decoded: Arc<Decoded>,
    wire: Arc<WireEvent>,
    turn: Option<Turn>,
    /// The fence, when the delivery was parked.
    claim: Option<i64>,
    /// Attempts that failed before this one.
    failed: u32,
    /// When the event came in.
    arrived: Timestamp,
}

impl Dispatch {
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// A callback comes in: what it takes up is bounded, and whatever does not fit is to be answered
    /// RETRY.
    pub fn enter_callback(&self) -> Share {
        self.parts.room.enter()
    }

    /// Takes an event from daprd. Its places behind earlier events of the same subjects are taken
    /// before this returns; the answer comes when every delivery is durable. Dropping the answer
    /// withdraws nothing. `share` is held until then.
    pub fn receive(&self, wire: WireEvent, share: Arc<Share>) -> BoxFuture<'static, Answer> {
        if self.parts.stop.is_cancelled() {
            return futures::future::ready(Answer::Retry).boxed();
        }
        let catalog = self.parts.registry.snapshot();
        let task = match catalog.contracts.decode(&wire) {
            Decode::Event(decoded) => self.deliver_to_all(&catalog, *decoded, wire),
            Decode::Unknown { topic, wire_type, .. } => {
                self.parts.reporter.unknown(topic.as_ref(), &wire_type);
                return futures::future::ready(Answer::Success).boxed();
            }
            Decode::Unreadable(unreadable) => {
                let dispatch = self.clone();
                async move { dispatch.bury(&catalog, wire, unreadable).await }.boxed()
            }
        };
        let task = self.parts.work.spawn(holding(share, task));
        // A panic is a bug of the host; the event comes again.
        async move { task.await.unwrap_or(Answer::Retry) }.boxed()
    }

    /// Keeps an event as dead that is not even to be decoded, with the reason.
    pub fn refuse(
        &self,
        bytes: Bytes,
        origin: TopicOrigin,
        reason: String,
        share: Arc<Share>,
    ) -> BoxFuture<'static, Answer> {
        let (dispatch, catalog) = (self.clone(), self.parts.registry.snapshot());
        let unreadable = catalog.contracts.refuse(&origin, &bytes, reason);
        let arrival = Arrival { origin: Origin::Topic(origin), ..Arrival::default() };
        let wire = WireEvent { bytes, arrival };
        let task = async move { dispatch.bury(&catalog, wire, unreadable).await };
        let task = self.parts.work.spawn(holding(share, task));
        async move { task.await.unwrap_or(Answer::Retry) }.boxed()
    }

    /// Runs a parked delivery that this host has claimed.
    pub async fn resume(&self, claimed: ClaimedDelivery) {
        let catalog = self.parts.registry.snapshot();
        let decode = catalog.contracts.decode(&claimed.wire);
        let component = catalog.component(&claimed.head.id.component).map(Arc::clone);
        let submission = match (decode, component) {
            (Decode::Event(decoded), Some(component)) => {
                // The row keeps its key, also when the contract identifies events otherwise by now.
                let decoded = Arc::new(Decoded { key: claimed.head.id.key, ..*decoded });
                let wire = Arc::new(claimed.wire);
                let run = self.queue(&catalog, component, decoded, wire);
                let (claim, failed) = (Some(claimed.claim), claimed.attempts);
                let run = Run { claim, failed, arrived: claimed.head.received_at, ..run };
                self.deliver(run).await;
                return;
            }
            // A component that went away since the claim keeps its deliveries parked.
            (Decode::Event(_), None) if claimed.head.id.component != ComponentId::none() => return,
            (Decode::Event(decoded), _) => self.ending(&catalog).readable(claimed, &decoded),
            (Decode::Unknown { wire_type, .. }, _) => {
                let reason = format!("no active contract knows the type `{wire_type}`");
                self.ending(&catalog).unreadable_again(claimed, reason)
            }
            (Decode::Unreadable(unreadable), _) => {
                self.ending(&catalog).unreadable_again(claimed, unreadable.reason)
            }
        };
        self.end(submission).await;
    }

    fn deliver_to_all(
        &self,
        catalog: &Arc<Catalog>,
        decoded: Decoded,
        wire: WireEvent,
    ) -> BoxFuture<'static, Answer> {
        let (decoded, wire) = (Arc::new(decoded), Arc::new(wire));
        self.parts.reporter.received(&decoded);
        let wanting = catalog.wanting(&decoded).map(Arc::clone);
        let runs: Vec<_> = wanting
            .map(|component| {
                self.queue(catalog, component, Arc::clone(&decoded), Arc::clone(&wire))
            })
            .collect();
        let dispatch = self.clone();
        async move { Answer::all(join_all(runs.into_iter().map(|run| dispatch.deliver(run))).await) }
            .boxed()
    }

    /// A new run, which has its place in the subject's order already.
    fn queue(
        &self,
        catalog: &Arc<Catalog>,
        component: Arc<Component>,
        decoded: Arc<Decoded>,
        wire: Arc<WireEvent>,
    ) -> Run {
        let arrived = self.parts.clock.now();
        let subject = decoded.event.subject.as_deref();
        let turn = subject
            .filter(|_| component.manifest().order == crate::manifest::Order::Subject)
            .map(|subject| self.parts.order.join(component.id(), subject));
        Run {
            catalog: Arc::clone(catalog),
            component,
            decoded,
            wire,
            turn,
            claim: None,
            failed: 0,
            arrived,
        }
    }

    async fn deliver(&self, mut run: Run) -> Answer {
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
            let finished = self.commit(attempt.submission(invocation)).await;
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
                    return self.commit(attempt.away(error, log)).await;
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
            return self.commit(attempt.failed(error, log)).await;
        }
    }

    async fn commit(&self, submission: Submission) -> Finished {
        let why = submission.outcome.error().map(str::to_owned);
        if let Err(hit) = visit(Point::Ran) {
            return Finished { committed: Err(LedgerError::from(hit).into()), why };
        }
        let (ledger, patience) = (&self.parts.ledger, self.parts.patience);
        let committed = match tokio::time::timeout(patience, ledger.commit(submission)).await {
            Ok(committed) => committed.map_err(NotDurable::from),
            // It may be written yet; then it is a repeat when it comes again.
            Err(_) => Err(NotDurable::Late(patience)),
        };
        Finished { committed, why }
    }

    /// A place in the component. Without one the delivery is parked, due now; when enough are
    /// parked already, the callback is held, and then answered RETRY.
    async fn permit(&self, run: &Run) -> Result<Permit, Finished> {
        let component = &run.component;
        if let Some(permit) = component.permit(PERMIT_WAIT).await {
            return Ok(permit);
        }
        match self.parts.parked.of(&self.parts.ledger, component.id()).await {
            Ok(parked)
                if run.claim.is_none() && parked >= component.manifest().limits.max_parked =>
            {
                component.permit(HOLD).await.ok_or_else(|| Finished {
                    committed: Err(NotDurable::Full(component.id().clone(), parked)),
                    why: None,
                })
            }
            Ok(_) => Err(self.commit(run.attempt(self).saturated()).await),
            Err(error) => Err(Finished { committed: Err(error.into()), why: None }),
        }
    }

    /// Writes down that an event ended without a component's run.
    async fn end(&self, submission: Submission) -> Answer {
        let head = submission.head.clone();
        let finished = self.commit(submission).await;
        self.parts.reporter.ended(&head, &finished);
        finished.answer()
    }

    /// Keeps what cannot be decoded, with its bytes and the reason.
    async fn bury(
        &self,
        catalog: &Arc<Catalog>,
        wire: WireEvent,
        unreadable: Unreadable,
    ) -> Answer {
        self.parts.reporter.unreadable(&unreadable);
        self.end(self.ending(catalog).unreadable(Arc::new(wire), unreadable)).await
    }

    fn ending<'a>(&self, catalog: &'a Catalog) -> Ending<'a> {
        Ending { catalog, now: self.parts.clock.now() }
    }
}

/// What a callback takes up is given back when its last task is through, not when its caller goes.
async fn holding<T>(share: Arc<Share>, task: impl Future<Output = T>) -> T {
    let done = task.await;
    drop(share);
    done
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
