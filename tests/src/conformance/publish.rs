//! Publishing through the port [`Backend`](wharf::backend::Backend).

use futures::FutureExt as _;
use serde_json::json;

use super::{Behaviour, word};

/// Larger than daprd takes by default.
const TOO_LARGE: usize = 5 << 20;

pub fn behaviours() -> Vec<Behaviour> {
    vec![
        Behaviour {
            name: "an event arrives as it was published, with pubsub and topic",
            expected: "same id, subject, type, time and data; topic and pubsubname of Dapr",
            but: &[],
            ask: |world| {
                async move {
                    let data =
                        json!({ "a": [1, "é", null, true, 2.5], "n": 9_007_199_254_740_993_u64 });
                    let event = world.event("single", "arrives", &data);
                    let sent: serde_json::Value =
                        serde_json::from_slice(&event.payload).expect("JSON");
                    let id = event.id.clone();
                    world.publish(vec![event]).await;
                    let came = world.app.wait(&id, 1).await;
                    let got = &came[0].body;
                    let differing = ["id", "subject", "type", "time", "data", "source"]
                        .into_iter()
                        .filter(|name| got[*name] != sent[*name]);
                    let differing: Vec<_> = differing.collect();
                    if !differing.is_empty() {
                        return format!("{} differ", differing.join(", "));
                    }
                    match (got["topic"] == "single", got["pubsubname"] == world.pubsub) {
                        (true, true) => {
                            "same id, subject, type, time and data; topic and pubsubname of Dapr"
                                .into()
                        }
                        _ => format!("topic {}, pubsubname {}", got["topic"], got["pubsubname"]),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "an integer beyond 2^53 in a batch of events",
            expected: "9007199254740993",
            but: &[],
            ask: |world| {
                async move {
                    let exact = json!({ "n": 9_007_199_254_740_993_u64 });
                    let events: Vec<_> = ["exact-1", "exact-2"]
                        .map(|name| world.event("single", name, &exact))
                        .to_vec();
                    world.publish(events).await;
                    let came = world.app.wait(&world.id("exact-2"), 1).await;
                    came[0].body["data"]["n"].to_string()
                }
                .boxed()
            },
        },
        Behaviour {
            name: "a trace in the event",
            expected: "the same traceparent inside",
            but: &[],
            ask: |world| {
                async move {
                    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
                    let mut event = world.event("single", "traced", &json!(1));
                    let mut body: serde_json::Value =
                        serde_json::from_slice(&event.payload).expect("JSON");
                    for name in ["traceid", "traceparent"] {
                        body[name] = json!(parent);
                    }
                    body["tracestate"] = json!("");
                    event.payload = body.to_string().into();
                    let id = event.id.clone();
                    world.publish(vec![event]).await;
                    let came = world.app.wait(&id, 1).await;
                    match came[0].body["traceparent"] == parent {
                        true => "the same traceparent inside".into(),
                        false => came[0].body["traceparent"].to_string(),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "20 events of one subject, in two batches",
            expected: "in order",
            but: &[("daprd: Redis", "all of them, in any order")],
            ask: |world| {
                async move {
                    let names: Vec<_> = (0..20).map(|number| format!("order-{number}")).collect();
                    for batch in names.chunks(10) {
                        let events =
                            batch.iter().map(|name| world.event("single", name, &json!(1)));
                        world.publish(events.collect()).await;
                    }
                    let ids: Vec<_> = names.iter().map(|name| world.id(name)).collect();
                    for id in &ids {
                        world.app.wait(id, 1).await;
                    }
                    let order = world.app.order(&ids);
                    // Redis Streams has no order to keep: it may come so or so.
                    match world.pubsub.contains("redis") && order.len() == 20 {
                        true => "all of them, in any order".into(),
                        false if order == ids => "in order".into(),
                        false => format!("{order:?}"),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "a batch with an event for an unknown pubsub",
            expected: "taken, refused, taken",
            // daprd may be about to load it; the embedded Dapr has what the contracts name.
            but: &[
                ("daprd: Kafka, PostgreSQL", "taken, away, taken"),
                ("daprd: Redis", "taken, away, taken"),
            ],
            ask: |world| {
                async move {
                    let mut events = ["mixed-1", "mixed-2", "mixed-3"]
                        .map(|name| world.event("single", name, &json!(1)));
                    events[1].pubsub = wharf::name::Pubsub::new("unknown").expect("a name");
                    let results = world.backend.publish(events.to_vec()).await;
                    results.iter().map(word).collect::<Vec<_>>().join(", ")
                }
                .boxed()
            },
        },
        Behaviour {
            name: "an event that is larger than 4 MiB",
            expected: "refused",
            but: &[],
            ask: |world| {
                async move {
                    let large = json!("x".repeat(TOO_LARGE));
                    let results =
                        world.backend.publish(vec![world.event("single", "large", &large)]).await;
                    word(&results[0]).into()
                }
                .boxed()
            },
        },
        Behaviour {
            name: "an event that is larger than 1 MiB",
            expected: "taken",
            // The broker's own limit, as Kafka has it unless told otherwise.
            but: &[("daprd: Kafka, PostgreSQL", "refused")],
            ask: |world| {
                async move {
                    let large = json!("x".repeat(2 << 20));
                    let events = vec![
                        world.event("unread", "rather-large", &large),
                        world.event("unread", "small", &json!(1)),
                    ];
                    let results = world.backend.publish(events).await;
                    assert_eq!(word(&results[1]), "taken", "{results:?}");
                    word(&results[0]).into()
                }
                .boxed()
            },
        },
        Behaviour {
            name: "bytes that claim to be a CloudEvent and are not",
            expected: "refused, refused",
            but: &[],
            ask: |world| {
                async move {
                    let mut broken = world.event("single", "broken", &json!(1));
                    broken.payload = "[1]".into();
                    let mut torn = world.event("single", "torn", &json!(1));
                    torn.payload = "{".into();
                    torn.partition_key = None;
                    let results = world.backend.publish(vec![broken, torn]).await;
                    results.iter().map(word).collect::<Vec<_>>().join(", ")
                }
                .boxed()
            },
        },
        Behaviour {
            name: "text without an envelope",
            expected: "wrapped by Dapr, with our id",
            but: &[],
            ask: |world| {
                async move {
                    let mut event = world.event("single", "wrapped", &json!(1));
                    event.content_type = "text/plain".into();
                    event.payload = "hello".into();
                    let id = event.id.clone();
                    world.publish(vec![event]).await;
                    let came = world.app.wait(&id, 1).await;
                    let body = &came[0].body;
                    let wrapped = (&body["type"], &body["data"], &body["datacontenttype"]);
                    match wrapped
                        == (&json!("com.dapr.event.sent"), &json!("hello"), &json!("text/plain"))
                    {
                        true => "wrapped by Dapr, with our id".into(),
                        false => body.to_string(),
                    }
                }
                .boxed()
            },
        },
    ]
}
