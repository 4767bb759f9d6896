//! `GET /deliveries`: what happened to which event, newest first; and what to do about one of them.

mod filter;
pub mod many;

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde_json::{Value, json};

use crate::admin::Admin;
use crate::admin::reply::AdminError;
use crate::delivery::{DeliveryId, DeliveryStatus};
use crate::ledger::{ByHand, DeliveryDetail, DeliverySummary, Recording};
use crate::name::ComponentId;
use filter::Asked;

/// The newest that match, 50 unless told otherwise, 1000 at most.
pub async fn list(
    State(admin): State<Arc<Admin>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Vec<Value>>, AdminError> {
    let asked = filter::query(asked)?;
    asked.lists_only()?;
    let filter = asked.filter(admin.clock.now(), 50)?;
    let deliveries = admin.ledger.deliveries(&filter).await?;
    if deliveries.is_empty() {
        filter::refuse_unknown(&admin, &filter).await?;
    }
    Ok(Json(deliveries.iter().map(summary).collect()))
}

/// One delivery: its error, attempts, log, effects, and its last run as it was recorded.
pub async fn show(
    State(admin): State<Arc<Admin>>,
    Path(path): Path<(String, String)>,
) -> Result<Json<Value>, AdminError> {
    of_id(&admin, &id(path)?).await
}

/// Tries a dead delivery again, or what Dapr refused of one that is done.
pub async fn retry(
    State(admin): State<Arc<Admin>>,
    Path(path): Path<(String, String)>,
) -> Result<Json<Value>, AdminError> {
    let id = id(path)?;
    match admin.ledger.retry(&id, admin.clock.now()).await? {
        ByHand::Changed => of_id(&admin, &id).await,
        ByHand::Unknown => Err(unknown(&id)),
        ByHand::Refused(status) => Err(AdminError::Conflict(not_tried(&id, status))),
    }
}

fn not_tried(id: &DeliveryId, status: DeliveryStatus) -> String {
    match status {
        DeliveryStatus::Done => format!("`{id}` is done, and Dapr refused none of its effects"),
        DeliveryStatus::Parked => format!("`{id}` is parked: it is tried again by itself"),
        DeliveryStatus::Dead | DeliveryStatus::Discarded => {
            format!("`{id}` is {}: its event is not kept any more", status.as_str())
        }
    }
}

fn not_discarded(id: &DeliveryId, status: DeliveryStatus) -> String {
    format!("`{id}` is {}: there is nothing to discard", status.as_str())
}

/// Gives up a parked or dead delivery, or what Dapr refused of one that is done.
pub async fn discard(
    State(admin): State<Arc<Admin>>,
    Path(path): Path<(String, String)>,
) -> Result<Json<Value>, AdminError> {
    let id = id(path)?;
    match admin.ledger.discard(&id).await? {
        ByHand::Changed => of_id(&admin, &id).await,
        ByHand::Unknown => Err(unknown(&id)),
        ByHand::Refused(status) => Err(AdminError::Conflict(not_discarded(&id, status))),
    }
}

fn id((component, key): (String, String)) -> Result<DeliveryId, AdminError> {
    let bad = |error: crate::name::NameError| AdminError::BadRequest(error.to_string());
    let component = ComponentId::new(component).map_err(bad)?;
    Ok(DeliveryId { component, key: key.parse().map_err(bad)? })
}

fn unknown(id: &DeliveryId) -> AdminError {
    AdminError::NotFound(format!("there is no delivery `{id}`; see GET /deliveries"))
}

async fn of_id(admin: &Admin, id: &DeliveryId) -> Result<Json<Value>, AdminError> {
    if let Err(error) = admin.recorder.flush().await {
        tracing::warn!(%error, "recordings are lost");
    }
    let detail = admin.ledger.delivery(id).await?.ok_or_else(|| unknown(id))?;
    let recording = admin.ledger.recording(id).await?;
    Ok(Json(shown(&detail, recording.as_ref())))
}

fn summary(delivery: &DeliverySummary) -> Value {
    let head = &delivery.head;
    json!({
        "delivery": head.id.to_string(),
        "status": delivery.status,
        "attempts": delivery.attempts,
        "event": { "id": head.event_id, "type": head.event_type, "subject": head.subject },
        "contract": head.contract,
        "pubsub": head.pubsub,
        "topic": head.topic,
        "digest": head.digest,
        "received_at": head.received_at,
        "due": delivery.due,
        "error": delivery.error,
    })
}

/// Bytes that are JSON are shown as such, others as text.
fn shown(detail: &DeliveryDetail, recording: Option<&Recording>) -> Value {
    let mut shown = summary(&detail.summary);
    let received = detail.wire.as_ref().map(|wire| {
        serde_json::from_slice(&wire.bytes)
            .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&wire.bytes).into_owned()))
    });
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("log".to_owned(), json!(detail.log));
        fields.insert("outbox".to_owned(), json!(detail.outbox));
        fields.insert("run".to_owned(), recording.map_or(Value::Null, run));
        fields.insert("received".to_owned(), json!(received));
    }
    shown
}

/// The last recorded run: a sample of those that succeed, and those that failed.
fn run(recording: &Recording) -> Value {
    let mut run = json!({
        "attempt": recording.attempt,
        "failed": recording.failed,
        "digest": recording.digest,
        "at": recording.at,
        "fuel": recording.fuel,
        "microseconds": recording.micros,
    });
    let body: Value = serde_json::from_str(&recording.body).unwrap_or_default();
    if let Some(fields) = run.as_object_mut() {
        for name in ["event", "reads", "effects", "error", "log"] {
            fields.insert(name.to_owned(), body.get(name).cloned().unwrap_or_default());
        }
    }
    run
}
