//! Bulk deliveries: one callback with many events, and a status for each in the answer. An entry
//! that is missing there would be sent again.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::future::join_all;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dispatch::answer::Answer;
use crate::dispatch::room::Share;
use crate::event::TopicOrigin;
use crate::ingress::reply::BulkReply;
use crate::ingress::{Ingress, attributes, raw};
use crate::name::{Pubsub, Topic};
use crate::telemetry::metrics;

/// daprd's bulk envelope.
#[derive(Deserialize)]
pub struct Envelope<'a> {
    pubsubname: Option<String>,
    topic: Option<String>,
    #[serde(borrow)]
    entries: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    entry_id: String,
    #[serde(borrow)]
    event: &'a RawValue,
    #[serde(default)]
    metadata: Option<HashMap<String, String>>,
}

/// The envelope, if it is one: daprd labels a bulk `application/json` and a single event
/// `application/cloudevents+json`.
pub fn envelope<'a>(headers: &HeaderMap, body: &'a Bytes) -> Option<Envelope<'a>> {
    is_labelled(headers).then(|| serde_json::from_slice(body).ok()).flatten()
}

fn is_labelled(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    content_type.is_some_and(|kind| kind.starts_with(b"application/json"))
}

/// How large a callback may be: each of its events as large as one may be.
pub fn most_bytes(ingress: &Ingress, headers: &HeaderMap, path: &str) -> usize {
    let catalog = ingress.registry.snapshot();
    let contracts = &catalog.contracts;
    let events = match is_labelled(headers) {
        true => contracts.most_events(path),
        false => 1,
    };
    let each = match contracts.is_raw(path) {
        true => raw::wrapped_size(ingress.max_body),
        false => ingress.max_body,
    };
    each.saturating_mul(usize::try_from(events).unwrap_or(usize::MAX))
}

/// Hands each entry on, in the order of the batch, as far as there is room; the rest comes again.
pub async fn receive(
    ingress: &Ingress,
    path: String,
    body: &Bytes,
    envelope: Envelope<'_>,
    share: &Arc<Share>,
) -> BulkReply {
    let origin = TopicOrigin {
        path,
        pubsub: envelope.pubsubname.as_deref().and_then(|name| Pubsub::new(name).ok()),
        topic: envelope.topic.as_deref().and_then(|name| Topic::new(name).ok()),
        ..TopicOrigin::default()
    };
    let room = share.events(envelope.entries.len());
    // Every entry takes its place in order before the first one is awaited.
    let entries = envelope.entries.iter().take(room);
    let answers = entries.map(|entry| {
        let (origin, bytes) = wire(body, entry, &origin);
        ingress.take(origin, None, bytes, share)
    });
    let answers: Vec<_> = answers.collect();
    let ids: Vec<_> = envelope.entries.into_iter().map(|entry| entry.entry_id).collect();
    let mut answers = join_all(answers).await;
    if room < ids.len() {
        answers.resize(ids.len(), ingress.turned_away(ids.len() - room, "events"));
    }
    BulkReply(ids.into_iter().zip(answers).collect())
}

/// daprd posts to `/` the entries that match no route of a subscription: nobody asked for them.
pub fn unrouted(ingress: &Ingress, envelope: &Envelope<'_>) -> BulkReply {
    let count = envelope.entries.len();
    ingress.metrics.count(metrics::UNROUTED, &[], u64::try_from(count).unwrap_or(u64::MAX));
    tracing::warn!(count, topic = envelope.topic, "entries without a route are acknowledged");
    let ids = envelope.entries.iter().map(|entry| entry.entry_id.clone());
    BulkReply(ids.map(|id| (id, Answer::Success)).collect())
}

fn wire(body: &Bytes, entry: &Entry<'_>, origin: &TopicOrigin) -> (TopicOrigin, Bytes) {
    let metadata = |name: &str| entry.metadata.as_ref()?.get(name);
    let position = metadata("__partition").zip(metadata("__offset"));
    let headers = entry.metadata.iter().flatten();
    let origin = TopicOrigin {
        position: position.map(|(partition, offset)| format!("{partition}/{offset}")),
        attributes: attributes::of(headers.map(|(name, value)| (name.as_str(), value.as_bytes()))),
        ..origin.clone()
    };
    (origin, payload(body, entry.event))
}

/// A CloudEvent stands as an object, and stays a slice of the body; a raw payload as a base64 string.
fn payload(body: &Bytes, event: &RawValue) -> Bytes {
    let raw = event.get();
    let text = raw.starts_with('"').then(|| serde_json::from_str::<String>(raw).ok()).flatten();
    let decoded = text.and_then(|text| STANDARD.decode(text).ok());
    decoded.map_or_else(|| body.slice_ref(raw.as_bytes()), Bytes::from)
}
