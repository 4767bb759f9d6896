//! What daprd asks once per run. Anything but 200 here would leave it without subscriptions until
//! it is restarted, so nothing here can fail.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::contract::{Delivery, Subscription};
use crate::ingress::Ingress;

/// `GET /dapr/config`: Dapr's defaults will do.
pub async fn config() -> Json<Value> {
    Json(json!({}))
}

/// `GET /dapr/subscribe`: one entry per (pubsub, topic).
pub async fn subscriptions(State(ingress): State<Arc<Ingress>>) -> Json<Vec<Value>> {
    let subscriptions = ingress.registry.snapshot().contracts.subscriptions();
    Json(subscriptions.iter().map(entry).collect())
}

fn entry(subscription: &Subscription) -> Value {
    let Subscription { pubsub, topic, path, delivery } = subscription;
    let mut entry = json!({ "pubsubname": pubsub, "topic": topic, "route": path });
    if let (Delivery::Bulk { max, await_ }, Some(entry)) = (delivery, entry.as_object_mut()) {
        let bulk = json!({
            "enabled": true,
            "maxMessagesCount": max,
            "maxAwaitDurationMs": u64::try_from(await_.as_millis()).unwrap_or(u64::MAX),
        });
        entry.insert("bulkSubscribe".to_owned(), bulk);
    }
    entry
}
