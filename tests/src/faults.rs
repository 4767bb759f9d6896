//! What may go wrong between a host and its Dapr: a call that gets lost on its way there or on its
//! way back, that comes twice, or that takes its time. In both directions, by chance.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::future::{BoxFuture, join};
use tokio::sync::Semaphore;
use wharf::app::Between;
use wharf::backend::{Backend, BackendError};
use wharf::effect::{Call, OutgoingEvent, OutgoingJob, Secret, StateWrite};
use wharf::name::{JobName, StoreName};

use crate::dice::Dice;

/// Who calls whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// The host calls Dapr.
    Call,
    /// Dapr calls the host.
    Callback,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It never arrives; the caller is told of an error.
    Lost,
    /// It is performed, and the caller is told of an error.
    AnswerLost,
    /// It arrives twice.
    Repeated,
    /// It arrives some milliseconds later, so that others overtake it.
    Delayed,
}

impl Fault {
    pub const ALL: [Self; 4] = [Self::Lost, Self::AnswerLost, Self::Repeated, Self::Delayed];
}

/// Faults of the kinds that a test wants, one of two calls each.
pub struct Faults {
    kinds: Vec<(Way, Fault)>,
    dice: Mutex<Dice>,
    injected: Mutex<BTreeMap<(Way, Fault), usize>>,
    /// How often each call of a binding has failed: its contract allows two failures.
    failed: Mutex<BTreeMap<String, u32>>,
    /// Ids of calls of a binding that are held, and how they get free.
    held: Mutex<BTreeSet<String>>,
    gate: Semaphore,
    waiting: AtomicUsize,
}

impl Faults {
    pub fn new(kinds: Vec<(Way, Fault)>, dice: Dice) -> Arc<Self> {
        Arc::new(Self {
            kinds,
            dice: Mutex::new(dice),
            injected: Mutex::default(),
            failed: Mutex::default(),
            held: Mutex::default(),
            gate: Semaphore::new(0),
            waiting: AtomicUsize::new(0),
        })
    }

    /// How often each kind came.
    pub fn injected(&self) -> Vec<((Way, Fault), usize)> {
        let injected = locked(&self.injected);
        let times = |kind| injected.get(kind).copied().unwrap_or(0);
        self.kinds.iter().map(|kind| (*kind, times(kind))).collect()
    }

    /// Every call of a binding whose data holds this text waits, and every read of a state whose
    /// key holds it, until [`free`](Self::free).
    pub fn hold(&self, text: &str) {
        locked(&self.held).insert(text.to_owned());
    }

    pub fn free(&self) {
        self.gate.close();
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    async fn wait_if_held(&self, text: &str) {
        let is_held = locked(&self.held).iter().any(|held| text.contains(held));
        if is_held {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            // Closing it sets everyone free.
            let _closed = self.gate.acquire().await;
        }
    }

    fn draw(&self, way: Way) -> Option<Fault> {
        let kinds: Vec<_> = self.kinds.iter().filter(|(of, _)| *of == way).collect();
        let mut dice = locked(&self.dice);
        if kinds.is_empty() || dice.one_in(2) {
            return None;
        }
        let drawn = usize::try_from(dice.within(0..kinds.len() as u64)).ok()?;
        let fault = kinds.get(drawn)?.1;
        *locked(&self.injected).entry((way, fault)).or_default() += 1;
        Some(fault)
    }

    async fn delay(&self) {
        let wait = locked(&self.dice).within(1..15);
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }

    /// What Dapr asks at its start is left alone.
    async fn callback(&self, request: Request, next: Next) -> Response {
        let fault = (request.method() == Method::POST).then(|| self.draw(Way::Callback));
        match fault.flatten() {
            None => next.run(request).await,
            Some(Fault::Lost) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            Some(Fault::AnswerLost) => {
                next.run(request).await;
                StatusCode::BAD_GATEWAY.into_response()
            }
            Some(Fault::Repeated) => {
                let (first, second) = twice(request).await;
                let (_, answer) = join(next.clone().run(first), next.run(second)).await;
                answer
            }
            Some(Fault::Delayed) => {
                self.delay().await;
                next.run(request).await
            }
        }
    }
}

async fn twice(request: Request) -> (Request, Request) {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let again = Request::from_parts(head.clone(), Body::from(body.clone()));
    (Request::from_parts(head, Body::from(body)), again)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stands between a host and its Dapr.
pub struct Faulty(pub Arc<Faults>);

impl Between for Faulty {
    fn calls(&self, inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
        Arc::new(FaultyBackend { inner, faults: Arc::clone(&self.0) })
    }

    fn callbacks(&self, ingress: Router) -> Router {
        let faults = Arc::clone(&self.0);
        let through = move |request: Request, next: Next| {
            let faults = Arc::clone(&faults);
            async move { faults.callback(request, next).await }
        };
        ingress.layer(from_fn(through))
    }
}

/// A backend that is reached through faults.
struct FaultyBackend {
    inner: Arc<dyn Backend>,
    faults: Arc<Faults>,
}

impl FaultyBackend {
    /// Performs a call as often as its fault says.
    async fn through<'a, T>(
        &'a self,
        fault: Option<Fault>,
        perform: impl Fn() -> BoxFuture<'a, Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        match fault {
            None => perform().await,
            Some(Fault::Lost) => lost("the call"),
            Some(Fault::AnswerLost) => {
                perform().await?;
                lost("the answer")
            }
            Some(Fault::Repeated) => {
                perform().await?;
                perform().await
            }
            Some(Fault::Delayed) => {
                self.faults.delay().await;
                perform().await
            }
        }
    }

    async fn publish_all(&self, batch: Vec<OutgoingEvent>) -> Vec<Result<(), BackendError>> {
        let mut results = Vec::new();
        // Of one batch, events of different lanes have no order.
        for event in batch {
            let fault = self.faults.draw(Way::Call);
            results.push(self.through(fault, || self.publish_one(event.clone())).await);
        }
        results
    }

    fn publish_one(&self, event: OutgoingEvent) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async move {
            let mut results = self.inner.publish(vec![event]).await;
            results.pop().unwrap_or_else(|| lost("the answer"))
        })
    }

    /// A call that may fail no more is only repeated or delayed.
    fn of_call(&self, call: &Call) -> Option<Fault> {
        let fault = self.faults.draw(Way::Call)?;
        if matches!(fault, Fault::Lost | Fault::AnswerLost) {
            let mut failed = locked(&self.faults.failed);
            let failed = failed.entry(call.id.clone()).or_default();
            *failed += 1;
            if *failed > 2 {
                return None;
            }
        }
        Some(fault)
    }
}

fn lost<T>(what: &str) -> Result<T, BackendError> {
    Err(BackendError::Unavailable(format!("{what} is lost")))
}

impl Backend for FaultyBackend {
    fn publish(&self, batch: Vec<OutgoingEvent>) -> BoxFuture<'_, Vec<Result<(), BackendError>>> {
        Box::pin(self.publish_all(batch))
    }

    fn state(
        &self,
        store: StoreName,
        key: String,
    ) -> BoxFuture<'_, Result<Option<Bytes>, BackendError>> {
        let fault = self.faults.draw(Way::Call);
        Box::pin(async move {
            self.faults.wait_if_held(&key).await;
            self.through(fault, || self.inner.state(store.clone(), key.clone())).await
        })
    }

    fn write_state(&self, write: StateWrite) -> BoxFuture<'_, Result<(), BackendError>> {
        let fault = self.faults.draw(Way::Call);
        Box::pin(async move { self.through(fault, || self.inner.write_state(write.clone())).await })
    }

    fn secret(
        &self,
        store: StoreName,
        name: String,
    ) -> BoxFuture<'_, Result<Option<Secret>, BackendError>> {
        let fault = self.faults.draw(Way::Call);
        Box::pin(async move {
            self.through(fault, || self.inner.secret(store.clone(), name.clone())).await
        })
    }

    fn schedule(&self, job: OutgoingJob) -> BoxFuture<'_, Result<(), BackendError>> {
        let fault = self.faults.draw(Way::Call);
        Box::pin(async move { self.through(fault, || self.inner.schedule(job.clone())).await })
    }

    fn cancel(&self, name: JobName) -> BoxFuture<'_, Result<(), BackendError>> {
        let fault = self.faults.draw(Way::Call);
        Box::pin(async move { self.through(fault, || self.inner.cancel(name.clone())).await })
    }

    fn invoke(&self, call: Call) -> BoxFuture<'_, Result<Bytes, BackendError>> {
        let fault = self.of_call(&call);
        Box::pin(async move {
            self.faults.wait_if_held(&String::from_utf8_lossy(&call.data)).await;
            self.through(fault, || self.inner.invoke(call.clone())).await
        })
    }
}
