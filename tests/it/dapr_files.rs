//! Dapr's own files, as `wharf check` sees them: those that are shipped, and one that is wrong.

use std::fs;

use serde_json::Value;
use wharf_tests::host::root;

use crate::program::{Place, copy};

fn shipped() -> Place {
    let place = Place::new();
    copy(&root().join("dapr"), &place.path("dapr"));
    place
}

/// How many of the shipped files daprd reads.
fn files(folder: &str) -> usize {
    let below = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let count = |path: std::path::PathBuf| match path {
        path if path.is_dir() => {
            files(&format!("{folder}/{}", path.file_name().unwrap().display()))
        }
        path => usize::from(path.extension().is_some_and(|extension| extension == "yaml")),
    };
    below.map(count).sum()
}

#[tokio::test]
async fn nothing_is_wrong_with_the_files_that_are_shipped() {
    let place = shipped();
    let files = files("dapr");
    assert!(files > 20, "{files}");
    let checked = place.run(&["check", "dapr"]).await;
    assert_eq!(checked.stdout, format!("{files} checked, no problems\n"), "{checked:?}");
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""));
    // Without being named, beside everything else.
    let place = place.own_contracts();
    let checked = place.run(&["check"]).await;
    assert_eq!(checked.stdout, format!("{} checked, no problems\n", files + 2), "{checked:?}");
}

#[tokio::test]
async fn what_daprd_would_ignore_is_said_with_its_line() {
    let place = shipped();
    let file = "dapr/cloud/kafka-pubsub.yaml";
    place.edit(file, "value: SHA-256", "value: SCRAM-SHA-256");
    place.edit(file, "name: initialOffset", "name: initialOfset");
    let text = fs::read_to_string(place.path(file)).unwrap();
    let line = |what: &str| 1 + text.lines().position(|line| line.contains(what)).unwrap();
    let checked = place.run(&["check", "--json", file]).await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let found = checked.json();
    assert_eq!(found["checked"], 1);
    let told = |problem: &Value| {
        let text = |key: &str| problem[key].as_str().unwrap().to_owned();
        (text("severity"), problem["line"].as_u64().unwrap(), text("help"))
    };
    let told: Vec<_> = found["problems"].as_array().unwrap().iter().map(told).collect();
    let error = |what: &str, help: &str| {
        ("error".to_owned(), u64::try_from(line(what)).unwrap(), help.to_owned())
    };
    assert_eq!(
        told,
        [
            error("value: SCRAM-SHA-256", "write `SHA-256`"),
            error("initialOfset", "did you mean `initialOffset`?"),
        ]
    );
    let shown = place.run(&["check", "dapr"]).await;
    let place = format!("kafka-pubsub.yaml:{}:14", line("value: SCRAM-SHA-256"));
    shown.failed_with(&[&place, "without a word", "2 problems"]);
}

#[tokio::test]
async fn warnings_alone_are_no_failure() {
    let place = shipped();
    let file = "dapr/local/todo-pubsub.yaml";
    place.edit(file, "    - name: consumerGroup\n      value: wharf-todo\n", "");
    let checked = place.run(&["check", file]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stderr.contains("give a consumerGroup"), "{checked:?}");
    assert!(checked.stderr.ends_with("no problems, 1 warning\n"), "{checked:?}");
}

/// What ends a retry is told where it stands, and so is what then loses events by it.
#[tokio::test]
async fn files_of_one_folder_are_seen_together() {
    let place = shipped();
    place.edit("dapr/local/resiliency.yaml", "maxRetries: -1", "maxRetries: 5");
    place.edit("dapr/local/todo-pubsub.yaml", "pubsub.kafka", "pubsub.redis");
    let checked = place.run(&["check", "dapr/local"]).await;
    checked
        .failed_with(&["events are lost: it ends after 5", "loses an event when its retries end"]);
}

/// What a contract names, and one of the folders does not have.
#[tokio::test]
async fn a_folder_that_lacks_a_store_is_told() {
    let place = shipped().own_contracts();
    fs::remove_file(place.path("dapr/local/todo-secrets.yaml")).unwrap();
    let checked = place.run(&["check", "--json", "dapr"]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let found = checked.json();
    let [problem] = &found["problems"].as_array().unwrap()[..] else { panic!("{found}") };
    let text = "there is no secret store `todo-secrets`, which contract `cloudevents` names";
    assert_eq!(
        (problem["file"].as_str(), problem["message"].as_str(), problem["severity"].as_str()),
        (Some("dapr/local"), Some(text), Some("warning"))
    );
}

/// daprd reads every YAML file of its folder, and leaves out what it cannot parse.
#[tokio::test]
async fn a_file_that_cannot_be_read_is_told_with_its_line() {
    let place = shipped();
    place.write("dapr/local/broken.yaml", "# dapr.io/v1alpha1\nspec: [\n");
    place.write("dapr/local/other.yaml", "kind: ConfigMap\n");
    place.write("dapr/local/template.yaml", "{{ if }}\n- [\n");
    place.write(
        "dapr/local/quoted.yaml",
        "{\"apiVersion\": \"dapr.io/v1alpha1\", \"kind\": \"Compnent\"}\n",
    );
    fs::write(place.path("dapr/local/latin.yaml"), b"kind: Component\nname: \xe9\n").unwrap();
    let checked = place.run(&["check", "dapr/local"]).await;
    checked.failed_with(&[
        "broken.yaml:3:1",
        "daprd leaves out this document, which cannot be read",
        "latin.yaml:2:",
        "no UTF-8",
        "did you mean `Component`?",
        "3 problems",
    ]);
    for file in ["dapr/local/broken.yaml", "dapr/local/latin.yaml"] {
        place.run(&["check", file]).await.failed_with(&["daprd leaves"]);
    }
    // Where nothing is Dapr's, YAML is somebody else's.
    place.write("charts/a.yaml", "{{ if }}\n- [\n");
    place.run(&["check", "charts"]).await.failed_with(&["no file of Dapr's", "1 problem"]);
}

/// What the host does not subscribe itself must be in a file of one of the folders.
#[tokio::test]
async fn declared_subscriptions_are_all_there() {
    let place = shipped().own_contracts();
    place.write("wharf.toml", "[ingress]\nsubscriptions = \"declarative\"\n");
    let check = ["check", "--config", "wharf.toml", "dapr"];
    let checked = place.run(&check).await;
    assert!(checked.stdout.ends_with(" checked, no problems\n"), "{checked:?}");
    let file = "dapr/subscriptions/cloudevents/subscriptions.yaml";
    place.edit(file, "topic: reminder-events", "topic: reminders");
    let checked = place.run(&check).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let said = "no Subscription names topic `reminder-events` of `todo-pubsub`";
    assert!(checked.stderr.contains(said), "{checked:?}");
    assert!(checked.stderr.contains("1 warning"), "{checked:?}");
}
