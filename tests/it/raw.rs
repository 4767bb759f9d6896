//! Topics that are subscribed raw: what daprd cannot read is dead in the ledger, and holds up nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use wharf_tests::host::{Setup, event, id};

const GRAVEL: &str = r#"
name = "gravel"
description = "Records as they are"
pubsub = "todo-pubsub"
retry = ["1s"]
dead_letter = "{topic}-dlq"
topic = [
    { name = "stones", path = "/events/stones", bulk = false, raw = true, retention = "7d" },
    { name = "pebbles", path = "/events/pebbles", raw = true, retention = "7d" },
]
event = [
    { type = "com.gravel.made.v1", topic = "stones", consumers = ["audit"] },
    { type = "com.gravel.made.v1", topic = "pebbles", consumers = ["audit"] },
]
"#;

const MADE: &str = "com.gravel.made.v1";

#[tokio::test]
async fn dapr_is_told_to_hand_records_over_as_they_are() {
    let host = Setup::bare().contract("gravel", GRAVEL).start().await;
    let (_, subscriptions) = host.ingress(Method::GET, "/dapr/subscribe").await;
    let raw = subscriptions.as_array().unwrap().iter().map(|one| {
        (one["topic"].as_str().unwrap(), one["metadata"].clone(), one["bulkSubscribe"].is_object())
    });
    let yes = || json!({ "rawPayload": "true" });
    let expected = [
        ("task-events", Value::Null, true),
        ("reminder-events", Value::Null, false),
        ("recurring-events", Value::Null, true),
        ("stones", yes(), false),
        ("pebbles", yes(), true),
    ];
    assert_eq!(raw.collect::<Vec<_>>(), expected);
    host.stop().await;
}

#[tokio::test]
async fn a_record_that_daprd_cannot_read_is_dead_and_the_next_comes() {
    let bad: [&[u8]; 3] = [b"\0no JSON", b"\xff\xfe", b"[1, 2]"];
    let host = Setup::audit().contract("gravel", GRAVEL).start().await;
    for (topic, number) in [("stones", 1), ("pebbles", 2)] {
        let path = format!("{topic}?metadata.partitionKey=one");
        for bytes in bad {
            let raw = format!("{path}&metadata.rawPayload=true");
            assert_eq!(host.publish_raw(&raw, bytes).await.0, StatusCode::NO_CONTENT);
        }
        let made = event(MADE, number);
        assert_eq!(host.publish_raw(&path, made.to_string()).await.0, StatusCode::NO_CONTENT);
    }
    host.settle().await;
    let audited = "SELECT event_id FROM audit_log WHERE type = 'com.gravel.made.v1' \
        AND payload NOT LIKE '%data_base64%' ORDER BY event_id";
    assert_eq!(host.rows(audited).await, [[id(1)], [id(2)]]);
    for topic in ["stones", "pebbles"] {
        let dead = format!(
            "SELECT error FROM wharf_deliveries WHERE status = 'dead' AND topic = '{topic}' \
             ORDER BY sequence"
        );
        let dead = host.rows(&dead).await.concat();
        let says = ["is not JSON", "is not UTF-8", "is not a CloudEvent"];
        assert!(dead.len() == 3, "{dead:?}");
        for (error, says) in dead.iter().zip(says) {
            assert!(error.contains(says), "{error}");
        }
        // The bytes as they were.
        let letters = host.messages(&format!("{topic}-dlq")).await;
        assert_eq!(letters[0]["data_base64"], STANDARD.encode(bad[0]));
        assert_eq!(letters[1]["data_base64"], STANDARD.encode(bad[1]));
        assert_eq!(letters[2]["data"], json!([1, 2]));
    }
    host.stop().await;
}

/// daprd draws another id for the envelope at each delivery; without a position the record itself
/// tells that it is the same.
#[tokio::test]
async fn a_repeat_is_told_by_its_bytes_and_a_limit_is_that_of_the_record() {
    let mut setup = Setup::audit().contract("gravel", GRAVEL);
    setup.config.ingress.max_body = 1000;
    let host = setup.start().await;
    let wrapped = |id: &str, record: &[u8]| {
        json!({ "specversion": "1.0", "id": id, "source": "Dapr", "type": "com.dapr.event.sent",
            "datacontenttype": "application/octet-stream", "data_base64": STANDARD.encode(record) })
    };
    let largest = [b'x'; 1000];
    for (id, record) in [("a", b"what?".as_slice()), ("b", b"what?"), ("c", &largest)] {
        let (status, answer) = host.deliver("stones", wrapped(id, record).to_string()).await;
        assert_eq!((status, answer), (StatusCode::OK, json!({ "status": "SUCCESS" })));
    }
    let (_, answer) = host.deliver("stones", wrapped("d", &[b'x'; 1001]).to_string()).await;
    assert_eq!(answer, json!({ "status": "SUCCESS" }));
    host.settle().await;
    let dead = host.rows("SELECT error FROM wharf_deliveries WHERE status = 'dead'").await.concat();
    let too_large = dead.iter().filter(|error| error.contains("larger than 1000 bytes")).count();
    assert_eq!((dead.len(), too_large), (3, 1), "{dead:?}");
    host.stop().await;
}
