//! `GET /metrics` for Prometheus. What the ledger knows better than counters is read from it now.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::admin::Admin;
use crate::ledger::Counts;
use crate::telemetry::metrics as names;

/// Prometheus text format. Without the ledger its gauges keep their last values.
pub async fn metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    match admin.ledger.counts().await {
        Ok(counts) => set(&admin, &counts),
        Err(error) => tracing::warn!(%error, "the ledger's gauges are old"),
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], admin.metrics.render())
}

#[expect(clippy::cast_precision_loss, reason = "gauges are for people")]
fn set(admin: &Admin, counts: &Counts) {
    for of in &counts.components {
        let component = ("component", of.component.as_str());
        let gauges = [("parked", of.parked), ("dead", of.dead)];
        for (status, count) in gauges {
            admin.metrics.set(names::DELIVERIES, &[component, ("status", status)], count as f64);
        }
    }
    for (status, count) in [("waiting", counts.outbox_waiting), ("dead", counts.outbox_dead)] {
        admin.metrics.set(names::OUTBOX, &[("status", status)], count as f64);
    }
    let lag = counts.outbox_oldest.map_or(0.0, |since| {
        (admin.clock.now() - since).to_std().unwrap_or_default().as_secs_f64()
    });
    admin.metrics.set(names::OUTBOX_LAG, &[], lag);
}
