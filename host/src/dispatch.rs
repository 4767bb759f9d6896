//! An event's way through the host: decode, hand to each component that wants it, commit, answer.
//! The answer is SUCCESS only when the ledger has every delivery; whatever else happens, daprd
//! sends the event again.

pub mod answer;
pub mod decide;
mod deliver;
mod enter;
pub mod order;
pub mod parked;
pub mod reads;
pub mod report;
pub mod room;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, join_all};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::catalog::{Catalog, Registry};
use crate::clock::Clock;
use crate::contract::{Decode, Unreadable};
use crate::event::{Arrival, Decoded, Origin, TopicOrigin, WireEvent};
use crate::ledger::{ClaimedDelivery, Ledger, Submission};
use crate::name::ComponentId;
use crate::recorder::Recorder;
use crate::runtime::{Component, Reads};
use crate::work::Work;

use answer::Answer;
use decide::Ending;
use deliver::Run;
pub use enter::Entered;
use order::Order;
use parked::ParkedCounts;
use report::{Ended, Reporter};
use room::{Room, Share};

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
    /// How long a callback waits for the ledger to say that something is written.
    pub patience: Duration,
    /// Work in progress: a stop waits for it.
    pub work: Work,
    /// Once cancelled, events are answered RETRY.
    pub stop: CancellationToken,
}

/// Told when the ledger takes longer than a callback waits for it: the answer is RETRY then, and
/// what was begun goes on, with its room and its turn, until the ledger has answered. Otherwise a
/// slow ledger would be given more and more, and the next of a subject would not see this one.
type Late = Arc<Notify>;

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
        let (catalog, late) = (self.parts.registry.snapshot(), Late::default());
        let task = match catalog.contracts.decode(&wire) {
            Decode::Event(decoded) => self.deliver_to_all(&catalog, *decoded, wire, &late),
            Decode::Unknown { topic, wire_type, .. } => {
                self.parts.reporter.unknown(topic.as_ref(), &wire_type);
                return futures::future::ready(Answer::Success).boxed();
            }
            Decode::Unreadable(unreadable) => {
                let (dispatch, late) = (self.clone(), Arc::clone(&late));
                async move { dispatch.bury(&catalog, wire, unreadable, &late).await }.boxed()
            }
        };
        self.answer(task, late, share)
    }

    fn answer(
        &self,
        task: BoxFuture<'static, Answer>,
        late: Late,
        share: Arc<Share>,
    ) -> BoxFuture<'static, Answer> {
        let task = self.parts.work.spawn(holding(share, task));
        let answer = async move {
            tokio::select! {
                biased;
                // A panic is a bug of the host; the event comes again.
                answer = task => answer.unwrap_or(Answer::Retry),
                () = late.notified() => Answer::Retry,
            }
        };
        answer.boxed()
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
        let (wire, late) = (WireEvent { bytes, arrival }, Late::default());
        let hears = Arc::clone(&late);
        let task = async move { dispatch.bury(&catalog, wire, unreadable, &hears).await };
        self.answer(task.boxed(), late, share)
    }

    /// Runs a parked delivery that this host has claimed.
    pub async fn resume(&self, claimed: ClaimedDelivery) {
        let catalog = self.parts.registry.snapshot();
        let decode = catalog.contracts.decode(&claimed.wire);
        let component = catalog.component(&claimed.head.id.component).map(Arc::clone);
        let (submission, fault) = match (decode, component) {
            (Decode::Event(decoded), Some(component)) => {
                // The row keeps its key, also when the contract identifies events otherwise by now.
                let decoded = Arc::new(Decoded { key: claimed.head.id.key, ..*decoded });
                let wire = Arc::new(claimed.wire);
                let run = self.queue(&catalog, component, decoded, wire, &Late::default());
                let (claim, failed) = (Some(claimed.claim), claimed.attempts);
                let run = Run { claim, failed, arrived: claimed.head.received_at, ..run };
                self.deliver(run).await;
                return;
            }
            // A component that went away since the claim keeps its deliveries parked.
            (Decode::Event(_), None) if claimed.head.id.component != ComponentId::none() => return,
            (Decode::Event(decoded), _) => {
                (self.ending(&catalog).readable(claimed, &decoded), None)
            }
            (Decode::Unknown { wire_type, .. }, _) => {
                let reason = format!("no active contract knows the type `{wire_type}`");
                let fault = Some("a type that no contract knows");
                (self.ending(&catalog).unreadable_again(claimed, reason), fault)
            }
            (Decode::Unreadable(Unreadable { reason, kind, .. }), _) => {
                let fault = Some(kind.as_str());
                (self.ending(&catalog).unreadable_again(claimed, reason), fault)
            }
        };
        self.end(submission, fault, &Notify::new()).await;
    }

    fn deliver_to_all(
        &self,
        catalog: &Arc<Catalog>,
        decoded: Decoded,
        wire: WireEvent,
        late: &Late,
    ) -> BoxFuture<'static, Answer> {
        let (decoded, wire) = (Arc::new(decoded), Arc::new(wire));
        self.parts.reporter.received(&decoded);
        let wanting = catalog.wanting(&decoded).map(Arc::clone);
        let runs: Vec<_> = wanting
            .map(|component| {
                self.queue(catalog, component, Arc::clone(&decoded), Arc::clone(&wire), late)
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
        late: &Late,
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
            late: Arc::clone(late),
        }
    }

    /// Writes down that an event ended without a component's run; `fault` is why, for the log.
    async fn end(
        &self,
        submission: Submission,
        fault: Option<&'static str>,
        late: &Notify,
    ) -> Answer {
        let (head, wire) = (submission.head.clone(), Arc::clone(&submission.wire));
        let attempt = submission.attempts;
        let finished = self.commit(submission, late).await;
        self.parts.reporter.ended(&Ended { head, wire, fault, attempt }, &finished);
        finished.answer()
    }

    /// Keeps what cannot be decoded, with its bytes and the reason.
    async fn bury(
        &self,
        catalog: &Arc<Catalog>,
        wire: WireEvent,
        unreadable: Unreadable,
        late: &Notify,
    ) -> Answer {
        self.parts.reporter.unreadable(&unreadable);
        let fault = Some(unreadable.kind.as_str());
        let submission = self.ending(catalog).unreadable(Arc::new(wire), unreadable);
        self.end(submission, fault, late).await
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
