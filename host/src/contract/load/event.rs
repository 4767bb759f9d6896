//! Reads the `[[event]]` entries: their names, conditions and tables.

use std::ops::Range;

use serde_json::Value;
use toml::Spanned;

use super::file::{self, File, Text};
use super::{Reader, attribute};
use crate::contract::{
    Cast, Condition, Entry, Expect, Field, Pointer, SchemaVersion, Table, TopicRules, TypePattern,
    VersionRule, Wire,
};
use crate::name::{ComponentId, EventType, Topic};

impl Reader<'_> {
    pub fn events(
        &mut self,
        file: &File,
        types: Option<&TypePattern>,
        topics: &[TopicRules],
    ) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for event in &file.events {
            if let Some(types) = types
                && event.ty.get_ref().starts_with(types.prefix())
                && !types.matches(event.ty.get_ref())
            {
                let message = format!(
                    "type `{}` is not of the form `{}`",
                    event.ty.get_ref(),
                    types.as_str()
                );
                self.fault(event.ty.span(), message, "rename the type, or change `types`");
            }
            let Some(entry) = self.event(event) else { continue };
            if let (Some(topic), Some(text)) = (&entry.topic, &event.topic)
                && !file.topics.iter().any(|known| known.name.get_ref() == topic.as_str())
            {
                let known: Vec<_> = topics.iter().map(|known| known.name.as_str()).collect();
                let help = format!("the contract has {}; add a [[topic]]", known.join(", "));
                self.fault(text.span(), format!("topic `{topic}` does not exist"), help);
            }
            let hides = |other: &Entry| {
                other.topic.is_some() == entry.topic.is_some()
                    && (&other.topic, &other.wire_type, &other.when)
                        == (&entry.topic, &entry.wire_type, &entry.when)
                    && (entry.topic.is_some() || other.ty == entry.ty)
            };
            if entries.iter().any(hides) {
                let message = format!("no event can reach this entry of `{}`", entry.ty);
                let help = "an earlier entry takes the same; tell them apart by `when`";
                self.fault(event.ty.span(), message, help);
            }
            entries.push(entry);
        }
        entries
    }

    fn event(&mut self, file: &file::Event) -> Option<Entry> {
        let ty = self.parse(&file.ty, str::parse::<EventType>);
        let topic = self.optional(file.topic.as_ref(), str::parse::<Topic>);
        let consumers = self.each(&file.consumers, str::parse::<ComponentId>);
        let schema = self.schema(file.schema.as_ref());
        let when = file.when.iter().filter_map(|(at, value)| self.condition(at, value)).collect();
        let version = match &file.version {
            Some(rule) => {
                let wire = self.parse(&rule.wire, Pointer::new);
                let is = self.parse(&rule.is, str::parse::<SchemaVersion>);
                Some(VersionRule { wire: wire?, is: is? })
            }
            None => None,
        };
        let table = match &file.fields {
            Some(fields) => Some(self.table(fields)?),
            None => None,
        };
        let wire_type = match &file.wire_type {
            Some(ty) => Some(ty.clone()),
            None if file.when.is_empty() => Some(file.ty.get_ref().clone()),
            None => None,
        };
        Some(Entry {
            ty: ty?,
            topic: topic?,
            consumers: consumers.into_iter().collect(),
            wire_type,
            when,
            version,
            schema: schema?,
            table,
        })
    }

    fn condition(&mut self, at: &Text, value: &Value) -> Option<Condition> {
        let pointer = self.parse(at, Pointer::new)?;
        let expect = match value {
            Value::Object(object)
                if object.len() == 1 && object.get("absent") == Some(&true.into()) =>
            {
                Expect::Absent
            }
            Value::String(_) | Value::Number(_) | Value::Bool(_) => Expect::Is(value.clone()),
            Value::Object(_) | Value::Array(_) | Value::Null => {
                let message = format!("`when` of `{pointer}` is neither a constant nor `absent`");
                self.fault(at.span(), message, "write `\"created\"`, or `{ absent = true }`");
                return None;
            }
        };
        Some(Condition { pointer, expect })
    }

    fn table(&mut self, files: &Spanned<Vec<Spanned<file::Field>>>) -> Option<Table> {
        let mut fields = Vec::new();
        let mut is_whole = true;
        for file in files.get_ref() {
            match self.field(file.get_ref(), &file.span()) {
                Some(field) => fields.push(field),
                None => is_whole = false,
            }
        }
        let table = Table::new(fields);
        match table {
            Ok(table) if is_whole => Some(table),
            Ok(_) => None,
            Err((index, message)) => {
                let help = "each line pairs one wire place with one canonical place";
                let span = files.get_ref().get(index).map_or(files.span(), Spanned::span);
                self.fault(span, message, help);
                None
            }
        }
    }

    fn field(&mut self, file: &file::Field, span: &Range<usize>) -> Option<Field> {
        let wire = match (&file.wire, &file.envelope) {
            (Some(place), None) => Some(Wire::Payload(self.parse(place, Pointer::new)?)),
            (None, Some(name)) => Some(Wire::Envelope(self.parse(name, attribute)?)),
            (None, None) => None,
            (Some(_), Some(_)) => {
                self.fault(span.clone(), "both `wire` and `envelope` are given", "use one");
                return None;
            }
        };
        let canonical = self.optional(file.canonical.as_ref(), Pointer::new)?;
        let zone = self.optional(file.zone.as_ref(), |name| {
            name.parse::<chrono_tz::Tz>()
                .map_err(|_| format!("zone `{name}` is unknown; use a name such as Europe/Berlin"))
        })?;
        let cast = match file.cast {
            Some(file::Cast::Time) => Some(Cast::Time(zone)),
            Some(file::Cast::Integer) => Some(Cast::Integer),
            Some(file::Cast::String) => Some(Cast::String),
            None => None,
        };
        if zone.is_some() && !matches!(cast, Some(Cast::Time(_))) {
            self.fault(span.clone(), "a zone without a time", "add `as = \"time\"`");
        }
        Some(Field {
            wire,
            canonical,
            cast,
            or: self.each(&file.or, Pointer::new),
            default: file.default.clone(),
            constant: file.constant.clone(),
        })
    }
}
