//! State stores, through the port [`Backend`](wharf::backend::Backend).

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::Method;
use serde_json::json;
use wharf::backend::BackendError;
use wharf::effect::{MAX_STATE_VALUE, StateChange, StateWrite};

use super::api::answer;
use super::{Behaviour, PATIENCE, World, word};

impl World {
    async fn set(&self, key: &str, value: &[u8], ttl: Option<u32>) -> Result<(), BackendError> {
        let value = Bytes::copy_from_slice(value);
        let change = StateChange::Set { value, ttl_seconds: ttl };
        let write = StateWrite { store: self.store(), key: key.to_owned(), change };
        self.backend.write_state(write).await
    }

    async fn delete(&self, key: &str) -> Result<(), BackendError> {
        let change = StateChange::Delete;
        let write = StateWrite { store: self.store(), key: key.to_owned(), change };
        self.backend.write_state(write).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, BackendError> {
        self.backend.state(self.store(), key.to_owned()).await
    }

    /// What is there, in a few words.
    async fn seen(&self, key: &str) -> String {
        match self.get(key).await {
            Ok(Some(value)) => String::from_utf8_lossy(&value).into_owned(),
            Ok(None) => "nothing".into(),
            Err(error) => word::<()>(&Err(error)).into(),
        }
    }
}

pub fn behaviours() -> Vec<Behaviour> {
    let mut all = vec![
        Behaviour {
            name: "state: every byte comes back",
            expected: "the same 256 bytes",
            but: &[],
            ask: |world| {
                async move {
                    let bytes: Vec<u8> = (0..=255).collect();
                    world.set("bytes", &bytes, None).await.expect("it is set");
                    match world.get("bytes").await {
                        Ok(Some(value)) if value == bytes => "the same 256 bytes".into(),
                        other => format!("{other:?}"),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "state: missing, set, set again, deleted, deleted again",
            expected: "nothing, 1, 2, nothing, nothing",
            but: &[],
            ask: |world| {
                async move {
                    let mut seen = vec![world.seen("life").await];
                    for value in ["1", "2"] {
                        world.set("life", value.as_bytes(), None).await.expect("it is set");
                        seen.push(world.seen("life").await);
                    }
                    for _ in 0..2 {
                        world.delete("life").await.expect("it is deleted");
                        seen.push(world.seen("life").await);
                    }
                    seen.join(", ")
                }
                .boxed()
            },
        },
        Behaviour {
            name: "state: a key of odd characters",
            expected: "set, read and deleted",
            but: &[],
            ask: |world| {
                async move {
                    let odd = [
                        "a/b",
                        "a//b",
                        "a/../b",
                        "../a",
                        "a b",
                        "a+b",
                        "a%2Fb",
                        "a%",
                        "?a=b#c",
                        "é☃",
                        "a/",
                        "/a",
                        "a.",
                        "a\\b",
                        "a\"b",
                        "a:b;c,d",
                        "a/bulk",
                        "a|b",
                        &"k".repeat(255),
                    ];
                    let mut failed = Vec::new();
                    for key in odd {
                        let set = world.set(key, key.as_bytes(), None).await;
                        let seen = world.seen(key).await;
                        let deleted = world.delete(key).await;
                        let gone = world.seen(key).await;
                        if set.is_err() || seen != key || deleted.is_err() || gone != "nothing" {
                            failed.push(format!("{key}: {set:?} {seen} {deleted:?} {gone}"));
                        }
                    }
                    match failed.is_empty() {
                        true => "set, read and deleted".into(),
                        false => failed.join("; "),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "state: a key with `||`",
            expected: "refused, refused, refused",
            but: &[],
            ask: |world| {
                async move {
                    let set = world.set("a||b", b"1", None).await;
                    let (get, delete) = (world.get("a||b").await, world.delete("a||b").await);
                    [word(&set), word(&get), word(&delete)].join(", ")
                }
                .boxed()
            },
        },
        Behaviour {
            name: "state: a store that is not there",
            expected: "refused, refused, refused",
            // daprd may be about to load it; the embedded Dapr has what the contracts name.
            but: &[
                ("daprd: Kafka, PostgreSQL", "away, away, away"),
                ("daprd: Redis", "away, away, away"),
                ("daprd: in memory", "away, away, away"),
            ],
            ask: |mut world| {
                async move {
                    world.store = "unknown";
                    let set = world.set("a", b"1", None).await;
                    let (get, delete) = (world.get("a").await, world.delete("a").await);
                    [word(&set), word(&get), word(&delete)].join(", ")
                }
                .boxed()
            },
        },
    ];
    all.extend(larger());
    all.extend(timed());
    all.extend(transactions());
    all
}

/// What becomes of two keys in a transaction, of which the last operation names this etag.
fn transacted(world: World, etag: Option<&'static str>) -> BoxFuture<'static, String> {
    async move {
        let path = format!("/v1.0/state/{}", world.store);
        let before = json!([{ "key": "t-old", "value": 1 }, { "key": "t-last", "value": 1 }]);
        let (status, _) = world.call(Method::POST, &path, &[], before.to_string()).await;
        assert_eq!(status, 204);
        let operations = json!({ "operations": [
            { "operation": "upsert", "request": { "key": "t-new", "value": 2 } },
            { "operation": "delete", "request": { "key": "t-old" } },
            { "operation": "upsert", "request": { "key": "t-last", "value": 2, "etag": etag } },
        ]});
        let to = "/v1.0/state/{store}/transaction";
        let body = operations.to_string();
        let mut told = vec![answer(&world, Method::POST, to, "application/json", body).await];
        for key in ["t-new", "t-old", "t-last"] {
            let (status, value) = world.call(Method::GET, &format!("{path}/{key}"), &[], "").await;
            told.push(if status == 204 { "none".to_owned() } else { value.to_string() });
            world.call(Method::DELETE, &format!("{path}/{key}"), &[], "").await;
        }
        told.join(", ")
    }
    .boxed()
}

fn transactions() -> Vec<Behaviour> {
    vec![
        Behaviour {
            name: "API: a state transaction that sets, deletes and sets again",
            expected: "204, 2, none, 2",
            but: &[],
            ask: |world| transacted(world, None),
        },
        Behaviour {
            name: "API: the same, its last operation with another etag",
            expected: "500 ERR_STATE_TRANSACTION, none, 1, 1",
            // Redis takes nothing back.
            but: &[("daprd: Redis", "500 ERR_STATE_TRANSACTION, 2, none, 1")],
            ask: |world| transacted(world, Some("77")),
        },
    ]
}

fn larger() -> Vec<Behaviour> {
    vec![
        Behaviour {
            name: "state: the largest value of a component",
            expected: "comes back",
            but: &[],
            ask: |world| {
                async move {
                    let value = vec![7; MAX_STATE_VALUE];
                    let set = world.set("largest", &value, None).await;
                    let same = matches!(world.get("largest").await, Ok(Some(got)) if got == value);
                    world.delete("largest").await.expect("it is deleted");
                    match (set, same) {
                        (Ok(()), true) => "comes back".into(),
                        (set, same) => format!("{set:?}, {same}"),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "state: a value of 4 MiB",
            expected: "refused",
            but: &[],
            ask: |world| {
                async move { word(&world.set("huge", &vec![7; 4 << 20], None).await).into() }
                    .boxed()
            },
        },
        Behaviour {
            name: "state: a value that no component wrote",
            expected: "refused",
            but: &[],
            ask: |world| {
                async move {
                    let path = format!("/v1.0/state/{}", world.store);
                    let body = json!([{ "key": "foreign", "value": { "a": 1 } }]).to_string();
                    let (status, _) = world.call(Method::POST, &path, &[], body).await;
                    assert_eq!(status, 204);
                    word(&world.get("foreign").await).into()
                }
                .boxed()
            },
        },
    ]
}

fn timed() -> Vec<Behaviour> {
    vec![
        Behaviour {
            name: "state: a value with a time to live of 5 s",
            expected: "there, then gone",
            but: &[],
            ask: |world| {
                async move {
                    world.set("short", b"1", Some(5)).await.expect("it is set");
                    let first = world.seen("short").await;
                    let started = Instant::now();
                    while world.seen("short").await != "nothing" && started.elapsed() < PATIENCE {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    match (first.as_str(), world.seen("short").await.as_str()) {
                        ("1", "nothing") => "there, then gone".into(),
                        (first, last) => format!("{first}, then {last}"),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "state: set for 1 s, then without a time",
            expected: "stays",
            but: &[],
            ask: |world| {
                async move {
                    world.set("kept", b"1", Some(1)).await.expect("it is set");
                    world.set("kept", b"2", None).await.expect("it is set");
                    tokio::time::sleep(Duration::from_millis(2500)).await;
                    match world.seen("kept").await.as_str() {
                        "2" => "stays".into(),
                        other => other.to_owned(),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "state: a time to live of 136 years",
            expected: "refused",
            // Redis and memory count as far.
            but: &[("daprd: Redis", "taken"), ("daprd: in memory", "taken")],
            ask: |world| {
                async move { word(&world.set("forever", b"1", Some(u32::MAX)).await).into() }
                    .boxed()
            },
        },
    ]
}
