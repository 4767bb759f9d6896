//! From an entry and a payload to the canonical event: versions, zones, schemas, tables, identity.

use chrono::DateTime;
use serde_json::{Map, Value};

use super::{Decode, Place, Refusal, UnreadableKind};
use crate::contract::{Contract, Entry, Pointer, SchemaVersion, VersionRule, split_type};
use crate::event::parse::{Form, Parsed, data_name, shown};
use crate::event::{Decoded, Event, Trace};
use crate::name::EventKey;

/// The entry that takes an event.
pub struct Match<'c> {
    pub contract: &'c Contract,
    pub index: usize,
    pub entry: &'c Entry,
}

impl Match<'_> {
    /// `derive_id` is asked only where the wire has no id.
    pub fn read(
        &self,
        place: &Place<'_>,
        derive_id: impl FnOnce() -> String,
        parsed: &mut Parsed<'_>,
        mut payload: Value,
    ) -> Result<Decode, Refusal> {
        let rule = self.entry.version.as_ref();
        let version = rule.map(|rule| rule.read(&payload)).transpose()?;
        let broken = |reason| Refusal {
            reason,
            kind: UnreadableKind::Schema {
                version: version.map_or_else(|| self.entry.major(), |v| v.to_string()),
            },
        };
        self.validate(parsed, &mut payload).map_err(broken)?;
        let wire_type = self.wire_type(&payload, &parsed.attributes);
        let (mut event, data) =
            self.event(payload, &parsed.attributes, derive_id).map_err(broken)?;
        let key = key(self.contract, &event, &data).map_err(broken)?;
        event.data = match &self.entry.table {
            Some(_) => data.to_string(),
            None => std::mem::take(&mut parsed.payload).into_owned(),
        };
        let mismatch = rule.zip(version).filter(|(rule, version)| rule.is != *version);
        Ok(Decode::Event(Box::new(Decoded {
            event,
            key,
            pubsub: place.pubsub.clone(),
            topic: place.topic.clone(),
            wire_type,
            entry: Some(self.index),
            trace: parsed
                .attribute("traceparent")
                .and_then(|parent| Trace::new(parent, parsed.attribute("tracestate"))),
            version_mismatch: mismatch
                .map(|(rule, actual)| (rule.is.to_string(), actual.to_string())),
        })))
    }

    fn validate(&self, parsed: &mut Parsed<'_>, payload: &mut Value) -> Result<(), String> {
        if let Some(table) = &self.entry.table {
            table.give_zones(payload, &mut parsed.attributes)?;
        }
        let envelope = match parsed.form {
            Form::CloudEvent => self.contract.envelope_refusal(&mut parsed.attributes),
            Form::Bare => None,
        };
        envelope.or_else(|| self.entry.refusal(payload)).map_or(Ok(()), Err)
    }

    /// The canonical event, its data still apart.
    fn event(
        &self,
        payload: Value,
        attributes: &Map<String, Value>,
        derive_id: impl FnOnce() -> String,
    ) -> Result<(Event, Value), String> {
        let (mut named, data) = self.canonical(payload, attributes)?;
        let mut attribute = |name| owned(&mut named, name).or_else(|| text(attributes, name));
        let mut event = Event {
            id: attribute("id").unwrap_or_else(derive_id),
            source: attribute("source").unwrap_or_else(|| self.contract.pubsub.to_string()),
            ty: self.entry.ty.clone(),
            subject: attribute("subject").filter(|subject| !subject.is_empty()),
            time: attribute("time").ok_or("attribute `time` is missing")?,
            data: String::new(),
            contract: self.contract.name.clone(),
        };
        if event.id.is_empty() || event.id.chars().count() > 255 {
            let id = shown(&Value::String(event.id));
            return Err(format!("the id is {id}; expected 1 to 255 characters"));
        }
        if DateTime::parse_from_rfc3339(&event.time).is_err() {
            let time = shown(&Value::String(event.time));
            let expected = "expected an RFC 3339 time with zone";
            return Err(format!("attribute `time` is {time}; {expected}"));
        }
        if event.subject.is_none() {
            event.subject = subject(self.contract, &event, &data);
        }
        check_subject(&event)?;
        Ok((event, data))
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

/// Wherever it came from: ordering and partitioning keep it as it is.
pub fn check_subject(event: &Event) -> Result<(), String> {
    match &event.subject {
        Some(subject) if !(1..=255).contains(&subject.chars().count()) => {
            let subject = shown(&Value::String(subject.clone()));
            Err(format!("the subject is {subject}; expected 1 to 255 characters"))
        }
        Some(_) | None => Ok(()),
    }
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

impl Entry {
    /// Whether the payload breaks the entry's schema.
    pub(in crate::contract) fn refusal(&self, payload: &Value) -> Option<String> {
        self.schema.as_ref()?.refusal(payload, data_name)
    }

    /// The version in the entry's type, for metrics of plain CloudEvents.
    fn major(&self) -> String {
        split_type(self.ty.as_str()).map_or_else(String::new, |(_, major)| major.to_owned())
    }
}
