//! Reads a contract's folder. Gives every problem it finds, each with its line, not the first only.

mod event;
mod file;
mod value;

use std::collections::HashMap;
use std::fmt::Display;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use self::file::{Bulk, File, Text};
use self::value::{attribute, canonical, duration, ingress_path, topic_path};
use super::{BindingRules, Contract, Delivery, JobRules, Pointer, Schema, TopicRules, TypePattern};
use crate::name::{BindingName, ContractName, Pubsub, StoreName, Topic};
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
        let state_stores = self.each(&file.stores.state, str::parse::<StoreName>);
        let secret_stores = self.each(&file.stores.secrets, str::parse::<StoreName>);
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
            state_stores,
            secret_stores,
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
            let path = self.parse(&file.path, topic_path);
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
                raw: file.raw,
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

    fn jobs(&mut self, files: &[file::Job]) -> Vec<JobRules> {
        let rules = files.iter().filter_map(|file| {
            let path = self.optional(file.path.as_ref(), ingress_path)?;
            Some(JobRules { name: file.name.clone(), path })
        });
        rules.collect()
    }

    fn bindings(&mut self, files: &[file::Binding]) -> Vec<BindingRules> {
        let rules = files.iter().filter_map(|file| {
            let name = self.parse(&file.name, str::parse::<BindingName>);
            let period = self.optional(file.period.as_ref(), duration)?;
            Some(BindingRules { name: name?, period })
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
