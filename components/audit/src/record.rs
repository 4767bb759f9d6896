//! What a row of `audit_log` says about an event. Pure, so that it is tested without a sandbox.

use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The canonical event.
pub struct Event {
    pub id: String,
    pub source: String,
    pub ty: String,
    pub contract: String,
    /// RFC 3339.
    pub time: String,
    /// JSON text.
    pub data: String,
}

/// How it came in, and when it was recorded.
pub struct Arrival {
    pub pubsub: Option<String>,
    pub topic: Option<String>,
    pub wire_type: String,
    pub payload: Vec<u8>,
    pub recorded_at: SystemTime,
}

/// A column's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Null,
    Integer(i64),
    Text(String),
    /// RFC 3339.
    Time(String),
    Bytes(Vec<u8>),
}

/// The values of a row, in the order of the manifest's statement `insert`.
pub fn row(event: Event, arrival: Arrival) -> [Value; 14] {
    let data: Data<'_> = serde_json::from_str(&event.data).unwrap_or_default();
    let user = id(data.user_id);
    let entity = data.entity(&event.ty);
    let (error, attempts) = match event.ty.starts_with("com.todo.audit.failed.") {
        true => (text(data.reason.or(data.error)), number(data.attempts)),
        false => (Value::Null, Value::Null),
    };
    let recorded_at = DateTime::<Utc>::from(arrival.recorded_at);
    [
        kept(event.id),
        kept(event.source),
        kept(event.ty),
        kept(arrival.wire_type),
        kept(event.contract),
        arrival.pubsub.map_or(Value::Null, kept),
        arrival.topic.map_or(Value::Null, kept),
        user,
        entity,
        Value::Time(event.time),
        Value::Time(recorded_at.to_rfc3339_opts(SecondsFormat::Micros, true)),
        Value::Bytes(arrival.payload),
        error,
        attempts,
    ]
}

/// The fields that have a column. Data of another form leaves the columns empty: the payload is
/// kept whole anyway.
#[derive(Deserialize, Default)]
struct Data<'a> {
    #[serde(borrow)]
    user_id: Option<&'a RawValue>,
    entity_id: Option<&'a RawValue>,
    task_id: Option<&'a RawValue>,
    reminder_id: Option<&'a RawValue>,
    reason: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    attempts: Option<&'a RawValue>,
}

impl Data<'_> {
    /// What the event is about: a reminder's events name its task as well.
    fn entity(&self, ty: &str) -> Value {
        let entity = match ty.starts_with("com.todo.reminder.") {
            true => self.entity_id.or(self.reminder_id).or(self.task_id),
            false => self.entity_id.or(self.task_id).or(self.reminder_id),
        };
        id(entity)
    }
}

/// Ids have at most 255 characters. What is longer is none, and PostgreSQL could not index it.
fn id(raw: Option<&RawValue>) -> Value {
    match text(raw) {
        Value::Text(id) => Value::Text(id.chars().take(255).collect()),
        none @ (Value::Null | Value::Integer(_) | Value::Time(_) | Value::Bytes(_)) => none,
    }
}

/// Text as it is; a number, which some producers use for ids, as its digits.
fn text(raw: Option<&RawValue>) -> Value {
    let Some(raw) = raw.map(RawValue::get) else { return Value::Null };
    match serde_json::from_str::<Option<String>>(raw) {
        Ok(text) => text.map_or(Value::Null, kept),
        Err(_) => kept(raw.to_owned()),
    }
}

/// PostgreSQL keeps every character of a text but U+0000; the payload has that too.
fn kept(text: String) -> Value {
    let has_one = text.contains('\0');
    Value::Text(if has_one { text.replace('\0', "\u{fffd}") } else { text })
}

fn number(raw: Option<&RawValue>) -> Value {
    raw.and_then(|raw| raw.get().parse().ok()).map_or(Value::Null, Value::Integer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row_of(ty: &str, data: &str) -> [Value; 14] {
        let event = Event {
            id: "e1".into(),
            source: "api".into(),
            ty: ty.into(),
            contract: "cloudevents".into(),
            time: "2026-01-01T10:00:00+01:00".into(),
            data: data.into(),
        };
        let arrival = Arrival {
            pubsub: Some("todo-pubsub".into()),
            topic: None,
            wire_type: "TaskCreated".into(),
            payload: b"as received".to_vec(),
            recorded_at: SystemTime::UNIX_EPOCH,
        };
        row(event, arrival)
    }

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn a_row_says_what_came_and_when() {
        let row =
            row_of("com.todo.task.created.v1", r#"{"user_id":"u","task_id":"t","error":"no"}"#);
        let expected = [
            text("e1"),
            text("api"),
            text("com.todo.task.created.v1"),
            text("TaskCreated"),
            text("cloudevents"),
            text("todo-pubsub"),
            Value::Null,
            text("u"),
            text("t"),
            Value::Time("2026-01-01T10:00:00+01:00".into()),
            Value::Time("1970-01-01T00:00:00.000000Z".into()),
            Value::Bytes(b"as received".to_vec()),
            Value::Null,
            Value::Null,
        ];
        assert_eq!(row, expected);
    }

    #[test]
    fn a_failure_keeps_its_reason_and_attempts() {
        let data = r#"{"component":"reminder","reason":"it \"broke\"","attempts":4}"#;
        let row = row_of("com.todo.audit.failed.v1", data);
        assert_eq!(row[12..], [text("it \"broke\""), Value::Integer(4)]);
    }

    #[test]
    fn a_reminder_is_the_entity_of_its_events() {
        let data = r#"{"task_id":"t","reminder_id":"r","user_id":null}"#;
        let row = row_of("com.todo.reminder.due.v1", data);
        assert_eq!(row[7..9], [Value::Null, text("r")]);
    }

    #[test]
    fn data_of_any_form_is_recorded() {
        for data in ["[]", "null", "3", "\"x\"", "{", r#"{"user_id":{"a":1}}"#, r#"{"task_id":7}"#]
        {
            let row = row_of("com.todo.task.created.v1", data);
            assert_eq!(row[11], Value::Bytes(b"as received".to_vec()), "{data}");
        }
        assert_eq!(row_of("com.todo.task.created.v1", r#"{"task_id":7}"#)[8], text("7"));
    }

    #[test]
    fn a_row_holds_nothing_that_a_database_cannot_keep() {
        let data = format!(r#"{{"user_id":"a\u0000b","task_id":"{}"}}"#, "é".repeat(3000));
        let row = row_of("com.todo.task.created.v1", &data);
        assert_eq!(row[7..9], [text("a\u{fffd}b"), text(&"é".repeat(255))]);
    }
}
