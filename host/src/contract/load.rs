//! Reads a contract's folder. Gives every problem it finds, each with its line, not the first only.

mod file;

use std::collections::HashMap;
use std::fmt::Display;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use self::file::{Bulk, File, Text};
use super::{
    BindingRules, Cast, Condition, Contract, Delivery, Entry, Expect, Field, JobRules, Pointer,
    Schema, SchemaVersion, Table, TopicRules, TypePattern, VersionRule, Wire,
};
use crate::name::{ComponentId, ContractName, EventType, Pubsub, Topic};
use crate::problem::Problem;
use crate::retry::RetrySchedule;

/// Reads `contract.toml` and the schemas that it names.
pub fn read(folder: &Path) -> Result<Contract, Vec<Problem>> {
    let path = folder.join("contract.toml");
    let text = std::fs::read_to_string(&path).map_err(|error| {
        vec![
            Problem::in_file(&path, format!("cannot be read: {error}"))
                .help("a contract is a folder with a contract.toml in it"),
        ]
    })?;
    let file: File =
        toml::from_str(&text).map_err(|error| vec![Problem::from_toml(&path, &text, &error)])?;
    let mut reader =
        Reader { folder, path: &path, text: &text, problems: Vec::new(), schemas: HashMap::new() };
    let contract = reader.contract(&file);
    match contract {
        Some(contract) if reader.problems.is_empty() => Ok(contract),
        _ => Err(reader.problems),
    }
}

/// Turns text into what it means and remembers what is wrong with it. `None` always comes with a
/// problem.
struct Reader<'a> {
    folder: &'a Path,
    path: &'a Path,
    text: &'a str,
    problems: Vec<Problem>,
    schemas: HashMap<String, Arc<Schema>>,
}

impl Reader<'_> {
    fn contract(&mut self, file: &File) -> Option<Contract> {
        let name = self.parse(&file.name, str::parse::<ContractName>);
        if let Some(folder) = self.folder.file_name().and_then(|name| name.to_str())
            && folder != file.name.get_ref()
        {
            let message =
                format!("contract `{}` is in a folder named `{folder}`", file.name.get_ref());
            self.fault(file.name.span(), message, "give both the same name");
        }
        let pubsub = self.parse(&file.pubsub, str::parse::<Pubsub>);
        let types = self.optional(file.types.as_ref(), TypePattern::new);
        let topics = self.topics(&file.topics);
        let events = self.events(file, types.as_ref().and_then(Option::as_ref), &topics);
        if !file.dead_letter.get_ref().contains("{topic}") {
            let message =
                format!("dead_letter `{}` is the same for every topic", file.dead_letter.get_ref());
            self.fault(
                file.dead_letter.span(),
                message,
                "write `{topic}` in it, as in `{topic}-dlq`",
            );
        }
        let retry = self.each(&file.retry, duration);
        let identity = match &file.identity {
            Some(places) => self.each(places, canonical),
            None => [canonical("/source"), canonical("/id")].into_iter().flatten().collect(),
        };
        if identity.is_empty() {
            let span = file.identity.iter().flatten().next().map_or(0..0, Text::span);
            self.fault(
                span,
                "nothing identifies an event",
                "leave `identity` out: source and id do",
            );
        }
        let subject = self.each(&file.subject, canonical);
        let type_at = self.optional(file.type_at.as_ref(), Pointer::new);
        let envelope = self.schema(file.envelope.schema.as_ref());
        let (jobs, bindings) = (self.jobs(&file.jobs), self.bindings(&file.bindings));
        Some(Contract {
            name: name?,
            description: file.description.clone(),
            pubsub: pubsub?,
            topics,
            events,
            retry: RetrySchedule { delays: retry },
            dead_letter: file.dead_letter.get_ref().clone(),
            strict: file.strict,
            jobs,
            bindings,
            state_stores: file.stores.state.clone(),
            secret_stores: file.stores.secrets.clone(),
            identity,
            subject,
            types: types?,
            type_at: type_at?,
            envelope: envelope?,
            bare: file.envelope.bare,
            folder: self.folder.to_owned(),
        })
    }

    fn topics(&mut self, files: &[file::Topic]) -> Vec<TopicRules> {
        let mut topics: Vec<TopicRules> = Vec::new();
        for file in files {
            let name = self.parse(&file.name, str::parse::<Topic>);
            let path = self.parse(&file.path, ingress_path);
            let delivery = self.delivery(&file.bulk);
            let retention = self.parse(&file.retention, duration);
            let (Some(name), Some(path), Some(delivery), Some(retention)) =
                (name, path, delivery, retention)
            else {
                continue;
            };
            if topics.iter().any(|other| other.name == name) {
                self.fault(file.name.span(), format!("topic `{name}` is here twice"), "keep one");
            }
            if topics.iter().any(|other| other.path == path) {
                let message = format!("path `{path}` belongs to another topic already");
                self.fault(file.path.span(), message, "give each topic a path of its own");
            }
            topics.push(TopicRules {
                name,
                path,
                delivery,
                retention,
                partitions: file.partitions,
            });
        }
        topics
    }

    fn delivery(&mut self, bulk: &toml::Spanned<Bulk>) -> Option<Delivery> {
        let (max, text) = match bulk.get_ref() {
            Bulk::Simple(false) => return Some(Delivery::Single),
            Bulk::Simple(true) => (100, "250ms"),
            Bulk::Full(limits) => (limits.max, limits.await_.as_str()),
        };
        match duration(text) {
            Ok(await_) if max > 0 => return Some(Delivery::Bulk { max, await_ }),
            Ok(_) => self.fault(bulk.span(), "a bulk of at most 0 events", "write `bulk = false`"),
            Err(error) => self.fault(bulk.span(), error, "`await` is how long a bulk may gather"),
        }
        None
    }

    fn events(
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

    fn table(&mut self, files: &toml::Spanned<Vec<toml::Spanned<file::Field>>>) -> Option<Table> {
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
                let span = files.get_ref().get(index).map_or(files.span(), toml::Spanned::span);
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

    fn jobs(&mut self, files: &[file::Job]) -> Vec<JobRules> {
        let rules = files.iter().filter_map(|file| {
            let path = self.optional(file.path.as_ref(), ingress_path)?;
            Some(JobRules { name: file.name.clone(), path })
        });
        rules.collect()
    }

    fn bindings(&mut self, files: &[file::Binding]) -> Vec<BindingRules> {
        let rules = files.iter().filter_map(|file| {
            let period = self.optional(file.period.as_ref(), duration)?;
            Some(BindingRules { name: file.name.clone(), period })
        });
        rules.collect()
    }

    /// Compiles each file once, however many entries name it.
    fn schema(&mut self, name: Option<&Text>) -> Option<Option<Arc<Schema>>> {
        let Some(name) = name else { return Some(None) };
        if let Some(known) = self.schemas.get(name.get_ref()) {
            return Some(Some(Arc::clone(known)));
        }
        let relative = PathBuf::from(name.get_ref());
        if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
            let message =
                format!("schema `{}` is not inside the contract's folder", name.get_ref());
            self.fault(name.span(), message, "put it under events/");
            return None;
        }
        let path = self.folder.join(relative);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("schema `{}` cannot be read: {error}", name.get_ref());
                self.fault(name.span(), message, "paths start at the contract's folder");
                return None;
            }
        };
        let compiled = serde_json::from_str(&text)
            .map_err(|error| (error.line(), format!("is not JSON: {error}")))
            .and_then(|json| Schema::compile(json).map_err(|error| (1, error)));
        match compiled {
            Ok(schema) => {
                let schema = Arc::new(schema);
                self.schemas.insert(name.get_ref().clone(), Arc::clone(&schema));
                Some(Some(schema))
            }
            Err((line, message)) => {
                let problem = Problem::in_file(path, format!("the schema {message}"));
                self.problems.push(Problem { line: Some(line), ..problem });
                None
            }
        }
    }

    fn parse<T, E: Display>(
        &mut self,
        text: &Text,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match parse(text.get_ref()) {
            Ok(value) => Some(value),
            Err(error) => {
                self.problems.push(Problem::at(
                    self.path,
                    self.text,
                    text.span(),
                    error.to_string(),
                ));
                None
            }
        }
    }

    /// `Some(None)` when it is not there.
    fn optional<T, E: Display>(
        &mut self,
        text: Option<&Text>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Option<T>> {
        match text {
            Some(text) => self.parse(text, parse).map(Some),
            None => Some(None),
        }
    }

    fn each<T, E: Display>(
        &mut self,
        texts: &[Text],
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        texts.iter().filter_map(|text| self.parse(text, &parse)).collect()
    }

    fn fault(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem::at(self.path, self.text, span, message).help(help));
    }
}

fn canonical(text: &str) -> Result<Pointer, String> {
    let pointer = Pointer::new(text)?;
    match pointer.tokens() {
        [name] if matches!(name.as_str(), "id" | "source" | "subject" | "time") => Ok(pointer),
        [data, _, ..] if data == "data" => Ok(pointer),
        _ => Err(format!(
            "`{text}` is no place of the canonical event; use /id, /source, /subject, /time or /data/…"
        )),
    }
}

/// An attribute's name, written as a pointer or bare.
fn attribute(text: &str) -> Result<String, String> {
    let name = text.strip_prefix('/').unwrap_or(text);
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !name.is_empty() && is_name(name) {
        return Ok(name.to_owned());
    }
    Err(format!("`{text}` is not a CloudEvents attribute; use a-z and 0-9"))
}

fn ingress_path(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    let is_whole = text.starts_with('/') && text.len() > 1 && !text.ends_with('/');
    if is_whole && !text.contains("//") && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is not an ingress path; write it like /events/task-events"))
}

/// `250ms`, `1s`, `5m`, `1h`, `7d`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let milliseconds: Option<u64> = match unit {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60 * 1000),
        "h" => Some(60 * 60 * 1000),
        "d" => Some(24 * 60 * 60 * 1000),
        _ => None,
    };
    let total = number.parse::<u64>().ok().zip(milliseconds).and_then(|(n, ms)| n.checked_mul(ms));
    match total {
        Some(total) if total > 0 => Ok(Duration::from_millis(total)),
        _ => Err(format!("`{text}` is not a duration; write it like 250ms, 1s, 5m, 1h or 7d")),
    }
}
