//! Turns daprd's callbacks into events. Never answers 404 to a POST: daprd would take the event
//! for done and drop it.

pub mod attributes;
pub mod bindings;
pub mod body;
pub mod bulk;
pub mod events;
pub mod health;
pub mod jobs;
pub mod raw;
pub mod reply;
pub mod subscribe;
pub mod token;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use bytes::Bytes;
use futures::future::BoxFuture;
use sha2::{Digest as _, Sha256};

use crate::catalog::Registry;
use crate::config::Subscriptions;
use crate::dispatch::Dispatch;
use crate::dispatch::answer::Answer;
use crate::dispatch::room::Share;
use crate::event::{Arrival, Origin, TopicOrigin, Trace, WireEvent};
use crate::ledger::Ledger;
use crate::name::hex;
use crate::telemetry::metrics::{self, Metrics};

/// What the callbacks need.
pub struct Ingress {
    pub service: String,
    pub token: Option<String>,
    /// Bytes; a larger event is kept as dead.
    pub max_body: usize,
    pub subscriptions: Subscriptions,
    pub registry: Arc<Registry>,
    pub dispatch: Dispatch,
    pub ledger: Ledger,
    pub metrics: Metrics,
    /// False while starting, and after the drain of a stop.
    pub ready: AtomicBool,
}

impl Ingress {
    /// The routes that daprd calls. Everything but `/health` asks for the app token.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/dapr/config", get(subscribe::config))
            .route("/dapr/subscribe", get(subscribe::subscriptions))
            .route("/job/{*name}", post(jobs::fire))
            .fallback(events::receive)
            .layer(axum::middleware::from_fn_with_state(Arc::clone(self), token::check))
            .route("/health", get(health::health))
            .method_not_allowed_fallback(events::misdirected)
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(self))
    }

    /// Hands an event on. One that is too large costs itself only, not the bulk that it came in.
    fn take(
        &self,
        origin: TopicOrigin,
        trace: Option<Trace>,
        bytes: Bytes,
        share: &Arc<Share>,
    ) -> BoxFuture<'static, Answer> {
        let share = Arc::clone(share);
        if bytes.len() > self.max_body {
            let beginning = Bytes::copy_from_slice(bytes.get(..BEGINNING).unwrap_or(&bytes));
            return self.too_large(origin, beginning, &hex(&Sha256::digest(&bytes)), share);
        }
        let arrival = Arrival { origin: Origin::Topic(origin), trace };
        self.dispatch.receive(WireEvent { bytes, arrival }, share)
    }

    /// Keeps an event as dead with its beginning only: answered with RETRY it would block its
    /// partition for ever.
    fn too_large(
        &self,
        origin: TopicOrigin,
        beginning: Bytes,
        hash: &str,
        share: Arc<Share>,
    ) -> BoxFuture<'static, Answer> {
        let reason = format!(
            "the event is larger than {} bytes, and only its beginning is kept; raise [ingress] \
             max_body (WHARF_INGRESS__MAX_BODY) and publish the event again",
            self.max_body
        );
        // Without a position the bytes would identify it, and they are not all here.
        let position = origin.position.or_else(|| Some(format!("sha256/{hash}")));
        self.dispatch.refuse(beginning, TopicOrigin { position, ..origin }, reason, share)
    }

    /// So many events find no room, for want of `what`. Not a line for each: under overload they are
    /// many.
    fn turned_away(&self, events: usize, what: &'static str) -> Answer {
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        self.metrics.count(metrics::TURNED_AWAY, &[("room", what)], events);
        tracing::debug!(events, what, "too much is in progress: RETRY");
        Answer::Retry
    }

    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }
}

/// Whether another app invokes this. daprd passes that on under the same paths as what it sends
/// itself, and says only here whose it is.
fn is_of_another_app(headers: &HeaderMap, name: &str) -> bool {
    let caller = headers.get("dapr-caller-app-id");
    if let Some(caller) = caller {
        tracing::warn!(name, ?caller, "what another app sends as if it were daprd is refused");
    }
    caller.is_some()
}

/// How much of an event is kept that is too large: enough to see what it was.
const BEGINNING: usize = 64 << 10;
