//! Which keys daprd reads in its resources, and of what type. It says nothing of a key that it does
//! not know, and of a value of another type it only warns, and leaves the whole resource out; but
//! for text it takes any scalar, which Kubernetes does not.

use super::yaml::{Key, Node, Value};
use super::{Document, nearest};
use crate::problem::Problem;

/// What may stand at a place.
pub enum Shape {
    Text,
    Whole,
    Bool,
    /// Any scalar, list or map.
    Any,
    List(&'static Self),
    /// Names of the user's own, each with the same.
    Names(&'static Self),
    Keys(&'static [(&'static str, Self)]),
}

use Shape::{Any, Bool, Keys, List, Names, Text, Whole};

const SECRET: Shape = Keys(&[("name", Text), ("key", Text)]);

pub const COMPONENT: Shape = Keys(&[
    ("apiVersion", Text),
    ("kind", Text),
    ("metadata", Any),
    (
        "spec",
        Keys(&[
            ("type", Text),
            ("version", Text),
            ("ignoreErrors", Bool),
            ("initTimeout", Text),
            (
                "metadata",
                List(&Keys(&[
                    ("name", Text),
                    ("value", Any),
                    ("secretKeyRef", SECRET),
                    ("envRef", Text),
                ])),
            ),
        ]),
    ),
    ("auth", Keys(&[("secretStore", Text)])),
    ("scopes", List(&Text)),
]);

const BULK: Shape =
    Keys(&[("enabled", Bool), ("maxMessagesCount", Whole), ("maxAwaitDurationMs", Whole)]);

pub const SUBSCRIPTION_V1: Shape = Keys(&[
    ("apiVersion", Text),
    ("kind", Text),
    ("metadata", Any),
    (
        "spec",
        Keys(&[
            ("pubsubname", Text),
            ("topic", Text),
            ("metadata", Names(&Text)),
            ("route", Text),
            ("deadLetterTopic", Text),
            ("bulkSubscribe", BULK),
        ]),
    ),
    ("scopes", List(&Text)),
]);

pub const SUBSCRIPTION_V2: Shape = Keys(&[
    ("apiVersion", Text),
    ("kind", Text),
    ("metadata", Any),
    (
        "spec",
        Keys(&[
            ("pubsubname", Text),
            ("topic", Text),
            ("metadata", Names(&Text)),
            (
                "routes",
                Keys(&[
                    ("rules", List(&Keys(&[("match", Text), ("path", Text)]))),
                    ("default", Text),
                ]),
            ),
            ("deadLetterTopic", Text),
            ("bulkSubscribe", BULK),
        ]),
    ),
    ("scopes", List(&Text)),
]);

const NAMED_POLICIES: [(&str, Shape); 3] =
    [("timeout", Text), ("retry", Text), ("circuitBreaker", Text)];

pub const RESILIENCY: Shape = Keys(&[
    ("apiVersion", Text),
    ("kind", Text),
    ("metadata", Any),
    (
        "spec",
        Keys(&[
            (
                "policies",
                Keys(&[
                    ("timeouts", Names(&Text)),
                    (
                        "retries",
                        Names(&Keys(&[
                            ("policy", Text),
                            ("duration", Text),
                            ("maxInterval", Text),
                            ("maxRetries", Whole),
                            (
                                "matching",
                                Keys(&[("httpStatusCodes", Text), ("gRPCStatusCodes", Text)]),
                            ),
                        ])),
                    ),
                    (
                        "circuitBreakers",
                        Names(&Keys(&[
                            ("maxRequests", Whole),
                            ("interval", Text),
                            ("timeout", Text),
                            ("trip", Text),
                        ])),
                    ),
                ]),
            ),
            (
                "targets",
                Keys(&[
                    ("apps", Names(&Any)),
                    ("actors", Names(&Any)),
                    (
                        "components",
                        Names(&Keys(&[
                            ("inbound", Keys(&NAMED_POLICIES)),
                            ("outbound", Keys(&NAMED_POLICIES)),
                        ])),
                    ),
                ]),
            ),
        ]),
    ),
    ("scopes", List(&Text)),
]);

pub const CONFIGURATION: Shape = Keys(&[
    ("apiVersion", Text),
    ("kind", Text),
    ("metadata", Any),
    (
        "spec",
        Keys(&[
            ("appHttpPipeline", Any),
            ("httpPipeline", Any),
            ("tracing", Any),
            ("metric", Any),
            ("metrics", Any),
            ("mtls", Any),
            ("secrets", Any),
            (
                "accessControl",
                Keys(&[
                    ("defaultAction", Text),
                    ("trustDomain", Text),
                    ("policies", List(&POLICY)),
                ]),
            ),
            ("nameResolution", Any),
            ("features", Any),
            ("api", Any),
            ("components", Any),
            ("logging", Any),
            ("wasm", Any),
            ("workflow", Any),
        ]),
    ),
]);

const POLICY: Shape = Keys(&[
    ("appId", Text),
    ("defaultAction", Text),
    ("trustDomain", Text),
    ("namespace", Text),
    ("operations", List(&Keys(&[("name", Text), ("action", Text), ("httpVerb", List(&Text))]))),
]);

/// Every key that daprd does not read, and every value that it cannot.
pub fn check(document: &Document<'_>, node: &Node, shape: &Shape) -> Vec<Problem> {
    let mut problems = Vec::new();
    walk(document, "", node, shape, &mut problems);
    problems
}

fn walk(document: &Document<'_>, name: &str, node: &Node, shape: &Shape, found: &mut Vec<Problem>) {
    match (shape, &node.value) {
        // daprd takes nothing for whatever it expects.
        (_, Value::Null)
        | (Any, _)
        | (Text, Value::Text(_))
        | (Whole, Value::Number(_))
        | (Bool, Value::Bool(_)) => {}
        (Text, Value::Bool(_) | Value::Number(_)) => {
            let text = format!("Kubernetes refuses `{name}`, which is not text");
            found.push(document.warning(&node.at, text).help("put it in quotes"));
        }
        (List(each), Value::List(items)) => {
            items.iter().for_each(|item| walk(document, name, item, each, found));
        }
        (Names(each), Value::Map(fields)) => {
            fields.iter().for_each(|(key, value)| walk(document, &key.text, value, each, found));
        }
        (Keys(known), Value::Map(fields)) => {
            for (key, value) in fields {
                match known.iter().find(|(name, _)| name.eq_ignore_ascii_case(&key.text)) {
                    Some((name, shape)) => {
                        found.extend(other_case(document, key, name));
                        walk(document, name, value, shape, found);
                    }
                    None => found.push(unknown(document, name, key, known)),
                }
            }
        }
        (Text | Whole | Bool | List(_) | Names(_) | Keys(_), _) => {
            let problem = document.error(
                &node.at,
                format!("`{name}` is not {}: daprd leaves out the whole resource", shape.wanted()),
            );
            found.push(match (shape, &node.value) {
                (Whole | Bool, Value::Text(_)) => problem.help("write it without quotes"),
                _ => problem,
            });
        }
    }
}

/// On a machine it is read, in Kubernetes it is dropped.
fn other_case(document: &Document<'_>, key: &Key, name: &str) -> Option<Problem> {
    let text = format!("`{}` is dropped by Kubernetes", key.text);
    (key.text != name).then(|| document.warning(&key.at, text).help(format!("write `{name}`")))
}

fn unknown(document: &Document<'_>, place: &str, key: &Key, known: &[(&str, Shape)]) -> Problem {
    let place = if place.is_empty() { String::new() } else { format!(" of `{place}`") };
    let text = format!("daprd ignores `{}`: it is no key{place}", key.text);
    let names = known.iter().map(|(name, _)| *name);
    let problem = document.error(&key.at, text);
    match (key.text.as_str(), nearest(&key.text, names.clone())) {
        ("route", _) => problem
            .help("a Subscription of dapr.io/v2alpha1 has its path in `routes: { default: … }`"),
        (_, Some(name)) => problem.help(format!("did you mean `{name}`?")),
        (_, None) => problem.help(format!("it has {}", names.collect::<Vec<_>>().join(", "))),
    }
}

impl Shape {
    fn wanted(&self) -> &'static str {
        match self {
            Text => "text",
            Whole => "a whole number",
            Bool => "true or false",
            Any => "anything",
            List(_) => "a list",
            Names(_) | Keys(_) => "a map",
        }
    }
}
