//! Publishing: what the Dapr API and the host's own relay hand over becomes a message.

mod envelope;

use std::collections::BTreeMap;

use bytes::Bytes;

use self::envelope::{Surroundings, envelope};
use super::{Embedded, NewMessage, fresh_id};
use crate::backend::BackendError;
use crate::effect::OutgoingEvent;
use crate::name::{Pubsub, Topic};

pub use self::envelope::is_type;

/// daprd's `--max-body-size` unless told otherwise.
pub const MAX_BODY: usize = 4 << 20;

/// One publish as Dapr's API understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publishing {
    pub pubsub: Pubsub,
    pub topic: Topic,
    /// As given; empty when there was none.
    pub content_type: String,
    /// What shapes the envelope.
    pub metadata: BTreeMap<String, String>,
    /// What goes with the message, and becomes headers of its delivery.
    pub headers: BTreeMap<String, String>,
    pub body: Bytes,
    pub trace: Trace,
    /// Stored as it is, without an envelope.
    pub raw: bool,
}

/// The trace of a publish, as `traceparent` and `tracestate` say it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trace {
    pub parent: String,
    pub state: String,
}

impl Trace {
    /// A new span: of the caller's trace, or of a new trace that nobody records.
    pub fn child_of(parent: &str, state: &str) -> Self {
        let fresh = || fresh_id().replace('-', "");
        let span: String = fresh().chars().take(16).collect();
        match trace_id(parent) {
            Some(trace) => {
                let flags = parent.rsplit('-').next().unwrap_or("00");
                Self { parent: format!("00-{trace}-{span}-{flags}"), state: state.to_owned() }
            }
            None => Self { parent: format!("00-{}-{span}-00", fresh()), state: String::new() },
        }
    }
}

/// The trace id of a well-formed `traceparent` (W3C Trace Context, version 00), unless it says
/// nothing.
pub fn trace_id(parent: &str) -> Option<&str> {
    let mut parts = parent.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let (span, flags) = (parts.next()?, parts.next()?);
    let hex = |text: &str, length: usize| {
        text.len() == length
            && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let says_something = |text: &str| text.bytes().any(|byte| byte != b'0');
    let valid = version == "00"
        && hex(trace, 32)
        && hex(span, 16)
        && hex(flags, 2)
        && says_something(trace)
        && says_something(span)
        && parts.next().is_none();
    valid.then_some(trace)
}

impl Embedded {
    /// The message to store; `None` if the body claims to be a CloudEvent and is not one.
    pub(super) fn message(&self, request: Publishing) -> Option<NewMessage> {
        let body = if request.raw {
            request.body.clone()
        } else {
            let around = Surroundings {
                app_id: &self.0.app_id,
                fresh_id: fresh_id(),
                now: self.0.clock.now(),
            };
            envelope(&request, &around)?.into()
        };
        let Publishing { pubsub, topic, headers, .. } = request;
        let key = headers.get("partitionKey").or_else(|| headers.get("__key")).cloned();
        Some(NewMessage { pubsub, topic, key, metadata: headers.into_iter().collect(), body })
    }

    fn outgoing(&self, event: OutgoingEvent) -> Result<NewMessage, BackendError> {
        let OutgoingEvent { pubsub, topic, id, content_type, payload, partition_key } = event;
        if !self.0.pubsubs.contains(&pubsub) {
            return Err(BackendError::Refused(format!("pubsub {pubsub} is not found")));
        }
        if payload.len() > MAX_BODY {
            let size = payload.len();
            return Err(BackendError::Refused(format!(
                "an event of {size} bytes for topic {topic} is larger than {MAX_BODY}"
            )));
        }
        let request = Publishing {
            pubsub,
            topic: topic.clone(),
            content_type,
            metadata: BTreeMap::from([("cloudevent.id".to_owned(), id)]),
            headers: partition_key
                .map(|key| ("partitionKey".to_owned(), key))
                .into_iter()
                .collect(),
            body: payload,
            trace: Trace::default(),
            raw: false,
        };
        self.message(request).ok_or_else(|| {
            BackendError::Refused(format!("an event for topic {topic} is not a JSON CloudEvent"))
        })
    }

    pub(super) async fn publish_outgoing(
        &self,
        batch: Vec<OutgoingEvent>,
    ) -> Vec<Result<(), BackendError>> {
        let mut messages = Vec::new();
        let mut results = Vec::new();
        for event in batch {
            results.push(self.outgoing(event).map(|message| messages.push(message)));
        }
        if messages.is_empty() {
            return results;
        }
        if let Err(error) = self.0.store.append(messages).await {
            let unavailable = BackendError::from(error);
            for result in results.iter_mut().filter(|result| result.is_ok()) {
                *result = Err(unavailable.clone());
            }
        }
        results
    }
}
