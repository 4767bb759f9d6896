//! What daprd asks once per run. Anything but 200 here would leave it without subscriptions until
//! it is restarted, so nothing here can fail.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};

use crate::config::Subscriptions;
use crate::contract::{Delivery, Subscription};
use crate::ingress::Ingress;

/// `GET /dapr/config`: Dapr's defaults will do.
pub async fn config() -> Json<Value> {
    Json(json!({}))
}

/// `GET /dapr/subscribe`: one entry per (pubsub, topic); none where files say what is subscribed.
pub async fn subscriptions(State(ingress): State<Arc<Ingress>>) -> Json<Vec<Value>> {
    Json(match ingress.subscriptions {
        Subscriptions::Programmatic => {
            let subscriptions = ingress.registry.snapshot().contracts.subscriptions();
            subscriptions.iter().map(entry).collect()
        }
        Subscriptions::Declarative => Vec::new(),
    })
}

fn entry(subscription: &Subscription) -> Value {
    let Subscription { pubsub, topic, path, delivery, raw } = subscription;
    let mut entry = Map::from_iter([
        ("pubsubname".to_owned(), json!(pubsub)),
        ("topic".to_owned(), json!(topic)),
        ("route".to_owned(), json!(path)),
    ]);
    if *raw {
        entry.insert("metadata".to_owned(), json!({ "rawPayload": "true" }));
    }
    if let Delivery::Bulk { max, await_ } = delivery {
        let bulk = json!({
            "enabled": true,
            "maxMessagesCount": max,
            "maxAwaitDurationMs": u64::try_from(await_.as_millis()).unwrap_or(u64::MAX),
        });
        entry.insert("bulkSubscribe".to_owned(), bulk);
    }
    entry.into()
}
