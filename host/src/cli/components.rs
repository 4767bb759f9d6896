//! `wharf components`: what a running host runs, from a terminal.

use clap::Args;
use serde_json::Value;

use crate::cli::client::{AdminClient, AdminEndpoint};
use crate::cli::{Finding, print};
use crate::name::ComponentId;

/// Show the components of a running host
///
/// The exit code is 1 when a component was refused, or its folder is gone.
#[derive(Args)]
#[command(after_help = "Examples:
  wharf components
  wharf components audit           everything about one: grants, limits, releases
  wharf components --json
  wharf components --admin http://127.0.0.1:9081")]
pub struct Components {
    /// One component
    #[arg(value_name = "NAME")]
    name: Option<ComponentId>,
    #[command(flatten)]
    admin: AdminEndpoint,
    /// Print what the host says as JSON
    #[arg(long)]
    json: bool,
}

impl Components {
    pub async fn run(self) -> anyhow::Result<Finding> {
        let client = AdminClient::new(self.admin)?;
        let answer = match &self.name {
            Some(name) => client.get(&format!("/components/{name}")).await?,
            None => client.get("/components").await?,
        };
        let components: Vec<&Value> = match &answer {
            Value::Array(all) => all.iter().collect(),
            one => vec![one],
        };
        match (self.json, &self.name) {
            (true, _) => print::json(&answer)?,
            (false, Some(_)) => print::line(described(&answer)),
            (false, None) if components.is_empty() => {
                print::line("no component runs; make one with `wharf new NAME`");
            }
            (false, None) => print::line(table(&components)),
        }
        let in_step = components.iter().all(|component| text(component, "offered") == "running");
        Ok(if in_step { Finding::Nothing } else { Finding::Something })
    }
}

const HEAD: [&str; 7] = ["NAME", "VERSION", "DIGEST", "STATUS", "IN FLIGHT", "PARKED", "DEAD"];

/// One line for each; what there is to say of an offer follows below its component.
fn table(components: &[&Value]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(components.iter().map(|component| row(component)));
    let mut lines = print::columns(&rows);
    for (line, component) in lines.iter_mut().skip(1).zip(components) {
        if let Some(note) = note(component) {
            line.push_str(&format!("\n  {note}"));
        }
    }
    lines.join("\n")
}

fn row(component: &Value) -> [String; 7] {
    [
        text(component, "name"),
        text(component, "version"),
        digest(component),
        text(component, "status"),
        text(component, "in_flight"),
        text(component, "parked"),
        text(component, "dead"),
    ]
}

/// Why what is offered does not run, in one line.
fn note(component: &Value) -> Option<String> {
    if text(component, "offered") == "gone" {
        return Some("its folder is gone: the next start is without it".to_owned());
    }
    let refused = component.get("refused").filter(|refused| !refused.is_null())?;
    let reason = text(refused, "reason");
    let first = reason.lines().next().unwrap_or_default().trim_end_matches(':');
    let name = text(component, "name");
    Some(format!("refused at {}: {first} (more: wharf components {name})", at(refused)))
}

/// Everything that the host says of one; what is empty is left out.
fn described(component: &Value) -> String {
    let fields = component.as_object().into_iter().flatten();
    let fields = fields.filter(|(name, _)| !["refused", "releases"].contains(&name.as_str()));
    let rows = fields.map(|(name, value)| [name.clone(), listed(value)]);
    let rows: Vec<_> = rows.filter(|[_, value]| !value.is_empty()).collect();
    let mut lines = print::columns(&rows);
    if let Some(refused) = component.get("refused").filter(|refused| !refused.is_null()) {
        let reason = text(refused, "reason").replace('\n', "\n  ");
        lines.push(format!("refused at {}\n  {reason}", at(refused)));
    }
    let releases = component.get("releases").and_then(Value::as_array);
    lines.push("releases, newest first".to_owned());
    let releases = releases.into_iter().flatten().map(|release| {
        [at(release), digest(release), text(release, "version"), text(release, "why")]
    });
    let releases = print::columns(&releases.collect::<Vec<_>>());
    lines.extend(releases.into_iter().map(|line| format!("  {line}")));
    lines.join("\n")
}

/// A list or a table on one line, such as `publish a, b; tables notes write`.
fn listed(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(values) => {
            let pairs = values.iter().map(|(key, value)| (key, listed(value)));
            let pairs = pairs.filter(|(_, value)| !value.is_empty());
            pairs.map(|(key, value)| format!("{key} {value}")).collect::<Vec<_>>().join("; ")
        }
        value => plain(value),
    }
}

/// The beginning of a digest tells versions apart.
fn digest(value: &Value) -> String {
    text(value, "digest").chars().take(12).collect()
}

/// A time, to the second.
fn at(value: &Value) -> String {
    let time = text(value, "at");
    match time.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => time,
    }
}

/// A field for people; `-` when it has no value.
fn text(value: &Value, field: &str) -> String {
    value.get(field).map_or_else(|| "-".to_owned(), plain)
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
