//! What comes in: a CloudEvent, or daprd's bulk of them. Nothing is validated beyond what the row
//! needs.

use std::time::SystemTime;

use audit::record::{self, Arrival, Event, Value};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

/// daprd's envelope.
#[derive(Deserialize)]
pub struct Bulk<'a> {
    #[serde(borrow)]
    pub entries: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry<'a> {
    pub entry_id: String,
    #[serde(borrow)]
    pub event: &'a RawValue,
}

/// An event as the tables want it.
pub struct Incoming {
    /// What identifies it: the beginning of a hash of source and id.
    pub key: Vec<u8>,
    pub row: Row,
    /// What is published of it: JSON text.
    pub data: String,
}

/// A row of `audit_log`, as the audit component makes it.
pub struct Row {
    /// `event_id` to `entity_id`.
    pub texts: [Option<String>; 9],
    pub occurred_at: Option<String>,
    pub recorded_at: Option<String>,
    pub payload: Vec<u8>,
    pub error: Option<String>,
    pub attempts: Option<i64>,
}

#[derive(Deserialize)]
struct CloudEvent<'a> {
    id: String,
    source: String,
    #[serde(rename = "type")]
    ty: String,
    time: String,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl Incoming {
    pub fn parse(body: &[u8]) -> serde_json::Result<Self> {
        let CloudEvent { id, source, ty, time, data } = serde_json::from_slice(body)?;
        let hash = Sha256::new().chain_update(&source).chain_update([0]).chain_update(&id);
        let arrival = Arrival {
            pubsub: Some("todo-pubsub".to_owned()),
            topic: Some("task-events".to_owned()),
            wire_type: ty.clone(),
            payload: body.to_vec(),
            recorded_at: now(),
        };
        let (contract, data) = ("cloudevents".to_owned(), data.get().to_owned());
        let event = Event { id, source, ty, contract, time, data: data.clone() };
        let key = hash.finalize().into_iter().take(16).collect();
        Ok(Self { key, row: Row::of(record::row(event, arrival)), data })
    }
}

impl Row {
    fn of(values: [Value; 14]) -> Self {
        let [a, b, c, d, e, f, g, h, i, occurred_at, recorded_at, payload, error, attempts] =
            values;
        Self {
            texts: [a, b, c, d, e, f, g, h, i].map(text),
            occurred_at: text(occurred_at),
            recorded_at: text(recorded_at),
            payload: if let Value::Bytes(bytes) = payload { bytes } else { Vec::new() },
            error: text(error),
            attempts: if let Value::Integer(number) = attempts { Some(number) } else { None },
        }
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Text(text) | Value::Time(text) => Some(text),
        Value::Null | Value::Integer(_) | Value::Bytes(_) => None,
    }
}

#[expect(clippy::disallowed_methods, reason = "a program of its own, whose clock nobody moves")]
fn now() -> SystemTime {
    SystemTime::now()
}
