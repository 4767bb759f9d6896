//! The requests that daprd would send for stored messages: a single event goes out byte for byte,
//! a bulk is marshalled anew.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::DateTime;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{PARTITIONS, Post, StoredMessage, Subscription, Verdict};
use crate::backend::embedded::{fresh_id, remarshal, trace_id};
use crate::clock::Timestamp;

const CLOUD_EVENT: &str = "application/cloudevents+json";

const UNREADABLE: &str = "not a CloudEvent, and the subscription is not rawPayload";

/// The attributes of a stored event that delivery looks at.
type Attributes = BTreeMap<String, Box<RawValue>>;

/// One event: a request, or what is known without asking the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Single {
    Post(Post),
    Settled(Verdict),
}

impl Single {
    pub fn new(subscription: &Subscription, message: &StoredMessage, now: Timestamp) -> Self {
        let (attributes, body) = if subscription.raw {
            (Attributes::new(), raw_event(subscription, &message.body))
        } else {
            match readable(&message.body, now) {
                Ok(attributes) => (attributes, message.body.clone()),
                Err(verdict) => return Self::Settled(verdict),
            }
        };
        // Headers differ in case from metadata: the last one wins.
        let mut metadata: Vec<_> = metadata(subscription, message).into_iter().collect();
        metadata.push(("pubsubName".into(), subscription.pubsub.to_string()));
        Self::Post(Post {
            content_type: CLOUD_EVENT,
            metadata,
            traceparent: traceparent(&attributes),
            tracestate: string(&attributes, "tracestate").filter(|state| !state.is_empty()),
            body,
        })
    }
}

/// A batch of events on its way, and what became of each.
pub struct Bulk {
    id: String,
    entries: Vec<Entry>,
}

struct Entry {
    id: String,
    partition: u8,
    sequence: i64,
    metadata: BTreeMap<String, String>,
    traceparent: Option<String>,
    /// `None` when there is nothing to send.
    event: Option<Box<RawValue>>,
    /// `None` before the first answer.
    verdict: Option<Verdict>,
}

impl Bulk {
    pub fn new(subscription: &Subscription, messages: Vec<StoredMessage>, now: Timestamp) -> Self {
        let entries = messages.into_iter().enumerate();
        let entries = entries.map(|(n, message)| Entry::new(n, subscription, &message, now));
        let mut entries: Vec<_> = entries.collect();
        // daprd forgets what it could not read as soon as it reads another entry: only the last
        // one fails the bulk.
        if entries.last().is_some_and(|last| !last.is_unreadable()) {
            for entry in entries.iter_mut().filter(|entry| entry.is_unreadable()) {
                entry.verdict = Some(Verdict::Drop(UNREADABLE.into()));
            }
        }
        Self { id: fresh_id(), entries }
    }

    /// What is known without asking the app.
    pub fn settled(&self) -> impl Iterator<Item = &Verdict> {
        self.entries.iter().filter(|entry| entry.is_settled()).filter_map(|e| e.verdict.as_ref())
    }

    /// The request for all that is not settled, with its entries' ids; `None` if nothing is left.
    pub fn post(&self, subscription: &Subscription) -> Option<(Vec<String>, Post)> {
        let left: Vec<&Entry> = self
            .entries
            .iter()
            .filter(|entry| !entry.is_settled() && entry.event.is_some())
            .collect();
        let content_type = if subscription.raw { "application/octet-stream" } else { CLOUD_EVENT };
        let pubsub = subscription.pubsub.as_str();
        let body = serde_json::to_vec(&Envelope {
            id: &self.id,
            ty: "com.dapr.event.sent.bulk",
            topic: subscription.topic.as_str(),
            pubsubname: pubsub,
            metadata: BTreeMap::from([("pubsubName", pubsub)]),
            entries: left.iter().map(|entry| entry.wire(content_type)).collect(),
        });
        let ids: Vec<String> = left.iter().map(|entry| entry.id.clone()).collect();
        let post = Post {
            content_type: "application/json",
            metadata: vec![("pubsubName".into(), pubsub.into())],
            traceparent: left.iter().rev().find_map(|entry| entry.traceparent.clone()),
            tracestate: None,
            body: body.ok()?.into(),
        };
        (!ids.is_empty()).then_some((ids, post))
    }

    pub fn settle(&mut self, id: &str, verdict: Verdict) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) {
            entry.verdict = Some(verdict);
        }
    }

    /// How far each partition may be acknowledged. Once all is settled, nothing of the topic is
    /// left up to the last entry, in any partition.
    pub fn positions(&self) -> Vec<(u8, i64)> {
        if self.failed().is_none() {
            let last = self.entries.iter().map(|entry| entry.sequence).max();
            return last.map_or(Vec::new(), |last| (0..PARTITIONS).map(|p| (p, last)).collect());
        }
        (0..PARTITIONS)
            .filter_map(|partition| {
                let of_partition = self.entries.iter().filter(|entry| entry.partition == partition);
                let settled = of_partition.take_while(|entry| entry.is_settled());
                settled.last().map(|entry| (partition, entry.sequence))
            })
            .collect()
    }

    /// Where all that is left cannot be read, the whole bulk comes again, as from Kafka's component.
    pub fn begin_again(&mut self) {
        if self.entries.iter().all(|entry| entry.is_settled() || entry.is_unreadable()) {
            self.id = fresh_id();
            for entry in self.entries.iter_mut().filter(|entry| entry.event.is_some()) {
                entry.verdict = None;
            }
        }
    }

    /// How many entries must be sent again, and why the first of them.
    pub fn failed(&self) -> Option<(usize, &str)> {
        let failed: Vec<_> = self.entries.iter().filter(|entry| !entry.is_settled()).collect();
        let reason = match failed.first()?.verdict.as_ref() {
            Some(Verdict::Retry(reason)) => reason,
            Some(Verdict::Acknowledge | Verdict::Drop(_)) | None => "no answer",
        };
        Some((failed.len(), reason))
    }
}

impl Entry {
    fn new(n: usize, subscription: &Subscription, message: &StoredMessage, now: Timestamp) -> Self {
        let mut entry = Self {
            id: n.to_string(),
            partition: message.partition,
            sequence: message.sequence,
            metadata: metadata(subscription, message),
            traceparent: None,
            event: None,
            verdict: None,
        };
        if subscription.raw {
            entry.event = to_raw_value(&STANDARD.encode(&message.body)).ok();
            return entry;
        }
        match readable(&message.body, now) {
            Ok(attributes) => {
                entry.traceparent = traceparent(&attributes);
                entry.event = remarshal(&message.body);
                if entry.event.is_none() {
                    entry.verdict = Some(Verdict::Retry(UNREADABLE.into()));
                }
            }
            Err(verdict) => entry.verdict = Some(verdict),
        }
        entry
    }

    fn is_settled(&self) -> bool {
        matches!(self.verdict, Some(Verdict::Acknowledge | Verdict::Drop(_)))
    }

    /// Neither settled nor anything that could be sent.
    fn is_unreadable(&self) -> bool {
        !self.is_settled() && self.event.is_none()
    }

    fn wire<'a>(&'a self, content_type: &'a str) -> WireEntry<'a> {
        WireEntry {
            entry_id: &self.id,
            event: self.event.as_deref(),
            metadata: &self.metadata,
            content_type,
        }
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    ty: &'a str,
    topic: &'a str,
    pubsubname: &'a str,
    metadata: BTreeMap<&'a str, &'a str>,
    entries: Vec<WireEntry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireEntry<'a> {
    entry_id: &'a str,
    event: Option<&'a RawValue>,
    metadata: &'a BTreeMap<String, String>,
    content_type: &'a str,
}

/// What Kafka tells of a record; its own headers come last, and win.
fn metadata(subscription: &Subscription, message: &StoredMessage) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::from([
        ("__topic".to_owned(), subscription.topic.to_string()),
        ("__partition".to_owned(), message.partition.to_string()),
        ("__offset".to_owned(), message.sequence.to_string()),
        ("__timestamp".to_owned(), message.time.timestamp_millis().to_string()),
    ]);
    metadata.extend(message.key.clone().map(|key| ("__key".to_owned(), key)));
    metadata.extend(message.metadata.iter().cloned());
    metadata
}

/// The event's attributes, unless it is settled without the app. What is not a JSON object is
/// tried again for ever, as behind daprd; in bulk only where it is the last.
fn readable(body: &[u8], now: Timestamp) -> Result<Attributes, Verdict> {
    let attributes: Attributes = serde_json::from_slice(body)
        .map_err(|error| Verdict::Retry(format!("{UNREADABLE}: {error}")))?;
    let expiration = string(&attributes, "expiration");
    let expiration = expiration.and_then(|text| DateTime::parse_from_rfc3339(&text).ok());
    match expiration {
        Some(at) if at < now => Err(Verdict::Drop("the event has expired".into())),
        Some(_) | None => Ok(attributes),
    }
}

/// Only one that is well formed and says something: it may be all zero.
fn traceparent(attributes: &Attributes) -> Option<String> {
    let parent = string(attributes, "traceparent").or_else(|| string(attributes, "traceid"))?;
    trace_id(&parent).is_some().then_some(parent)
}

fn string(attributes: &Attributes, name: &str) -> Option<String> {
    serde_json::from_str(attributes.get(name)?.get()).ok()
}

/// A CloudEvent around bytes that are none. Its id is new each time.
fn raw_event(subscription: &Subscription, body: &[u8]) -> Bytes {
    let event = serde_json::json!({
        "id": fresh_id(),
        "specversion": "1.0",
        "type": "com.dapr.event.sent",
        "source": "Dapr",
        "datacontenttype": "application/octet-stream",
        "topic": subscription.topic,
        "pubsubname": subscription.pubsub,
        "data_base64": STANDARD.encode(body),
    });
    event.to_string().into()
}
