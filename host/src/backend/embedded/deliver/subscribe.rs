//! Reads an app's answer to `GET /dapr/subscribe`, in both of Dapr's shapes.

use std::collections::BTreeMap;

use axum::http::Uri;
use serde::Deserialize;

use crate::name::{Pubsub, Topic};

/// When the app does not say, as daprd for brokers without a default of their own.
const MAX: u32 = 100;

/// One topic that the app wants, and where it wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pub pubsub: Pubsub,
    pub topic: Topic,
    pub path: String,
    pub mode: Mode,
    /// The topic's messages are not CloudEvents: each is put into a new one.
    pub raw: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Single,
    /// At most so many events in a request.
    Bulk {
        max: u32,
    },
}

/// What can be subscribed, and what is wrong with the rest.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub subscriptions: Vec<Subscription>,
    pub complaints: Vec<String>,
}

/// One subscription for each pubsub and topic: a later one replaces an earlier one.
pub fn read(status: u16, body: &[u8]) -> Wanted {
    let mut wanted = Wanted::default();
    match status {
        200 if body.iter().all(u8::is_ascii_whitespace) => {}
        200 => match serde_json::from_slice::<Option<Vec<Item>>>(body) {
            Ok(items) => items.into_iter().flatten().for_each(|item| wanted.add(item)),
            Err(error) => {
                wanted.complaints.push(format!("the app's subscriptions cannot be read: {error}"));
            }
        },
        404 => {}
        other => wanted
            .complaints
            .push(format!("the app answered {other} to /dapr/subscribe; it gets no events")),
    }
    wanted
}

impl Wanted {
    fn add(&mut self, item: Item) {
        let topic = item.topic.clone();
        match subscription(item) {
            Ok(new) => {
                let same = |old: &Subscription| old.pubsub == new.pubsub && old.topic == new.topic;
                self.subscriptions.retain(|old| !same(old));
                self.subscriptions.push(new);
            }
            Err(why) => self.complaints.push(format!("topic `{topic}` is not subscribed: {why}")),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Item {
    pubsubname: String,
    topic: String,
    #[serde(rename = "deadLetterTopic")]
    dead_letter_topic: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
    route: Option<String>,
    routes: Option<Routes>,
    #[serde(rename = "bulkSubscribe")]
    bulk_subscribe: Option<BulkSubscribe>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Routes {
    rules: Option<Vec<Rule>>,
    default: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rule {
    #[serde(rename = "match")]
    condition: String,
    path: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BulkSubscribe {
    enabled: bool,
    #[serde(rename = "maxMessagesCount")]
    max: i32,
}

fn subscription(item: Item) -> Result<Subscription, String> {
    if item.dead_letter_topic.is_some_and(|topic| !topic.is_empty()) {
        return Err("the embedded dapr has no dead-letter topics; leave out deadLetterTopic".into());
    }
    let raw = match item.metadata.as_ref().and_then(|metadata| metadata.get("rawPayload")) {
        Some(text) => boolean(text).ok_or_else(|| format!("rawPayload is `{text}`; use true"))?,
        None => false,
    };
    let mode = match item.bulk_subscribe {
        Some(BulkSubscribe { enabled: true, max }) => {
            Mode::Bulk { max: u32::try_from(max).ok().filter(|max| *max > 0).unwrap_or(MAX) }
        }
        Some(_) | None => Mode::Single,
    };
    Ok(Subscription {
        path: path(item.route, item.routes.unwrap_or_default())?,
        pubsub: Pubsub::new(item.pubsubname).map_err(|error| error.to_string())?,
        topic: Topic::new(item.topic).map_err(|error| error.to_string())?,
        mode,
        raw,
    })
}

/// The first rule without a condition wins; then `default`, then `route`.
fn path(route: Option<String>, routes: Routes) -> Result<String, String> {
    let mut paths = routes.rules.unwrap_or_default().into_iter();
    let path = match paths.next() {
        Some(rule) if rule.condition.is_empty() => Some(rule.path),
        Some(_) => return Err("the embedded dapr has no routing rules; use one route".into()),
        None => routes.default.filter(|path| !path.is_empty()).or(route),
    };
    let path = path.filter(|path| !path.is_empty()).ok_or("it has no route")?;
    let path = if path.starts_with('/') { path } else { format!("/{path}") };
    match path.parse::<Uri>() {
        Ok(_) => Ok(path),
        Err(error) => Err(format!("its route `{path}` is not a path: {error}")),
    }
}

/// What Go reads as a boolean.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn item(extra: &Value) -> String {
        let mut item = json!({ "pubsubname": "shop", "topic": "orders" });
        item.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!([item]).to_string()
    }

    #[test]
    fn both_shapes_are_read() {
        for (extra, path, mode, raw) in [
            (json!({ "route": "/a" }), "/a", Mode::Single, false),
            (
                json!({ "route": "a/b", "routes": null, "metadata": null }),
                "/a/b",
                Mode::Single,
                false,
            ),
            (json!({ "route": "/a", "routes": { "default": "/b" } }), "/b", Mode::Single, false),
            (
                json!({ "routes": { "rules": [{ "match": "", "path": "/r" }], "default": "/b" } }),
                "/r",
                Mode::Single,
                false,
            ),
            (
                json!({ "route": "/a", "bulkSubscribe": { "enabled": true, "maxMessagesCount": 7 } }),
                "/a",
                Mode::Bulk { max: 7 },
                false,
            ),
            (
                json!({ "route": "/a", "bulkSubscribe": { "enabled": true }, "metadata": { "rawPayload": "true" } }),
                "/a",
                Mode::Bulk { max: 100 },
                true,
            ),
        ] {
            let wanted = read(200, item(&extra).as_bytes());
            let [got] = wanted.subscriptions.as_slice() else { panic!("{extra}: {wanted:?}") };
            assert_eq!((got.path.as_str(), got.mode, got.raw), (path, mode, raw), "{extra}");
        }
    }

    #[test]
    fn what_cannot_be_subscribed_is_said() {
        for (status, body) in [
            (500, String::new()),
            (200, "{}".into()),
            (200, item(&json!({}))),
            (200, item(&json!({ "topic": "", "route": "/a" }))),
            (
                200,
                item(
                    &json!({ "routes": { "rules": [{ "match": "event.type == 'x'", "path": "/r" }] } }),
                ),
            ),
            (200, item(&json!({ "route": "/a", "deadLetterTopic": "dead" }))),
            (200, item(&json!({ "route": "/a b" }))),
        ] {
            let wanted = read(status, body.as_bytes());
            assert_eq!((wanted.subscriptions.len(), wanted.complaints.len()), (0, 1), "{body}");
        }
        for (status, body) in [(404, ""), (200, ""), (200, "null"), (200, "[]")] {
            assert_eq!(read(status, body.as_bytes()), Wanted::default(), "{status} {body}");
        }
    }

    #[test]
    fn a_topic_is_subscribed_once() {
        let body = json!([
            { "pubsubname": "shop", "topic": "orders", "route": "/first" },
            { "pubsubname": "shop", "topic": "bills", "route": "/bills" },
            { "pubsubname": "shop", "topic": "orders", "route": "/second" },
        ]);
        let wanted = read(200, body.to_string().as_bytes());
        let paths: Vec<_> = wanted.subscriptions.iter().map(|one| one.path.as_str()).collect();
        assert_eq!(paths, ["/bills", "/second"]);
    }
}
