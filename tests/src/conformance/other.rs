//! Secrets, jobs, bindings and tokens.

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use serde_json::json;
use wharf::backend::BackendError;
use wharf::clock::{Clock as _, SystemClock};
use wharf::effect::{Call, OutgoingJob};
use wharf::name::{BindingName, ContractName, JobName, StoreName};

use super::app::Answer::Http;
use super::{Behaviour, World, word};

/// Long enough for what must not happen.
const QUIET: Duration = Duration::from_millis(2500);

impl World {
    /// A job's name that no other world has, and the path that it comes to.
    fn job(&self, name: &str) -> (JobName, String) {
        let name = format!("{}-{name}", self.pubsub);
        let path = format!("/job/{name}");
        (JobName::new(name).expect("a job's name"), path)
    }

    /// Schedules one that is due at once.
    async fn schedule(&self, name: &JobName, data: &str) -> Result<(), BackendError> {
        let due = Some(SystemClock.now() - Duration::from_secs(1));
        self.backend
            .schedule(OutgoingJob {
                name: name.clone(),
                due,
                schedule: None,
                repeats: None,
                data: data.to_owned(),
            })
            .await
    }

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
    all.extend(jobs());
    all.extend(repeated());
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

fn jobs() -> Vec<Behaviour> {
    vec![
        Behaviour {
            name: "job: one that is due since a second",
            expected: "comes once, with its data",
            but: &[],
            ask: |world| {
                async move {
                    let (name, path) = world.job("once");
                    world.schedule(&name, r#"{"a":[1,"é"]}"#).await.expect("it is scheduled");
                    world.app.wait(&path, 1).await;
                    let came = world.app.within(&path, 2, QUIET).await;
                    match (came.len(), came[0].body == json!({ "a": [1, "é"] })) {
                        (1, true) => "comes once, with its data".into(),
                        (many, _) => format!("{many} times, {}", came[0].body),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "job: an integer beyond 2^53 in its data",
            expected: "9007199254740992",
            but: &[],
            ask: |world| {
                async move {
                    let (name, path) = world.job("exact");
                    world.schedule(&name, r#"{"n":9007199254740993}"#).await.expect("scheduled");
                    let came = world.app.wait(&path, 1).await;
                    let number = &came[0].body["n"];
                    number.as_f64().map_or_else(|| number.to_string(), |n| format!("{n:.0}"))
                }
                .boxed()
            },
        },
        Behaviour {
            name: "job: answered 500 seven times",
            expected: "comes until it is taken: 8 times",
            but: &[],
            ask: |world| {
                async move {
                    let (name, path) = world.job("failing");
                    world.app.answers(&path, &[Http(500); 7]);
                    world.schedule(&name, "1").await.expect("it is scheduled");
                    world.app.wait(&path, 8).await;
                    let came = world.app.within(&path, 9, QUIET).await;
                    match came.len() {
                        8 => "comes until it is taken: 8 times".into(),
                        many => format!("{many} times"),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "job: answered 404",
            expected: "comes once",
            but: &[],
            ask: |world| {
                async move {
                    let (name, path) = world.job("unknown");
                    world.app.answers(&path, &[Http(404)]);
                    world.schedule(&name, "1").await.expect("it is scheduled");
                    world.app.wait(&path, 1).await;
                    match world.app.within(&path, 2, QUIET).await.len() {
                        1 => "comes once".into(),
                        many => format!("{many} times"),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "job: a name of odd characters; one with `%`",
            expected: "comes once; refused",
            but: &[],
            ask: |world| {
                async move {
                    let (name, path) = world.job("a b+c\"é;1");
                    world.schedule(&name, "1").await.expect("it is scheduled");
                    // However it is written in a path, it is one name.
                    let came = world.app.within(&path, 1, QUIET).await.len();
                    let (name, _) = world.job("a%41");
                    let percent = world.schedule(&name, "1").await;
                    let all = world.app.paths(&format!("/job/{}-a", world.pubsub));
                    match (came, all.len()) {
                        (1, 1) => format!("comes once; {}", word(&percent)),
                        _ => format!("{all:?}"),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "job: a name with `|`; cancelling one that is not there",
            expected: "refused, taken",
            but: &[],
            ask: |world| {
                async move {
                    let (name, _) = world.job("a|b");
                    let scheduled = world.schedule(&name, "1").await;
                    let (name, _) = world.job("missing");
                    let cancelled = world.backend.cancel(name).await;
                    [word(&scheduled), word(&cancelled)].join(", ")
                }
                .boxed()
            },
        },
    ]
}

fn repeated() -> Vec<Behaviour> {
    vec![
        Behaviour {
            name: "job: every second, three times",
            expected: "3 times",
            but: &[],
            ask: |world| {
                async move {
                    let (name, path) = world.job("every");
                    let job = OutgoingJob {
                        name,
                        due: Some(SystemClock.now() + Duration::from_secs(1)),
                        schedule: Some("@every 1s".into()),
                        repeats: Some(3),
                        data: "1".into(),
                    };
                    world.backend.schedule(job).await.expect("it is scheduled");
                    world.app.wait(&path, 3).await;
                    let came = world.app.within(&path, 4, QUIET).await;
                    format!("{} times", came.len())
                }
                .boxed()
            },
        },
        Behaviour {
            name: "job: replaced before it is due; cancelled before it is due",
            expected: "the new one; never",
            but: &[],
            ask: |world| {
                async move {
                    let (replaced, replaced_path) = world.job("replaced");
                    let (cancelled, cancelled_path) = world.job("cancelled");
                    let later = |name: &JobName, seconds: u64, data: &str| OutgoingJob {
                        name: name.clone(),
                        due: Some(SystemClock.now() + Duration::from_secs(seconds)),
                        schedule: None,
                        repeats: None,
                        data: data.into(),
                    };
                    let schedule = async |job| {
                        world.backend.schedule(job).await.expect("it is scheduled");
                    };
                    schedule(later(&replaced, 3, "\"old\"")).await;
                    schedule(later(&cancelled, 3, "1")).await;
                    schedule(later(&replaced, 1, "\"new\"")).await;
                    world.backend.cancel(cancelled).await.expect("it is cancelled");
                    world.app.wait(&replaced_path, 1).await;
                    tokio::time::sleep(QUIET + Duration::from_secs(1)).await;
                    let came = world.app.came(&replaced_path);
                    let bodies: Vec<_> = came.iter().map(|came| came.body.to_string()).collect();
                    match (bodies.join(" ").as_str(), world.app.came(&cancelled_path).len()) {
                        ("\"new\"", 0) => "the new one; never".into(),
                        (bodies, many) => format!("{bodies}; {many} times"),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "job: a schedule that is none; repeats without a schedule",
            expected: "refused, refused",
            but: &[],
            ask: |world| {
                async move {
                    let (name, _) = world.job("wrong");
                    let job = |schedule: Option<&str>, repeats| OutgoingJob {
                        name: name.clone(),
                        due: None,
                        schedule: schedule.map(str::to_owned),
                        repeats,
                        data: "1".into(),
                    };
                    let none = world.backend.schedule(job(Some("now and then"), None)).await;
                    let due = Some(SystemClock.now() + Duration::from_secs(60));
                    let repeats = OutgoingJob { due, ..job(None, Some(2)) };
                    let repeats = world.backend.schedule(repeats).await;
                    [word(&none), word(&repeats)].join(", ")
                }
                .boxed()
            },
        },
    ]
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
