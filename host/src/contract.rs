//! Contracts are data: which topics carry which events, how their bytes become canonical events
//! and canonical events their bytes, who consumes them, and what happens to those that fail.
//! A new dialect is a folder of files, never Rust.

mod check;
mod decode;
mod encode;
mod load;
mod mapping;
mod pointer;
mod schema;
mod version;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

pub use self::check::check;
pub use self::decode::{Decode, Unreadable, UnreadableKind};
use self::decode::{check_subject, subject};
pub use self::encode::{EncodeError, Encoded};
use self::load::read;
use self::mapping::{Cast, Condition, Expect, Field, Table, Wire};
use self::pointer::Pointer;
pub use self::schema::Fields;
use self::schema::Schema;
use self::version::{SchemaVersion, TypePattern, split_type};
use crate::effect::Publish;
use crate::event::{TopicOrigin, Trace, WireEvent};
use crate::name::{
    BindingName, ComponentId, ContractName, EventType, JobName, Pubsub, StoreName, Topic,
};
use crate::problem::Problem;
use crate::retry::RetrySchedule;

/// The active contracts. Where two could take the same event or topic, the first one does.
#[derive(Debug, Clone, Default)]
pub struct Contracts {
    active: Vec<Arc<Contract>>,
}

/// One dialect: everything that its folder says.
#[derive(Debug)]
pub struct Contract {
    pub name: ContractName,
    /// One line, for people.
    pub description: String,
    pub pubsub: Pubsub,
    pub topics: Vec<TopicRules>,
    pub events: Vec<Entry>,
    /// The delays between the attempts of a delivery.
    pub retry: RetrySchedule,
    /// The dead-letter topic; `{topic}` stands for the topic that the event came from.
    pub dead_letter: String,
    /// Whether an event of a type that no contract knows is dead instead of acknowledged.
    pub strict: bool,
    pub jobs: Vec<JobRules>,
    pub bindings: Vec<BindingRules>,
    /// Dapr's state stores that the dialect's system uses.
    pub state_stores: Vec<StoreName>,
    /// Dapr's secret stores that the dialect's system uses.
    pub secret_stores: Vec<StoreName>,
    /// Places in the canonical event whose values identify it.
    identity: Vec<Pointer>,
    /// Places in the canonical event that give a subject to one without.
    subject: Vec<Pointer>,
    /// The names that this contract claims.
    types: Option<TypePattern>,
    /// Where the payload says its type, for dialects whose envelope does not.
    type_at: Option<Pointer>,
    envelope: Option<Arc<Schema>>,
    /// Whether a payload may come without an envelope.
    bare: bool,
    folder: PathBuf,
}

/// One topic of a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRules {
    pub name: Topic,
    /// The ingress path, such as `/events/task-events`.
    pub path: String,
    pub delivery: Delivery,
    /// Whether daprd hands records over as they are, also those that it cannot read.
    pub raw: bool,
    /// How long the broker keeps an event; the dedup window must be longer.
    pub retention: Duration,
    pub partitions: u32,
}

/// How daprd should hand over a topic's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Up to `max` together, after at most `await_`.
    Bulk { max: u32, await_: Duration },
    /// One by one, with their exact bytes.
    Single,
}

/// One `[[event]]` of contract.toml: a type on a topic, or an internal type.
#[derive(Debug)]
pub struct Entry {
    pub ty: EventType,
    /// `None` for an internal type.
    pub topic: Option<Topic>,
    pub consumers: BTreeSet<ComponentId>,
    /// The envelope's type; `None` when the payload alone tells.
    wire_type: Option<String>,
    when: Vec<Condition>,
    version: Option<VersionRule>,
    schema: Option<Arc<Schema>>,
    /// `None` for a plain CloudEvent, whose data is canonical as it is.
    table: Option<Table>,
}

/// A payload field that says the version of the payload's schema.
#[derive(Debug)]
struct VersionRule {
    wire: Pointer,
    is: SchemaVersion,
}

/// A job that this contract's components schedule, or that others fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRules {
    /// May end with `*`, or hold places of the body such as `{/data/task_id}` when it has a path.
    pub name: String,
    /// An extra ingress path whose POST counts as this job.
    pub path: Option<String>,
}

/// A binding that this contract expects: an input binding where it has a period, else an output one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingRules {
    pub name: BindingName,
    /// How often it ticks. A tick's time is rounded to this, so that every replica's tick is the
    /// same event.
    pub period: Option<Duration>,
}

/// What Dapr is told to subscribe to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pub pubsub: Pubsub,
    pub topic: Topic,
    pub path: String,
    pub delivery: Delivery,
    pub raw: bool,
}

/// An event from a contract's `examples/`, for `wharf emit`.
#[derive(Debug, Clone)]
pub struct Example {
    pub pubsub: Pubsub,
    pub topic: Topic,
    /// `application/cloudevents+json`, or `application/json` for a payload that Dapr wraps.
    pub content_type: &'static str,
    pub value: Value,
    schema: Option<Arc<Schema>>,
}

impl Contracts {
    /// Reads each folder as one contract; gives every problem of all of them.
    /// Examples are not looked at: [`check()`] does that.
    pub fn load(folders: &[PathBuf]) -> Result<Self, Vec<Problem>> {
        let mut active: Vec<Arc<Contract>> = Vec::new();
        let mut problems = Vec::new();
        for folder in folders {
            match read(folder) {
                Ok(contract) if active.iter().any(|other| other.name == contract.name) => {
                    let message = format!("contract `{}` is active already", contract.name);
                    problems.push(
                        Problem::in_file(folder.join("contract.toml"), message)
                            .help("name each contract once"),
                    );
                }
                Ok(contract) => active.push(Arc::new(contract)),
                Err(more) => problems.extend(more),
            }
        }
        if problems.is_empty() { Ok(Self { active }) } else { Err(problems) }
    }

    /// In the order in which they are active.
    pub fn iter(&self) -> impl Iterator<Item = &Contract> {
        self.active.iter().map(Arc::as_ref)
    }

    pub fn get(&self, name: &ContractName) -> Option<&Contract> {
        self.iter().find(|contract| contract.name == *name)
    }

    /// Understands a wire event, or says why not. Pure: the same bytes and arrival give the same.
    pub fn decode(&self, wire: &WireEvent) -> Decode {
        decode::decode(self, wire)
    }

    /// Turns an event away unread, for a reason that the caller knows.
    pub fn refuse(&self, origin: &TopicOrigin, bytes: &[u8], reason: String) -> Unreadable {
        decode::refuse(self, origin, bytes, reason)
    }

    /// Puts a canonical event into a contract's dialect and validates the result.
    pub fn encode(
        &self,
        contract: &ContractName,
        publish: &Publish,
        source: &str,
        trace: Option<&Trace>,
    ) -> Result<Encoded, EncodeError> {
        match self.get(contract) {
            Some(contract) => encode::encode(contract, publish, source, trace),
            None => Err(EncodeError::Inactive { contract: contract.clone() }),
        }
    }

    /// One per pubsub and topic.
    pub fn subscriptions(&self) -> Vec<Subscription> {
        let mut subscriptions: Vec<Subscription> = Vec::new();
        for contract in self.iter() {
            for rules in &contract.topics {
                let is_known = |known: &Subscription| {
                    known.pubsub == contract.pubsub && known.topic == rules.name
                };
                if !subscriptions.iter().any(is_known) {
                    subscriptions.push(Subscription {
                        pubsub: contract.pubsub.clone(),
                        topic: rules.name.clone(),
                        path: rules.path.clone(),
                        delivery: rules.delivery,
                        raw: rules.raw,
                    });
                }
            }
        }
        subscriptions
    }

    /// Whether events may be posted there; also on paths that another contract's replaced.
    pub fn accepts_path(&self, path: &str) -> bool {
        self.iter().any(|contract| contract.topics.iter().any(|topic| topic.path == path))
    }

    /// Whether records come there as they are.
    pub fn is_raw(&self, path: &str) -> bool {
        let mut topics = self.iter().flat_map(|contract| &contract.topics);
        topics.any(|topic| topic.raw && topic.path == path)
    }

    /// The most events that one callback to an ingress path brings.
    pub fn most_events(&self, path: &str) -> u32 {
        let topics = self.iter().flat_map(|contract| &contract.topics);
        let most = topics.filter(|topic| topic.path == path).map(|topic| match topic.delivery {
            Delivery::Bulk { max, .. } => max,
            Delivery::Single => 1,
        });
        most.max().unwrap_or(1)
    }

    /// Where a dead event of that topic goes; `{topic}-dlq` when the contract is not active.
    pub fn dead_letter(&self, contract: &ContractName, topic: &Topic) -> Topic {
        let pattern = self.get(contract).map_or("{topic}-dlq", |known| &known.dead_letter);
        // A pattern that makes the name too long is the only way to fail; the topic's own dead
        // letters are then better than none.
        Topic::new(pattern.replace("{topic}", topic.as_str())).unwrap_or_else(|_| topic.clone())
    }

    /// The components that an entry lists. For an internal type, those of the contract's entry
    /// without a topic; `None` when it has none, so that manifests alone decide.
    pub fn consumers(
        &self,
        contract: &ContractName,
        ty: &EventType,
        entry: Option<usize>,
    ) -> Option<&BTreeSet<ComponentId>> {
        let events = &self.get(contract)?.events;
        let found = match entry {
            Some(index) => events.get(index),
            None => events.iter().find(|event| event.topic.is_none() && event.ty == *ty),
        };
        found.map(|event| &event.consumers)
    }

    /// Whether an active contract lists the component; only then do lists bind it.
    pub fn names_component(&self, component: &ComponentId) -> bool {
        self.iter().any(|contract| contract.events.iter().any(|e| e.consumers.contains(component)))
    }

    /// Whether an active contract has the type, canonical or as on the wire.
    pub fn knows(&self, ty: &str) -> bool {
        let mut entries = self.iter().flat_map(|contract| &contract.events);
        entries.any(|entry| entry.ty.as_str() == ty || entry.wire_type.as_deref() == Some(ty))
    }

    /// The contract that a job belongs to which this host did not schedule: the first active one
    /// that names it, else the first. `None` when none is active.
    pub fn of_job(&self, name: &JobName) -> Option<&ContractName> {
        let names = |rules: &JobRules| match rules.name.strip_suffix('*') {
            Some(stem) => name.as_str().starts_with(stem),
            None => rules.name == name.as_str(),
        };
        let naming = self.iter().find(|contract| contract.jobs.iter().any(names));
        naming.or_else(|| self.iter().next()).map(|contract| &contract.name)
    }

    /// The same for a binding, and how often it ticks, where the contract says so.
    pub fn of_binding(&self, name: &BindingName) -> Option<(&ContractName, Option<Duration>)> {
        let rules = |contract: &'_ Contract| {
            contract.bindings.iter().find(|rules| rules.name == *name).map(|rules| rules.period)
        };
        let naming = self.iter().find_map(|contract| Some((&contract.name, rules(contract)?)));
        naming.or_else(|| self.iter().next().map(|contract| (&contract.name, None)))
    }

    /// How long an event is known after it came in: what the operator chose, else a day more than
    /// any topic keeps its events. Fails where a topic keeps them for longer than was chosen.
    pub fn dedup_window(&self, chosen: Option<Duration>) -> Result<Duration, Problem> {
        let topics =
            self.iter().flat_map(|contract| contract.topics.iter().map(move |it| (contract, it)));
        let longest = topics.max_by_key(|(_, topic)| topic.retention);
        let retention = longest.map_or(Duration::ZERO, |(_, topic)| topic.retention);
        let enough = retention + Duration::from_hours(24);
        match (chosen, longest) {
            (Some(chosen), Some((contract, topic))) if chosen < retention => {
                let message = format!(
                    "topic `{}` keeps its events for {} s, and [ledger] dedup_window is {} s: one \
                     that is delivered again after that would be handled again",
                    topic.name,
                    retention.as_secs(),
                    chosen.as_secs_f64(),
                );
                let help = format!("give {} or more, or leave it out", enough.as_secs());
                let file = contract.folder.join("contract.toml");
                Err(Problem::in_file(file, message).help(help))
            }
            (Some(chosen), _) => Ok(chosen),
            (None, _) => Ok(enough),
        }
    }

    /// The example of a canonical type, from the contract asked for or the first that has one.
    pub fn example(&self, ty: &str, contract: Option<&ContractName>) -> Option<Example> {
        self.iter()
            .filter(|candidate| contract.is_none_or(|name| candidate.name == *name))
            .find_map(|contract| check::example(contract, ty))
    }
}

impl Example {
    /// Whether it has its envelope; otherwise Dapr puts it into one.
    pub fn is_cloud_event(&self) -> bool {
        self.content_type == "application/cloudevents+json"
    }

    /// What its schema says of the fields of the data's object at `place`.
    pub fn fields(&self, place: &[String]) -> Fields {
        self.schema.as_ref().map(|schema| schema.fields(place)).unwrap_or_default()
    }
}

impl Contract {
    /// The dialect's rules for a topic.
    pub fn topic(&self, name: &Topic) -> Option<&TopicRules> {
        self.topics.iter().find(|topic| topic.name == *name)
    }
}

#[cfg(test)]
mod tests;
