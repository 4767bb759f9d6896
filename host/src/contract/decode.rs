//! The way in: finds the contract and entry of a wire event, validates what came, and makes the
//! canonical event of it. What cannot be read says why, in words for whoever sent it.

mod canonical;
mod place;

use serde_json::{Map, Value};

use self::canonical::Match;
pub use self::canonical::{check_subject, subject};
use self::place::Place;
use super::{Contract, Contracts, Entry, split_type};
use crate::event::parse::{Form, Parsed, attribute_name, json, parse, readable};
use crate::event::{Decoded, Event, Origin, TopicOrigin, Trace, WireEvent};
use crate::name::{ContractName, EventKey, Pubsub, Topic};

/// What became of a wire event.
#[derive(Debug)]
pub enum Decode {
    Event(Box<Decoded>),
    /// No active contract knows the type: counted and acknowledged.
    Unknown {
        pubsub: Option<Pubsub>,
        topic: Option<Topic>,
        wire_type: String,
    },
    Unreadable(Unreadable),
}

/// An event that is kept as dead under component `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Lower case; names the attribute or field, its value cut short, and what is expected.
    pub reason: String,
    pub kind: UnreadableKind,
    /// From pubsub, topic and position; from the bytes when there is no position.
    pub key: EventKey,
    /// The contract of the topic, when one was found.
    pub contract: Option<ContractName>,
    pub pubsub: Option<Pubsub>,
    pub topic: Option<Topic>,
    /// Empty when it could not be read.
    pub event_id: String,
    /// As on the wire; empty when it could not be read.
    pub event_type: String,
}

/// Why an event is unreadable, for metrics and the log: none of it is the sender's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnreadableKind {
    /// Not JSON, or not a CloudEvent.
    Parse,
    /// Its envelope or payload breaks the contract's schema; the version is the entry's.
    Schema { version: String },
    /// A known type with another major version.
    Version { expected: String, actual: String },
    /// A type that the contract claims and does not have, or not on this topic.
    Type,
}

impl UnreadableKind {
    /// In a few words that a log may have.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Parse => "no JSON, or no CloudEvent",
            Self::Schema { .. } => "breaks the schema",
            Self::Version { .. } => "another major version",
            Self::Type => "a type that does not belong there",
        }
    }
}

struct Refusal {
    reason: String,
    kind: UnreadableKind,
}

pub fn decode(contracts: &Contracts, wire: &WireEvent) -> Decode {
    match &wire.arrival.origin {
        Origin::Topic(origin) => {
            let mut decode = from_topic(contracts, &wire.bytes, origin);
            if let (Decode::Event(decoded), Some(trace)) = (&mut decode, &wire.arrival.trace) {
                decoded.trace = Some(trace.clone());
            }
            decode
        }
        Origin::Internal => internal(&wire.bytes, wire.arrival.trace.clone()),
    }
}

fn from_topic(contracts: &Contracts, bytes: &[u8], origin: &TopicOrigin) -> Decode {
    let mut parsed = parse(bytes, &origin.attributes);
    let place = Place::find(contracts, origin, parsed.as_ref().ok());
    let refusal = match &mut parsed {
        Ok(parsed) => match understand(&place, origin, bytes, parsed) {
            Ok(decode) => return decode,
            Err(refusal) => refusal,
        },
        Err(error) => Refusal { reason: error.to_string(), kind: UnreadableKind::Parse },
    };
    let attribute = |name| match &parsed {
        Ok(parsed) => parsed.attribute(name).map(str::to_owned),
        Err(_) => readable(bytes, &origin.attributes, name),
    };
    Decode::Unreadable(Unreadable {
        event_id: attribute("id").unwrap_or_default(),
        event_type: attribute("type").unwrap_or_default(),
        ..unreadable(place, refusal, origin, bytes)
    })
}

/// Turns an event away unread, for a reason that the caller knows.
pub fn refuse(
    contracts: &Contracts,
    origin: &TopicOrigin,
    bytes: &[u8],
    reason: String,
) -> Unreadable {
    let refusal = Refusal { reason, kind: UnreadableKind::Parse };
    unreadable(Place::find(contracts, origin, None), refusal, origin, bytes)
}

fn unreadable(
    place: Place<'_>,
    refusal: Refusal,
    origin: &TopicOrigin,
    bytes: &[u8],
) -> Unreadable {
    Unreadable {
        reason: refusal.reason,
        kind: refusal.kind,
        key: place.key(origin, bytes),
        contract: place.contracts.first().map(|contract| contract.name.clone()),
        event_id: String::new(),
        event_type: String::new(),
        pubsub: place.pubsub,
        topic: place.topic,
    }
}

/// Canonical JSON that the host wrote itself.
fn internal(bytes: &[u8], trace: Option<Trace>) -> Decode {
    match serde_json::from_slice::<Event>(bytes) {
        Ok(event) => Decode::Event(Box::new(Decoded {
            key: EventKey::of(&[event.source.as_bytes(), event.id.as_bytes()]),
            wire_type: event.ty.as_str().to_owned(),
            event,
            pubsub: None,
            topic: None,
            entry: None,
            trace,
            version_mismatch: None,
        })),
        Err(error) => Decode::Unreadable(Unreadable {
            reason: format!("the internal event is not canonical JSON: {error}"),
            kind: UnreadableKind::Parse,
            key: EventKey::of(&[bytes]),
            contract: None,
            pubsub: None,
            topic: None,
            event_id: String::new(),
            event_type: String::new(),
        }),
    }
}

/// Leaves the attributes of `parsed` as they are when it refuses.
fn understand(
    place: &Place<'_>,
    origin: &TopicOrigin,
    bytes: &[u8],
    parsed: &mut Parsed<'_>,
) -> Result<Decode, Refusal> {
    let allowed = |contract: &&&Contract| contract.bare || parsed.form == Form::CloudEvent;
    let contracts: Vec<&Contract> = place.contracts.iter().filter(allowed).copied().collect();
    if contracts.is_empty() && parsed.form == Form::Bare {
        return Err(Refusal::parse(
            "attribute `specversion` is missing; expected a CloudEvent 1.0",
        ));
    }
    let on_topic = |entry: &Entry| entry.topic.is_some() && entry.topic == place.topic;
    let mut payload = None;
    if contracts.iter().any(|contract| contract.reads_payload()) {
        payload = Some(payload_of(parsed)?);
    }
    let ty = parsed.attribute("type");
    let found = contracts.iter().find_map(|contract| {
        let mut entries = contract.events.iter().enumerate();
        let (index, entry) =
            entries.find(|(_, entry)| on_topic(entry) && entry.takes(ty, payload.as_ref()))?;
        Some(Match { contract, index, entry })
    });
    let Some(found) = found else {
        return unknown(place, &contracts, ty.unwrap_or_default(), payload.as_ref());
    };
    let payload = match payload {
        Some(payload) => payload,
        None => payload_of(parsed)?,
    };
    found.read(place, || place.id(origin, bytes), parsed, payload)
}

/// The payload as JSON all the way down.
fn payload_of(parsed: &Parsed<'_>) -> Result<Value, Refusal> {
    json("`data`", &parsed.payload).map_err(|error| Refusal::parse(error.to_string()))
}

/// A type that no entry of the topic takes: someone else's, unless a contract claims it.
fn unknown(
    place: &Place<'_>,
    contracts: &[&Contract],
    ty: &str,
    payload: Option<&Value>,
) -> Result<Decode, Refusal> {
    let named = contracts.iter().find_map(|contract| contract.type_in(payload)).unwrap_or(ty);
    match contracts.iter().find_map(|contract| contract.misfit(named)) {
        Some(refusal) => Err(refusal),
        None => Ok(Decode::Unknown {
            pubsub: place.pubsub.clone(),
            topic: place.topic.clone(),
            wire_type: named.to_owned(),
        }),
    }
}

impl Contract {
    fn reads_payload(&self) -> bool {
        self.type_at.is_some() || self.events.iter().any(|entry| !entry.when.is_empty())
    }

    fn type_in<'v>(&self, payload: Option<&'v Value>) -> Option<&'v str> {
        self.type_at.as_ref()?.get(payload?)?.as_str()
    }

    /// Why a type that no entry takes is nevertheless not someone else's.
    fn misfit(&self, ty: &str) -> Option<Refusal> {
        if let Some(refusal) = self.other_version(ty) {
            return Some(refusal);
        }
        let elsewhere = self.events.iter().find(|e| e.wire_type.as_deref() == Some(ty));
        let reason = match (elsewhere.map(|entry| &entry.topic), &self.types) {
            (Some(Some(topic)), _) => format!("type `{ty}` belongs on topic `{topic}`"),
            (Some(None), _) => format!("type `{ty}` is internal; no topic carries it"),
            (None, Some(types)) if ty.starts_with(types.prefix()) && !types.matches(ty) => {
                format!("type `{ty}` is not of the form `{}`", types.as_str())
            }
            (None, _) if self.strict => {
                format!("type `{ty}` is unknown, and contract `{}` is strict", self.name)
            }
            (None, _) => return None,
        };
        Some(Refusal { reason, kind: UnreadableKind::Type })
    }

    /// A type that the contract knows with another major version only.
    fn other_version(&self, ty: &str) -> Option<Refusal> {
        let (base, actual) = split_type(ty)?;
        let known = self.events.iter().filter_map(|entry| split_type(entry.wire_type.as_deref()?));
        let majors: Vec<_> =
            known.filter(|(other, _)| *other == base).map(|(_, major)| major).collect();
        let expected = (*majors.first()?).to_owned();
        if majors.contains(&actual) {
            return None;
        }
        let name = &self.name;
        let reason = format!(
            "type `{ty}` has major version {actual}; contract `{name}` knows version {expected}"
        );
        let actual = actual.to_owned();
        Some(Refusal { reason, kind: UnreadableKind::Version { expected, actual } })
    }

    /// Whether the envelope breaks the contract's schema for it.
    pub(super) fn envelope_refusal(&self, attributes: &mut Map<String, Value>) -> Option<String> {
        let schema = self.envelope.as_ref()?;
        let value = Value::Object(std::mem::take(attributes));
        let refusal = schema.refusal(&value, attribute_name);
        if let Value::Object(back) = value {
            *attributes = back;
        }
        refusal
    }
}

impl Entry {
    fn takes(&self, ty: Option<&str>, payload: Option<&Value>) -> bool {
        let is_type = self.wire_type.is_none() || self.wire_type.as_deref() == ty;
        is_type && self.when.iter().all(|known| payload.is_some_and(|payload| known.holds(payload)))
    }
}

impl Refusal {
    fn parse(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), kind: UnreadableKind::Parse }
    }
}
