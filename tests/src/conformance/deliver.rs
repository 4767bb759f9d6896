//! How events come to the app, and what each of its answers does.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::Method;
use serde_json::json;

use super::app::Answer::{self, Empty, Http, Says, Silent};
use super::{Behaviour, PATIENCE, World};

/// Longer than any Dapr here waits before it sends again.
const AGAIN: Duration = Duration::from_millis(2500);

/// Longer than Kafka's component waits before it begins again, and the retries after that.
const BEGUN_AGAIN: Duration = Duration::from_secs(20);

/// How often an event comes that is answered so at first. What is expected to come again is waited
/// for as long as it takes.
fn times(
    world: World,
    topic: &'static str,
    name: &'static str,
    first: Answer,
    expected: &'static str,
) -> BoxFuture<'static, String> {
    async move {
        let id = world.id(name);
        world.app.answers(&id, &[first]);
        world.publish(vec![world.event(topic, name, &json!(1))]).await;
        world.app.wait(&id, 1).await;
        let patience = if expected == "again" { PATIENCE } else { AGAIN };
        let came = world.app.within(&id, 2, patience).await;
        match came.len() {
            1 => "once".into(),
            2 => "again".into(),
            many => format!("{many} times"),
        }
    }
    .boxed()
}

/// Entries of one bulk that are answered differently.
fn entries(world: World, answers: [(&'static str, Answer); 3]) -> BoxFuture<'static, String> {
    async move {
        for (name, answer) in answers {
            world.app.answers(&world.id(name), &[answer]);
        }
        // One subject, so that they lie side by side.
        for (name, _) in answers {
            world.publish(vec![world.event("bulk", name, &json!(1))]).await;
        }
        let mut told = Vec::new();
        for (name, _) in answers {
            world.app.wait(&world.id(name), 1).await;
        }
        for (name, _) in answers.iter().filter(|(_, answer)| matches!(answer, Says("RETRY"))) {
            world.app.wait(&world.id(name), 2).await;
        }
        let last = world.id(answers[2].0);
        world.app.within(&last, 2, AGAIN).await;
        for (name, _) in answers {
            told.push(world.app.came(&world.id(name)).len().to_string());
        }
        told.join(", ")
    }
    .boxed()
}

macro_rules! answered {
    ($name:literal, $expected:literal, $topic:literal, $id:literal, $answer:expr) => {
        Behaviour {
            name: $name,
            expected: $expected,
            but: &[],
            ask: |world| times(world, $topic, $id, $answer, $expected),
        }
    };
}

pub fn behaviours() -> Vec<Behaviour> {
    let mut all = vec![
        answered!("an event answered SUCCESS comes", "once", "single", "success", Says("SUCCESS")),
        answered!("answered 200 without a body", "once", "single", "empty", Empty),
        answered!("answered RETRY", "again", "single", "retry", Says("RETRY")),
        answered!("answered 500", "again", "single", "500", Http(500)),
        answered!("answered 401", "again", "single", "401", Http(401)),
        answered!("answered with an unknown status", "again", "single", "odd", Says("success")),
        answered!("answered DROP", "once", "single", "drop", Says("DROP")),
        answered!("answered 404", "once", "single", "404", Http(404)),
        answered!("in bulk, answered SUCCESS", "once", "bulk", "b-success", Says("SUCCESS")),
        answered!("in bulk, answered RETRY", "again", "bulk", "b-retry", Says("RETRY")),
        answered!("in bulk, answered DROP", "once", "bulk", "b-drop", Says("DROP")),
        answered!("in bulk, nothing said of it", "again", "bulk", "b-silent", Silent),
        answered!("in bulk, an unknown status", "again", "bulk", "b-odd", Says("success")),
        answered!("in bulk, all answered 404", "once", "bulk", "b-404", Http(404)),
        answered!("in bulk, all answered 500", "again", "bulk", "b-500", Http(500)),
        answered!("in bulk, answered without a body", "again", "bulk", "b-empty", Empty),
    ];
    all.extend(forms());
    all
}

/// What a delivery looks like.
fn forms() -> Vec<Behaviour> {
    vec![
        Behaviour {
            name: "entries of a bulk answered SUCCESS, RETRY, SUCCESS",
            expected: "1, 2, 1",
            but: &[],
            ask: |world| {
                entries(
                    world,
                    [("e-1", Says("SUCCESS")), ("e-2", Says("RETRY")), ("e-3", Says("SUCCESS"))],
                )
            },
        },
        Behaviour {
            name: "labels of a single event",
            expected: "application/cloudevents+json, pubsubName",
            but: &[],
            ask: |world| {
                async move {
                    world.publish(vec![world.event("single", "labels", &json!(1))]).await;
                    let came = world.app.wait(&world.id("labels"), 1).await;
                    let has = |name: &str| came[0].headers.contains_key(name);
                    let name = if has("pubsubname") { "pubsubName" } else { "no pubsubName" };
                    format!("{}, {name}", came[0].content_type)
                }
                .boxed()
            },
        },
        Behaviour {
            name: "where an event lies: topic, partition, offset, key",
            expected: "said",
            // Redis has no such thing.
            but: &[("daprd: Redis", "not said")],
            ask: |world| {
                async move {
                    world.publish(vec![world.event("single", "place", &json!(1))]).await;
                    let came = world.app.wait(&world.id("place"), 1).await;
                    let names = ["__topic", "__partition", "__offset", "__key"];
                    let missing: Vec<_> = names
                        .into_iter()
                        .filter(|name| !came[0].headers.contains_key(*name))
                        .collect();
                    match missing.len() {
                        0 => "said".into(),
                        4 => "not said".into(),
                        _ => format!("without {missing:?}"),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "an integer beyond 2^53 in bulk",
            expected: "9007199254740992",
            but: &[],
            ask: |world| {
                async move {
                    let exact = json!({ "n": 9_007_199_254_740_993_u64 });
                    world.publish(vec![world.event("bulk", "b-exact", &exact)]).await;
                    let came = world.app.wait(&world.id("b-exact"), 1).await;
                    let number = &came[0].body["data"]["n"];
                    number.as_f64().map_or_else(|| number.to_string(), |n| format!("{n:.0}"))
                }
                .boxed()
            },
        },
        Behaviour {
            name: "a raw payload",
            expected: "application/cloudevents+json: com.dapr.event.sent, application/octet-stream, data_base64",
            but: &[],
            ask: |world| {
                async move {
                    let (text, base64) = raw(&world, "raw").await;
                    let came = world.app.wait(&base64, 1).await;
                    let Some(came) = came.first() else { return format!("{text} did not come") };
                    let body = &came.body;
                    let word = |name: &str| body[name].as_str().unwrap_or("-").to_owned();
                    format!(
                        "{}: {}, {}, data_base64",
                        came.content_type,
                        word("type"),
                        word("datacontenttype")
                    )
                }
                .boxed()
            },
        },
        Behaviour {
            name: "a raw payload in bulk",
            expected: "application/octet-stream: base64",
            but: &[],
            ask: |world| {
                async move {
                    let (text, base64) = raw(&world, "raw-bulk").await;
                    let came = world.app.wait(&base64, 1).await;
                    let Some(came) = came.first() else { return format!("{text} did not come") };
                    format!("{}: base64", came.content_type)
                }
                .boxed()
            },
        },
        Behaviour {
            name: "text without an envelope, published as raw on a plain topic, and an event behind it",
            expected: "daprd keeps both for ever, and calls nobody",
            // Redis Streams takes a failure for an end.
            but: &[("daprd: Redis", "the text is lost, the event comes")],
            ask: |world| {
                async move {
                    world.publish(vec![world.event("poison", "before", &json!(1))]).await;
                    world.app.wait(&world.id("before"), 1).await;
                    let path = format!(
                        "/v1.0/publish/{}/poison?metadata.rawPayload=true&metadata.partitionKey=s",
                        world.pubsub
                    );
                    let label = [("content-type", "text/plain")];
                    let (status, _) = world.call(Method::POST, &path, &label, "poison").await;
                    assert_eq!(status, 204);
                    world.publish(vec![world.event("poison", "behind", &json!(1))]).await;
                    let behind = world.app.within(&world.id("behind"), 1, AGAIN).await.len();
                    let text = world.app.came(&format!("/{}/poison", world.pubsub)).len();
                    match (text, behind) {
                        (0, 0) => "daprd keeps both for ever, and calls nobody".into(),
                        (0, 1) => "the text is lost, the event comes".into(),
                        other => format!("{other:?}"),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "an event whose time to live is over",
            expected: "never comes",
            but: &[],
            ask: |world| {
                async move {
                    let id = world.id("expired");
                    let event = json!({
                        "specversion": "1.0", "id": id, "source": "x", "type": "y", "data": 1,
                        "expiration": "2026-01-01T00:00:00Z",
                    });
                    let path = format!("/v1.0/publish/{}/single", world.pubsub);
                    let label = [("content-type", "application/cloudevents+json")];
                    let (status, _) =
                        world.call(Method::POST, &path, &label, event.to_string()).await;
                    assert_eq!(status, 204);
                    let came = world.app.within(&id, 1, AGAIN).await;
                    if came.is_empty() { "never comes".into() } else { "comes".into() }
                }
                .boxed()
            },
        },
    ]
}

/// How often an event comes that is not taken four times, where a policy ends after two retries.
fn ends(world: World, policy: &'static str, topic: &'static str) -> BoxFuture<'static, String> {
    async move {
        let pubsub = format!("{}-{policy}", world.pubsub).leak();
        let world = World { pubsub, ..world };
        let id = world.id(topic);
        world.app.answers(&id, &[Says("RETRY"); 4]);
        world.publish(vec![world.event(topic, topic, &json!(1))]).await;
        // Where it is lost, nothing more comes: only that needs an end.
        world.app.wait(&id, 3).await;
        match world.app.within(&id, 5, BEGUN_AGAIN).await.len() {
            5 => "comes until it is taken".into(),
            3 => "comes three times, and is lost".into(),
            many => format!("{many} times"),
        }
    }
    .boxed()
}

macro_rules! ends {
    ($name:literal, $expected:literal, $policy:literal, $topic:literal) => {
        Behaviour {
            name: $name,
            expected: $expected,
            // Redis Streams takes a failure for an end.
            but: &[("daprd: Redis", "comes three times, and is lost")],
            ask: |world| ends(world, $policy, $topic),
        }
    };
}

/// What comes after the last retry of a policy.
#[rustfmt::skip]
pub fn finite() -> Vec<Behaviour> {
    vec![
        ends!("after the last of two constant retries", "comes until it is taken", "constant", "constant"),
        ends!("in bulk, after the last of two constant retries", "comes until it is taken", "constant", "constant-bulk"),
        ends!("after the last of two exponential retries", "comes until it is taken", "exponential", "exponential"),
        ends!("in bulk, after the last of two exponential retries", "comes until it is taken", "exponential", "exponential-bulk"),
        ends!("with `consumeRetryEnabled` off", "comes three times, and is lost", "let-go", "let-go"),
        ends!("in bulk, with `consumeRetryEnabled` off", "comes three times, and is lost", "let-go", "let-go-bulk"),
    ]
}

/// What keeps everything else waiting, too.
pub fn health() -> Vec<Behaviour> {
    let ill = Behaviour {
        name: "events while the app says that it is ill",
        expected: "come when it is well again",
        // Asked for its health once, before it delivers.
        but: &[("embedded", "come at once")],
        ask: |world| {
            async move {
                world.app.set_ill(true);
                // It is asked each second.
                tokio::time::sleep(AGAIN).await;
                world.publish(vec![world.event("single", "ill", &json!(1))]).await;
                let early = world.app.within(&world.id("ill"), 1, AGAIN).await;
                world.app.set_ill(false);
                let late = world.app.wait(&world.id("ill"), 1).await;
                match (early.len(), late.len()) {
                    (0, 1) => "come when it is well again".into(),
                    (1, 1) => "come at once".into(),
                    (early, late) => format!("{early}, then {late}"),
                }
            }
            .boxed()
        },
    };
    // Kafka's component holds up all bulks for the last one.
    vec![
        ill,
        Behaviour {
            name: "in bulk, text without an envelope before an event",
            expected: "the text is passed over, the event comes once",
            but: &[],
            ask: |world| {
                async move {
                    pair(&world, "b-after", false).await;
                    let came = world.app.wait(&world.id("b-after"), 1).await;
                    let more = world.app.within(&world.id("b-after"), 2, AGAIN).await;
                    match (came.len(), came[0].together, more.len()) {
                        (1, 1, 1) => "the text is passed over, the event comes once".into(),
                        other => format!("{other:?}"),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "in bulk, text without an envelope behind an event",
            expected: "the event comes again and again",
            but: &[],
            ask: |world| {
                async move {
                    pair(&world, "b-before", true).await;
                    // Kafka's component waits for five seconds.
                    let came = world.app.wait(&world.id("b-before"), 3).await;
                    match came.len() {
                        3.. => "the event comes again and again".into(),
                        many => format!("{many} times"),
                    }
                }
                .boxed()
            },
        },
    ]
}

/// Publishes an event and text without an envelope, so that they come in one bulk.
async fn pair(world: &World, name: &str, event_first: bool) {
    let metadata = json!({ "partitionKey": "s" });
    let event = json!({
        "specversion": "1.0", "id": world.id(name), "source": "x", "type": "y", "data": 1,
    });
    let mut both = vec![
        json!({ "entryId": "text", "event": "text", "contentType": "text/plain",
                "metadata": metadata }),
        json!({ "entryId": "event", "event": event, "metadata": metadata,
                "contentType": "application/cloudevents+json" }),
    ];
    if event_first {
        both.reverse();
    }
    let path = format!("/v1.0/publish/bulk/{}/poison-bulk?metadata.rawPayload=true", world.pubsub);
    let label = [("content-type", "application/json")];
    let (status, answer) = world.call(Method::POST, &path, &label, json!(both).to_string()).await;
    assert_eq!(status, 204, "{answer}");
}

/// Publishes text without an envelope; gives it and its base64.
async fn raw(world: &World, topic: &str) -> (String, String) {
    use base64::Engine as _;
    let text = format!("{} through {topic}", world.pubsub);
    let path = format!("/v1.0/publish/{}/{topic}?metadata.rawPayload=true", world.pubsub);
    let (status, answer) =
        world.call(Method::POST, &path, &[("content-type", "text/plain")], text.clone()).await;
    assert_eq!(status, 204, "{answer}");
    let base64 = base64::engine::general_purpose::STANDARD.encode(&text);
    (text, base64)
}
