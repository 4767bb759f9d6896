//! The way in: finds the contract and entry of a wire event, validates what came, and makes the
//! canonical event of it. What cannot be read says why, in words for whoever sent it.

use chrono::DateTime;
use serde_json::{Map, Value};

use super::{
    Contract, Contracts, Entry, Pointer, SchemaVersion, TopicRules, VersionRule, split_type,
};
use crate::event::parse::{Form, Parsed, attribute_name, data_name, json, parse, shown};
use crate::event::{Decoded, Event, Origin, TopicOrigin, WireEvent};
use crate::name::{ContractName, EventKey, Pubsub, Topic, derived_id};

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
    /// Empty when the envelope could not be read.
    pub event_id: String,
    /// As on the wire; empty when the envelope could not be read.
    pub event_type: String,
}

/// Why an event is unreadable, for metrics.
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

struct Refusal {
    reason: String,
    kind: UnreadableKind,
}

pub fn decode(contracts: &Contracts, wire: &WireEvent) -> Decode {
    match &wire.arrival.origin {
        Origin::Topic(origin) => from_topic(contracts, &wire.bytes, origin),
        Origin::Internal => internal(&wire.bytes),
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
    let attribute = |name| parsed.as_ref().ok().and_then(|parsed| parsed.attribute(name));
    Decode::Unreadable(Unreadable {
        reason: refusal.reason,
        kind: refusal.kind,
        key: place.key(origin, bytes),
        contract: place.contracts.first().map(|contract| contract.name.clone()),
        event_id: attribute("id").unwrap_or_default().to_owned(),
        event_type: attribute("type").unwrap_or_default().to_owned(),
        pubsub: place.pubsub,
        topic: place.topic,
    })
}

/// Canonical JSON that the host wrote itself.
fn internal(bytes: &[u8]) -> Decode {
    match serde_json::from_slice::<Event>(bytes) {
        Ok(event) => Decode::Event(Box::new(Decoded {
            key: EventKey::of(&[event.source.as_bytes(), event.id.as_bytes()]),
            wire_type: event.ty.as_str().to_owned(),
            event,
            pubsub: None,
            topic: None,
            entry: None,
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

/// Where an event came from, and the contracts that have rules for it.
struct Place<'c> {
    pubsub: Option<Pubsub>,
    topic: Option<Topic>,
    contracts: Vec<&'c Contract>,
}

impl<'c> Place<'c> {
    /// The callback's own words count first, then the event's, then the path.
    fn find(contracts: &'c Contracts, origin: &TopicOrigin, parsed: Option<&Parsed<'_>>) -> Self {
        let attribute = |name| parsed.and_then(|parsed| parsed.attribute(name));
        let pubsub = origin.pubsub.as_ref().map(Pubsub::as_str).or_else(|| attribute("pubsubname"));
        let topic = origin.topic.as_ref().map(Topic::as_str).or_else(|| attribute("topic"));
        let matching = |by_path: bool, is_loose: bool| {
            contracts.iter().filter_map(move |contract| {
                let fits = |given: Option<&str>, own: &str| {
                    given.map_or(by_path, |given| given == own) || is_loose
                };
                let rules = contract.topics.iter().find(|rules| {
                    fits(topic, rules.name.as_str()) && (!by_path || rules.path == origin.path)
                })?;
                fits(pubsub, contract.pubsub.as_str()).then_some((contract, rules))
            })
        };
        let found = [(false, false), (true, false), (true, true)].into_iter().find_map(
            |(by_path, is_loose)| {
                let (first, rules) = matching(by_path, is_loose).next()?;
                let same = |(contract, other): (&'c Contract, &TopicRules)| {
                    (contract.pubsub == first.pubsub && other.name == rules.name)
                        .then_some(contract)
                };
                let all = matching(by_path, is_loose).filter_map(same).collect();
                Some((first.pubsub.clone(), rules.name.clone(), all))
            },
        );
        match found {
            Some((pubsub, topic, contracts)) => {
                Self { pubsub: Some(pubsub), topic: Some(topic), contracts }
            }
            None => Self {
                pubsub: pubsub.and_then(|name| Pubsub::new(name).ok()),
                topic: topic.and_then(|name| Topic::new(name).ok()),
                contracts: Vec::new(),
            },
        }
    }

    fn key(&self, origin: &TopicOrigin, bytes: &[u8]) -> EventKey {
        EventKey::of(&self.identity(origin, bytes))
    }

    /// The id of an event that came without one.
    fn id(&self, origin: &TopicOrigin, bytes: &[u8]) -> String {
        derived_id(&self.identity(origin, bytes)).to_string()
    }

    fn identity<'a>(&'a self, origin: &'a TopicOrigin, bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let Some(position) = &origin.position else {
            return vec![bytes];
        };
        let pubsub = self.pubsub.as_ref().map_or("", Pubsub::as_str);
        let topic = self.topic.as_ref().map_or("", Topic::as_str);
        vec![pubsub.as_bytes(), topic.as_bytes(), position.as_bytes()]
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
        payload = Some(json("`data`", &parsed.payload).map_err(Refusal::parse)?);
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
        None => json("`data`", &parsed.payload).map_err(Refusal::parse)?,
    };
    found.read(place, || place.id(origin, bytes), parsed, payload)
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
        if let Some((base, actual)) = split_type(ty) {
            let versions = self.events.iter().filter_map(|entry| split_type(entry.ty.as_str()));
            let mut others = versions.filter(|(other, _)| *other == base).map(|(_, major)| major);
            if let Some(expected) = others.clone().next()
                && others.all(|major| major != actual)
            {
                return Some(Refusal {
                    reason: format!(
                        "type `{ty}` has major version {actual}; contract `{}` knows version {expected}",
                        self.name
                    ),
                    kind: UnreadableKind::Version {
                        expected: expected.to_owned(),
                        actual: actual.to_owned(),
                    },
                });
            }
        }
        let elsewhere = self.events.iter().find(|entry| entry.ty.as_str() == ty);
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

    /// Whether the payload breaks the entry's schema.
    pub(super) fn refusal(&self, payload: &Value) -> Option<String> {
        self.schema.as_ref()?.refusal(payload, data_name)
    }

    /// The version in the entry's type, for metrics of plain CloudEvents.
    fn major(&self) -> String {
        split_type(self.ty.as_str()).map_or_else(String::new, |(_, major)| major.to_owned())
    }
}

/// The entry that takes an event.
struct Match<'c> {
    contract: &'c Contract,
    index: usize,
    entry: &'c Entry,
}

impl Match<'_> {
    fn read(
        &self,
        place: &Place<'_>,
        derive_id: impl FnOnce() -> String,
        parsed: &mut Parsed<'_>,
        mut payload: Value,
    ) -> Result<Decode, Refusal> {
        let attributes = &mut parsed.attributes;
        let mut version = None;
        if let Some(rule) = &self.entry.version {
            version = Some(rule.read(&payload)?);
        }
        let broken = |reason| Refusal {
            reason,
            kind: UnreadableKind::Schema {
                version: version.map_or_else(|| self.entry.major(), |v| v.to_string()),
            },
        };
        if let Some(table) = &self.entry.table {
            table.give_zones(&mut payload, attributes).map_err(broken)?;
        }
        let envelope = match parsed.form {
            Form::CloudEvent => self.contract.envelope_refusal(attributes),
            Form::Bare => None,
        };
        if let Some(reason) = envelope.or_else(|| self.entry.refusal(&payload)) {
            return Err(broken(reason));
        }
        let wire_type = self.wire_type(&payload, attributes);
        let (mut named, data) = self.canonical(payload, attributes).map_err(broken)?;
        let time = owned(&mut named, "time")
            .or_else(|| text(attributes, "time"))
            .ok_or_else(|| broken("attribute `time` is missing".to_owned()))?;
        if DateTime::parse_from_rfc3339(&time).is_err() {
            return Err(broken(format!(
                "attribute `time` is {}; expected an RFC 3339 time with zone",
                shown(&Value::String(time))
            )));
        }
        let mut event = Event {
            id: owned(&mut named, "id")
                .or_else(|| text(attributes, "id"))
                .unwrap_or_else(derive_id),
            source: owned(&mut named, "source")
                .or_else(|| text(attributes, "source"))
                .unwrap_or_else(|| self.contract.pubsub.as_str().to_owned()),
            ty: self.entry.ty.clone(),
            subject: owned(&mut named, "subject").or_else(|| text(attributes, "subject")),
            time,
            data: String::new(),
            contract: self.contract.name.clone(),
        };
        if event.id.is_empty() || event.id.chars().count() > 255 {
            let id = shown(&Value::String(event.id));
            return Err(broken(format!("the id is {id}; expected 1 to 255 characters")));
        }
        if event.subject.is_none() {
            event.subject = subject(self.contract, &event, &data);
        }
        let key = key(self.contract, &event, &data).map_err(broken)?;
        event.data = match &self.entry.table {
            Some(_) => data.to_string(),
            None => std::mem::take(&mut parsed.payload).into_owned(),
        };
        let expected = self.entry.version.as_ref().map(|rule| rule.is);
        Ok(Decode::Event(Box::new(Decoded {
            event,
            key,
            pubsub: place.pubsub.clone(),
            topic: place.topic.clone(),
            wire_type,
            entry: Some(self.index),
            version_mismatch: expected
                .zip(version)
                .filter(|(expected, actual)| expected != actual)
                .map(|(expected, actual)| (expected.to_string(), actual.to_string())),
        })))
    }

    fn wire_type(&self, payload: &Value, attributes: &Map<String, Value>) -> String {
        let named = self.contract.type_in(Some(payload));
        let ty = named.or_else(|| attributes.get("type").and_then(Value::as_str));
        ty.unwrap_or(self.entry.ty.as_str()).to_owned()
    }

    /// The attributes that a table gives, and the canonical data.
    fn canonical(
        &self,
        mut payload: Value,
        attributes: &Map<String, Value>,
    ) -> Result<(Map<String, Value>, Value), String> {
        let Some(table) = &self.entry.table else {
            return Ok((Map::new(), payload));
        };
        self.entry.when.iter().for_each(|known| known.remove(&mut payload));
        if let Some(rule) = &self.entry.version {
            rule.wire.take(&mut payload);
        }
        match table.decode(payload, attributes)? {
            Value::Object(mut named) => {
                let data = named.shift_remove("data").unwrap_or_default();
                Ok((named, data))
            }
            other => Ok((Map::new(), other)),
        }
    }
}

impl VersionRule {
    /// Another minor version is fine; another major one, or none, is not.
    fn read(&self, payload: &Value) -> Result<SchemaVersion, Refusal> {
        let name = data_name(&self.wire.to_string());
        let refuse = |reason: String, actual: &str| Refusal {
            reason,
            kind: UnreadableKind::Version {
                expected: self.is.to_string(),
                actual: actual.to_owned(),
            },
        };
        let Some(value) = self.wire.get(payload) else {
            return Err(refuse(format!("{name} is missing; expected one like {}", self.is), ""));
        };
        let text = value.as_str().unwrap_or_default();
        let Ok(version) = text.parse::<SchemaVersion>() else {
            let reason = format!("{name} is {}; expected one like {}", shown(value), self.is);
            return Err(refuse(reason, "malformed"));
        };
        if version.major == self.is.major {
            return Ok(version);
        }
        let reason = format!(
            "{name} is {version}; major version {} is not {}",
            version.major, self.is.major
        );
        Err(refuse(reason, &version.to_string()))
    }
}

/// A subject for an event that names none: the first place of the contract's list that has one.
pub fn subject(contract: &Contract, event: &Event, data: &Value) -> Option<String> {
    contract.subject.iter().find_map(|pointer| match at(pointer, event, data)? {
        Found::Text(text) if !text.is_empty() => Some(text.to_owned()),
        Found::Json(value) if value.is_number() => Some(value.to_string()),
        Found::Text(_) | Found::Json(_) => None,
    })
}

fn key(contract: &Contract, event: &Event, data: &Value) -> Result<EventKey, String> {
    let mut parts = Vec::with_capacity(contract.identity.len());
    for pointer in &contract.identity {
        parts.push(match at(pointer, event, data) {
            Some(Found::Text(text)) => std::borrow::Cow::Borrowed(text),
            Some(Found::Json(value)) => value.to_string().into(),
            None => return Err(format!("`{pointer}` is missing, which identifies the event")),
        });
    }
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    Ok(EventKey::of(&parts))
}

enum Found<'a> {
    Text(&'a str),
    Json(&'a Value),
}

/// A place of the canonical event, without building the event as one JSON value.
fn at<'a>(pointer: &Pointer, event: &'a Event, data: &'a Value) -> Option<Found<'a>> {
    let (first, rest) = pointer.tokens().split_first()?;
    match first.as_str() {
        "id" => Some(Found::Text(&event.id)),
        "source" => Some(Found::Text(&event.source)),
        "subject" => event.subject.as_deref().map(Found::Text),
        "time" => Some(Found::Text(&event.time)),
        "data" => match Pointer::find(data, rest)? {
            Value::Null => None,
            Value::String(text) => Some(Found::Text(text)),
            value => Some(Found::Json(value)),
        },
        _ => None,
    }
}

fn text(attributes: &Map<String, Value>, name: &str) -> Option<String> {
    attributes.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn owned(named: &mut Map<String, Value>, name: &str) -> Option<String> {
    match named.swap_remove(name)? {
        Value::String(text) => Some(text),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

impl Refusal {
    fn parse(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), kind: UnreadableKind::Parse }
    }
}
