//! Through the front door: bytes in, what became of them out, with the shipped contract and with a
//! made-up dialect that needs every kind of line a table can have.

use std::path::Path;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::event::{Arrival, Decoded, Event, Origin, TopicOrigin};
use crate::name::EventKey;

const CREATED: &str = "com.todo.task.created.v1";

const SHOP: &str = r#"
name = "shop"
description = "A dialect with a table"
pubsub = "kafka"
types = "com.shop.<noun>.<verb>.v<N>"
type_at = "/event_type"
identity = ["/id"]
subject = ["/data/task_id", "/data/user_id"]
retry = ["1s", "5s", "30s"]
dead_letter = "{topic}.deadletter"
[envelope]
bare = true
[[topic]]
name = "tasks"
path = "/events/tasks"
retention = "1h"
[[topic]]
name = "reminders"
path = "/events/reminders"
bulk = false
retention = "2d"
[[event]]
type = "com.shop.task.made.v1"
topic = "tasks"
consumers = ["audit", "counter"]
schema = "events/task.schema.json"
when = { "/event_type" = "created" }
version = { wire = "/schema_version", is = "1.0.0" }
fields = [
  { wire = "/id", canonical = "/id" },
  { wire = "/task_id", canonical = "/data/task_id", as = "integer" },
  { wire = "/task_data/id", canonical = "/data/task/id", as = "integer" },
  { wire = "/task_data", canonical = "/data/task" },
  { wire = "/timestamp", canonical = "/time", as = "time", zone = "Europe/Berlin" },
  { wire = "/user_id", canonical = "/data/user_id" },
]
[[event]]
type = "com.shop.reminder.due.v1"
topic = "reminders"
consumers = ["audit"]
when = { "/event_type" = { absent = true } }
fields = [
  { wire = "/task_id", canonical = "/data/task_id", as = "integer" },
  { canonical = "/data/reminder_id", or = ["/task_id"], as = "string" },
  { wire = "/title", canonical = "/data/title", default = "Reminder" },
  { wire = "/remind_at", canonical = "/data/remind_at", as = "time", zone = "UTC" },
  { canonical = "/time", or = ["/remind_at"], as = "time", zone = "UTC" },
  { wire = "/channel", const = "mail" },
]
[[event]]
type = "com.shop.reminder.kept.v1"
consumers = ["keeper"]
"#;

const SHOP_TASK: &str = r#"{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "required": ["id", "event_type", "task_id", "user_id", "timestamp"],
  "properties": {
    "id": { "type": "string", "format": "uuid" },
    "task_id": { "type": "integer" },
    "timestamp": { "type": "string", "format": "date-time" }
  }
}"#;

/// A folder of contracts; the last argument replaces text of the shop's contract.toml.
fn shop_folder(change: (&str, &str)) -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("shop");
    std::fs::create_dir_all(folder.join("events")).unwrap();
    assert!(SHOP.contains(change.0), "{} is not there to change", change.0);
    std::fs::write(folder.join("contract.toml"), SHOP.replacen(change.0, change.1, 1)).unwrap();
    std::fs::write(folder.join("events/task.schema.json"), SHOP_TASK).unwrap();
    (root, folder)
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/cloudevents")
}

fn cloudevents() -> Contracts {
    Contracts::load(&[shipped()]).unwrap()
}

fn both() -> Contracts {
    let (_root, shop) = shop_folder(("", ""));
    Contracts::load(&[shipped(), shop]).unwrap()
}

fn origin(pubsub: &str, topic: &str) -> TopicOrigin {
    TopicOrigin {
        path: format!("/events/{topic}"),
        pubsub: Some(Pubsub::new(pubsub).unwrap()),
        topic: Some(Topic::new(topic).unwrap()),
        position: Some("3/17".to_owned()),
        attributes: Vec::new(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "stories read better without `&`")]
fn wire(body: impl ToString, origin: TopicOrigin) -> WireEvent {
    let arrival = Arrival { origin: Origin::Topic(origin), ..Arrival::default() };
    WireEvent { bytes: Bytes::from(body.to_string()), arrival }
}

fn decoded(contracts: &Contracts, wire: &WireEvent) -> Decoded {
    match contracts.decode(wire) {
        Decode::Event(decoded) => *decoded,
        other => panic!("{other:?}"),
    }
}

fn unreadable(contracts: &Contracts, wire: &WireEvent) -> Unreadable {
    match contracts.decode(wire) {
        Decode::Unreadable(unreadable) => unreadable,
        other => panic!("{other:?}"),
    }
}

fn created() -> Value {
    cloudevents().example(CREATED, None).unwrap().value
}

fn with(mut event: Value, name: &str, value: Value) -> Value {
    event[name] = value;
    event
}

#[expect(clippy::needless_pass_by_value, reason = "stories read better without `&`")]
fn task(change: Value) -> Value {
    let mut payload = json!({
        "id": "550e8400-e29b-41d4-a716-446655440000",
        "event_type": "created",
        "schema_version": "1.0.0",
        "task_id": 1,
        "task_data": {"id": 1, "title": "Buy groceries", "tags": []},
        "user_id": "u",
        "timestamp": "2025-01-01T00:00:00",
        "assignee": {"name": "x"},
    });
    for (key, value) in change.as_object().unwrap() {
        payload[key] = value.clone();
    }
    payload
}

#[expect(clippy::needless_pass_by_value, reason = "stories read better without `&`")]
fn wrapped(payload: Value) -> Value {
    json!({
        "specversion": "1.0", "id": "fresh", "source": "backend", "type": "com.dapr.event.sent",
        "time": "2025-01-01T00:00:01Z", "datacontenttype": "application/json",
        "topic": "tasks", "pubsubname": "kafka", "data": payload,
    })
}

#[expect(clippy::needless_pass_by_value, reason = "stories read better without `&`")]
fn publish(ty: &str, data: Value) -> Publish {
    Publish {
        id: "550e8400-e29b-41d4-a716-446655440000".to_owned(),
        ty: EventType::new(ty).unwrap(),
        subject: None,
        time: "2025-01-01T00:00:00Z".to_owned(),
        data: data.to_string(),
    }
}

fn name(text: &str) -> ContractName {
    ContractName::new(text).unwrap()
}

#[test]
fn the_shipped_contract_has_no_problem_and_neither_have_its_examples() {
    let problems = check(&shipped());
    assert!(problems.is_empty(), "{}", listed(&problems));
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

#[test]
fn a_plain_cloudevent_is_canonical_as_it_is() {
    let body = r#"{"specversion":"1.0","id":"550e8400-e29b-41d4-a716-446655440000","source":"s",
        "type":"com.todo.task.created.v1","time":"2026-02-03T10:00:00+01:00",
        "data":{ "task_id":"t", "user_id":"u", "big":12345678901234567890123 }}"#;
    let got = decoded(&cloudevents(), &wire(body, origin("todo-pubsub", "task-events")));
    assert_eq!(
        got.event,
        Event {
            id: "550e8400-e29b-41d4-a716-446655440000".to_owned(),
            source: "s".to_owned(),
            ty: EventType::new(CREATED).unwrap(),
            subject: Some("t".to_owned()),
            time: "2026-02-03T10:00:00+01:00".to_owned(),
            data: r#"{ "task_id":"t", "user_id":"u", "big":12345678901234567890123 }"#.to_owned(),
            contract: name("cloudevents"),
        }
    );
    assert_eq!(got.key, EventKey::of(&[b"s", b"550e8400-e29b-41d4-a716-446655440000"]));
    assert_eq!((got.wire_type.as_str(), got.entry), (CREATED, Some(0)));
    assert_eq!(got.topic, Some(Topic::new("task-events").unwrap()));
}

#[test]
fn the_contract_is_found_by_callback_then_attributes_then_path() {
    let contracts = both();
    let bare = |path: &str| TopicOrigin { path: path.to_owned(), ..TopicOrigin::default() };
    let attributes =
        with(with(created(), "topic", json!("task-events")), "pubsubname", json!("todo-pubsub"));
    for (body, origin) in [
        (created(), origin("todo-pubsub", "task-events")),
        (attributes, bare("/anything")),
        (created(), bare("/events/task-events")),
        (with(created(), "topic", json!("mirrored")), bare("/events/task-events")),
    ] {
        let got = decoded(&contracts, &wire(body, origin));
        assert_eq!(got.pubsub.unwrap().as_str(), "todo-pubsub");
        assert_eq!(got.topic.unwrap().as_str(), "task-events");
    }
    // The callback's word counts more than the event's.
    let lying = with(created(), "topic", json!("task-events"));
    let got = unreadable(&contracts, &wire(lying, origin("todo-pubsub", "reminder-events")));
    assert_eq!(got.topic.unwrap().as_str(), "reminder-events");
}

#[test]
fn what_no_contract_knows_is_unknown_unless_one_is_strict() {
    let other = with(with(created(), "type", json!("org.example.thing")), "id", json!("any id"));
    let at = wire(&other, origin("todo-pubsub", "task-events"));
    let Decode::Unknown { wire_type, topic, .. } = cloudevents().decode(&at) else { panic!() };
    assert_eq!((wire_type.as_str(), topic.unwrap().as_str()), ("org.example.thing", "task-events"));
    let nobodys = wire(created(), origin("todo-pubsub", "nobody-subscribed"));
    let nobodys = WireEvent {
        arrival: Arrival {
            origin: Origin::Topic(TopicOrigin {
                path: "/".to_owned(),
                ..origin("todo-pubsub", "nobody-subscribed")
            }),
            ..Arrival::default()
        },
        ..nobodys
    };
    assert!(matches!(cloudevents().decode(&nobodys), Decode::Unknown { .. }));
    let (_root, strict) = shop_folder(("type_at", "strict = true\ntype_at"));
    let contracts = Contracts::load(&[strict]).unwrap();
    let got = unreadable(&contracts, &wire(&other, origin("kafka", "tasks")));
    assert_eq!(got.kind, UnreadableKind::Type);
    assert!(got.reason.contains("strict"), "{}", got.reason);
}

#[test]
fn an_empty_subject_is_none() {
    let body = with(created(), "subject", json!(""));
    let got = decoded(&cloudevents(), &wire(body, origin("todo-pubsub", "task-events")));
    assert_eq!(got.event.subject.as_deref(), created()["data"]["task_id"].as_str());
}

#[test]
fn another_major_version_says_both() {
    let next = with(created(), "type", json!("com.todo.task.created.v2"));
    let got = unreadable(&cloudevents(), &wire(next, origin("todo-pubsub", "task-events")));
    let kind = UnreadableKind::Version { expected: "1".to_owned(), actual: "2".to_owned() };
    assert_eq!((got.kind, got.event_type.as_str()), (kind, "com.todo.task.created.v2"));
    assert_eq!(got.event_id, created()["id"].as_str().unwrap());
    assert_eq!(got.contract, Some(name("cloudevents")));
}

#[test]
fn the_key_of_an_unreadable_event_is_its_place_else_its_bytes() {
    let contracts = cloudevents();
    let at = |body: &str, position: Option<&str>| {
        let origin = origin("todo-pubsub", "task-events");
        let position = position.map(str::to_owned);
        unreadable(&contracts, &wire(body, TopicOrigin { position, ..origin })).key
    };
    assert_eq!(at("no", Some("0/1")), at("other", Some("0/1")));
    assert_ne!(at("no", Some("0/1")), at("no", Some("0/2")));
    assert_eq!(at("no", None), at("no", None));
    assert_ne!(at("no", None), at("other", None));
}

#[test]
fn binary_mode_is_the_same_event() {
    let whole = created();
    let mut origin = origin("todo-pubsub", "task-events");
    let structured = decoded(&cloudevents(), &wire(&whole, origin.clone()));
    for name in ["specversion", "id", "source", "type", "subject", "time", "datacontenttype"] {
        origin.attributes.push((name.to_owned(), whole[name].as_str().unwrap().to_owned()));
    }
    let binary = decoded(&cloudevents(), &wire(&whole["data"], origin.clone()));
    assert_eq!((binary.event, binary.key), (structured.event, structured.key));
    let got = unreadable(&cloudevents(), &wire("<xml/>", origin));
    assert!(got.reason.starts_with("`data` is not JSON"), "{}", got.reason);
}

#[test]
fn an_internal_event_is_read_back_as_it_was_written() {
    let event = Event {
        id: "i".to_owned(),
        source: "wharf/reminder".to_owned(),
        ty: EventType::new("com.todo.reminder.due.v1").unwrap(),
        subject: None,
        time: "2026-02-03T10:00:00Z".to_owned(),
        data: r#"{"n": 1.0}"#.to_owned(),
        contract: name("cloudevents"),
    };
    let wire = WireEvent {
        bytes: serde_json::to_vec(&event).unwrap().into(),
        arrival: Arrival { origin: Origin::Internal, ..Arrival::default() },
    };
    let got = decoded(&cloudevents(), &wire);
    assert_eq!((&got.event, got.entry, &got.topic), (&event, None, &None));
    assert_eq!(got.key, EventKey::of(&[b"wharf/reminder", b"i"]));
    let broken = WireEvent { bytes: Bytes::from_static(b"{"), ..wire };
    assert_eq!(unreadable(&cloudevents(), &broken).kind, UnreadableKind::Parse);
}

#[test]
fn a_table_decodes_every_way_in_to_the_same_event() {
    let contracts = both();
    let payload = task(json!({}));
    let raw = json!({
        "specversion": "1.0", "id": "drawn per delivery", "source": "Dapr",
        "type": "com.dapr.event.sent", "datacontenttype": "application/octet-stream",
        "data_base64": base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD, payload.to_string()),
    });
    let ways = [
        wrapped(payload.clone()),
        wrapped(json!(payload.to_string())),
        with(wrapped(json!(payload.to_string())), "datacontenttype", json!("text/plain")),
        raw,
        payload,
    ];
    for way in ways {
        let got = decoded(&contracts, &wire(&way, origin("kafka", "tasks")));
        assert_eq!(got.event.id, "550e8400-e29b-41d4-a716-446655440000", "{way}");
        assert_eq!(got.event.time, "2025-01-01T00:00:00+01:00");
        assert_eq!(got.event.subject.as_deref(), Some("1"));
        assert_eq!(got.wire_type, "created");
        assert_eq!(got.key, EventKey::of(&[b"550e8400-e29b-41d4-a716-446655440000"]));
        assert_eq!(
            serde_json::from_str::<Value>(&got.event.data).unwrap(),
            json!({
                "task_id": "1",
                "user_id": "u",
                "task": {"id": "1", "title": "Buy groceries", "tags": []},
                "extra": {"assignee": {"name": "x"}},
            })
        );
    }
}

#[test]
fn a_payload_without_an_id_has_one_by_its_place() {
    let contracts = both();
    let body = json!({"task_id": 7, "remind_at": "2025-01-01T09:00:00.5"});
    let at = |position: &str| {
        let position = Some(position.to_owned());
        decoded(&contracts, &wire(&body, TopicOrigin { position, ..origin("kafka", "reminders") }))
    };
    assert_eq!(at("0/1").key, at("0/1").key);
    assert_ne!(at("0/1").key, at("0/2").key);
    let event = at("0/1").event;
    assert_eq!(event.time, "2025-01-01T09:00:00.5Z");
    assert_eq!(
        serde_json::from_str::<Value>(&event.data).unwrap(),
        json!({"task_id": "7", "reminder_id": "7", "title": "Reminder", "remind_at": "2025-01-01T09:00:00.5Z"})
    );
}

#[test]
fn schema_versions_of_one_major_are_taken() {
    let contracts = both();
    let at = |version: Value| {
        wire(wrapped(task(json!({"schema_version": version}))), origin("kafka", "tasks"))
    };
    assert_eq!(decoded(&contracts, &at(json!("1.0.0"))).version_mismatch, None);
    let mismatch = Some(("1.0.0".to_owned(), "1.1.0".to_owned()));
    assert_eq!(decoded(&contracts, &at(json!("1.1.0"))).version_mismatch, mismatch);
    for (version, actual) in
        [(json!("2.0.0"), "2.0.0"), (json!("latest"), "malformed"), (json!(1), "malformed")]
    {
        let kind =
            UnreadableKind::Version { expected: "1.0.0".to_owned(), actual: actual.to_owned() };
        assert_eq!(unreadable(&contracts, &at(version)).kind, kind);
    }
}

#[test]
fn a_payload_that_breaks_the_table_or_schema_says_where() {
    let contracts = both();
    for (change, reason) in [
        (json!({"task_id": "1"}), "`data.task_id` is `\"1\"`; expected type integer"),
        (json!({"task_data": {"id": 1.5}}), "`data.task_data.id` is `1.5`; expected an integer"),
        (json!({"timestamp": "soon"}), "`data.timestamp` is `\"soon\"`; expected an RFC 3339 time"),
        (
            json!({"timestamp": "2025-03-30T02:30:00"}),
            "`data.timestamp` is `\"2025-03-30T02:30:00\"`; expected a time that exists in Europe/Berlin",
        ),
        (json!({"id": "x"}), "`data.id` is `\"x\"`; expected the format uuid"),
    ] {
        let got = unreadable(&contracts, &wire(wrapped(task(change)), origin("kafka", "tasks")));
        assert!(got.reason.starts_with(reason), "{}", got.reason);
        assert_eq!(got.kind, UnreadableKind::Schema { version: "1.0.0".to_owned() });
    }
}

#[test]
fn a_published_event_goes_out_as_the_dialect_writes_it() {
    let contracts = both();
    let data = json!({
        "task_id": "1", "user_id": "u", "task": {"id": "1", "title": "t"},
        "extra": {"assignee": {"name": "x"}}, "colour": "red",
    });
    let made = publish("com.shop.task.made.v1", data);
    let Encoded::Topic(out) = contracts.encode(&name("shop"), &made, "wharf/maker", None).unwrap()
    else {
        panic!()
    };
    assert_eq!((out.pubsub.as_str(), out.topic.as_str()), ("kafka", "tasks"));
    assert_eq!(out.partition_key.as_deref(), Some("1"));
    assert_eq!(
        (out.id.as_str(), out.content_type.as_str()),
        (made.id.as_str(), "application/cloudevents+json")
    );
    let body: Value = serde_json::from_slice(&out.payload).unwrap();
    assert_eq!(body["type"], "com.dapr.event.sent");
    assert_eq!(body["source"], "wharf/maker");
    assert_eq!(
        body["data"],
        json!({
            "id": made.id, "event_type": "created", "schema_version": "1.0.0", "task_id": 1,
            "task_data": {"id": 1, "title": "t"}, "timestamp": "2025-01-01T00:00:00Z",
            "user_id": "u", "assignee": {"name": "x"}, "colour": "red",
        })
    );
    let due = publish(
        "com.shop.reminder.due.v1",
        json!({"task_id": "7", "reminder_id": "r", "remind_at": null}),
    );
    let Encoded::Topic(out) = contracts.encode(&name("shop"), &due, "wharf/maker", None).unwrap()
    else {
        panic!()
    };
    let body: Value = serde_json::from_slice(&out.payload).unwrap();
    assert_eq!(body["data"], json!({"task_id": 7, "remind_at": null, "channel": "mail"}));
}

#[test]
fn a_plain_event_keeps_its_digits_on_the_way_out() {
    let data = r#"{"task_id":"t","user_id":"u","big":12345678901234567890123}"#;
    let made = Publish { data: data.to_owned(), ..publish(CREATED, json!(null)) };
    let encoded = cloudevents().encode(&name("cloudevents"), &made, "wharf/audit", None).unwrap();
    let Encoded::Topic(out) = encoded else { panic!() };
    let text = String::from_utf8(out.payload.to_vec()).unwrap();
    assert!(text.ends_with(&format!(r#""data":{data}}}"#)), "{text}");
    assert!(text.contains(r#""type":"com.todo.task.created.v1""#), "{text}");
}

#[test]
fn what_an_event_causes_belongs_to_its_trace() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let contracts = cloudevents();
    let caused = with(with(created(), "traceparent", parent.into()), "tracestate", "a=b".into());
    let decoded = decoded(&contracts, &wire(caused, origin("todo-pubsub", "task-events")));
    let data: Value = serde_json::from_str(&decoded.event.data).unwrap();
    let made = publish(CREATED, data);
    let trace = decoded.trace.as_ref();
    let encoded = contracts.encode(&name("cloudevents"), &made, "wharf/x", trace).unwrap();
    let Encoded::Topic(out) = encoded else { panic!() };
    let body: Value = serde_json::from_slice(&out.payload).unwrap();
    assert_eq!(
        [&body["traceparent"], &body["traceid"], &body["tracestate"]],
        [parent, parent, "a=b"]
    );
}

#[test]
fn what_cannot_go_out_says_why() {
    let contracts = both();
    let error = |contract: &str, publish: &Publish| {
        contracts.encode(&name(contract), publish, "wharf/x", None).unwrap_err().to_string()
    };
    let no_user = publish(CREATED, json!({"task_id": "t"}));
    assert!(error("cloudevents", &no_user).contains("`data.user_id` is missing"));
    let internal = publish("com.todo.reminder.due.v1", json!({"task_id": "t"}));
    assert!(error("cloudevents", &internal).contains("`data.reminder_id` is missing"));
    let id =
        Publish { id: "7".to_owned(), ..publish(CREATED, json!({"task_id": "t", "user_id": "u"})) };
    assert!(error("cloudevents", &id).contains("a UUID of version 4"));
    let text = Publish { data: "{".to_owned(), ..publish(CREATED, json!(null)) };
    assert!(error("cloudevents", &text).contains("not JSON"));
    let uncastable = publish("com.shop.task.made.v1", json!({"task_id": "007", "user_id": "u"}));
    assert!(
        error("shop", &uncastable).contains("`/data/task_id` is `\"007\"`; expected an integer")
    );
    assert!(error("gone", &no_user).contains("`gone` is not active"));
}

#[test]
fn a_subject_found_in_the_data_is_as_long_as_an_attribute_may_be() {
    let contracts = cloudevents();
    let data = |length: usize| json!({"task_id": "é".repeat(length), "user_id": "u"});
    let out = |length| {
        contracts.encode(&name("cloudevents"), &publish(CREATED, data(length)), "wharf/x", None)
    };
    assert!(out(255).is_ok());
    let error = out(256).unwrap_err().to_string();
    assert!(error.contains("the subject is") && error.contains("1 to 255 characters"), "{error}");
    let come = |length| {
        let mut event = with(created(), "data", data(length));
        event.as_object_mut().unwrap().remove("subject");
        contracts.decode(&wire(event, origin("todo-pubsub", "task-events")))
    };
    assert!(matches!(come(255), Decode::Event(_)), "{:?}", come(255));
    let Decode::Unreadable(refused) = come(256) else { panic!() };
    assert!(refused.reason.contains("the subject is"), "{}", refused.reason);
}

#[test]
fn a_type_without_a_topic_stays_inside() {
    let contracts = both();
    for ty in ["com.shop.reminder.kept.v1", "com.shop.never.named.v1"] {
        let encoded =
            contracts.encode(&name("shop"), &publish(ty, json!({"user_id": "u"})), "wharf/x", None);
        let Encoded::Internal(event) = encoded.unwrap() else { panic!() };
        assert_eq!((event.ty.as_str(), event.subject.as_deref()), (ty, Some("u")));
    }
}

#[test]
fn lists_name_consumers() {
    let contracts = both();
    let ty = |text: &str| EventType::new(text).unwrap();
    let of = |contract: &str, text: &str, entry| {
        let found = contracts.consumers(&name(contract), &ty(text), entry);
        found.map(|list| list.iter().map(ComponentId::as_str).collect::<Vec<_>>())
    };
    assert_eq!(of("cloudevents", CREATED, Some(0)).unwrap(), ["audit", "realtime", "reminder"]);
    assert_eq!(of("shop", "com.shop.reminder.kept.v1", None).unwrap(), ["keeper"]);
    assert_eq!(of("shop", "com.shop.never.named.v1", None), None);
    assert_eq!(of("gone", CREATED, Some(0)), None);
    assert!(contracts.names_component(&ComponentId::new("keeper").unwrap()));
    assert!(!contracts.names_component(&ComponentId::new("stranger").unwrap()));
}

#[test]
fn what_dapr_and_the_ledger_are_told() {
    let (_root, shop) = shop_folder(("\"kafka\"", "\"todo-pubsub\""));
    let text = std::fs::read_to_string(shop.join("contract.toml")).unwrap();
    let text = text
        .replace("name = \"tasks\"", "name = \"task-events\"")
        .replace("topic = \"tasks\"", "topic = \"task-events\"");
    std::fs::write(shop.join("contract.toml"), text).unwrap();
    let contracts = Contracts::load(&[shipped(), shop]).unwrap();
    let told: Vec<_> = contracts
        .subscriptions()
        .into_iter()
        .map(|s| (s.topic.to_string(), s.path, s.delivery))
        .collect();
    let bulk = Delivery::Bulk { max: 100, await_: Duration::from_millis(250) };
    let told: Vec<_> =
        told.iter().map(|(topic, path, how)| (topic.as_str(), path.as_str(), *how)).collect();
    assert_eq!(
        told,
        [
            ("task-events", "/events/task-events", bulk),
            ("reminder-events", "/events/reminder-events", Delivery::Single),
            ("recurring-events", "/events/recurring-events", bulk),
            ("reminders", "/events/reminders", Delivery::Single),
        ]
    );
    assert!(contracts.accepts_path("/events/tasks"));
    assert!(!contracts.accepts_path("/events/other"));
    let topic = Topic::new("task-events").unwrap();
    assert_eq!(contracts.dead_letter(&name("cloudevents"), &topic).as_str(), "task-events-dlq");
    assert_eq!(contracts.dead_letter(&name("shop"), &topic).as_str(), "task-events.deadletter");
    assert_eq!(contracts.get(&name("shop")).unwrap().retry.delays.len(), 3);
}

#[test]
fn an_event_is_known_for_longer_than_a_broker_keeps_it() {
    let days = |days: u64| Duration::from_hours(24 * days);
    let contracts = Contracts::load(&[shipped()]).unwrap();
    assert_eq!(contracts.dedup_window(None), Ok(days(8)));
    assert_eq!(contracts.dedup_window(Some(days(7))), Ok(days(7)));
    let short = contracts.dedup_window(Some(days(7) - Duration::from_secs(1))).unwrap_err();
    let told = short.to_string();
    assert!(told.contains("cloudevents/contract.toml: topic `"), "{told}");
    assert!(
        told.contains("keeps its events for 604800 s, and [ledger] dedup_window is 604799 s"),
        "{told}"
    );
    assert!(told.ends_with("give 691200 or more, or leave it out"), "{told}");
    assert_eq!(Contracts::default().dedup_window(None), Ok(days(1)));
}

#[test]
fn an_example_can_be_published() {
    let example = both().example(CREATED, Some(&name("cloudevents"))).unwrap();
    assert_eq!((example.pubsub.as_str(), example.topic.as_str()), ("todo-pubsub", "task-events"));
    assert_eq!(example.content_type, "application/cloudevents+json");
    assert!(both().example(CREATED, Some(&name("shop"))).is_none());
    assert!(both().example("com.todo.reminder.due.v1", None).is_none());
}

#[test]
fn a_fault_in_the_file_is_said_with_its_line() {
    for (change, says) in [
        (("retry =", "retires ="), "did you mean `retry`?"),
        (("topic = \"tasks\"", "topic = \"task\""), "topic `task` does not exist"),
        (("events/task.schema", "events/gone.schema"), "cannot be read"),
        (("events/task.schema", "../task.schema"), "not inside the contract's folder"),
        (("canonical = \"/id\"", "canonical = \"id\""), "begin it with `/`"),
        (("canonical = \"/id\"", "canonical = \"/type\""), "no place of the canonical event"),
        (
            ("\"/data/task_id\", as", "\"/id\", as"),
            "an earlier line names the canonical place `/id`",
        ),
        (("Europe/Berlin", "Europe/Bonn"), "zone `Europe/Bonn` is unknown"),
        (("path = \"/events/tasks\"", "path = \"events\""), "is not an ingress path"),
        (("\"/events/tasks\"", "\"/\""), "is not an ingress path"),
        (("/events/tasks", "/health"), "a path of the host's own"),
        (("/events/tasks", "/dapr/subscribe"), "a path of the host's own"),
        (("/events/tasks", "/job/nightly"), "a path of the host's own"),
        (("/events/reminders", "/events/tasks"), "belongs to another topic already"),
        (("\"1h\"", "\"1 hour\""), "write it like 250ms"),
        (("task.made.v1", "task.Made.v1"), "is not of the form"),
        (("{topic}.deadletter", "dead"), "write `{topic}` in it"),
        (("\"audit\", \"counter\"", "\"Audit\""), "is not a component name"),
        (("name = \"shop\"", "name = \"store\""), "in a folder named `shop`"),
        (("is = \"1.0.0\"", "is = \"1\""), "is not a version"),
        (("\"created\"", "[1]"), "neither a constant nor `absent`"),
        (("as = \"integer\"", "as = \"float\""), "unknown variant `float`"),
        (("bulk = false", "bulk = 7"), "bulk must be true, false or"),
        (("bulk = false", "raw = \"yes\""), "expected a boolean"),
        (("identity = [\"/id\"]", "identity = [\"/type\"]"), "no place of the canonical event"),
    ] {
        let (_root, folder) = shop_folder(change);
        let line = 1 + SHOP.split(change.0).next().unwrap().matches('\n').count();
        let problems = Contracts::load(&[folder]).unwrap_err();
        let found = problems.iter().any(|problem| problem.to_string().contains(says));
        assert!(found, "{change:?}: {}", listed(&problems));
        let lines: Vec<_> = problems.iter().filter_map(|problem| problem.line).collect();
        assert!(lines.contains(&line), "{change:?}: {lines:?} {}", listed(&problems));
    }
}

#[test]
fn every_fault_is_said_at_once() {
    let (_root, folder) = shop_folder(("\"1h\"", "\"never\""));
    let text = std::fs::read_to_string(folder.join("contract.toml")).unwrap();
    std::fs::write(folder.join("contract.toml"), text.replace("Europe/Berlin", "Nowhere")).unwrap();
    let problems = Contracts::load(&[folder.clone(), folder.join("missing")]).unwrap_err();
    assert_eq!(problems.len(), 3, "{}", listed(&problems));
    let (_root, folder) = shop_folder(("", ""));
    let twice = Contracts::load(&[folder.clone(), folder]).unwrap_err();
    assert!(twice[0].to_string().contains("active already"), "{}", listed(&twice));
}

#[test]
fn examples_are_held_to_their_word() {
    let (_root, folder) = shop_folder(("", ""));
    let write = |name: &str, value: Value| {
        std::fs::create_dir_all(folder.join("examples/invalid")).unwrap();
        std::fs::write(folder.join("examples").join(name), value.to_string()).unwrap();
    };
    let made = "com.shop.task.made.v1.json";
    let due = "com.shop.reminder.due.v1.json";
    write(made, task(json!({})));
    write(due, json!({"task_id": 1, "title": "t", "remind_at": "2025-01-01T09:00:00Z"}));
    write(
        "invalid/a.json",
        json!({"topic": "tasks", "reason": "`data.user_id` is missing",
        "event": task(json!({"user_id": null})).as_object().map(|o| {
            let mut o = o.clone(); o.remove("user_id"); o })}),
    );
    assert!(check(&folder).is_empty(), "{}", listed(&check(&folder)));

    write(made, task(json!({"task_id": "x"})));
    write("stray.json", json!({}));
    write("invalid/a.json", json!({"topic": "tasks", "reason": "the moon", "body": "{"}));
    write("invalid/b.json", json!({"topic": "tasks", "reason": "x", "event": task(json!({}))}));
    std::fs::remove_file(folder.join("examples").join(due)).unwrap();
    let said = listed(&check(&folder));
    for says in [
        "`data.task_id` is `\"x\"`",
        "`stray` does not begin with a type",
        "not since the moon",
        "it is accepted, not refused",
        "the type has no example",
    ] {
        assert!(said.contains(says), "{says} is not in {said}");
    }
}
