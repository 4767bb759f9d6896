//! Secrets, bindings and tokens; jobs are beside.

use bytes::Bytes;
use futures::FutureExt as _;
use serde_json::json;
use wharf::backend::BackendError;
use wharf::effect::Call;
use wharf::name::{BindingName, ContractName, StoreName};

use super::app::Answer::Http;
use super::{Behaviour, World, word};

impl World {
    async fn invoke(&self, binding: &str, operation: &str) -> Result<Bytes, BackendError> {
        let call = Call {
            id: "call-1".into(),
            binding: BindingName::new(binding).expect("a binding's name"),
            operation: operation.into(),
            data: Bytes::from_static(br#"{"text":"hello"}"#),
            metadata: Vec::new(),
            contract: ContractName::new("c").expect("a contract's name"),
            subject: None,
            trace: None,
        };
        self.backend.invoke(call).await
    }

    async fn secret(&self, store: &str, name: &str) -> String {
        let store = StoreName::new(store).expect("a store's name");
        match self.backend.secret(store, name.to_owned()).await {
            Ok(Some(secret)) => {
                let entries = secret.iter().map(|(name, value)| format!("{name}={value}"));
                entries.collect::<Vec<_>>().join(" ")
            }
            Ok(None) => "none".into(),
            Err(error) => word::<()>(&Err(error)).into(),
        }
    }
}

pub fn behaviours() -> Vec<Behaviour> {
    let mut all = secrets();
    all.extend(super::jobs::behaviours());
    all.extend(bindings());
    all
}

fn secrets() -> Vec<Behaviour> {
    vec![Behaviour {
        name: "secrets: of one value, of several, one that is not there, a store that is not there",
        expected: "plain=p; a=1 b=2; none; refused",
        // daprd may be about to load it, here and below.
        but: &[("daprd: Kafka, PostgreSQL", "plain=p; a=1 b=2; none; away")],
        ask: |world| {
            async move {
                let store = world.secrets;
                let mut seen = Vec::new();
                for name in ["plain", "several", "missing"] {
                    seen.push(world.secret(store, name).await);
                }
                seen.push(world.secret("unknown", "plain").await);
                seen.join("; ")
            }
            .boxed()
        },
    }]
}

fn bindings() -> Vec<Behaviour> {
    vec![
        Behaviour {
            name: "binding: called",
            expected: "the data, idempotency-key, and the receiver's response",
            but: &[],
            ask: |world| {
                async move {
                    let response = world.invoke("notify-http", "create").await;
                    let came = world.app.wait("/notify", 1).await;
                    let Some(came) = came.first() else { return format!("{response:?}") };
                    let key = came.headers.get("idempotency-key").map(String::as_str);
                    let is_same = came.body == json!({ "text": "hello" });
                    match (key, is_same, response.as_deref()) {
                        (Some("call-1"), true, Ok(br#"{"status":"SUCCESS"}"#)) => {
                            "the data, idempotency-key, and the receiver's response".into()
                        }
                        other => format!("{other:?}"),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "binding: the receiver answers 422, 404, 429, 503",
            expected: "refused, unavailable, unavailable, unavailable",
            but: &[],
            ask: |world| {
                async move {
                    let mut words = Vec::new();
                    for status in [422, 404, 429, 503] {
                        world.app.answers("/notify", &[Http(status)]);
                        words.push(word(&world.invoke("notify-http", "create").await));
                    }
                    words.join(", ")
                }
                .boxed()
            },
        },
        Behaviour {
            name: "binding: one that is not there; an operation that it has not",
            expected: "refused, refused",
            but: &[("daprd: Kafka, PostgreSQL", "away, refused")],
            ask: |world| {
                async move {
                    let unknown = world.invoke("unknown", "create").await;
                    let operation = world.invoke("notify-http", "dance").await;
                    [word(&unknown), word(&operation)].join(", ")
                }
                .boxed()
            },
        },
        Behaviour {
            name: "binding: one that ticks and is wanted; one that the probe says no to",
            expected: "ticks; asked, never ticks",
            but: &[],
            ask: |world| {
                async move {
                    world.app.wait("/clock", 2).await;
                    let asked = world.app.came("OPTIONS /unwanted-clock").len();
                    let unwanted = world.app.came("/unwanted-clock").len();
                    match (asked, unwanted) {
                        (1.., 0) => "ticks; asked, never ticks".into(),
                        other => format!("{other:?}"),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "the app's token: on callbacks, on probes of its health",
            expected: "there, not there",
            but: &[],
            ask: |world| {
                async move {
                    let has = |id: &str| {
                        let came = world.app.came(id);
                        match came.first().and_then(|came| came.headers.get("dapr-api-token")) {
                            Some(token) if token == "app-token" => "there",
                            Some(_) => "wrong",
                            None => "not there",
                        }
                    };
                    world.app.wait("/clock", 1).await;
                    let callbacks = ["/dapr/subscribe", "/clock", "OPTIONS /clock"].map(has);
                    let callbacks = match callbacks {
                        ["there", "there", "there"] => "there".to_owned(),
                        other => other.join(" "),
                    };
                    format!("{callbacks}, {}", has("/health"))
                }
                .boxed()
            },
        },
    ]
}
