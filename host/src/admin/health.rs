//! Health for people and probes. Liveness looks at the process alone: a database that is away must
//! not restart every pod.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::admin::Admin;
use crate::ledger::Counts;
use crate::name::ComponentId;

/// `GET /health`: 200 with the ledger's counts, 503 when the ledger cannot be read.
pub async fn health(State(admin): State<Arc<Admin>>) -> (StatusCode, Json<Value>) {
    let (code, status, ledger) = match admin.ledger.counts().await {
        Ok(counts) => (StatusCode::OK, "healthy", ledger(&admin, &counts)),
        Err(error) => {
            let error = json!({ "error": error.to_string() });
            (StatusCode::SERVICE_UNAVAILABLE, "unhealthy", error)
        }
    };
    let body = json!({
        "status": status,
        "service": admin.service,
        "version": env!("CARGO_PKG_VERSION"),
        "ledger": ledger,
    });
    (code, Json(body))
}

/// Deliveries of a component that does not run stay parked until it does.
fn ledger(admin: &Admin, counts: &Counts) -> Value {
    let catalog = admin.registry.snapshot();
    let runs = |id: &ComponentId| *id == ComponentId::none() || catalog.component(id).is_some();
    let components = counts.components.iter().map(|of| {
        json!({
            "component": of.component, "parked": of.parked, "dead": of.dead,
            "runs": runs(&of.component),
        })
    });
    json!({
        "components": components.collect::<Vec<_>>(),
        "outbox": {
            "waiting": counts.outbox_waiting,
            "dead": counts.outbox_dead,
            "oldest": counts.outbox_oldest,
            "lag_seconds": counts.lag(admin.clock.now()).as_secs_f64(),
        },
    })
}

/// `GET /health/live`: the process answers.
pub async fn live() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}
