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
        let lifetime = chrono::TimeDelta::try_seconds(seconds);
        if let Some(at) = lifetime.and_then(|lifetime| around.now.checked_add_signed(lifetime)) {
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::backend::embedded::Trace;
    use crate::clock::{Clock as _, ManualClock};
    use crate::name::{Pubsub, Topic};

    fn made(content_type: &str, body: &[u8], metadata: &[(&str, &str)]) -> Option<Value> {
        let request = Publishing {
            pubsub: Pubsub::new("shop").unwrap(),
            topic: Topic::new("orders").unwrap(),
            content_type: content_type.into(),
            metadata: metadata.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            headers: BTreeMap::new(),
            body: body.to_vec().into(),
            trace: Trace { parent: "trace".into(), state: "state".into() },
            raw: false,
        };
        let now = ManualClock::default().now();
        let around = Surroundings { app_id: "app", fresh_id: "fresh".into(), now };
        envelope(&request, &around).map(|bytes| serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn what_is_no_cloud_event_is_wrapped() {
        assert_eq!(
            made("application/json; charset=utf-8", br#"{"n":1}"#, &[]),
            Some(json!({
                "id": "fresh", "source": "app", "type": "com.dapr.event.sent",
                "specversion": "1.0", "datacontenttype": "application/json; charset=utf-8",
                "topic": "orders", "pubsubname": "shop", "time": "2026-01-01T00:00:00Z",
                "traceid": "trace", "traceparent": "trace", "tracestate": "state",
                "data": { "n": 1 },
            }))
        );
        for (content_type, body, name, data) in [
            ("", &b"x"[..], "data", json!("x")),
            ("application/json", b"{", "data", json!("{")),
            ("application/json", b"", "data", json!("")),
            ("application/json", br#"{"a":1} {"b":2}"#, "data", json!({ "a": 1 })),
            ("text/plain", b"\xffx", "data", json!("\u{fffd}x")),
            ("application/octet-stream", b"\x01\x02", "data_base64", json!("AQI=")),
        ] {
            let event = made(content_type, body, &[]).unwrap();
            assert_eq!(event.get(name), Some(&data), "{content_type}");
        }
        assert_eq!(made("", b"", &[]).unwrap()["datacontenttype"], "text/plain");
    }

    #[test]
    fn metadata_overrides_what_is_wrapped_and_nothing_else() {
        let over = [
            ("cloudevent.id", "i"),
            ("CloudEvent.Source", "s"),
            ("cloudevent.type", "t"),
            ("cloudevent.subject", "sub"),
            ("cloudevent.traceid", "lost"),
            ("cloudevent.traceparent", "tp"),
            ("cloudevent.tracestate", ""),
            ("cloudevent.topic", "no"),
        ];
        let event = made("text/plain", b"x", &over).unwrap();
        for (name, value) in [
            ("id", "i"),
            ("source", "s"),
            ("type", "t"),
            ("subject", "sub"),
            ("traceid", "tp"),
            ("traceparent", "tp"),
            ("tracestate", "state"),
            ("topic", "orders"),
        ] {
            assert_eq!(event[name], value, "{name}");
        }
        let event = made("application/cloudevents+json", br#"{"id":"mine"}"#, &over).unwrap();
        assert_eq!(event["id"], "mine");
    }

    #[test]
    fn a_cloud_event_passes_with_its_gaps_filled() {
        let ty = "application/cloudevents+json";
        assert_eq!(
            made(ty, br#"{"topic":"other","pubsubname":"other","data":{"b":1,"a":2}}"#, &[]),
            Some(json!({
                "topic": "orders", "pubsubname": "shop", "data": { "b": 1, "a": 2 },
                "traceid": "trace", "traceparent": "trace", "tracestate": "state",
                "source": "Dapr", "type": "com.dapr.event.sent", "specversion": "1.0",
                "time": "2026-01-01T00:00:00Z",
            }))
        );
        let own = json!({
            "id": "i", "source": "s", "type": "t", "specversion": "0.3", "time": null,
            "traceid": "own", "tracestate": "own", "topic": "orders", "pubsubname": "shop",
        });
        assert_eq!(made(ty, own.to_string().as_bytes(), &[]), Some(own));
        for bad in ["", "null", "1", "[]", "{", "\"text\""] {
            assert_eq!(made(ty, bad.as_bytes(), &[]), None, "{bad}");
        }
    }

    #[test]
    fn numbers_and_depth_survive() {
        let deep = format!("{}1{}", "[".repeat(3000), "]".repeat(3000));
        let body =
            format!(r#"{{"id":"1","data":{{"n":123456789012345678901234567890,"d":{deep}}}}}"#);
        let request = Publishing {
            pubsub: Pubsub::new("shop").unwrap(),
            topic: Topic::new("orders").unwrap(),
            content_type: "application/cloudevents+json".into(),
            metadata: BTreeMap::new(),
            headers: BTreeMap::new(),
            body: body.into(),
            trace: Trace::default(),
            raw: false,
        };
        let now = ManualClock::default().now();
        let around = Surroundings { app_id: "app", fresh_id: String::new(), now };
        let text = String::from_utf8(envelope(&request, &around).unwrap()).unwrap();
        assert!(text.contains("123456789012345678901234567890") && text.contains(&deep));
    }

    #[test]
    fn a_time_to_live_becomes_an_expiration() {
        for (ttl, expiration) in [
            ("60", Some("2026-01-01T00:01:00Z")),
            ("0", None),
            ("-1", None),
            ("soon", None),
            ("9223372036854775807", None),
        ] {
            for ty in ["text/plain", "application/cloudevents+json"] {
                let event = made(ty, b"{}", &[("ttlInSeconds", ttl)]).unwrap();
                assert_eq!(event.get("expiration").and_then(Value::as_str), expiration, "{ttl}");
            }
        }
    }
}
