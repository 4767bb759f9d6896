//! The way out: a canonical event becomes the dialect's bytes, and is validated by the schema
//! that validates what comes in.

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{Contract, Entry, check_subject, subject};
use crate::effect::{OutgoingEvent, Publish};
use crate::event::{Event, Trace, parse};
use crate::name::{ContractName, EventType, Topic};

/// A publish in its contract's terms.
#[derive(Debug, Clone, PartialEq)]
pub enum Encoded {
    /// For the relay.
    Topic(OutgoingEvent),
    /// The contract names no topic for the type: a delivery that is due now.
    Internal(Event),
}

/// Why a publish has no place in a contract. The delivery that asked for it is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("contract `{contract}` is not active; add it to the configured contracts")]
    Inactive { contract: ContractName },
    #[error("the data of `{ty}` cannot be published: {reason}")]
    Data { ty: EventType, reason: String },
    #[error("`{ty}` breaks contract `{contract}`: {reason}")]
    Schema { contract: ContractName, ty: EventType, reason: String },
    #[error("`{ty}` cannot be written as contract `{contract}` wants it: {reason}")]
    Cast { contract: ContractName, ty: EventType, reason: String },
}

/// The first entry of the type encodes.
pub fn encode(
    contract: &Contract,
    publish: &Publish,
    source: &str,
    trace: Option<&Trace>,
) -> Result<Encoded, EncodeError> {
    let data = parse::json("the data", &publish.data)
        .map_err(|error| EncodeError::Data { ty: publish.ty.clone(), reason: error.to_string() })?;
    let event = canonical(contract, publish, source, &data);
    check_subject(&event).map_err(|reason| EncodeError::Data { ty: publish.ty.clone(), reason })?;
    let of_type = || contract.events.iter().filter(|entry| entry.ty == publish.ty);
    match of_type().find_map(|entry| Some((entry, entry.topic.as_ref()?))) {
        Some((entry, topic)) => wire(contract, entry, topic, event, data, trace),
        None => match of_type().find_map(|entry| entry.refusal(&data)) {
            Some(reason) => Err(broken(contract, publish.ty.clone(), reason)),
            None => Ok(Encoded::Internal(event)),
        },
    }
}

fn canonical(contract: &Contract, publish: &Publish, source: &str, data: &Value) -> Event {
    let mut event = Event {
        id: publish.id.clone(),
        source: source.to_owned(),
        ty: publish.ty.clone(),
        subject: publish.subject.clone(),
        time: publish.time.clone(),
        data: publish.data.clone(),
        contract: contract.name.clone(),
    };
    if event.subject.is_none() {
        event.subject = subject(contract, &event, data);
    }
    event
}

fn wire(
    contract: &Contract,
    entry: &Entry,
    topic: &Topic,
    event: Event,
    data: Value,
    trace: Option<&Trace>,
) -> Result<Encoded, EncodeError> {
    let mut attributes = envelope(entry, &event, trace);
    let payload = entry.payload(&event, data, &mut attributes).map_err(|reason| {
        EncodeError::Cast { contract: contract.name.clone(), ty: event.ty.clone(), reason }
    })?;
    let refusal = contract.envelope_refusal(&mut attributes).or_else(|| entry.refusal(&payload));
    if let Some(reason) = refusal {
        return Err(broken(contract, event.ty, reason));
    }
    let text = if entry.is_plain() { event.data } else { payload.to_string() };
    let payload = joined(attributes, text)
        .map_err(|error| EncodeError::Data { ty: event.ty, reason: error.to_string() })?;
    Ok(Encoded::Topic(OutgoingEvent {
        pubsub: contract.pubsub.clone(),
        topic: topic.clone(),
        id: event.id,
        content_type: "application/cloudevents+json".to_owned(),
        payload,
        partition_key: event.subject,
    }))
}

fn envelope(entry: &Entry, event: &Event, trace: Option<&Trace>) -> Map<String, Value> {
    let mut attributes = Map::new();
    let mut set = |name: &str, value: &str| {
        attributes.insert(name.to_owned(), json!(value));
    };
    set("specversion", "1.0");
    set("id", &event.id);
    set("source", &event.source);
    set("type", entry.wire_type.as_deref().unwrap_or(parse::DAPR_WRAPPED));
    set("time", &event.time);
    set("datacontenttype", "application/json");
    if let Some(subject) = &event.subject {
        set("subject", subject);
    }
    if let Some(trace) = trace {
        // `traceid` is Dapr's own name for it: without one, daprd would begin a trace of its own.
        set("traceid", &trace.parent);
        set("traceparent", &trace.parent);
        set("tracestate", trace.state.as_deref().unwrap_or_default());
    }
    attributes
}

/// The data goes out as the guest wrote it: a number beyond 2^53 keeps its digits.
fn joined(attributes: Map<String, Value>, data: String) -> serde_json::Result<Bytes> {
    #[derive(serde::Serialize)]
    struct CloudEvent {
        #[serde(flatten)]
        attributes: Map<String, Value>,
        data: Box<RawValue>,
    }
    let event = CloudEvent { attributes, data: RawValue::from_string(data)? };
    serde_json::to_vec(&event).map(Bytes::from)
}

impl Entry {
    /// Whether data is canonical as it is.
    fn is_plain(&self) -> bool {
        self.table.is_none() && self.when.is_empty() && self.version.is_none()
    }

    fn payload(
        &self,
        event: &Event,
        data: Value,
        attributes: &mut Map<String, Value>,
    ) -> Result<Value, String> {
        let mut payload = match &self.table {
            None => data,
            Some(table) => table.encode(whole(event, data), attributes)?,
        };
        for known in &self.when {
            known.write(&mut payload)?;
        }
        if let Some(rule) = &self.version {
            rule.wire.take(&mut payload);
            if !rule.wire.put(&mut payload, json!(rule.is.to_string())) {
                return Err(format!("`{}` has no room for the version {}", rule.wire, rule.is));
            }
        }
        Ok(payload)
    }
}

fn whole(event: &Event, data: Value) -> Value {
    let mut whole = Map::from_iter([("data".to_owned(), data)]);
    let mut set = |name: &str, value: &str| {
        whole.insert(name.to_owned(), json!(value));
    };
    set("id", &event.id);
    set("source", &event.source);
    set("time", &event.time);
    if let Some(subject) = &event.subject {
        set("subject", subject);
    }
    Value::Object(whole)
}

fn broken(contract: &Contract, ty: EventType, reason: String) -> EncodeError {
    EncodeError::Schema { contract: contract.name.clone(), ty, reason }
}
