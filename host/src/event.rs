//! An event twice: as it came over the wire, and canonical, as components see it.

pub mod parse;
pub mod trace;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::trace::Trace;
use crate::name::{ContractName, EventKey, EventType, Pubsub, Topic};

/// An event as components see it: the attributes of a CloudEvent 1.0, in the contract's canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub id: String,
    pub source: String,
    #[serde(rename = "type")]
    pub ty: EventType,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// RFC 3339, always with a zone.
    pub time: String,
    /// JSON text.
    #[serde(with = "json_text")]
    pub data: String,
    /// The dialect that the event was decoded from, and in which its effects are published.
    pub contract: ContractName,
}

/// What daprd handed over, before any of it is understood. Kept with a parked or dead delivery,
/// so that it can be decoded again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireEvent {
    /// Exactly as received: the body of a single delivery, or one entry's `event` of a bulk.
    /// For an internal event its canonical JSON.
    pub bytes: Bytes,
    pub arrival: Arrival,
}

/// How an event came in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Arrival {
    pub origin: Origin,
    /// From the callback's headers, where there are any; the event's own attributes come after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
}

/// Where an event entered the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// From Dapr's pubsub.
    Topic(TopicOrigin),
    /// Made by the host, or published by a component under a type that has no topic.
    Internal,
}

impl Default for Origin {
    fn default() -> Self {
        Self::Topic(TopicOrigin::default())
    }
}

/// What a callback says about where its event comes from. Foreign producers may leave out any of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TopicOrigin {
    /// The ingress path, such as `/events/task-events`.
    pub path: String,
    /// The `pubsubName` header, or `pubsubname` of the bulk envelope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pubsub: Option<Pubsub>,
    /// `topic` of the bulk envelope or the `__topic` header; the CloudEvent's own attribute comes after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<Topic>,
    /// `<partition>/<offset>` from Kafka's `__partition` and `__offset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    /// Of a CloudEvent in binary mode: the record's `ce_*` headers, without the prefix, lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<(String, String)>,
}

/// A wire event that its contract understood.
#[derive(Debug, Clone)]
pub struct Decoded {
    pub event: Event,
    pub key: EventKey,
    /// `None` for an internal event.
    pub pubsub: Option<Pubsub>,
    pub topic: Option<Topic>,
    /// The type as on the wire; the canonical one for plain CloudEvents and internal events.
    pub wire_type: String,
    /// Position of the contract's `[[event]]` entry that decoded it; `None` for an internal event.
    pub entry: Option<usize>,
    /// What is published because of the event belongs to the same trace.
    pub trace: Option<Trace>,
    /// Differs from the entry's schema version within the same major one: counted and logged.
    pub version_mismatch: Option<(String, String)>,
}

mod json_text {
    //! Embeds JSON text as JSON, not as a string that holds it.

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de, ser};
    use serde_json::value::RawValue;

    pub fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(text).map_err(ser::Error::custom)?;
        raw.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer).map_err(de::Error::custom)?;
        Ok(raw.get().to_owned())
    }
}
