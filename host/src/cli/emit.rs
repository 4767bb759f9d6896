//! `wharf emit`: publishes a contract's example event, with a fresh id and time, as any producer
//! would: through the Dapr API.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde_json::{Map, Value};

use crate::app::StartError;
use crate::catalog::load;
use crate::cli::client::DaprClient;
use crate::cli::{WrongUse, print};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{self, Config};
use crate::contract::{Contracts, Decode, Example, Fields};
use crate::event::{Arrival, Origin, TopicOrigin, WireEvent};
use crate::name::ContractName;
use crate::problem::nearest;
use crate::schedule;

/// Publish an example event through the Dapr API
///
/// The event is the contract's own example for the type, with a fresh id and time. A field that the
/// schema does not know is told, or refused with exit code 2 where the schema allows no others.
#[derive(Args)]
#[command(after_help = "Examples:
  wharf emit com.todo.task.created.v1
  wharf emit com.todo.task.created.v1 --data '{\"task_id\":\"1\",\"user_id\":\"ann\"}'
  wharf emit com.todo.task.completed.v1 --set task_id=t-2 --set task.recurrence=daily
  wharf emit com.todo.reminder.scheduled.v1 --set remind_at=now+2s
  DAPR_HTTP_PORT=3501 wharf emit com.todo.task.completed.v1")]
pub struct Emit {
    /// The event type, such as com.todo.task.created.v1
    #[arg(value_name = "TYPE")]
    ty: String,
    /// The contract whose example to take, when several know the type
    #[arg(long, value_name = "CONTRACT")]
    contract: Option<ContractName>,
    /// JSON to publish as the event's data instead of the example's
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// Change one field of the data: FIELD is such as `task_id` or `task.due_date`; VALUE is JSON,
    /// `now`, `now+2s`, `now-1h30m` (h, m, s, ms), or else text. May be given several times
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    changes: Vec<Change>,
    /// Where the contracts are [default: contracts]
    #[arg(long, value_name = "FOLDER")]
    contracts: Option<PathBuf>,
    /// Print what was published as JSON
    #[arg(long)]
    json: bool,
}

impl Emit {
    pub async fn run(self) -> Result<(), StartError> {
        let config = Config::load(None).map_err(|error| anyhow!("{error}"))?;
        let endpoint = config.sidecar();
        let folder = self.contracts.unwrap_or(config.contracts);
        let folders = load::contract_folders(&folder).map_err(StartError::Problems)?;
        let contracts = Contracts::load(&folders).map_err(StartError::Problems)?;
        let example = contracts
            .example(&self.ty, self.contract.as_ref())
            .ok_or_else(|| unknown(&contracts, &self.ty, &folder))?;
        let data = self.data.map(|data| serde_json::from_str(&data)).transpose();
        let data: Option<Value> = data.map_err(|error| {
            let such_as = r#"'{"task_id":"1"}'"#;
            anyhow!(WrongUse(format!("--data is not JSON: {error}; give it such as {such_as}")))
        })?;
        let example = changed(fresh(example, data), &self.changes)?;
        let client = DaprClient::new(endpoint)?;
        let (pubsub, topic) = (example.pubsub.as_str(), example.topic.as_str());
        if let Some(reason) = refusal(&contracts, &example) {
            print::note(format!(
                "this event breaks its contract and will be dead: {reason}\n\
                 see it with `wharf deliveries --status dead`"
            ));
        }
        client.publish(pubsub, topic, example.content_type, example.value.to_string()).await?;
        if self.json {
            print::json(&example.value)?;
        } else {
            let id = example.value.get("id").and_then(Value::as_str).unwrap_or_default();
            print::line(format!("published {id} ({}) to {pubsub}/{topic}", self.ty));
        }
        Ok(())
    }
}

/// An emit command and a curl command for the first event type that has an example.
pub fn suggestion(contracts: &Contracts, dapr: SocketAddr) -> Option<String> {
    let types = contracts.iter().flat_map(|contract| &contract.events).map(|entry| &entry.ty);
    let first = types.into_iter().find_map(|ty| Some((ty, contracts.example(ty.as_str(), None)?)));
    let (ty, example) = first?;
    let example = fresh(example, None);
    let program = if config::run_by_cargo() { "cargo wharf" } else { "wharf" };
    let port = match dapr.port() {
        3500 => String::new(),
        port => format!("DAPR_HTTP_PORT={port} "),
    };
    Some(format!(
        "  {port}{program} emit {ty}\n  \
         curl -i http://{dapr}/v1.0/publish/{}/{} -H 'content-type: {}' -d '{}'",
        example.pubsub,
        example.topic,
        example.content_type,
        example.value.to_string().replace('\'', r"'\''"),
    ))
}

fn fresh(mut example: Example, data: Option<Value>) -> Example {
    let id = uuid::Builder::from_random_bytes(
        SystemClock.draw().first_chunk().copied().unwrap_or_default(),
    );
    let time = SystemClock.now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    if let Some(event) = example.value.as_object_mut() {
        let id = id.into_uuid().to_string();
        event.extend([("id".to_owned(), id.into()), ("time".to_owned(), time.into())]);
        if let Some(data) = data {
            // The example's subject belongs to its own data; without one the contract gives it.
            event.shift_remove("subject");
            event.insert("data".to_owned(), data);
        }
    }
    example
}

/// A field of the data and what it is to say.
#[derive(Debug, Clone)]
struct Change {
    place: Vec<String>,
    value: Value,
}

impl FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (place, value) = text
            .split_once('=')
            .filter(|(place, _)| !place.is_empty())
            .ok_or_else(|| format!("`{text}` is not FIELD=VALUE, such as task_id=t-2"))?;
        let place = place.split('.').map(str::to_owned).collect();
        Ok(Self { place, value: value_of(value)? })
    }
}

fn value_of(text: &str) -> Result<Value, String> {
    let now = SystemClock.now();
    let time = match text.strip_prefix("now") {
        Some("") => Some(now),
        Some(rest) if rest.starts_with(['+', '-']) => {
            let (sign, duration) = rest.split_at(1);
            let duration = schedule::go_duration(duration)
                .ok_or_else(|| format!("`{text}` is no time; write it like now+2s or now-1h30m"))?;
            let duration = chrono::TimeDelta::from_std(duration).ok();
            let then = duration.and_then(|duration| match sign {
                "+" => now.checked_add_signed(duration),
                _ => now.checked_sub_signed(duration),
            });
            Some(then.ok_or_else(|| format!("`{text}` is further off than any calendar"))?)
        }
        Some(_) | None => None,
    };
    Ok(match time {
        Some(time) => time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true).into(),
        None => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
    })
}

fn changed(mut example: Example, changes: &[Change]) -> anyhow::Result<Example> {
    for change in changes {
        is_known(&example, change)?;
        let Change { place, value } = change;
        let mut at = example.value.get_mut("data").context(
            "the example has no `data` for --set to change; give all of it with --data JSON",
        )?;
        for name in place {
            let fields = at.as_object_mut();
            let fields = fields.with_context(|| {
                format!(
                    "`{}` is in no object; the data's fields are those of the contract's schema",
                    place.join(".")
                )
            })?;
            at = fields.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
        }
        *at = value.clone();
    }
    if let Some(event) = example.value.as_object_mut().filter(|_| !changes.is_empty()) {
        event.shift_remove("subject");
    }
    Ok(example)
}

/// A field that neither the example nor the schema has is most likely spelt wrongly. It is refused
/// where the schema refuses it, and told otherwise.
fn is_known(example: &Example, Change { place, .. }: &Change) -> Result<(), WrongUse> {
    let mut at = example.value.get("data");
    for (depth, name) in place.iter().enumerate() {
        let object = at.and_then(Value::as_object);
        at = object.and_then(|fields| fields.get(name));
        if at.is_some() {
            continue;
        }
        let above = place.get(..depth).unwrap_or_default();
        let Fields { mut known, closed } = example.fields(above);
        if known.is_empty() || known.contains(name) {
            continue;
        }
        known.extend(object.into_iter().flat_map(Map::keys).cloned());
        let whole = |name: &str| [above, &[name.to_owned()]].concat().join(".");
        let meant = match nearest(name, known.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean `{}`?", whole(meant)),
            None => {
                format!("it has {}", known.iter().map(|n| whole(n)).collect::<Vec<_>>().join(", "))
            }
        };
        let said = format!("the schema has no field `{}`; {meant}", whole(name));
        if closed {
            return Err(WrongUse(said));
        }
        print::note(format_args!("warning: {said} It is published all the same"));
        return Ok(());
    }
    Ok(())
}

/// Why the host will not be able to read it.
fn refusal(contracts: &Contracts, example: &Example) -> Option<String> {
    let origin = TopicOrigin {
        pubsub: Some(example.pubsub.clone()),
        topic: Some(example.topic.clone()),
        ..TopicOrigin::default()
    };
    let arrival = Arrival { origin: Origin::Topic(origin), trace: None };
    let wire = WireEvent { bytes: example.value.to_string().into(), arrival };
    match contracts.decode(&wire) {
        Decode::Unreadable(unreadable) if example.is_cloud_event() => Some(unreadable.reason),
        Decode::Unreadable(_) | Decode::Event(_) | Decode::Unknown { .. } => None,
    }
}

fn unknown(contracts: &Contracts, ty: &str, folder: &Path) -> anyhow::Error {
    let types = contracts.iter().flat_map(|contract| &contract.events).map(|entry| &entry.ty);
    let mut types: Vec<_> = types.map(|ty| ty.as_str()).collect();
    types.retain(|ty| contracts.example(ty, None).is_some());
    types.sort_unstable();
    types.dedup();
    if types.is_empty() {
        return anyhow!(
            "no contract in {} has an example; write one as examples/{ty}.json in its folder",
            folder.display()
        );
    }
    match nearest(ty, types.iter().copied()) {
        Some(meant) => anyhow!("no contract has an example of `{ty}`; did you mean `{meant}`?"),
        None => {
            anyhow!(
                "no contract has an example of `{ty}`; the types are:\n  {}",
                types.join("\n  ")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_a_field_and_json_or_a_time_or_text() {
        let value = |text: &str| text.parse::<Change>().map(|change| change.value);
        assert_eq!(value("a=1"), Ok(Value::from(1)));
        assert_eq!(value("a=t-1"), Ok(Value::from("t-1")));
        assert_eq!(value("a=nowhere"), Ok(Value::from("nowhere")));
        let time = value("a=now+1h30m").unwrap();
        let time: crate::clock::Timestamp = time.as_str().unwrap().parse().unwrap();
        let ahead = time - SystemClock.now();
        assert!((89..=90).contains(&ahead.num_minutes()), "{ahead}");
        assert!(value("a=now+soon").unwrap_err().contains("now+2s"));
        assert!(value("nothing").unwrap_err().contains("FIELD=VALUE"));
        assert_eq!("a.b=x".parse::<Change>().unwrap().place, ["a", "b"]);
    }
}
