//! Whatever comes in, the answer lets the topic go on, and nothing is lost: what cannot be decoded
//! is dead with its bytes and the reason, on the dead-letter topic, and in the audit log.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wharf_tests::host::{Host, Setup, event, id};

const CREATED: &str = "com.todo.task.created.v1";

/// Everything that is wrong with an event, and what the reason must say of it.
fn bad_events() -> Vec<(Vec<u8>, &'static str)> {
    let with = |name: &str, value: Value| {
        let mut event = event(CREATED, 1);
        event[name] = value;
        event.to_string().into_bytes()
    };
    let without = |name: &str| {
        let mut event = event(CREATED, 1);
        event.as_object_mut().unwrap().remove(name);
        event.to_string().into_bytes()
    };
    let typed = |ty: &str| with("type", ty.into());
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let deep = |depth| {
        let event = event(CREATED, 1).to_string();
        let task = json!({ "id": "t-1", "title": "Water the plants" }).to_string();
        assert!(event.contains(&task), "{event}");
        event.replace(&task, &nested(depth)).into_bytes()
    };
    let mut not_utf8 = event(CREATED, 1).to_string().into_bytes();
    not_utf8.extend(b" \xff\xfe");
    vec![
        (b"".to_vec(), "the body is not JSON"),
        (b"hello".to_vec(), "the body is not JSON"),
        (event(CREATED, 1).to_string().as_bytes()[..80].to_vec(), "the body is not JSON: EOF"),
        (b"[1, 2]".to_vec(), "the body is not a CloudEvent"),
        (br#"{"hello":"world"}"#.to_vec(), "attribute `specversion` is missing"),
        (with("specversion", "0.3".into()), "attribute `specversion` is `\"0.3\"`"),
        (without("id"), "attribute `id` is missing"),
        (without("source"), "attribute `source` is missing"),
        (not_utf8, "the body is not UTF-8 from byte"),
        (deep(1_000), "`data` is nested too deeply"),
        (deep(100_000), "`data` is nested too deeply"),
        (nested(100_000).into_bytes(), "the body is not"),
        (with("data", json!({ "task_id": 7, "user_id": "ann" })), "`data.task_id`"),
        (with("data", json!({ "task_id": "t-1" })), "user_id"),
        (typed("com.todo.task.created.v2"), "major version 2"),
        // The rules of the contract's README, in their order.
        (with("specversion", 1.into()), "attribute `specversion` is `1`"),
        (typed("com.todo.task.created"), "is not of the form"),
        (typed("com.todo.Task.created.v1"), "is not of the form"),
        (with("datacontenttype", "text/xml".into()), "`datacontenttype`"),
        (with("id", "17".into()), "attribute `id`"),
        (with("id", "00000000-0000-1000-8000-000000000001".into()), "attribute `id`"),
        (with("time", "2026-01-01T00:00:00".into()), "attribute `time`"),
        (without("time"), "time"),
    ]
}

#[tokio::test]
async fn what_cannot_be_decoded_is_dead_with_its_bytes_and_the_reason() {
    let host = Setup::audit().start().await;
    for (number, (bytes, says)) in bad_events().into_iter().enumerate() {
        let (status, answer) = host.deliver("task-events", bytes.clone()).await;
        assert_eq!((status.as_u16(), answer), (200, json!({ "status": "SUCCESS" })), "{says}");
        host.settle().await;
        is_dead_with(&host, &bytes, says).await;
        assert_eq!(host.messages("task-events-dlq").await.len(), number + 1, "{says}");
        let audited = host.rows("SELECT count(*) FROM audit_log").await;
        assert_eq!(audited, [[(number + 1).to_string()]], "{says}");
    }
    let count = bad_events().len() as u64;
    assert_eq!(host.count("wharf_unreadable_events_total{topic=\"task-events\"}").await, count);
    let mismatch =
        "schema_version_mismatches_total{topic=\"task-events\",expected=\"1\",actual=\"2\"}";
    let metrics = host.metrics().await;
    assert_eq!(host.count(mismatch).await, 1, "{metrics}");
    host.stop().await;
}

/// The newest delivery, dead letter and audit row tell of these bytes and this reason.
async fn is_dead_with(host: &Host, bytes: &[u8], says: &str) {
    let kept = host
        .rows(
            "SELECT status, attempts, error, hex(wire) FROM wharf_deliveries \
             WHERE component = '-' ORDER BY sequence DESC LIMIT 1",
        )
        .await;
    let [status, attempts, reason, wire] = kept[0].as_slice() else { panic!("{kept:?}") };
    assert_eq!((status.as_str(), attempts.as_str()), ("dead", "1"), "{says}");
    assert!(reason.contains(says), "`{reason}` does not say `{says}`");
    assert!(reason.len() < 400, "a reason is a sentence: {reason}");
    assert_eq!(*wire, hex(bytes), "{says}");

    let letters = host.messages("task-events-dlq").await;
    let letter = letters.last().unwrap();
    assert_eq!(letter["wharfreason"], reason.as_str());
    assert_eq!((&letter["wharfattempts"], &letter["wharfcomponent"]), (&json!(1), &json!("-")));
    assert_eq!(letter["wharftime"], "2026-01-01T00:00:00.000000Z");
    if serde_json::from_slice::<Value>(bytes).is_err() {
        assert_eq!(letter["data_base64"], STANDARD.encode(bytes), "{says}");
    }

    let audited =
        host.rows("SELECT type, error, attempts FROM audit_log ORDER BY rowid DESC LIMIT 1").await;
    assert_eq!(audited, [["com.todo.audit.failed.v1", reason, "1"]], "{says}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[tokio::test]
async fn the_same_bad_bytes_are_one() {
    let host = Setup::audit().start().await;
    for body in ["oops", "oops", "oops!"] {
        assert_eq!(host.deliver("task-events", body).await.0, 200);
        host.settle().await;
    }
    assert_eq!(host.messages("task-events-dlq").await.len(), 2);
    assert_eq!(host.rows("SELECT count(*) FROM audit_log").await, [["2"]]);
    assert_eq!(host.count("wharf_repeats_total{component=\"-\"}").await, 1);
    host.stop().await;
}

#[tokio::test]
async fn bad_entries_of_a_bulk_do_not_harm_the_others() {
    let host = Setup::audit().start().await;
    let mut no_id = event(CREATED, 2);
    no_id["id"] = Value::Null;
    let mut broken = event(CREATED, 4);
    broken["data"]["task_id"] = 7.into();
    let entries = [
        event(CREATED, 1),
        no_id,
        event(CREATED, 3),
        broken,
        json!(17),
        json!(STANDARD.encode(b"\xff not JSON")),
        event("com.todo.task.created.v2", 5),
        event(CREATED, 6),
    ];
    assert_eq!(host.deliver_bulk("task-events", &entries).await, ["SUCCESS"; 8]);
    host.settle().await;
    let audited =
        host.rows("SELECT entity_id FROM audit_log WHERE error IS NULL ORDER BY entity_id").await;
    assert_eq!(audited, [["t-1"], ["t-3"], ["t-6"]]);
    let dead = host
        .rows("SELECT hex(wire) FROM wharf_deliveries WHERE status = 'dead' ORDER BY wire")
        .await;
    assert_eq!(dead.len(), 5, "{dead:?}");
    for kept in [entries[3].to_string().as_bytes(), b"17", b"\xff not JSON"] {
        assert!(dead.contains(&vec![hex(kept)]), "{dead:?}");
    }
    let letters = host.messages("task-events-dlq").await;
    assert_eq!(letters.len(), 5);
    let base64 = STANDARD.encode(b"\xff not JSON");
    assert_eq!(letters.iter().filter(|letter| letter["data_base64"] == base64).count(), 1);
    host.stop().await;
}

#[tokio::test]
async fn someone_elses_event_is_counted_and_acknowledged() {
    let host = Setup::audit().start().await;
    let mut foreign = event(CREATED, 1);
    for ty in ["com.shop.order.placed.v1", "TaskCreated"] {
        foreign["type"] = ty.into();
        let (_, answer) = host.deliver("task-events", foreign.to_string()).await;
        assert_eq!(answer, json!({ "status": "SUCCESS" }));
    }
    host.settle().await;
    assert_eq!(host.count("wharf_unknown_events_total{topic=\"task-events\"}").await, 2);
    assert!(host.deliveries().await.is_empty());
    assert!(host.messages("task-events-dlq").await.is_empty());
    host.stop().await;
}

#[tokio::test]
async fn what_nobody_subscribed_is_kept_by_dapr_and_never_acknowledged_here() {
    let host = Setup::audit().start().await;
    host.publish("forgotten", &event(CREATED, 1)).await;
    host.settle().await;
    assert_eq!(host.messages("forgotten").await[0]["id"], id(1));
    let (status, answer) = host.deliver("forgotten", event(CREATED, 1).to_string()).await;
    assert_eq!(status, 500);
    let text = answer.as_str().unwrap();
    assert!(text.contains("`/events/forgotten`") && text.contains("contract.toml"), "{text}");
    assert!(host.deliveries().await.is_empty());
    host.stop().await;
}

#[tokio::test]
async fn five_megabytes_are_audited_unless_dapr_refuses_them() {
    let host = Setup::audit().start().await;
    let mut large = event(CREATED, 1);
    large["data"]["task"]["description"] = "x".repeat(5 << 20).into();
    let large = large.to_string();

    let (status, answer) = host.publish_raw("task-events", large.clone()).await;
    assert_eq!(
        (status.as_u16(), &answer["errorCode"]),
        (500, &json!("ERR_PUBSUB_PUBLISH_MESSAGE"))
    );
    assert!(answer["message"].as_str().unwrap().contains("too large"), "{answer}");
    assert!(host.messages("task-events").await.is_empty());

    // A broker may allow more than Dapr's own API does.
    let (_, answer) = host.deliver("task-events", large.clone()).await;
    assert_eq!(answer, json!({ "status": "SUCCESS" }));
    assert_eq!(host.deliveries().await, [["audit done 1", ""]]);
    let rows = host.rows("SELECT length(payload), entity_id FROM audit_log").await;
    assert_eq!(rows, [[&large.len().to_string(), "t-1"]]);

    // The largest that the ingress lets in.
    let mut largest = event(CREATED, 2);
    let rest = largest.to_string().len() + r#","description":"""#.len();
    largest["data"]["task"]["description"] = "x".repeat((16 << 20) - rest).into();
    host.deliver("task-events", largest.to_string()).await;
    assert_eq!(host.deliveries().await, [["audit done 1", ""], ["audit done 1", ""]]);
    host.stop().await;
}

#[tokio::test]
async fn a_body_above_the_limit_is_dead_with_its_beginning() {
    let mut setup = Setup::audit();
    setup.config.ingress.max_body = 1 << 20;
    let host = setup.start().await;
    let body = |end: char| format!("{}{end}", "x".repeat(2 << 20));
    // The same event again is a repeat, and another one is not, though they begin alike.
    for end in ['a', 'a', 'b'] {
        let (status, answer) = host.deliver("task-events", body(end)).await;
        assert_eq!((status.as_u16(), answer), (200, json!({ "status": "SUCCESS" })));
        host.settle().await;
    }
    let kept = host
        .rows(
            "SELECT status, length(wire), replace(hex(wire), '78', '') \
             FROM wharf_deliveries WHERE component = '-'",
        )
        .await;
    assert_eq!(kept, [["dead", "65536", ""], ["dead", "65536", ""]]);
    let reason = host.deliveries().await[0][1].clone();
    assert!(reason.contains("larger than 1048576 bytes"), "{reason}");
    assert!(reason.contains("WHARF_INGRESS__MAX_BODY"), "{reason}");
    assert_eq!(host.messages("task-events-dlq").await.len(), 2);

    let (_, answer) = host.deliver("task-events", event(CREATED, 1).to_string()).await;
    assert_eq!(answer, json!({ "status": "SUCCESS" }));
    assert_eq!(host.rows("SELECT count(*) FROM audit_log WHERE error IS NULL").await, [["1"]]);
    host.stop().await;
}

#[tokio::test]
async fn an_event_above_the_limit_does_not_harm_the_bulk_that_it_came_in() {
    let mut setup = Setup::audit();
    setup.config.ingress.max_body = 100_000;
    let host = setup.start().await;
    let sized = |number, size: usize| {
        let mut event = event(CREATED, number);
        event["data"]["task"]["description"] = "x".repeat(size).into();
        event
    };
    // Together they are larger than one event may be.
    let bulk = [sized(1, 90_000), sized(2, 200_000), sized(3, 90_000)];
    for _ in 0..2 {
        assert_eq!(host.deliver_bulk("task-events", &bulk).await, ["SUCCESS"; 3]);
        host.settle().await;
    }
    let audited = host.rows("SELECT entity_id FROM audit_log WHERE error IS NULL ORDER BY 1").await;
    assert_eq!(audited, [["t-1"], ["t-3"]]);
    let dead = host.rows("SELECT length(wire) FROM wharf_deliveries WHERE component = '-'").await;
    assert_eq!(dead, [["65536"]]);
    host.stop().await;
}

#[tokio::test]
async fn a_dead_letter_that_dapr_refuses_is_reported_as_well() {
    let host = Setup::audit().start().await;
    host.deliver("task-events", "x".repeat(5 << 20)).await;
    host.settle().await;
    assert!(host.messages("task-events-dlq").await.is_empty());
    let dead = host.rows("SELECT status, error FROM wharf_outbox").await;
    assert_eq!(dead[0][0], "dead");
    assert!(dead[0][1].contains("larger than"), "{dead:?}");
    let audited = host.rows("SELECT error FROM audit_log ORDER BY rowid").await;
    assert_eq!(audited.len(), 2, "{audited:?}");
    assert!(audited[0][0].contains("not JSON") && audited[1][0] == dead[0][1], "{audited:?}");
    host.stop().await;
}
