//! Kafka. Where its component guesses instead of refusing, and where it lets go of an event.

use std::collections::BTreeMap;

use super::resiliency::Inbound;
use super::yaml::{Node, Value};
use super::{Document, Kind, Resources, nearest};
use crate::problem::Problem;

/// Any other is taken for PLAIN without a word (contrib common/component/kafka/auth.go).
const MECHANISMS: [&str; 3] = ["SHA-256", "SHA-512", "PLAIN"];
const AUTH_TYPES: [&str; 7] =
    ["none", "password", "mtls", "certificate", "oidc", "oidc_private_key_jwt", "awsiam"];

pub fn check(document: &Document<'_>, resources: &Resources<'_>) -> Vec<Problem> {
    let mut problems = mechanism(document);
    problems.extend(auth(document));
    problems.extend(plain_text(document));
    let name = document.name().map(|(name, _)| name).unwrap_or_default();
    if resources.host.takes(name) && document.is_for(resources.host.app_id) {
        problems.extend(group(document));
        problems.extend(offset(document));
        problems.extend(headers(document));
        problems.extend(own_retries(document, name, resources));
    }
    problems
}

/// Two components that read one broker as one group take each other's partitions.
pub fn shared_groups(resources: &Resources<'_>) -> Vec<Problem> {
    let kafkas = resources.documents.iter().filter(|document| {
        document.kind == Kind::Component
            && document.is_for(resources.host.app_id)
            && document.root.text_at(&["spec", "type"]) == Some("pubsub.kafka")
    });
    let mut seen = BTreeMap::new();
    let shared = kafkas.filter_map(|document| {
        let brokers = document.value("brokers")?.text()?;
        let group = document.value("consumerGroup").or_else(|| document.value("consumerID"));
        let group = group?;
        let (name, _) = document.name()?;
        let first = seen.insert((brokers, group.text()?), name)?;
        let says = format!(
            "`{first}` and `{name}` read the same brokers as one group: of a topic that both have, \
             each gets a part"
        );
        Some(document.warning(&group.at, says).help("give each its own consumerGroup"))
    });
    shared.collect()
}

pub fn mechanism(document: &Document<'_>) -> Vec<Problem> {
    let Some(node) = document.value("saslMechanism") else { return Vec::new() };
    let Some(given) = node.text().filter(|given| !MECHANISMS.contains(given)) else {
        return Vec::new();
    };
    let text = format!("daprd takes the SASL mechanism `{given}` for PLAIN, without a word");
    let likely = MECHANISMS.into_iter().find(|one| {
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        !digits(one).is_empty() && digits(given).ends_with(&digits(one))
    });
    let likely = likely.or_else(|| nearest(given, MECHANISMS));
    let help = match likely {
        Some(right) => format!("write `{right}`"),
        None => format!("it knows {}", MECHANISMS.join(", ")),
    };
    vec![document.error(&node.at, text).help(help)]
}

fn auth(document: &Document<'_>) -> Option<Problem> {
    let node = document.value("authType")?;
    let given = node.text()?;
    if AUTH_TYPES.iter().any(|known| known.eq_ignore_ascii_case(given)) {
        return None;
    }
    let problem =
        document.error(&node.at, format!("Kafka has no authType `{given}`; daprd does not start"));
    Some(match nearest(given, AUTH_TYPES) {
        Some(right) => problem.help(format!("did you mean `{right}`?")),
        None => problem.help(format!(
            "it has {}; a SASL mechanism goes into saslMechanism, with authType password",
            AUTH_TYPES.join(", ")
        )),
    })
}

fn plain_text(document: &Document<'_>) -> Option<Problem> {
    let has_password = document.value("authType").and_then(Node::text) == Some("password");
    let node = document.value("disableTls").filter(|node| is(node, true) && has_password)?;
    let says = "the password goes over the network as it is";
    Some(
        document
            .warning(&node.at, says.to_owned())
            .help("leave disableTls out: TLS is the default"),
    )
}

fn group(document: &Document<'_>) -> Option<Problem> {
    if document.item("consumerGroup").is_some() || document.item("consumerID").is_some() {
        return None;
    }
    let at = document.root.find(&["spec", "metadata"]).unwrap_or(&document.root);
    let text = "without a consumerGroup the app id is the group: renaming the app starts anew";
    Some(document.warning(&at.at, text.to_owned()).help("give a consumerGroup"))
}

fn offset(document: &Document<'_>) -> Option<Problem> {
    let node = document.value("initialOffset");
    if node.and_then(Node::text) == Some("oldest")
        || (node.is_none() && document.item("initialOffset").is_some())
    {
        return None;
    }
    let metadata = document.root.find(&["spec", "metadata"]);
    let at = node.or(metadata).unwrap_or(&document.root);
    let text =
        "a group that is new sees nothing that was published before it (initialOffset newest)";
    Some(document.warning(&at.at, text.to_owned()).help("say initialOffset: oldest"))
}

/// daprd makes HTTP headers of a record's key and headers.
fn headers(document: &Document<'_>) -> Option<Problem> {
    let node = document.item("escapeHeaders");
    if node.is_some_and(|item| item.get("value").is_none_or(|value| is(value, true))) {
        return None;
    }
    let at = node.or(document.root.find(&["spec", "metadata"])).unwrap_or(&document.root);
    let text = "a key or header that is no HTTP header's value stops its partition";
    Some(document.warning(&at.at, text.to_owned()).help("say escapeHeaders: \"true\""))
}

/// The component's own retries, which step in where there is no policy.
fn own_retries(document: &Document<'_>, name: &str, resources: &Resources<'_>) -> Vec<Problem> {
    let why = match resources.policies.inbound(name) {
        Inbound::Endless => return Vec::new(),
        Inbound::Nothing => {
            format!(": no Resiliency in {} gives it a retry policy", resources.folder())
        }
        Inbound::Ends(why) => format!(": {why}"),
    };
    let mut problems = Vec::new();
    if let Some(node) = retries_off(document) {
        let text = format!("`{name}` loses every event that the host answers with RETRY{why}");
        let help = "remove it, or give the pubsub a retry policy that never ends";
        problems.push(document.error(&node.at, text).help(help));
    }
    for node in ends(document) {
        let text = format!("`{name}` skips an event when these retries end, and loses it");
        let help = "remove it; retries are a Resiliency policy that never ends";
        problems.push(document.error(&node.at, text).help(help));
    }
    problems
}

/// Whether a component gives an event again whose retries ended: Kafka's does, every 5 s, unless it
/// is told otherwise. Seen with daprd 1.18.1, for single events and bulk.
pub fn begins_again(document: &Document<'_>) -> bool {
    let is_kafka = document.root.text_at(&["spec", "type"]) == Some("pubsub.kafka");
    is_kafka && retries_off(document).is_none() && ends(document).is_empty()
}

fn retries_off<'a>(document: &'a Document<'_>) -> Option<&'a Node> {
    document.value("consumeRetryEnabled").filter(|node| is(node, false))
}

/// What ends the component's own retries.
fn ends<'a>(document: &'a Document<'_>) -> Vec<&'a Node> {
    let most = document.value("backOffMaxRetries").filter(|node| match &node.value {
        Value::Number(number) => *number >= 0.0,
        Value::Text(text) => !text.starts_with('-'),
        Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => false,
    });
    let is_exponential =
        |node: &&Node| node.text().is_some_and(|text| text.eq_ignore_ascii_case("exponential"));
    let policy = document.value("backOffPolicy").filter(is_exponential);
    most.into_iter().chain(policy).collect()
}

/// Whether a value says so, as text or not.
fn is(node: &Node, wanted: bool) -> bool {
    match &node.value {
        Value::Bool(value) => *value == wanted,
        Value::Text(text) => text.eq_ignore_ascii_case(if wanted { "true" } else { "false" }),
        Value::Null | Value::Number(_) | Value::List(_) | Value::Map(_) => false,
    }
}
