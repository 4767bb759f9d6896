//! `GET /metrics` for Prometheus. What the ledger knows better than counters is read from it now.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::admin::Admin;
use crate::dispatch::room::Amount;
use crate::ledger::Counts;
use crate::name::ComponentId;
use crate::telemetry::metrics as names;

/// Prometheus text format. Without the ledger its gauges keep their last values.
pub async fn metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    match admin.ledger.counts().await {
        Ok(counts) => set(&admin, &counts),
        Err(error) => tracing::warn!(%error, "the ledger's gauges are old"),
    }
    in_progress(&admin);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], admin.metrics.render())
}

#[expect(clippy::cast_precision_loss, reason = "gauges are for people")]
fn in_progress(admin: &Admin) {
    let Amount { events, bytes } = admin.room.taken();
    admin.metrics.set(names::EVENTS_IN_PROGRESS, &[], events as f64);
    admin.metrics.set(names::BYTES_IN_PROGRESS, &[], bytes as f64);
}

#[expect(clippy::cast_precision_loss, reason = "gauges are for people")]
fn set(admin: &Admin, counts: &Counts) {
    // The ledger says nothing of a component that has none: its gauges must go back to zero.
    let catalog = admin.registry.snapshot();
    let running = catalog.components().map(|component| component.id().clone());
    let counted = counts.components.iter().map(|of| of.component.clone());
    let all: BTreeSet<_> = running.chain(counted).chain([ComponentId::none()]).collect();
    for component in &all {
        let of = counts.components.iter().find(|of| of.component == *component);
        let (parked, dead) = of.map_or((0, 0), |of| (of.parked, of.dead));
        let component = ("component", component.as_str());
        for (status, count) in [("parked", parked), ("dead", dead)] {
            admin.metrics.set(names::DELIVERIES, &[component, ("status", status)], count as f64);
        }
    }
    for (status, count) in [("waiting", counts.outbox_waiting), ("dead", counts.outbox_dead)] {
        admin.metrics.set(names::OUTBOX, &[("status", status)], count as f64);
    }
    let lag = counts.lag(admin.clock.now()).as_secs_f64();
    admin.metrics.set(names::OUTBOX_LAG, &[], lag);
}
