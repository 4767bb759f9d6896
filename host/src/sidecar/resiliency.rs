//! Retries. For what comes in, an end of the retries is a loss: the host says RETRY only while it
//! cannot write its ledger, and then Dapr must not give up (pkg/resiliency in Dapr's source).

use std::collections::BTreeMap;

use super::yaml::{Node, Value};
use super::{Document, Host, Kind, Resources, kafka};
use crate::problem::Problem;

/// The policies that daprd takes, in this order, for what a pubsub delivers, where no target names
/// the component.
const DEFAULTS: [&str; 4] = [
    "DefaultPubsubComponentInboundRetryPolicy",
    "DefaultComponentInboundRetryPolicy",
    "DefaultComponentRetryPolicy",
    "DefaultRetryPolicy",
];
/// The others that would take effect on a pubsub's deliveries.
const DEFAULT_BREAKERS: [&str; 4] = [
    "DefaultPubsubComponentInboundCircuitBreakerPolicy",
    "DefaultComponentInboundCircuitBreakerPolicy",
    "DefaultComponentCircuitBreakerPolicy",
    "DefaultCircuitBreakerPolicy",
];

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
        let name = match self.targets.get(pubsub) {
            Some(named) => named.as_deref(),
            None => DEFAULTS.into_iter().find(|name| self.retries.contains_key(*name)),
        };
        match name.and_then(|name| self.retries.get(name)) {
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

fn retries<'a>(document: &'a Document<'_>) -> impl Iterator<Item = (&'a str, &'a Node)> {
    fields(document, &["spec", "policies", "retries"])
}

fn targets<'a>(document: &'a Document<'_>) -> impl Iterator<Item = (&'a str, &'a Node)> {
    fields(document, &["spec", "targets", "components"])
}

fn fields<'a>(
    document: &'a Document<'_>,
    path: &[&str],
) -> impl Iterator<Item = (&'a str, &'a Node)> {
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
        problems.extend(endings(document, resources));
    }
    problems
}

/// One value that daprd cannot read costs all policies of the document.
fn unreadable(document: &Document<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
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
            if let Some(node) = retry.get(key).filter(|node| node.text().is_some_and(not_duration))
            {
                tell(node, "duration", "write one such as 5s");
            }
        }
    }
    for (_, node) in fields(document, &["spec", "policies", "timeouts"]) {
        if node.text().is_some_and(not_duration) {
            tell(node, "duration", "write one such as 5s");
        }
    }
    problems
}

/// Go's durations, or a number of milliseconds.
fn not_duration(text: &str) -> bool {
    text.parse::<i64>().is_err() && seconds(text).is_none()
}

/// One of Go's durations, such as `1h30m`, in seconds.
pub fn seconds(text: &str) -> Option<f64> {
    let units = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let (mut rest, mut sum) = (text.trim_start_matches(['+', '-']), 0.0);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c| !is_number(c))?);
        let (unit, after) = after.split_at(after.find(is_number).unwrap_or(after.len()));
        let (_, seconds) = units.iter().find(|(name, _)| *name == unit)?;
        sum += number.parse::<f64>().ok()? * seconds;
        rest = after;
    }
    Some(sum)
}

/// A target's policy that is not there is none at all, and a breaker that is not there ends daprd.
fn targets_of_nothing(document: &Document<'_>, resources: &Resources<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let kinds =
        [("retry", "retries"), ("timeout", "timeouts"), ("circuitBreaker", "circuitBreakers")];
    for (name, target) in targets(document) {
        if resources.has("pubsub") && resources.component(name).is_none() {
            let text = format!("there is no component `{name}` in this folder");
            problems.push(document.warning(&target.at, text));
        }
        for direction in ["inbound", "outbound"] {
            for (key, policies) in kinds {
                let Some(node) = target.find(&[direction, key]) else { continue };
                let Some(policy) = node.text().filter(|policy| !policy.is_empty()) else {
                    continue;
                };
                if document.root.find(&["spec", "policies", policies, policy]).is_some() {
                    continue;
                }
                let becomes = match key {
                    "circuitBreaker" => "daprd crashes when it is used",
                    _ => "daprd takes it for none, without a word",
                };
                let text = format!("there is no `{policy}` under {policies}; {becomes}");
                problems.push(document.error(&node.at, text).help("define it, or remove it"));
            }
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
        let pubsubs = pubsubs(document, resources, name, "retry", &DEFAULTS);
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
        let pubsubs = pubsubs(document, resources, name, "circuitBreaker", &DEFAULT_BREAKERS);
        let Some(pubsubs) = pubsubs else { continue };
        let text = format!("`{name}` ends the retries of what comes in while it is open");
        let problem = document.error(&breaker.at, text);
        let problem = problem.help("remove it: the host answers RETRY at once when it is too busy");
        let is_kept = all_begin_again(&pubsubs, resources);
        problems.push(if is_kept { problem.warning() } else { problem });
    }
    problems.extend(inbound(document, resources));
    problems
}

/// The host's pubsubs in this folder for which a policy holds; `None` where it holds for none.
fn pubsubs<'a>(
    document: &'a Document<'_>,
    resources: &'a Resources<'_>,
    policy: &str,
    key: &str,
    defaults: &[&str],
) -> Option<Vec<&'a str>> {
    let ours = |name: &str| is_ours(name, resources);
    let named = targets(document)
        .filter(|(name, target)| ours(name) && target.text_at(&["inbound", key]) == Some(policy));
    let mut found: Vec<_> = named.map(|(name, _)| name).collect();
    let is_default = defaults.contains(&policy);
    if is_default {
        let names = resources.components().filter_map(Document::name).map(|(name, _)| name);
        let has_target = |name: &str| targets(document).any(|(target, _)| target == name);
        let is_pubsub = |name: &str| resources.component(name).is_some() && ours(name);
        found.extend(names.filter(|name| is_pubsub(name) && !has_target(name)));
    }
    (is_default || !found.is_empty()).then_some(found)
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
        let has_default = retries(document).any(|(name, _)| DEFAULTS.contains(&name));
        if has_default && target.find(&["inbound", "retry"]).is_none() {
            let text = format!("with a target of its own `{name}` has no default policy any more");
            let help = "name a retry policy under inbound, too";
            problems.push(document.error(&target.at, text).help(help));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, wrong) in [
            ("5s", false),
            ("1h30m", false),
            ("1.5s", false),
            ("500", false),
            ("100ms", false),
            ("", true),
            ("5 s", true),
            ("5sec", true),
            ("s", true),
            ("PT5S", true),
        ] {
            assert_eq!(not_duration(text), wrong, "{text}");
        }
        assert_eq!(
            (seconds("1h30m"), seconds("1.5s"), seconds("250ms")),
            (Some(5400.0), Some(1.5), Some(0.25))
        );
    }
}
