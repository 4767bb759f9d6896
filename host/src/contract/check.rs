//! Everything that loading leaves out because it takes long: every example must mean what its name
//! says, in both directions, and every invalid one must be refused for the reason that it gives.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Contract, Contracts, Decode, Encoded, Example, read};
use crate::effect::Publish;
use crate::event::{Arrival, Decoded, Event, Origin, TopicOrigin, WireEvent, parse};
use crate::name::Topic;
use crate::problem::Problem;

/// `examples/invalid/<what>.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Invalid {
    topic: Topic,
    /// A part of the reason with which it is refused.
    reason: String,
    /// The body, as JSON …
    event: Option<Value>,
    /// … or as text, for what is not JSON.
    body: Option<String>,
}

/// Every problem of a contract's folder, its examples included.
pub fn check(folder: &Path) -> Vec<Problem> {
    let contract = match read(folder) {
        Ok(contract) => Arc::new(contract),
        Err(problems) => return problems,
    };
    let contracts = Contracts { active: vec![Arc::clone(&contract)] };
    let mut problems = Vec::new();
    let valid = folder.join("examples");
    for path in json_files(&valid) {
        if let Err(message) = check_valid(&contracts, &contract, &path) {
            problems.push(Problem::in_file(path, message));
        }
    }
    for path in json_files(&valid.join("invalid")) {
        if let Err(message) = check_invalid(&contracts, &contract, &path) {
            problems.push(Problem::in_file(path, message));
        }
    }
    for entry in contract.events.iter().filter(|entry| entry.topic.is_some()) {
        let path = valid.join(format!("{}.json", entry.ty));
        if !path.is_file() {
            let help = "`wharf emit` publishes it, and it shows readers what the type looks like";
            problems.push(Problem::in_file(path, "the type has no example").help(help));
        }
    }
    problems
}

/// The example that `wharf emit` publishes: `examples/<type>.json`.
pub fn example(contract: &Contract, ty: &str) -> Option<Example> {
    let entry = contract.events.iter().find(|e| e.ty.as_str() == ty && e.topic.is_some())?;
    let path = contract.folder.join("examples").join(format!("{}.json", entry.ty));
    let value: Value = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
    let content_type =
        if is_cloud_event(&value) { "application/cloudevents+json" } else { "application/json" };
    Some(Example {
        pubsub: contract.pubsub.clone(),
        topic: entry.topic.clone()?,
        content_type,
        value,
        schema: entry.schema.clone(),
    })
}

fn is_cloud_event(value: &Value) -> bool {
    value.get("specversion").is_some()
}

fn check_valid(contracts: &Contracts, contract: &Contract, path: &Path) -> Result<(), String> {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let is_named = |ty: &str| {
        stem.strip_prefix(ty).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let entry = contract.events.iter().find(|e| e.topic.is_some() && is_named(e.ty.as_str()));
    let Some((entry, topic)) = entry.and_then(|entry| Some((entry, entry.topic.as_ref()?))) else {
        return Err(format!(
            "`{stem}` does not begin with a type that the contract has on a topic"
        ));
    };
    let value: Value =
        serde_json::from_str(&text(path)?).map_err(|e| format!("is not JSON: {e}"))?;
    let value = if is_cloud_event(&value) { value } else { wrapped(&value) };
    let decoded = match contracts.decode(&wire(contract, topic, value.to_string())) {
        Decode::Event(decoded) => decoded,
        Decode::Unknown { wire_type, .. } => {
            return Err(format!("its type `{wire_type}` is unknown"));
        }
        Decode::Unreadable(unreadable) => return Err(unreadable.reason),
    };
    if decoded.event.ty != entry.ty {
        return Err(format!("it is a `{}`, and its name says `{}`", decoded.event.ty, entry.ty));
    }
    there_and_back(contracts, contract, &decoded)
}

/// What comes in must be able to go out and come in as the same.
fn there_and_back(
    contracts: &Contracts,
    contract: &Contract,
    decoded: &Decoded,
) -> Result<(), String> {
    let event = &decoded.event;
    let publish = Publish {
        id: event.id.clone(),
        ty: event.ty.clone(),
        subject: event.subject.clone(),
        time: event.time.clone(),
        data: event.data.clone(),
    };
    let encoded = contracts.encode(&contract.name, &publish, &event.source, None);
    let outgoing = match encoded.map_err(|error| error.to_string())? {
        Encoded::Topic(outgoing) => outgoing,
        Encoded::Internal(_) => return Err("its type is internal on the way out".to_owned()),
    };
    let body = String::from_utf8_lossy(&outgoing.payload).into_owned();
    match contracts.decode(&wire(contract, &outgoing.topic, body)) {
        Decode::Event(again) if same(&again.event, event) && again.key == decoded.key => Ok(()),
        Decode::Event(again) => Err(format!(
            "encoded and decoded again it differs: {} became {}",
            event.data, again.event.data
        )),
        Decode::Unknown { .. } => Err("encoded, its type is unknown".to_owned()),
        Decode::Unreadable(unreadable) => Err(format!("encoded, {}", unreadable.reason)),
    }
}

/// The data may be spaced and ordered differently.
fn same(one: &Event, other: &Event) -> bool {
    let data = |event: &Event| serde_json::from_str::<Value>(&event.data).ok();
    let rest = |event: &Event| Event { data: String::new(), ..event.clone() };
    data(one) == data(other) && rest(one) == rest(other)
}

fn check_invalid(contracts: &Contracts, contract: &Contract, path: &Path) -> Result<(), String> {
    let invalid: Invalid = serde_json::from_str(&text(path)?).map_err(|e| e.to_string())?;
    let body = match (invalid.event, invalid.body) {
        (Some(event), None) => event.to_string(),
        (None, Some(body)) => body,
        (Some(_), Some(_)) | (None, None) => return Err("give `event` or `body`".to_owned()),
    };
    match contracts.decode(&wire(contract, &invalid.topic, body)) {
        Decode::Unreadable(refused) if refused.reason.contains(&invalid.reason) => Ok(()),
        Decode::Unreadable(refused) => {
            Err(format!("it is refused since {}, not since {}", refused.reason, invalid.reason))
        }
        Decode::Unknown { wire_type, .. } => {
            Err(format!("its type `{wire_type}` is unknown, not refused since {}", invalid.reason))
        }
        Decode::Event(_) => Err(format!("it is accepted, not refused since {}", invalid.reason)),
    }
}

/// A payload as daprd hands it over when its producer gave it no envelope.
fn wrapped(payload: &Value) -> Value {
    json!({
        "specversion": "1.0",
        "type": parse::DAPR_WRAPPED,
        "id": "5f2d6ad6-6f4d-4c57-9d2a-0b8f3b1c7e11",
        "source": "example",
        "time": "2026-02-03T10:00:00Z",
        "datacontenttype": "application/json",
        "data": payload,
    })
}

fn wire(contract: &Contract, topic: &Topic, body: String) -> WireEvent {
    let origin = TopicOrigin {
        path: contract.topic(topic).map_or_else(String::new, |rules| rules.path.clone()),
        pubsub: Some(contract.pubsub.clone()),
        topic: Some(topic.clone()),
        position: None,
        attributes: Vec::new(),
    };
    let arrival = Arrival { origin: Origin::Topic(origin), trace: None };
    WireEvent { bytes: Bytes::from(body), arrival }
}

fn text(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    files
}
