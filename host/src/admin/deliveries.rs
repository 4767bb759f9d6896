//! `GET /deliveries`: what happened to which event, newest first.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::admin::Admin;
use crate::admin::reply::AdminError;
use crate::delivery::{DeliveryId, DeliveryStatus};
use crate::ledger::{DeliveryDetail, DeliveryFilter, DeliverySummary};
use crate::name::{ComponentId, EventKey};

/// `?component=&status=&limit=`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    component: Option<String>,
    status: Option<String>,
    limit: Option<u32>,
}

/// The newest deliveries, 50 unless told otherwise, 1000 at most.
pub async fn list(
    State(admin): State<Arc<Admin>>,
    filter: Result<Query<Filter>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Vec<Value>>, AdminError> {
    let bad = |error: String| AdminError::BadRequest(error);
    let Query(filter) = filter.map_err(|error| bad(error.body_text()))?;
    let component = filter.component.map(ComponentId::new).transpose();
    let status = filter.status.map(|status| status.parse::<DeliveryStatus>()).transpose();
    let filter = DeliveryFilter {
        component: component.map_err(|error| bad(error.to_string()))?,
        status: status.map_err(bad)?,
        limit: filter.limit.unwrap_or(50).min(1000),
    };
    let deliveries = admin.ledger.deliveries(&filter).await?;
    Ok(Json(deliveries.iter().map(summary).collect()))
}

/// One delivery: its error, attempts, log, and the effects that still wait.
pub async fn show(
    State(admin): State<Arc<Admin>>,
    Path((component, key)): Path<(String, String)>,
) -> Result<Json<Value>, AdminError> {
    let bad = |error: crate::name::NameError| AdminError::BadRequest(error.to_string());
    let component = ComponentId::new(component).map_err(bad)?;
    let key: EventKey = key.parse().map_err(bad)?;
    let id = DeliveryId { component, key };
    let detail = admin.ledger.delivery(&id).await?;
    detail.as_ref().map(shown).map(Json).ok_or_else(|| {
        AdminError::NotFound(format!("there is no delivery `{id}`; see GET /deliveries"))
    })
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
fn shown(detail: &DeliveryDetail) -> Value {
    let mut shown = summary(&detail.summary);
    let received = detail.wire.as_ref().map(|wire| {
        serde_json::from_slice(&wire.bytes)
            .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&wire.bytes).into_owned()))
    });
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("log".to_owned(), json!(detail.log));
        fields.insert("effects".to_owned(), json!(detail.outbox));
        fields.insert("received".to_owned(), json!(received));
    }
    shown
}
