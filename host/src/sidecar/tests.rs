//! One exhibit of each thing that daprd would ignore, refuse or lose events by; and what is shipped.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::contract::Delivery;

mod components;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn contracts() -> Contracts {
    Contracts::load(&[root().join("contracts/cloudevents")]).unwrap()
}

/// With a binding that ticks, and nothing else.
fn ticking() -> Contracts {
    small("")
}

/// The same with a topic that is more than plain.
fn small(more: &str) -> Contracts {
    let folder = tempfile::TempDir::new().unwrap();
    let text = "name = \"t\"\ndescription = \"d\"\npubsub = \"p\"\nretry = []\ndead_letter = \"{topic}-d\"\n\
        [[topic]]\nname = \"a\"\npath = \"/events/a\"\nbulk = false\nretention = \"1d\"\npartitions = 1\nMORE\n\
        [[binding]]\nname = \"tick\"\nperiod = \"5m\"\n\
        [[event]]\ntype = \"com.things.said.v1\"\ntopic = \"a\"\nconsumers = []\n";
    let folder = folder.path().join("t");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("contract.toml"), text.replace("MORE", more)).unwrap();
    Contracts::load(&[folder]).unwrap()
}

/// What is found in a folder with these files, as `line severity: message (help)`.
fn found(files: &[&str]) -> Vec<String> {
    found_by(files, &contracts())
}

/// The same for a host with these contracts. What the folder lacks has no line, and is not among them.
fn found_by(files: &[&str], contracts: &Contracts) -> Vec<String> {
    let mut problems = problems(files, contracts);
    problems.retain(|problem| problem.line.is_some());
    let told = |problem: &Problem| {
        let line = problem.line.unwrap_or_default();
        let severity = if problem.is_error() { "error" } else { "warning" };
        let help = problem.help.as_deref().unwrap_or_default();
        format!("{line} {severity}: {} ({help})", problem.message)
    };
    problems.iter().map(told).collect()
}

fn problems(files: &[&str], contracts: &Contracts) -> Vec<Problem> {
    let name = |number: usize| PathBuf::from(format!("daprs/{number}.yaml"));
    let files: Vec<_> =
        files.iter().enumerate().map(|(n, text)| (name(n), (*text).to_owned())).collect();
    check(&files, Host { app_id: "wharf", contracts })
}

/// That there is this one problem, and no other.
#[track_caller]
fn only(files: &[&str], begins: &str, says: &str) {
    let found = found(files);
    let [one] = &found[..] else { panic!("not one problem: {found:#?}") };
    assert!(one.starts_with(begins) && one.contains(says), "{one}");
}

const HEAD: &str = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: ";

/// A component; its metadata begins on line 9.
fn component(name: &str, ty: &str, metadata: &str) -> String {
    format!("{HEAD}{name}\nspec:\n  type: {ty}\n  version: v1\n  metadata:\n{metadata}")
}

fn items(items: &[(&str, &str)]) -> String {
    let line = |(name, value): &(&str, &str)| format!("    - {{ name: {name}, value: {value} }}\n");
    items.iter().map(line).collect()
}

const SOUND: [(&str, &str); 5] = [
    ("brokers", "\"localhost:9092\""),
    ("consumerGroup", "wharf"),
    ("authType", "none"),
    ("initialOffset", "oldest"),
    ("escapeHeaders", "\"true\""),
];

/// The host's own pubsub, with more metadata (on line 14) or less.
fn kafka(more: &[(&str, &str)], without: &str) -> String {
    let sound = SOUND.iter().filter(|(name, _)| *name != without);
    let all: Vec<_> = sound.chain(more).copied().collect();
    component("todo-pubsub", "pubsub.kafka", &items(&all))
}

fn redis() -> String {
    component("todo-pubsub", "pubsub.redis", &items(&[("redisHost", "\"localhost:6379\"")]))
}

/// Its spec begins on line 6.
fn resiliency(spec: &str) -> String {
    let targets = if spec.contains("  targets:") { "" } else { "  targets: {}\n" };
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata:\n  name: r\nspec:\n{spec}{targets}"
    )
}

const ENDLESS: &str = "  policies:\n    retries:\n      DefaultComponentInboundRetryPolicy: { policy: constant, duration: 1s, maxRetries: -1 }\n";

/// Its spec begins on line 6.
fn subscription(version: &str, spec: &str) -> String {
    format!(
        "apiVersion: dapr.io/{version}\nkind: Subscription\nmetadata:\n  name: s\nspec:\n{spec}"
    )
}

const OTHERS: &str = "  pubsubname: other\n  topic: t\n";
const OWN: &str = "  pubsubname: todo-pubsub\n  topic: reminder-events\n";

#[test]
fn what_is_sound_is_not_told() {
    let own = subscription(
        "v2alpha1",
        &format!("{OWN}  routes: {{ default: /events/reminder-events }}\n"),
    );
    let all = [kafka(&[], ""), resiliency(ENDLESS), own];
    assert_eq!(found(&all.each_ref().map(String::as_str)), [""; 0]);
    // Not Dapr's, and nothing at all.
    let others = "apiVersion: apps/v1\nkind: Deployment\nspec: { route: x }\n---\n# nothing\n";
    assert_eq!(found(&[others]), [""; 0]);
}

#[test]
fn a_document_that_daprd_leaves_out() {
    only(&["apiVersion: dapr.io/v1alpha1\nkind: [\n"], "3 error", "cannot be read");
    let twice = kafka(&[], "").replace("  version: v1\n", "  version: v1\n  version: v1\n");
    only(&[&twice], "8 error", "a key is there twice");
    let kind = kafka(&[], "").replace("Component", "Componnent");
    only(&[&kind], "2 error", "did you mean `Component`?");
    let version = kafka(&[], "").replace("dapr.io/v1alpha1", "dapr.io/v1");
    only(&[&version], "2 error", "write apiVersion: dapr.io/v1alpha1");
    let name = kafka(&[], "").replace("name: todo-pubsub", "labels: {}");
    only(&[&name], "1 error", "give metadata.name");
}

#[test]
fn a_key_or_a_value_that_daprd_does_not_read() {
    let bare = resiliency(ENDLESS).replace("  targets: {}\n", "");
    only(&[&bare], "6 warning", "Kubernetes refuses it without spec.targets");
    let key = kafka(&[], "") + "scope:\n  - wharf\n";
    only(&[&key], "14 error", "daprd ignores `scope`: it is no key (did you mean `scopes`?)");
    let case = kafka(&[], "").replace("  version:", "  Version:");
    only(&[&case], "7 warning", "write `version`");
    let number = subscription(
        "v2alpha1",
        &format!("{OTHERS}  routes: {{ default: /a }}\n  bulkSubscribe: {{ enabled: \"true\" }}\n"),
    );
    only(
        &[&number],
        "9 error",
        "`enabled` is not true or false: daprd leaves out the whole resource",
    );
    let raw = subscription(
        "v2alpha1",
        &format!("{OTHERS}  routes: {{ default: /a }}\n  metadata: {{ rawPayload: true }}\n"),
    );
    only(
        &[&raw],
        "9 warning",
        "Kubernetes refuses `rawPayload`, which is not text (put it in quotes)",
    );
    let initial = resiliency(
        "  policies:\n    retries:\n      mine: { policy: constant, initialInterval: 1s }\n",
    );
    only(&[&initial], "8 error", "daprd ignores `initialInterval`: it is no key of `mine`");
}

#[test]
fn a_retry_that_ends() {
    let rabbit = component("todo-pubsub", "pubsub.rabbitmq", "");
    for (policy, says) in [
        ("policy: constant, maxRetries: 3", "it ends after 3 retries"),
        ("policy: exponential, maxRetries: -1", "exponential ends after 15 minutes"),
        (
            "policy: constant, matching: { httpStatusCodes: \"500\" }",
            "another status is not tried again",
        ),
    ] {
        let default =
            format!("  policies:\n    retries:\n      DefaultRetryPolicy: {{ {policy} }}\n");
        only(&[&rabbit, &resiliency(&default)], "8 error", says);
        only(&[&kafka(&[], ""), &resiliency(&default)], "8 warning", says);
        // Beside nothing that would give it again, and where it does not.
        only(&[&resiliency(&default)], "8 error", says);
        let named = format!(
            "  policies:\n    retries:\n      mine: {{ {policy} }}\n  targets:\n    components:\n      \
             todo-pubsub: {{ inbound: {{ retry: mine }} }}\n"
        );
        only(&[&rabbit, &resiliency(&named)], "8 error", says);
        only(&[&kafka(&[], ""), &resiliency(&named)], "8 warning", says);
        let outbound = named.replace("inbound", "outbound");
        assert_eq!(found(&[&kafka(&[], ""), &resiliency(&outbound)]), [""; 0]);
        let elsewhere = named + "scopes: [other]\n";
        assert_eq!(found(&[&kafka(&[], ""), &resiliency(&elsewhere)]), [""; 0]);
    }
}

#[test]
fn what_else_ends_or_repeats_a_delivery() {
    let target = |inbound: &str| {
        let more = format!(
            "  targets:\n    components:\n      todo-pubsub: {{ inbound: {{ {inbound} }} }}\n"
        );
        resiliency(&format!(
            "  policies:\n    timeouts: {{ t: 5s }}\n    circuitBreakers: {{ b: {{ maxRequests: 1 }} }}\n    \
             retries: {{ r: {{ policy: constant, maxRetries: -1 }} }}\n{more}"
        ))
    };
    let pubsub = kafka(&[], "");
    only(&[&pubsub, &target("retry: r, circuitBreaker: b")], "8 warning", "`b` ends the retries");
    only(
        &[&pubsub, &target("retry: r, timeout: t")],
        "12 warning",
        "delivered again while the host still works",
    );
    only(
        &[&pubsub, &target("retry: q")],
        "12 error",
        "there is no `q` under retries; daprd takes it for none",
    );
    only(
        &[&pubsub, &target("retry: r, circuitBreaker: q")],
        "12 error",
        "daprd crashes when it is used",
    );
    let default =
        format!("{ENDLESS}  targets:\n    components:\n      todo-pubsub: {{ outbound: {{}} }}\n");
    only(&[&pubsub, &resiliency(&default)], "11 error", "has no default policy any more");
    let other = target("retry: r").replace("todo-pubsub", "another");
    only(&[&pubsub, &other], "12 warning", "no component `another` in this folder");
}

#[test]
fn resiliency_that_daprd_does_not_get_to() {
    let second = format!("{}---\n{}", kafka(&[], ""), resiliency(ENDLESS));
    only(&[&second], "16 error", "reads only the first document for resiliency");
    let first = format!("# Retries.\n---\n{}---\n{}", resiliency(ENDLESS), kafka(&[], ""));
    assert_eq!(found(&[&first]), [""; 0]);
    for (policy, says) in [
        ("policy: linear", "`linear` is no policy of retries"),
        ("policy: constant, duration: 5sec", "`5sec` is no duration"),
    ] {
        let text = resiliency(&format!("  policies:\n    retries:\n      mine: {{ {policy} }}\n"));
        only(&[&text], "8 error", says);
    }
}

#[test]
fn a_dead_letter_topic_of_daprds() {
    let of = |spec: &str, path: &str| {
        let routes = format!("  routes: {{ default: {path} }}\n  deadLetterTopic: d\n");
        subscription("v2alpha1", &format!("{spec}{routes}"))
    };
    let (own, other) = (of(OWN, "/events/reminder-events"), of(OTHERS, "/a"));
    only(&[&own], "9 error", "the first failure goes to `d`: `todo-pubsub` has no retry policy");
    only(&[&other], "9 warning", "the first failure goes to `d`: `other` has no retry policy");
    only(&[&own, &resiliency(ENDLESS)], "9 warning", "the host dead-letters by itself");
    assert_eq!(found(&[&other, &resiliency(ENDLESS)]), [""; 0]);
}

#[test]
fn a_subscription_that_the_hosts_own_hides() {
    let own = |more: &str| subscription("v2alpha1", &format!("{OWN}{more}"));
    only(
        &[&own("  routes: { default: /mine }\n")],
        "8 error",
        "the contract's path is /events/reminder-events",
    );
    let rules =
        "  routes: { rules: [{ match: \"true\", path: /a }], default: /events/reminder-events }\n";
    only(&[&own(rules)], "8 error", "remove the rules");
    let raw =
        "  routes: { default: /events/reminder-events }\n  metadata: { rawPayload: \"true\" }\n";
    only(&[&own(raw)], "9 error", "the contract does not say raw = true: remove rawPayload");
    let raw = |more: &str| {
        let plain = "  pubsubname: p\n  topic: a\n  routes: { default: /events/a }\n";
        found_by(&[&subscription("v2alpha1", &format!("{plain}{more}"))], &small("raw = true"))
    };
    assert_eq!(raw("  metadata: { rawPayload: \"true\" }\n"), [""; 0]);
    let [one] = &raw("")[..] else { panic!("one problem") };
    assert!(one.contains("the contract says raw = true: say metadata: { rawPayload"), "{one}");
    let bulk =
        "  routes: { default: /events/reminder-events }\n  bulkSubscribe: { enabled: true }\n";
    only(&[&own(bulk)], "9 error", "bulk = false");
    let single = own("  routes: { default: /events/task-events }\n")
        .replace("reminder-events", "task-events");
    only(&[&single], "6 error", "maxMessagesCount: 100, maxAwaitDurationMs: 250");
    let bulk = |more: &str| {
        let spec = "  routes: { default: /events/task-events }\n  bulkSubscribe: { enabled: true";
        own(&format!("{spec}{more} }}\n")).replace("reminder-events", "task-events")
    };
    only(&[&bulk("")], "9 warning", "a lone event waits 10 s");
    only(&[&bulk(", maxAwaitDurationMs: 5000")], "9 warning", "say maxAwaitDurationMs: 250");
    assert_eq!(found(&[&bulk(", maxAwaitDurationMs: 250")]), [""; 0]);
    let scoped = own("  routes: { default: /mine }\n") + "scopes: [other]\n";
    assert_eq!(found(&[&scoped]), [""; 0]);
}

#[test]
fn a_subscription_that_gets_nothing() {
    let route = subscription("v2alpha1", &format!("{OTHERS}  route: /a\n"));
    only(&[&route], "8 error", "has its path in `routes: { default: … }`");
    assert_eq!(found(&[&subscription("v1alpha1", &format!("{OTHERS}  route: /a\n"))]), [""; 0]);
    only(&[&subscription("v2alpha1", OTHERS)], "6 error", "give spec.routes.default");
    let rules = subscription(
        "v2alpha1",
        &format!("{OTHERS}  routes: {{ rules: [{{ match: \"true\", path: /a }}] }}\n"),
    );
    only(&[&rules], "8 warning", "daprd drops what matches none of these rules");
    let sound = subscription("v2alpha1", &format!("{OTHERS}  routes: {{ default: /a }}\n"));
    let second = sound.replace("name: s", "name: t");
    only(&[&sound, &second], "7 error", "daprd ignores this: `s` has the topic already");
    only(&[&kafka(&[], ""), &sound], "6 warning", "there is no pubsub `other` in this folder");
    only(
        &[&subscription("v2alpha1", "  topic: t\n  routes: { default: /a }\n")],
        "6 error",
        "give pubsubname and topic",
    );
}

#[test]
fn the_host_open_to_other_apps() {
    let open = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: { name: c }\nspec:\n  tracing: {}\n";
    only(&[open], "5 warning", "any app may call");
    let allowed = format!("{open}  accessControl: {{ defaultAction: allow }}\n");
    only(&[&allowed], "6 warning", "any app may call");
    assert_eq!(found(&[&allowed.replace("allow", "deny")]), [""; 0]);
}

/// Declarative subscriptions say what the host says when it is asked.
#[test]
fn the_shipped_subscriptions_are_the_contracts() {
    for folder in fs::read_dir(root().join("contracts")).unwrap() {
        let folder = folder.unwrap().path();
        let contracts = Contracts::load(std::slice::from_ref(&folder)).unwrap();
        let line = |pubsub: &str, topic: &str, path: &str, bulk: Option<(f64, f64)>| {
            format!("{pubsub} {topic} {path} {bulk:?}")
        };
        let expected: BTreeSet<_> = contracts
            .subscriptions()
            .iter()
            .map(|own| {
                let bulk = match own.delivery {
                    Delivery::Bulk { max, await_ } => {
                        Some((f64::from(max), await_.as_secs_f64() * 1e3))
                    }
                    Delivery::Single => None,
                };
                line(own.pubsub.as_str(), own.topic.as_str(), &own.path, bulk)
            })
            .collect();
        let name = folder.file_name().unwrap();
        let file = root().join("dapr/subscriptions").join(name).join("subscriptions.yaml");
        let text = fs::read_to_string(&file).unwrap();
        let shipped: BTreeSet<_> = yaml::documents(&text)
            .into_iter()
            .map(|(_, node)| {
                let node = node.unwrap();
                let at = |path: &[&str]| node.text_at(path).unwrap().to_owned();
                let number = |name| match node.find(&["spec", "bulkSubscribe", name]).unwrap().value
                {
                    yaml::Value::Number(number) => number,
                    _ => panic!("{name} is no number in {}", file.display()),
                };
                let bulk = node.find(&["spec", "bulkSubscribe"]);
                let bulk = bulk.map(|_| (number("maxMessagesCount"), number("maxAwaitDurationMs")));
                line(
                    &at(&["spec", "pubsubname"]),
                    &at(&["spec", "topic"]),
                    &at(&["spec", "routes", "default"]),
                    bulk,
                )
            })
            .collect();
        assert_eq!(shipped, expected, "{}", file.display());
    }
}
