//! One exhibit of each thing that daprd would ignore, refuse or lose events by; and what is shipped.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

mod components;
mod resiliency;
mod subscriptions;

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
    check(&files, host(contracts))
}

fn host(contracts: &Contracts) -> Host<'_> {
    Host { app_id: "wharf", contracts, subscriptions: Subscriptions::Programmatic }
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
fn the_host_open_to_other_apps() {
    let open = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: { name: c }\nspec:\n  tracing: {}\n";
    only(&[open], "5 warning", "any app may call");
    let allowed = format!("{open}  accessControl: {{ defaultAction: allow }}\n");
    only(&[&allowed], "6 warning", "any app may call");
    assert_eq!(found(&[&allowed.replace("allow", "deny")]), [""; 0]);
}
