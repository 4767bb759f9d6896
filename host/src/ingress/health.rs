//! Health for daprd's probes: 503 while starting, after a stop's drain, and without the ledger, so
//! that daprd holds its deliveries back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::ingress::Ingress;

/// `{"status":"healthy","service":"<name>","version":"<semver>"}`
pub async fn health(State(ingress): State<Arc<Ingress>>) -> (StatusCode, Json<Value>) {
    let trouble = if ingress.ready.load(Ordering::Acquire) {
        ingress.ledger.ping().await.err().map(|error| error.to_string())
    } else {
        Some("starting or stopping".to_owned())
    };
    let (code, status) = match trouble {
        None => (StatusCode::OK, "healthy"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
    };
    let mut body = json!({
        "status": status,
        "service": ingress.service,
        "version": env!("CARGO_PKG_VERSION"),
    });
    if let (Some(reason), Some(body)) = (trouble, body.as_object_mut()) {
        body.insert("reason".to_owned(), reason.into());
    }
    (code, Json(body))
}
