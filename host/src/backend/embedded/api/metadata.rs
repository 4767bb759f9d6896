//! `GET /v1.0/metadata`: what there is. The types are made up, the capabilities are daprd's words.

use serde::Serialize;
use serde_json::{Value, json};

use crate::backend::embedded::Embedded;

impl Embedded {
    pub(super) fn metadata(&self) -> Value {
        let version = concat!("wharf-", env!("CARGO_PKG_VERSION"));
        let subscriptions = self.0.subscriptions.borrow();
        let subscriptions = subscriptions.iter().flatten().map(|wanted| {
            json!({
                "pubsubname": wanted.pubsub,
                "topic": wanted.topic,
                "rules": [{ "path": wanted.path }],
                "deadLetterTopic": "",
                "type": "PROGRAMMATIC",
            })
        });
        json!({
            "id": self.0.app_id,
            "runtimeVersion": version,
            "components": self.components(),
            "extended": { "daprRuntimeVersion": version },
            "subscriptions": subscriptions.collect::<Vec<_>>(),
            "appConnectionProperties": { "protocol": "http", "channelAddress": "127.0.0.1" },
        })
    }

    fn components(&self) -> Vec<Value> {
        let pubsubs = self.0.pubsubs.iter().map(|name| component(name, "pubsub.embedded", &[]));
        let stores = self.0.state_stores.iter();
        let stores =
            stores.map(|name| component(name, "state.embedded", &["ETAG", "TRANSACTIONAL", "TTL"]));
        let secrets = self.0.secret_stores.iter();
        let secrets = secrets.map(|name| component(name, "secretstores.embedded", &[]));
        let bindings = self.0.bindings.iter().map(|binding| match binding.period {
            Some(_) => component(&binding.name, "bindings.cron", &["INPUT_BINDING"]),
            None => component(&binding.name, "bindings.embedded", &["OUTPUT_BINDING"]),
        });
        pubsubs.chain(stores).chain(secrets).chain(bindings).collect()
    }
}

fn component(name: &impl Serialize, ty: &str, capabilities: &[&str]) -> Value {
    json!({ "name": name, "type": ty, "version": "v1", "capabilities": capabilities })
}
