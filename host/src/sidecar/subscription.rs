//! Subscriptions in files. The host says its own when daprd asks, and those win; a file that says
//! something else of the same topic is ignored, or, where the host is told not to say its own, leads
//! events to where the contract does not expect them.

use std::collections::{BTreeMap, BTreeSet};

use super::resiliency::Inbound;
use super::yaml::{Node, Value};
use super::{Document, Host, Kind, Resources, folder, nearest};
use crate::config::Subscriptions;
use crate::contract::{Contracts, Delivery, Subscription};
use crate::problem::Problem;

pub fn check(document: &Document<'_>, resources: &Resources<'_>) -> Vec<Problem> {
    let Some(spec) = document.root.get("spec") else {
        let text = "it has no spec; daprd leaves it out".to_owned();
        return vec![document.error(&document.root.at, text)];
    };
    let mut problems = routes(document, spec);
    let (Some(pubsub), Some(topic)) = (spec.get("pubsubname"), spec.get("topic")) else {
        let text = "it does not say which topic of which pubsub".to_owned();
        problems.push(document.error(&spec.at, text).help("give pubsubname and topic"));
        return problems;
    };
    let name = pubsub.text().unwrap_or_default();
    if resources.has("pubsub") && resources.component(name).is_none() {
        let text = format!("there is no pubsub `{name}` in this folder");
        problems.push(document.warning(&pubsub.at, text));
    }
    let host = resources.host;
    let topic = topic.text().unwrap_or_default();
    let own = same(host.contracts, name, topic).filter(|_| document.is_for(host.app_id));
    problems.extend(metadata(document, spec, name, resources));
    problems.extend(dead_letter(document, spec, name, own.is_some(), resources));
    if let Some(own) = own {
        problems.extend(shadow(document, spec, &own, host.subscriptions));
        problems.extend(waiting(document, spec, &own));
    }
    problems
}

/// What the host takes of a topic, and where.
fn same(contracts: &Contracts, pubsub: &str, topic: &str) -> Option<Subscription> {
    let mut own = contracts.subscriptions().into_iter();
    own.find(|one| one.pubsub.as_str() == pubsub && one.topic.as_str() == topic)
}

/// The topics that only a file can subscribe, and none does.
pub fn undeclared(documents: &[Document<'_>], host: Host<'_>) -> Vec<Problem> {
    let Some(first) = documents.first() else { return Vec::new() };
    let declared = |own: &Subscription| {
        documents.iter().filter(|document| is_subscription(document, host)).any(|document| {
            document.root.text_at(&["spec", "pubsubname"]) == Some(own.pubsub.as_str())
                && document.root.text_at(&["spec", "topic"]) == Some(own.topic.as_str())
        })
    };
    let folders: BTreeSet<_> = documents.iter().map(|document| folder(document.file)).collect();
    let folders: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let missing = host.contracts.subscriptions().into_iter().filter(|own| !declared(own));
    let told = missing.map(|own| {
        let text = format!(
            "no Subscription names topic `{}` of `{}`: its events do not come",
            own.topic, own.pubsub
        );
        Problem::in_file(folder(first.file), text).warning().help(format!(
            "add one (looked in {}), or set [ingress] subscriptions = \"programmatic\"",
            folders.join(", ")
        ))
    });
    told.collect()
}

fn is_subscription(document: &Document<'_>, host: Host<'_>) -> bool {
    matches!(document.kind, Kind::Subscription | Kind::OldSubscription)
        && document.is_for(host.app_id)
}

/// What daprd itself reads of a subscription's metadata, by this very name.
const RAW_PAYLOAD: &str = "rawPayload";

/// What components read of it, in any case, where that is all.
const READ: [(&str, &[&str]); 3] =
    [("pubsub.kafka", &["valueSchemaType"]), ("pubsub.redis", &[]), ("pubsub.in-memory", &[])];

/// The metadata that nobody reads. Of a pubsub that this does not know only what is much like a name
/// that daprd reads.
fn metadata(
    document: &Document<'_>,
    spec: &Node,
    pubsub: &str,
    resources: &Resources<'_>,
) -> Vec<Problem> {
    let ty = resources.component(pubsub).and_then(|one| one.root.text_at(&["spec", "type"]));
    let read = READ.iter().find(|(known, _)| Some(*known) == ty).map(|(_, names)| *names);
    let fields = spec.get("metadata").map(Node::fields).unwrap_or_default();
    let ignored = fields.iter().filter_map(|(key, _)| {
        let name = key.text.as_str();
        let own = read.unwrap_or_default();
        if name == RAW_PAYLOAD || own.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            return None;
        }
        let near = nearest(name, own.iter().copied().chain([RAW_PAYLOAD]));
        let help = match (near, read) {
            (Some(right), _) => format!("did you mean `{right}`?"),
            (None, Some(_)) => "remove it".to_owned(),
            (None, None) => return None,
        };
        let text = format!("daprd ignores `{name}`: it is no metadata of a subscription");
        Some(document.error(&key.at, text).help(help))
    });
    ignored.collect()
}

/// Of two subscriptions to one topic daprd takes the first.
pub fn twice(resources: &Resources<'_>) -> Vec<Problem> {
    let mut seen = BTreeMap::new();
    let subscriptions =
        resources.documents.iter().filter(|document| is_subscription(document, resources.host));
    let twice = subscriptions.filter_map(|document| {
        let pubsub = document.root.text_at(&["spec", "pubsubname"])?;
        let topic = document.root.find(&["spec", "topic"])?;
        let name = document.name().map(|(name, _)| name).unwrap_or_default();
        let first =
            *seen.entry((pubsub, topic.text()?)).or_insert((name, document.number, document.file));
        if first == (name, document.number, document.file) {
            return None;
        }
        let text = format!("daprd ignores this: `{}` has the topic already", first.0);
        Some(document.error(&topic.at, text).help("route by rules of one subscription"))
    });
    twice.collect()
}

/// A subscription without a path gets nothing, and what no rule matches is dropped.
fn routes(document: &Document<'_>, spec: &Node) -> Vec<Problem> {
    let rules = spec.find(&["routes", "rules"]);
    let items = rules.map(Node::items).unwrap_or_default();
    let default = spec.text_at(&["routes", "default"]).or_else(|| spec.text_at(&["route"]));
    if default.is_some_and(|path| !path.is_empty()) {
        return Vec::new();
    }
    let Some(rules) = rules.filter(|_| !items.is_empty()) else {
        let text = "it has no path; daprd leaves it out".to_owned();
        let help = match document.kind {
            Kind::OldSubscription => "give spec.route",
            _ => "give spec.routes.default",
        };
        return vec![document.error(&spec.at, text).help(help)];
    };
    let matches_all =
        |rule: &Node| rule.text_at(&["match"]).is_none_or(|text| text.trim().is_empty());
    if items.iter().any(matches_all) {
        return Vec::new();
    }
    let text = "daprd drops what matches none of these rules".to_owned();
    vec![document.warning(&rules.at, text).help("give routes.default")]
}

/// Dapr's dead letters have no reason, and come at the first failure where nothing is retried.
fn dead_letter(
    document: &Document<'_>,
    spec: &Node,
    pubsub: &str,
    is_hosts: bool,
    resources: &Resources<'_>,
) -> Option<Problem> {
    let node = spec.get("deadLetterTopic")?;
    let topic = node.text().filter(|topic| !topic.is_empty())?;
    let inbound = resources.policies.inbound(pubsub);
    if inbound == Inbound::Nothing {
        let text = format!(
            "the first failure goes to `{topic}`: `{pubsub}` has no retry policy in {}",
            resources.folder()
        );
        return Some(if is_hosts {
            document.error(&node.at, text).help("remove it: the host dead-letters by itself")
        } else {
            document.warning(&node.at, text).help("give the pubsub an inbound retry policy")
        });
    }
    if !is_hosts {
        return None;
    }
    let text = match inbound {
        Inbound::Ends(why) => format!(
            "while the ledger is away events go to `{topic}` though nothing is wrong with them: {why}"
        ),
        Inbound::Nothing | Inbound::Endless => {
            format!("only what daprd itself drops goes to `{topic}`, without a reason")
        }
    };
    Some(document.warning(&node.at, text).help("remove it: the host dead-letters by itself"))
}

/// How long a lone event waits for others, where that is not what the contract says.
fn waiting(document: &Document<'_>, spec: &Node, own: &Subscription) -> Option<Problem> {
    let bulk = spec.get("bulkSubscribe")?;
    let Delivery::Bulk { await_, .. } = own.delivery else { return None };
    if !matches!(bulk.get("enabled")?.value, Value::Bool(true)) {
        return None;
    }
    let wanted = await_.as_millis();
    let (at, text) = match bulk.get("maxAwaitDurationMs") {
        Some(Node { value: Value::Number(given), .. }) if *given == await_.as_secs_f64() * 1e3 => {
            return None;
        }
        Some(node) => (node, format!("the contract lets a lone event wait {wanted} ms")),
        None => (bulk, "with Kafka a lone event waits 10 s where nothing is said".to_owned()),
    };
    let problem = document.warning(&at.at, text);
    Some(problem.help(format!("say maxAwaitDurationMs: {wanted}")))
}

/// What differs from what the host itself says of the topic.
fn shadow(
    document: &Document<'_>,
    spec: &Node,
    own: &Subscription,
    who: Subscriptions,
) -> Vec<Problem> {
    let Subscription { path, delivery, topic, raw, .. } = own;
    let mut problems = Vec::new();
    let mut tell = |node: &Node, what: String, help: String| {
        let text = match who {
            Subscriptions::Programmatic => format!(
                "the host subscribes `{topic}` itself, which hides this; where it does not, {what}"
            ),
            Subscriptions::Declarative => format!("this subscribes `{topic}` for the host: {what}"),
        };
        problems.push(document.error(&node.at, text).help(help));
    };
    if let Some(rules) = spec.find(&["routes", "rules"]).filter(|rules| !rules.items().is_empty()) {
        let what = "events go where the contract does not expect them".to_owned();
        tell(rules, what, format!("remove the rules: all of `{topic}` goes to {path}"));
    }
    let default = spec.find(&["routes", "default"]).or_else(|| spec.get("route"));
    if let Some(node) = default
        && node.text().is_some_and(|given| given != path)
    {
        let what = "events go where the contract does not expect them".to_owned();
        tell(node, what, format!("the contract's path is {path}"));
    }
    let given = spec.find(&["metadata", "rawPayload"]);
    let is_raw = given.is_some_and(|node| node.text() == Some("true"));
    match (*raw, is_raw) {
        (true, false) => tell(
            given.unwrap_or(spec),
            "what daprd cannot read never reaches the host".to_owned(),
            "the contract says raw = true: say metadata: { rawPayload: \"true\" }".to_owned(),
        ),
        (false, true) => tell(
            given.unwrap_or(spec),
            "records come as they are, and expired ones, too".to_owned(),
            "the contract does not say raw = true: remove rawPayload".to_owned(),
        ),
        (true, true) | (false, false) => {}
    }
    let bulk = spec.get("bulkSubscribe");
    let enabled = bulk.and_then(|bulk| bulk.get("enabled")).map(|node| &node.value);
    let is_bulk = matches!(enabled, Some(Value::Bool(true)));
    let node = bulk.unwrap_or(spec);
    match delivery {
        Delivery::Bulk { .. } if is_bulk => {}
        Delivery::Bulk { max, await_ } => tell(
            node,
            "events come one by one".to_owned(),
            format!(
                "the contract says bulkSubscribe: {{ enabled: true, maxMessagesCount: {max}, \
                 maxAwaitDurationMs: {} }}",
                await_.as_millis()
            ),
        ),
        Delivery::Single if is_bulk => tell(
            node,
            "events come in bulk, and wait for others".to_owned(),
            "the contract says bulk = false: remove bulkSubscribe".to_owned(),
        ),
        Delivery::Single => {}
    }
    problems
}
