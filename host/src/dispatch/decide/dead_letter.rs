//! The dead letter: the original event with the reason, as CloudEvents extension attributes.
//! Extension names are lower case letters and digits (CloudEvents 1.0 §3).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::clock::Timestamp;
use crate::delivery::DeliveryHead;

/// Why and when a delivery died.
pub struct Death<'a> {
    pub head: &'a DeliveryHead,
    pub reason: &'a str,
    pub attempts: u32,
    /// The fence that it died under: another death has another, since a retry by hand moves it.
    pub claim: i64,
    pub at: Timestamp,
}

/// The event to publish, as JSON. `received` is what came over the wire: a CloudEvent keeps its
/// attributes, other JSON becomes `data`, and what is not JSON becomes `data_base64`.
pub fn letter(received: &Bytes, death: &Death<'_>) -> Bytes {
    let mut event = envelope(received, death.head);
    let component = death.head.id.component.as_str();
    let extensions = [
        ("wharfreason", json!(shortened(death.reason))),
        ("wharfattempts", json!(death.attempts)),
        ("wharfcomponent", json!(component)),
        ("wharftime", json!(crate::clock::rfc3339(death.at))),
    ];
    event.extend(extensions.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(event).to_string().into()
}

fn envelope(received: &Bytes, head: &DeliveryHead) -> Map<String, Value> {
    let (name, data) = match serde_json::from_slice(received) {
        Ok(Value::Object(event)) if event.contains_key("specversion") => {
            return completed(event, head);
        }
        Ok(data) => ("data", data),
        Err(_) => ("data_base64", Value::from(STANDARD.encode(received))),
    };
    completed(Map::from_iter([(name.to_owned(), data)]), head)
}

/// Dapr passes a CloudEvent on only with an id; what a broken one lacks is filled in.
fn completed(mut event: Map<String, Value>, head: &DeliveryHead) -> Map<String, Value> {
    let defaults = [
        ("specversion", "1.0"),
        ("id", if head.event_id.is_empty() { "" } else { &head.event_id }),
        ("source", "wharf"),
        ("type", "com.wharf.event.unreadable.v1"),
    ];
    for (name, default) in defaults {
        let usable = event.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        if !usable {
            let key = head.id.key.to_string();
            let default = if default.is_empty() { key } else { default.to_owned() };
            event.insert(name.to_owned(), default.into());
        }
    }
    event
}

/// Reasons are for people; brokers limit the size of an event.
fn shortened(reason: &str) -> String {
    reason.chars().take(1000).collect()
}
