//! Retries. For what comes in, an end of the retries is a loss: the host says RETRY only while it
//! cannot write its ledger, and then Dapr must not give up (pkg/resiliency in Dapr's source).

use std::collections::BTreeMap;

use super::yaml::{Node, Value};
use super::{Document, Host, Kind, Resources, duration, kafka, nearest};
use crate::problem::Problem;

/// A kind of policy: its key in a target, where policies of the kind are, and its word in the names
/// of defaults.
type PolicyKind = (&'static str, &'static str, &'static str);

const RETRY: PolicyKind = ("retry", "retries", "Retry");
const TIMEOUT: PolicyKind = ("timeout", "timeouts", "Timeout");
const BREAKER: PolicyKind = ("circuitBreaker", "circuitBreakers", "CircuitBreaker");
const KINDS: [PolicyKind; 3] = [RETRY, TIMEOUT, BREAKER];

/// Of the defaults that daprd takes for what a pubsub delivers, where no target names the component,
/// in this order.
const INBOUND: [&str; 4] = ["PubsubComponentInbound", "ComponentInbound", "Component", ""];
/// Of those that it takes for anything else, beside the ones of each type of component.
const OTHERS: [&str; 3] = ["ComponentOutbound", "App", "Actor"];
const TYPES: [&str; 8] = [
    "Binding",
    "Configuration",
    "Lock",
    "Pubsub",
    "Crypto",
    "Conversation",
    "Secretstore",
    "Statestore",
];

fn default_name(level: &str, kind: PolicyKind) -> String {
    format!("Default{level}{}Policy", kind.2)
}

/// Every name that makes a policy a default.
fn default_names(kind: PolicyKind) -> Vec<String> {
    let directions = ["Inbound", "Outbound"];
    let of_type = |ty: &str| directions.map(|direction| format!("{ty}Component{direction}"));
    let typed = TYPES.into_iter().flat_map(of_type);
    let all = INBOUND.into_iter().chain(OTHERS).map(str::to_owned).chain(typed);
    all.map(|level| default_name(&level, kind)).collect()
}

/// What becomes of an event that the host answers with RETRY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound {
    /// No policy: its component decides.
    Nothing,
    Endless,
    /// Dapr gives up, for this reason.
    Ends(String),
}

/// The retry policies of a folder that hold for the host's daprd.
#[derive(Debug, Default)]
pub struct Policies {
    /// The retry policy for what a component delivers, of each component that a target names.
    targets: BTreeMap<String, Option<String>>,
    /// Why each policy ends; `None` for one that does not.
    retries: BTreeMap<String, Option<String>>,
}

impl Policies {
    pub fn of(documents: &[Document<'_>], host: Host<'_>) -> Self {
        let mut policies = Self::default();
        for document in documents.iter().filter(|document| is_read(document, host)) {
            for (name, retry) in retries(document) {
                policies.retries.insert(name.to_owned(), end(retry).map(|(_, why)| why));
            }
            for (name, target) in targets(document) {
                let retry = target.text_at(&["inbound", "retry"]).map(str::to_owned);
                policies.targets.insert(name.to_owned(), retry);
            }
        }
        policies
    }

    /// What holds for the events of a pubsub.
    pub fn inbound(&self, pubsub: &str) -> Inbound {
        let default =
            || INBOUND.iter().find_map(|level| self.retries.get(&default_name(level, RETRY)));
        let retry = match self.targets.get(pubsub) {
            Some(named) => named.as_ref().and_then(|name| self.retries.get(name)),
            None => default(),
        };
        match retry {
            None => Inbound::Nothing,
            Some(None) => Inbound::Endless,
            Some(Some(why)) => Inbound::Ends(why.clone()),
        }
    }
}

/// daprd reads the first document of a file only.
fn is_read(document: &Document<'_>, host: Host<'_>) -> bool {
    document.kind == Kind::Resiliency && document.number == 0 && document.is_for(host.app_id)
}

/// Those of the folder that the host's daprd reads. It takes them together.
fn all<'a>(resources: &'a Resources<'_>) -> impl Iterator<Item = &'a Document<'a>> {
    resources.documents.iter().filter(|document| is_read(document, resources.host))
}

/// The names of all policies of a kind.
fn names<'a>(resources: &'a Resources<'_>, kind: PolicyKind) -> impl Iterator<Item = &'a str> {
    let of = move |document| fields(document, &["spec", "policies", kind.1]);
    all(resources).flat_map(of).map(|(name, _)| name)
}

fn all_targets<'a>(resources: &'a Resources<'_>) -> impl Iterator<Item = (&'a str, &'a Node)> {
    all(resources).flat_map(|document| targets(document))
}

fn retries<'a>(document: &'a Document<'_>) -> impl Iterator<Item = (&'a str, &'a Node)> {
    fields(document, &["spec", "policies", "retries"])
}

fn targets<'a>(document: &'a Document<'_>) -> impl Iterator<Item = (&'a str, &'a Node)> {
    fields(document, &["spec", "targets", "components"])
}

fn fields<'a>(
    document: &'a Document<'_>,
    path: &[&str],
) -> impl Iterator<Item = (&'a str, &'a Node)> + use<'a> {
    let fields = document.root.find(path).map(Node::fields).unwrap_or_default();
    fields.iter().map(|(key, value)| (key.text.as_str(), value))
}

/// Where and why a retry policy ends.
fn end(retry: &Node) -> Option<(&Node, String)> {
    if let Some(policy) = retry.get("policy")
        && policy.text().is_some_and(|text| text.eq_ignore_ascii_case("exponential"))
    {
        return Some((
            policy,
            "exponential ends after 15 minutes, whatever maxRetries says".to_owned(),
        ));
    }
    if let Some(most) = retry.get("maxRetries")
        && let Value::Number(number) = most.value
        && number >= 0.0
    {
        return Some((most, format!("it ends after {number} retries")));
    }
    let matching = retry.get("matching").filter(|node| !node.fields().is_empty())?;
    Some((matching, "another status is not tried again".to_owned()))
}

pub fn check(document: &Document<'_>, resources: &Resources<'_>) -> Vec<Problem> {
    if document.number > 0 {
        let at = document.root.get("kind").unwrap_or(&document.root);
        let text = "daprd ignores this: of a file it reads only the first document for resiliency";
        return vec![document.error(&at.at, text.to_owned()).help("give it a file of its own")];
    }
    let mut problems = unreadable(document);
    problems.extend(targets_of_nothing(document, resources));
    if document.is_for(resources.host.app_id) {
        problems.extend(no_defaults(document, resources));
        problems.extend(endings(document, resources));
    }
    problems
}

/// One value that daprd cannot read costs all policies of the document.
fn unreadable(document: &Document<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let is_wrong = |node: &&Node| node.text().is_some_and(|text| !duration::is_one(text));
    let mut tell = |node: &Node, is: &str, help: &str| {
        let text = node.text().unwrap_or_default();
        let says = format!("`{text}` is no {is}; daprd leaves out this and what follows");
        problems.push(document.error(&node.at, says).help(help));
    };
    for (_, retry) in retries(document) {
        if let Some(node) = retry.get("policy")
            && !node.text().is_some_and(|text| {
                ["constant", "exponential"].iter().any(|one| one.eq_ignore_ascii_case(text))
            })
        {
            tell(node, "policy of retries", "write constant, or exponential");
        }
        for key in ["duration", "maxInterval"] {
            if let Some(node) = retry.get(key).filter(is_wrong) {
                tell(node, "duration", "write one such as 5s");
            }
        }
    }
    for (_, node) in fields(document, &["spec", "policies", "timeouts"]) {
        if is_wrong(&node) {
            tell(node, "duration", "write one such as 5s");
        }
    }
    problems
}

/// A target's policy that is not there is none at all, and a breaker that is not there ends daprd.
fn targets_of_nothing(document: &Document<'_>, resources: &Resources<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, target) in targets(document) {
        if resources.has("pubsub") && resources.component(name).is_none() {
            let text = format!("there is no component `{name}` in this folder");
            problems.push(document.warning(&target.at, text));
        }
        for node in ["inbound", "outbound"].iter().filter_map(|direction| target.get(direction)) {
            problems.extend(policies_of_nothing(document, node, resources));
        }
    }
    for place in ["apps", "actors"] {
        for (_, target) in fields(document, &["spec", "targets", place]) {
            problems.extend(policies_of_nothing(document, target, resources));
        }
    }
    problems
}

/// The policies that a target names and nobody defines. Names differ by case, too.
fn policies_of_nothing(
    document: &Document<'_>,
    target: &Node,
    resources: &Resources<'_>,
) -> Vec<Problem> {
    // Another app's policies may be in files that this does not look into.
    let kinds = KINDS.into_iter().filter(|_| document.is_for(resources.host.app_id));
    let missing = kinds.filter_map(|kind| {
        let node = target.get(kind.0)?;
        let policy = node.text().filter(|policy| !policy.is_empty())?;
        // In a file for another app, or that daprd does not read, it may be of its own.
        let mut own = fields(document, &["spec", "policies", kind.1]).map(|(name, _)| name);
        let is_built_in = kind == RETRY && policy.starts_with("DaprBuiltIn");
        if is_built_in
            || own.any(|name| name == policy)
            || names(resources, kind).any(|name| name == policy)
        {
            return None;
        }
        let becomes = match kind {
            BREAKER => "daprd crashes when it is used",
            _ => "daprd takes it for none, without a word",
        };
        let text = format!("there is no `{policy}` under {}; {becomes}", kind.1);
        let own = fields(document, &["spec", "policies", kind.1]).map(|(name, _)| name);
        let help = match nearest(policy, own.chain(names(resources, kind))) {
            Some(right) => format!("did you mean `{right}`?"),
            None => "define it, or remove it".to_owned(),
        };
        Some(document.error(&node.at, text).help(help))
    });
    missing.collect()
}

/// Policies that are named as if they were defaults, and are none.
fn no_defaults(document: &Document<'_>, resources: &Resources<'_>) -> Vec<Problem> {
    let is_used = |name: &str, kind: PolicyKind| {
        let of = |target: &Node| {
            ["inbound", "outbound"].iter().any(|way| target.text_at(&[way, kind.0]) == Some(name))
        };
        let plain = ["apps", "actors"].into_iter().flat_map(|place| {
            let of = move |document| fields(document, &["spec", "targets", place]);
            all(resources).flat_map(of)
        });
        all_targets(resources).any(|(_, target)| of(target))
            || plain.into_iter().any(|(_, target)| target.text_at(&[kind.0]) == Some(name))
    };
    let mut problems = Vec::new();
    for kind in KINDS {
        let known = default_names(kind);
        for (name, policy) in fields(document, &["spec", "policies", kind.1]) {
            let is_meant = name.to_ascii_lowercase().starts_with("default");
            if !is_meant || known.iter().any(|known| known == name) || is_used(name, kind) {
                continue;
            }
            let text = format!("`{name}` is no default of daprd's, and no target names it");
            let problem = document.error(&policy.at, text);
            problems.push(match nearest(name, known.iter().map(String::as_str)) {
                Some(right) => problem.help(format!("did you mean `{right}`?")),
                None => problem.help("name it in a target, or remove it"),
            });
        }
    }
    problems
}

/// Whether it is a pubsub that the host takes events of, as far as this folder shows.
fn is_ours(name: &str, resources: &Resources<'_>) -> bool {
    let is_pubsub = resources.component(name).is_none_or(|one| one.category() == "pubsub");
    is_pubsub && resources.host.takes(name)
}

/// Whatever ends the retries of what the host takes.
fn endings(document: &Document<'_>, resources: &Resources<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, retry) in retries(document) {
        let pubsubs = pubsubs(resources, name, RETRY);
        let (Some(pubsubs), Some((at, why))) = (pubsubs, end(retry)) else { continue };
        let help = "say policy: constant, maxRetries: -1; the host dead-letters by itself";
        problems.push(if all_begin_again(&pubsubs, resources) {
            let text = format!(
                "retries of what comes in should not end ({why}): Kafka then begins again by itself, \
                 but another broker may lose the event"
            );
            document.warning(&at.at, text).help(help)
        } else {
            let text = format!("retries of what comes in must not end, or events are lost: {why}");
            document.error(&at.at, text).help(help)
        });
    }
    for (name, breaker) in fields(document, &["spec", "policies", "circuitBreakers"]) {
        let pubsubs = pubsubs(resources, name, BREAKER);
        let Some(pubsubs) = pubsubs else { continue };
        let text = format!("`{name}` ends the retries of what comes in while it is open");
        let problem = document.error(&breaker.at, text);
        let problem = problem.help("remove it: the host answers RETRY at once when it is too busy");
        let is_kept = all_begin_again(&pubsubs, resources);
        problems.push(if is_kept { problem.warning() } else { problem });
    }
    let default = default_of(resources, TIMEOUT);
    for (name, timeout) in fields(document, &["spec", "policies", "timeouts"]) {
        // One that a target names is told there.
        if default.as_deref() == Some(name) && pubsubs(resources, name, TIMEOUT).is_some() {
            let text = format!(
                "with `{name}` what comes in is delivered again while the host still works on it"
            );
            let help = "remove it, or name it in the targets that it is for: components have their \
                        own limits";
            problems.push(document.warning(&timeout.at, text).help(help));
        }
    }
    problems.extend(inbound(document, resources));
    problems
}

/// The default of a kind that daprd takes for what a pubsub delivers.
fn default_of(resources: &Resources<'_>, kind: PolicyKind) -> Option<String> {
    let mut defaults = INBOUND.into_iter().map(|level| default_name(level, kind));
    defaults.find(|default| names(resources, kind).any(|name| name == default))
}

/// The host's pubsubs in this folder for which a policy holds; `None` where it holds for none.
fn pubsubs<'a>(
    resources: &'a Resources<'_>,
    policy: &str,
    kind: PolicyKind,
) -> Option<Vec<&'a str>> {
    let ours = |name: &str| is_ours(name, resources);
    let named = all_targets(resources).filter(|(name, target)| {
        ours(name) && target.text_at(&["inbound", kind.0]) == Some(policy)
    });
    let mut found: Vec<_> = named.map(|(name, _)| name).collect();
    let is_default = default_of(resources, kind).as_deref() == Some(policy);
    if is_default {
        let names = resources.components().filter_map(Document::name).map(|(name, _)| name);
        let has_target = |name: &str| all_targets(resources).any(|(target, _)| target == name);
        let is_pubsub = |name: &str| resources.component(name).is_some() && ours(name);
        found.extend(names.filter(|name| is_pubsub(name) && !has_target(name)));
    }
    // Pubsubs of another folder may have no target.
    let is_open = is_default && !resources.has("pubsub");
    (is_open || !found.is_empty()).then_some(found)
}

/// Whether an event whose retries ended comes again, whichever of them it is from.
fn all_begin_again(pubsubs: &[&str], resources: &Resources<'_>) -> bool {
    let begins_again =
        |name: &&str| resources.component(name).is_some_and(|one| kafka::begins_again(one));
    !pubsubs.is_empty() && pubsubs.iter().all(begins_again)
}

/// What else a target does to the deliveries of the host's pubsubs.
fn inbound(document: &Document<'_>, resources: &Resources<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, target) in targets(document).filter(|(name, _)| is_ours(name, resources)) {
        if let Some(timeout) = target.find(&["inbound", "timeout"]) {
            let text = format!("`{name}` is delivered again while the host still works on it");
            let help = "remove it: components have their own limits";
            problems.push(document.warning(&timeout.at, text).help(help));
        }
        if default_of(resources, RETRY).is_some() && target.find(&["inbound", "retry"]).is_none() {
            let text = format!("with a target of its own `{name}` has no default policy any more");
            let help = "name a retry policy under inbound, too";
            problems.push(document.error(&target.at, text).help(help));
        }
    }
    problems
}
