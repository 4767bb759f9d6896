//! What people and tools ask: what runs, what happened to an event, how it goes.

pub mod components;
pub mod deliveries;
pub mod health;
pub mod metrics;
pub mod reply;
pub mod token;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::catalog::Registry;
use crate::clock::Clock;
use crate::dispatch::room::Room;
use crate::ledger::Ledger;
use crate::recorder::Recorder;
use crate::telemetry::metrics::Metrics;

/// What the admin API needs.
pub struct Admin {
    pub service: String,
    pub token: Option<String>,
    pub registry: Arc<Registry>,
    pub ledger: Ledger,
    pub recorder: Arc<Recorder>,
    pub room: Room,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
}

impl Admin {
    /// Health and metrics are open, for probes; the rest asks for the token when one is set.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/components", get(components::list))
            .route("/components/{name}", get(components::show))
            .route("/deliveries", get(deliveries::list))
            .route("/deliveries/retry", post(deliveries::many::retry))
            .route("/deliveries/discard", post(deliveries::many::discard))
            .route("/deliveries/{component}/{key}", get(deliveries::show))
            .route("/deliveries/{component}/{key}/retry", post(deliveries::retry))
            .route("/deliveries/{component}/{key}/discard", post(deliveries::discard))
            .layer(axum::middleware::from_fn_with_state(Arc::clone(self), token::check))
            .route("/health", get(health::health))
            .route("/health/live", get(health::live))
            .route("/metrics", get(metrics::metrics))
            .fallback(reply::not_found)
            .with_state(Arc::clone(self))
    }
}
