//! What a contract that is data costs: decoding and validating an event of 400 bytes, beside the
//! same rules written by hand for this one type.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use wharf::contract::{Contracts, Decode};
use wharf::event::{Arrival, Origin, TopicOrigin, WireEvent};
use wharf::name::{EventKey, Pubsub, Topic};
use wharf_tests::figures::{self, Budget, Line};

const EVENT: &str = concat!(
    r#"{"specversion":"1.0","id":"9b2e6c11-4f0a-4d3c-8b7e-5a6f7c8d9e0f","source":"chat-api","#,
    r#""type":"com.todo.task.created.v1","subject":"42","time":"2026-02-03T10:00:00Z","#,
    r#""datacontenttype":"application/json","data":{"task_id":"42","user_id":"u-7a1c2f6e","#,
    r#""task":{"id":"42","title":"Water the plants","completed":false,"priority":"medium","#,
    r#""tags":["home"],"due_date":"2026-02-04T18:00:00Z","recurrence":"weekly"}}}"#
);

#[derive(Deserialize)]
struct Native<'a> {
    specversion: &'a str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    ty: &'a str,
    subject: Option<&'a str>,
    time: &'a str,
    datacontenttype: Option<&'a str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct NativeData<'a> {
    task_id: &'a str,
    user_id: &'a str,
    #[serde(borrow)]
    task: Option<NativeTask<'a>>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "read so that their types are checked")]
struct NativeTask<'a> {
    id: Option<&'a str>,
    #[serde(borrow)]
    title: Option<std::borrow::Cow<'a, str>>,
    completed: Option<bool>,
    priority: Option<&'a str>,
    tags: Option<Vec<&'a str>>,
    due_date: Option<&'a str>,
    recurrence: Option<&'a str>,
}

/// Owned at the end, as the event that components get must be.
struct NativeEvent {
    _attributes: [String; 4],
    _subject: Option<String>,
    _data: String,
    _key: EventKey,
}

fn native(bytes: &[u8]) -> Option<NativeEvent> {
    let event: Native<'_> = serde_json::from_slice(bytes).ok()?;
    let is_json = event.datacontenttype.is_none_or(|kind| kind.starts_with("application/json"));
    let id = uuid::Uuid::try_parse(event.id).ok()?;
    let is_event = event.specversion == "1.0" && id.get_version_num() == 4 && is_json;
    chrono::DateTime::parse_from_rfc3339(event.time).ok()?;
    let data: NativeData<'_> = serde_json::from_str(event.data.get()).ok()?;
    let due = data.task.as_ref().and_then(|task| task.due_date);
    let is_due = due.is_none_or(|due| chrono::DateTime::parse_from_rfc3339(due).is_ok());
    let is_known = event.ty == "com.todo.task.created.v1";
    let is_whole = !data.task_id.is_empty() && !data.user_id.is_empty();
    (is_event && is_due && is_known && is_whole).then(|| NativeEvent {
        _attributes: [event.id, event.source, event.ty, event.time].map(str::to_owned),
        _subject: event.subject.map(str::to_owned),
        _data: event.data.get().to_owned(),
        _key: EventKey::of(&[event.source.as_bytes(), event.id.as_bytes()]),
    })
}

fn wire() -> Option<WireEvent> {
    let origin = TopicOrigin {
        path: "/events/task-events".to_owned(),
        pubsub: Some(Pubsub::new("todo-pubsub").ok()?),
        topic: Some(Topic::new("task-events").ok()?),
        position: Some("0/1".to_owned()),
        attributes: Vec::new(),
    };
    let arrival = Arrival { origin: Origin::Topic(origin), ..Arrival::default() };
    Some(WireEvent { bytes: Bytes::from_static(EVENT.as_bytes()), arrival })
}

pub fn run() {
    let folder = wharf_tests::host::root().join("contracts/cloudevents");
    let contracts = Contracts::load(&[folder]).expect("the shipped contract loads");
    let wire = wire().expect("the names are names");
    assert!(matches!(contracts.decode(&wire), Decode::Event(_)), "the event is valid");
    assert!(native(EVENT.as_bytes()).is_some(), "the event is valid natively too");

    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (contract, native) = runtime.block_on(figures::in_turns(
        200_000,
        || (),
        async |()| drop(black_box(contracts.decode(black_box(&wire)))),
        async |()| drop(black_box(native(black_box(EVENT.as_bytes())))),
    ));
    figures::heading("decode");
    Line {
        name: &format!("decode and validate {} bytes", EVENT.len()),
        wharf: contract,
        native: Some(native),
        budget: Some(Budget::AtMost { p50: Duration::from_micros(8), p99: None }),
    }
    .print();
}
