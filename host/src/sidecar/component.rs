//! A component: daprd does not start with a type that it lacks, and ignores a name of metadata that
//! its type does not read.

use super::duration::seconds;
use super::resiliency::Inbound;
use super::yaml::{Node, Value};
use super::{Document, Resources, kafka, nearest, table};
use crate::problem::Problem;

/// Dapr's categories (pkg/components/category.go).
const CATEGORIES: [&str; 12] = [
    "bindings",
    "configuration",
    "conversation",
    "crypto",
    "lock",
    "middleware",
    "nameresolution",
    "pubsub",
    "secretstores",
    "state",
    "workflow",
    "workflowbackend",
];

/// More than this nobody reads in a terminal.
const MOST_NAMES: usize = 20;

pub fn check(document: &Document<'_>, resources: &Resources<'_>) -> Vec<Problem> {
    let Some(ty) = document.root.find(&["spec", "type"]) else {
        let text = "it has no type; daprd does not start".to_owned();
        return vec![document.error(&document.root.at, text).help("give spec.type")];
    };
    let name = ty.text().unwrap_or_default();
    let category = document.category();
    if !CATEGORIES.contains(&category) {
        return vec![unknown_category(document, ty, name, category)];
    }
    let mut problems = secrets(document);
    problems.extend(left_out(document, resources));
    let Some(rows) = table::rows(name) else {
        problems.push(unknown_type(document, ty, name, category));
        return problems;
    };
    let version = document.root.text_at(&["spec", "version"]).unwrap_or("v1");
    // daprd takes all of these for the first version.
    let version = if ["", "v0"].contains(&version) { "v1" } else { version };
    match rows.iter().find(|row| row.version.eq_ignore_ascii_case(version)) {
        Some(row) => problems.extend(metadata(document, name, row, resources)),
        None => {
            let at = document.root.find(&["spec", "version"]).unwrap_or(ty);
            let versions: Vec<_> = rows.iter().map(|row| row.version).collect();
            let text = format!("daprd has no {version} of `{name}`, and does not start");
            let help = format!("it has {}", versions.join(" and "));
            problems.push(document.error(&at.at, text).help(help));
        }
    }
    match name.to_ascii_lowercase().as_str() {
        "pubsub.kafka" => problems.extend(kafka::check(document, resources)),
        "bindings.kafka" => problems.extend(kafka::mechanism(document)),
        "bindings.cron" => problems.extend(ticks(document, resources)),
        "pubsub.redis" => problems.extend(redis(document, ty, resources)),
        "pubsub.in-memory" => {
            let text = "`pubsub.in-memory` loses every event that is on its way when daprd ends";
            let problem = document.warning(&ty.at, text.to_owned());
            problems.push(problem.help("for tests only; use a broker that keeps events"));
        }
        _ => {}
    }
    problems
}

fn unknown_category(document: &Document<'_>, ty: &Node, name: &str, category: &str) -> Problem {
    let text = format!("daprd has no components of the category `{category}`, and does not start");
    let problem = document.error(&ty.at, text);
    if category == "jobs" {
        return problem.help("jobs need no component: the scheduler keeps them; remove this one");
    }
    let whole = nearest(name, table::types());
    match whole.or_else(|| nearest(category, CATEGORIES)) {
        Some(right) => problem.help(format!("did you mean `{right}`?")),
        None => problem.help(format!("it has {}", CATEGORIES.join(", "))),
    }
}

fn unknown_type(document: &Document<'_>, ty: &Node, name: &str, category: &str) -> Problem {
    let text = format!("daprd has no `{name}`, and does not start");
    let problem = document.error(&ty.at, text);
    let of_category = table::types().filter(|ty| ty.starts_with(&format!("{category}.")));
    match nearest(name, of_category) {
        Some(right) => problem.help(format!("did you mean `{right}`?")),
        None => problem.help("or is it a pluggable component? Then this check does not know it"),
    }
}

/// The metadata names that daprd ignores.
fn metadata(
    document: &Document<'_>,
    ty: &str,
    row: &table::Row,
    resources: &Resources<'_>,
) -> Vec<Problem> {
    let Some(known) = row.names(document.category()) else { return Vec::new() };
    let items = document.root.find(&["spec", "metadata"]).map(Node::items).unwrap_or_default();
    let unknown = items.iter().filter_map(|item| {
        let node = item.get("name")?;
        let name = node.text()?;
        if known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return None;
        }
        let problem =
            document.error(&node.at, format!("daprd ignores `{name}`: `{ty}` does not read it"));
        Some(match name.to_ascii_lowercase().as_str() {
            "deadlettertopic" => problem.help(dead_letter_help(document, resources)),
            "maxretries" => problem.help(
                "retries of events are the contract's (`retry` in contract.toml); Dapr's own are a \
                 Resiliency",
            ),
            _ => match nearest(name, known.iter().copied()) {
                Some(right) => problem.help(format!("did you mean `{right}`?")),
                None if known.len() <= MOST_NAMES => {
                    problem.help(format!("it reads {}", known.join(", ")))
                }
                None => problem.help("remove it; Dapr's reference says what it reads"),
            },
        })
    });
    unknown.chain(missing(document, ty, row, items)).collect()
}

/// What must be there, in the words of Dapr's own description of the type.
fn missing(document: &Document<'_>, ty: &str, row: &table::Row, items: &[Node]) -> Vec<Problem> {
    let is_there = |name: &&str| {
        let mut given = items.iter().filter_map(|item| item.text_at(&["name"]));
        given.any(|given| given.eq_ignore_ascii_case(name))
    };
    let missing = row.required.iter().filter(|names| !names.iter().any(is_there));
    let at = document.root.find(&["spec", "metadata"]).unwrap_or(&document.root);
    let told = missing.filter_map(|names| {
        let name = names.first()?;
        let text = format!("it has no `{name}`, which `{ty}` needs");
        Some(document.error(&at.at, text).help(format!("give {name}")))
    });
    told.collect()
}

fn dead_letter_help(document: &Document<'_>, resources: &Resources<'_>) -> &'static str {
    let name = document.name().map(|(name, _)| name).unwrap_or_default();
    if resources.host.takes(name) {
        "the host dead-letters by itself (`dead_letter` in contract.toml); remove it"
    } else {
        "it belongs in a Subscription, beside a retry policy"
    }
}

/// References to secrets that cannot be resolved leave the value empty.
fn secrets(document: &Document<'_>) -> Vec<Problem> {
    let items = document.root.find(&["spec", "metadata"]).map(Node::items).unwrap_or_default();
    let has_store =
        document.root.text_at(&["auth", "secretStore"]).is_some_and(|one| !one.is_empty());
    let mut problems = Vec::new();
    for item in items {
        let name = item.text_at(&["name"]).unwrap_or_default();
        let secret = item.get("secretKeyRef");
        let given = ["value", "secretKeyRef", "envRef"].iter().filter_map(|key| item.get(key));
        if given.clone().all(|node| matches!(node.value, Value::Null)) {
            let text = format!("`{name}` has no value");
            problems
                .push(document.error(&item.at, text).help("give value, secretKeyRef or envRef"));
        } else if let Some(secret) = secret.filter(|_| !has_store) {
            let text = format!("outside Kubernetes `{name}` stays empty: no secret store is named");
            let help = "say auth: { secretStore: kubernetes }, or another secret store's name";
            problems.push(document.warning(&secret.at, text).help(help));
        }
    }
    problems
}

/// A component that a contract needs, and the host's daprd does not load.
fn left_out(document: &Document<'_>, resources: &Resources<'_>) -> Vec<Problem> {
    let Some((name, _)) = document.name() else { return Vec::new() };
    let host = resources.host;
    if !host.uses(name) {
        return Vec::new();
    }
    let mut problems = Vec::new();
    if let Some(scopes) = document.root.get("scopes").filter(|_| !document.is_for(host.app_id)) {
        let id = host.app_id;
        let text = format!("a contract needs `{name}`, and the daprd of `{id}` does not load it");
        problems.push(document.error(&scopes.at, text).help(format!("add `{id}` to scopes")));
    }
    if let Some(node) = document.root.find(&["spec", "ignoreErrors"])
        && matches!(node.value, Value::Bool(true))
    {
        let text = format!("daprd starts without `{name}` when it fails, and nothing says so");
        problems.push(document.warning(&node.at, text).help("a contract needs it: remove this"));
    }
    problems
}

/// Every replica is ticked, so that the host takes all ticks of a contract's period for one.
fn ticks(document: &Document<'_>, resources: &Resources<'_>) -> Option<Problem> {
    let (name, _) = document.name()?;
    let node = document.value("schedule")?;
    let every = seconds(node.text()?.strip_prefix("@every ")?.trim())?;
    let mut bindings = resources.host.contracts.iter().flat_map(|one| &one.bindings);
    let period = bindings.find(|binding| binding.name.as_str() == name)?.period?.as_secs_f64();
    if every >= period {
        return None;
    }
    let text =
        format!("of the ticks in {period} s the host takes one: that is the contract's period");
    let help = "tick as often as contract.toml says, or change its period";
    Some(document.warning(&node.at, text).help(help))
}

/// Redis Streams acknowledge what failed (contrib 1.17 and later).
fn redis(document: &Document<'_>, ty: &Node, resources: &Resources<'_>) -> Option<Problem> {
    let (name, _) = document.name()?;
    if !resources.host.takes(name) || !document.is_for(resources.host.app_id) {
        return None;
    }
    let text = match resources.policies.inbound(name) {
        Inbound::Endless => return None,
        Inbound::Nothing => format!(
            "`{name}` loses every event that the host answers with RETRY: no Resiliency in {} gives \
             it a retry policy",
            resources.folder()
        ),
        Inbound::Ends(_) => format!("`{name}` loses an event when its retries end"),
    };
    let help = "Redis Streams acknowledge what failed: give it a retry policy that never ends, in this \
                folder";
    Some(document.error(&ty.at, text).help(help))
}
