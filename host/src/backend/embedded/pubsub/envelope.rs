//! How daprd turns a published body into the CloudEvent that it hands to the broker. JSON numbers
//! and the order inside of `data` survive; attributes come out sorted, as Go writes maps.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::{RawValue, to_raw_value};

use super::Publishing;
use crate::clock::Timestamp;

/// The attributes of a CloudEvent, each with its JSON text.
type Attributes = BTreeMap<String, Box<RawValue>>;

/// What an envelope takes from outside the request.
pub struct Surroundings<'a> {
    pub app_id: &'a str,
    pub fresh_id: String,
    pub now: Timestamp,
}

/// The message's body: a CloudEvent, whatever was published. `None` if the body claims to be a
/// CloudEvent and is not a JSON object.
pub fn envelope(request: &Publishing, around: &Surroundings<'_>) -> Option<Vec<u8>> {
    let mut attributes = if is_type(&request.content_type, "application/cloudevents+json") {
        complete(request, around)?
    } else {
        wrap(request, around)
    };
    if let Some(seconds) = ttl(request) {
        // Beyond what a date can say, nothing expires.
        if let Some(at) = around.now.checked_add_signed(chrono::Duration::seconds(seconds)) {
            set(&mut attributes, "expiration", &rfc3339(at));
        }
    }
    serde_json::to_vec(&attributes).ok()
}

/// Whether a content type is this one, parameters aside.
pub fn is_type(content_type: &str, expected: &str) -> bool {
    let bare = content_type.split(';').next().unwrap_or_default();
    bare.eq_ignore_ascii_case(expected)
}

/// A finished CloudEvent passes through. Topic and pubsub are the request's in any case; an id is
/// not made up.
fn complete(request: &Publishing, around: &Surroundings<'_>) -> Option<Attributes> {
    let mut event: Attributes = first_value(&request.body)?;
    event.entry("time".into()).or_insert(text(&rfc3339(around.now)));
    if !event.contains_key("traceid") {
        set(&mut event, "traceid", &request.trace.parent);
        set(&mut event, "traceparent", &request.trace.parent);
    }
    event.entry("tracestate".into()).or_insert(text(&request.trace.state));
    set(&mut event, "topic", request.topic.as_str());
    set(&mut event, "pubsubname", request.pubsub.as_str());
    for (name, default) in
        [("source", "Dapr"), ("type", "com.dapr.event.sent"), ("specversion", "1.0")]
    {
        if event.get(name).is_none_or(|value| value.get() == "null") {
            set(&mut event, name, default);
        }
    }
    Some(event)
}

fn wrap(request: &Publishing, around: &Surroundings<'_>) -> Attributes {
    let over = |name: &str| override_of(request, name);
    let content_type = match request.content_type.as_str() {
        "" => "text/plain",
        given => given,
    };
    let trace = over("traceparent").or_else(|| over("traceid"));
    let trace = trace.unwrap_or(&request.trace.parent);
    let mut event = Attributes::new();
    set(&mut event, "id", over("id").unwrap_or(&around.fresh_id));
    set(&mut event, "source", over("source").unwrap_or(around.app_id));
    set(&mut event, "type", over("type").unwrap_or("com.dapr.event.sent"));
    set(&mut event, "specversion", "1.0");
    set(&mut event, "datacontenttype", content_type);
    set(&mut event, "topic", request.topic.as_str());
    set(&mut event, "pubsubname", request.pubsub.as_str());
    set(&mut event, "traceid", trace);
    set(&mut event, "traceparent", trace);
    set(&mut event, "tracestate", over("tracestate").unwrap_or(&request.trace.state));
    set(&mut event, "time", &rfc3339(around.now));
    if let Some(subject) = over("subject") {
        set(&mut event, "subject", subject);
    }
    let (name, data) = data_of(content_type, &request.body);
    event.insert(name.into(), data);
    event
}

/// JSON stays JSON, bytes become base64, all else is text; so is JSON that does not parse.
fn data_of(content_type: &str, body: &[u8]) -> (&'static str, Box<RawValue>) {
    if is_type(content_type, "application/octet-stream")
        || is_type(content_type, "application/cloudevents+protobuf")
    {
        return ("data_base64", text(&STANDARD.encode(body)));
    }
    let json = is_type(content_type, "application/json").then(|| first_value(body)).flatten();
    ("data", json.unwrap_or_else(|| text(&String::from_utf8_lossy(body))))
}

/// The first JSON value; what follows it is ignored, and bytes that are not UTF-8 are replaced,
/// both as Go's decoder does.
fn first_value<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let text = String::from_utf8_lossy(bytes);
    serde_json::Deserializer::from_str(&text).into_iter().next()?.ok()
}

/// Metadata `cloudevent.<name>`, in any case, replaces an attribute; an empty one does not.
fn override_of<'a>(request: &'a Publishing, name: &str) -> Option<&'a str> {
    let wanted = format!("cloudevent.{name}");
    let given = request.metadata.iter().find(|(key, _)| key.eq_ignore_ascii_case(&wanted));
    given.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
}

/// A time to live that is not a positive number is ignored, as daprd does.
fn ttl(request: &Publishing) -> Option<i64> {
    request.metadata.get("ttlInSeconds")?.parse().ok().filter(|seconds| *seconds > 0)
}

fn set(attributes: &mut Attributes, name: &str, value: &str) {
    attributes.insert(name.into(), text(value));
}

fn text(value: &str) -> Box<RawValue> {
    // A string always has a JSON form; `null` stands for the impossible.
    to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

fn rfc3339(time: Timestamp) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
