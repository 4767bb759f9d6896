//! `wharf dev` and the other commands as a person meets them: what they print, what they say when
//! something is wrong, and their exit codes.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::fs;

use serde_json::{Value, json};
use tokio::process::Command;
use wharf_tests::built;

use crate::program::{Ended, Place, Running, until};

const TYPE: &str = "com.todo.task.created.v1";

#[tokio::test]
async fn what_it_prints_can_be_tried_and_a_start_again_finds_its_data() {
    let place = Place::new();
    let running = place.start().await;
    for said in ["runs audit", "ingress  http://127.0.0.1:", ".wharf"] {
        assert!(running.greeting.contains(said), "{}", running.greeting);
    }
    assert_eq!(fs::read_dir(place.path("caches/wharf")).unwrap().count(), 1, "compiled code");
    assert!(!place.path(".wharf/cache").exists());
    assert!(!running.greeting.contains('\x1b'), "colours in a pipe: {}", running.greeting);

    let emit = line_with(&running.greeting, " emit ");
    assert_eq!(emit, format!("DAPR_HTTP_PORT={} wharf emit {TYPE}", running.dapr.port()));
    let (place, emitted) = emit_to(place, &running, &["emit", TYPE]).await;
    assert_eq!(emitted.code, Some(0), "{emitted:?}");
    assert!(emitted.stdout.starts_with("published "), "{emitted:?}");
    assert!(emitted.stdout.ends_with("to todo-pubsub/task-events\n"), "{emitted:?}");
    try_curl(line_with(&running.greeting, "curl -i")).await;
    until("both are audited", async || deliveries(&running).await == ["done"; 2]).await;
    assert_eq!(running.signal("INT").await.code(), Some(0), "{}", place.stderr());

    let again = place.start().await;
    assert_eq!(deliveries(&again).await, ["done"; 2]);
    assert_eq!(again.signal("TERM").await.code(), Some(0));
    let logged = place.stderr();
    assert_eq!(logged.matches("\nstopped\n").count(), 2, "{logged}");
    assert!(!logged.contains('\x1b') && !logged.contains("panicked"), "{logged}");
}

#[tokio::test]
async fn a_second_start_says_what_is_in_its_way() {
    let place = Place::new();
    let running = place.start().await;
    let holder = format!("process {})", running.process());
    let second = place.run(&["dev", "--no-build"]).await;
    second.failed_with(&["another `wharf`", &holder, ".wharf", "--data FOLDER"]);

    let place = place.with("WHARF_DAPR__ADDRESS", running.dapr);
    let elsewhere = place.run(&["dev", "--no-build", "--data", "elsewhere"]).await;
    let address = running.dapr.to_string();
    elsewhere.failed_with(&["the Dapr listener", &address, "WHARF_DAPR__ADDRESS=127.0.0.1:PORT"]);
    assert_eq!(running.signal("INT").await.code(), Some(0));
}

#[tokio::test]
async fn a_token_may_be_all_digits() {
    let place = Place::new()
        .with("WHARF_INGRESS__TOKEN", "5")
        .with("WHARF_ADMIN__TOKEN", "1234")
        .with("WHARF_DAPR__TOKEN", "007")
        .with("WHARF_DAPR__NOTIFY_URL", "");
    let running = place.start().await;
    let (metadata, components) = ("/v1.0/metadata", "/components");
    let (dapr, admin) = ("dapr-api-token", "authorization");
    for (address, path, header, token, status) in [
        (running.dapr, metadata, dapr, "7", 401),
        (running.dapr, metadata, dapr, "007", 200),
        (running.admin, components, admin, "Bearer 123", 401),
        (running.admin, components, admin, "Bearer 1234", 200),
    ] {
        let request = reqwest::Client::new().get(format!("http://{address}{path}"));
        let answer = request.header(header, token).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path} with {token}");
    }
    assert_eq!(running.signal("INT").await.code(), Some(0));

    let place = place.with("WHARF_ADMIN__TOKEN__X", "5551234");
    let refused = place.run(&["dev", "--no-build"]).await;
    refused.failed_with(&["WHARF_ADMIN__TOKEN", "put it in quotes"]);
    assert!(!refused.stderr.contains("1234"), "{refused:?}");
}

#[tokio::test]
async fn no_components_folder() {
    let place = Place::new();
    fs::remove_dir_all(place.path("components")).unwrap();
    let ended = place.run(&["dev"]).await;
    ended.failed_with(&["components", "No such file", "run it where `components/`"]);
}

#[tokio::test]
async fn faults_of_manifests_and_contracts_are_all_said_before_anything_is_built() {
    let place = Place::new().own_contracts();
    let built = "components/audit/component.toml";
    place.edit(built, "memory = ", "memmory = ");
    place.edit(built, "cargo build", "touch was-built; cargo build");
    place.edit("contracts/cloudevents/contract.toml", "pubsub", "pubsbu");
    let ended = place.run(&["dev"]).await;
    let manifest = fs::read_to_string(place.path(built)).unwrap();
    let line = 1 + manifest.lines().position(|line| line.starts_with("memmory")).unwrap();
    ended.failed_with(&[&format!("component.toml:{line}:1"), "did you mean `memory`?"]);
    ended.failed_with(&["contract.toml:", "did you mean `pubsub`?", "2 problems"]);
    assert!(!place.path("components/audit/was-built").exists());

    let checked = place.run(&["check", "--json"]).await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let found = checked.json();
    assert_eq!(found["checked"], 2);
    assert_eq!(found["problems"][0]["file"], "components/audit/component.toml");
    assert_eq!(found["problems"][0]["line"], line);
    assert_eq!(found["problems"][1]["help"], "did you mean `pubsub`?");
}

#[tokio::test]
async fn a_wasm_that_is_missing() {
    let place = Place::new();
    fs::remove_file(place.path("components/audit/audit.wasm")).unwrap();
    let ended = place.run(&["dev", "--no-build"]).await;
    ended.failed_with(&["audit.wasm cannot be read", "build it with `cargo build --release"]);
}

#[tokio::test]
async fn a_wasm_that_is_no_component() {
    let place = Place::new();
    place.write("components/audit/audit.wasm", "not wasm");
    let said = ["not a WebAssembly component", "wasm32-wasip2"];
    place.run(&["dev", "--no-build"]).await.failed_with(&said);
    place.run(&["check", "components"]).await.failed_with(&said);
    place.run(&["inspect", "components/audit/audit.wasm"]).await.failed_with(&said);
}

#[tokio::test]
async fn a_component_that_imports_beyond_its_grants() {
    let place = Place::new();
    let manifest = "name = \"bold\"\nversion = \"0.1.0\"\n[[on]]\nevent = \"*\"\n\
        [grants]\npublish = [\"com.things.said.v1\"]\nsecrets = { vault = [\"key\"] }\n\
        jobs = [\"*\"]\nbindings = [\"smtp\"]\n";
    place.component("bold", built::CAPABILITIES, manifest);
    let said = [
        "imports `wharf:worker/state@0.1.0`",
        "grants nothing for; add state = [\"<store>\"] under [grants]",
        "or build it without",
    ];
    place.run(&["dev", "--no-build"]).await.failed_with(&said);
    place.run(&["check", "components"]).await.failed_with(&said);

    let inspected = place.run(&["inspect", "components/bold/bold.wasm"]).await;
    assert_eq!(inspected.code, Some(0));
    let line = line_with(&inspected.stdout, "wharf:worker/state");
    assert!(line.ends_with(": needs [grants] state"), "{line}");
}

#[tokio::test]
async fn a_component_that_does_not_build() {
    let place = Place::new();
    let built = "components/audit/component.toml";
    place.edit(
        built,
        "cargo build --release --target wasm32-wasip2 -p audit",
        "echo no luck; false",
    );
    let ended = place.run(&["dev"]).await;
    ended.failed_with(&["building audit", "component `audit` does not build with", "\nno luck"]);
}

#[tokio::test]
async fn a_build_does_not_see_what_cargo_told_the_host() {
    let place = Place::new().with("CARGO_PKG_NAME", "wharf").with("OUT_DIR", "wharf's");
    let built = "components/audit/component.toml";
    place.edit(built, "cargo build --release --target wasm32-wasip2 -p audit", "env; false");
    let ended = place.run(&["dev"]).await;
    ended.failed_with(&["does not build with `env; false`", "PATH="]);
    assert!(!ended.stderr.contains("CARGO_PKG_NAME") && !ended.stderr.contains("OUT_DIR"));
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_no_command() {
    let place = Place::new().own_contracts();
    for arguments in
        [&["check"][..], &["check", "--json"], &["inspect", "components/audit/audit.wasm"]]
    {
        assert_eq!(place.run_unread(arguments).await.code, Some(0), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_missing_target_is_added_or_said() {
    let lacking = |place: Place| place.program("rustc", "echo /nowhere");
    let place = lacking(Place::new()).program("rustup", "exit 1");
    let ended = place.run(&["dev"]).await;
    ended.failed_with(&["wasm32-wasip2 is missing; run `rustup target add wasm32-wasip2`"]);

    let place = lacking(Place::new()).program("rustup", "echo $* > rustup-was-called");
    let built = "components/audit/component.toml";
    place.edit(built, "cargo build --release --target", "echo wasm32-wasip2; false");
    let ended = place.run(&["dev"]).await;
    ended.failed_with(&["adding it with rustup", "does not build"]);
    let called = fs::read_to_string(place.path("rustup-was-called")).unwrap();
    assert_eq!(called, "target add wasm32-wasip2\n");

    let place = Place::new().program("rustc", "exit 127");
    place.run(&["dev"]).await.failed_with(&["wasm32-wasip2"]);
}

#[tokio::test]
async fn emit_says_what_it_cannot_publish() {
    // Nothing listens on port 1.
    let place = Place::new().with("DAPR_HTTP_PORT", 1);
    let unknown = place.run(&["emit", "com.todo.task.creatd.v1"]).await;
    unknown.failed_with(&["no contract has an example of `com.todo.task.creatd.v1`", TYPE]);
    let data = place.run(&["emit", TYPE, "--data", "{task_id}"]).await;
    data.ended_with(2, &["--data is not JSON", "key must be a string"]);
    let away = place.run(&["emit", TYPE]).await;
    away.failed_with(&["no Dapr answers at http://127.0.0.1:1", "`cargo dev`", "DAPR_HTTP_PORT"]);
    let contracts = place.run(&["emit", TYPE, "--contracts", "nowhere"]).await;
    contracts.failed_with(&["nowhere: cannot be read"]);
}

#[tokio::test]
async fn emit_prints_what_it_published() {
    let place = Place::new();
    let running = place.start().await;
    let data = json!({ "task_id": "t-7", "user_id": "ann" });
    let emit = ["emit", TYPE, "--json", "--data", &data.to_string()];
    let (place, emitted) = emit_to(place, &running, &emit).await;
    let event = emitted.json();
    assert_eq!((&event["type"], &event["data"]), (&json!(TYPE), &data));
    until("it is kept", async || !deliveries(&running).await.is_empty()).await;
    let kept: Value = serde_json::from_str(&running.admin("/deliveries").await).unwrap();
    assert_eq!(kept[0]["event"]["id"], event["id"]);
    assert_eq!(running.signal("INT").await.code(), Some(0), "{}", place.stderr());
}

#[tokio::test]
async fn check_and_inspect_find_nothing_wrong_with_what_is_shipped() {
    let place = Place::new().own_contracts();
    let checked = place.run(&["check"]).await;
    assert_eq!((checked.code, checked.stdout.as_str()), (Some(0), "2 checked, no problems\n"));

    let inspected = place.run(&["inspect", "--json", "components/audit/audit.wasm"]).await;
    assert_eq!(inspected.code, Some(0), "{inspected:?}");
    let found = inspected.json();
    assert_eq!((&found["exports"], &found["fault"]), (&json!(["handle"]), &Value::Null));
    let sql = json!({ "name": "wharf:worker/sql@0.1.0", "missing": null, "grant": "[sql]" });
    assert!(found["imports"].as_array().unwrap().contains(&sql), "{found}");
    let inspected = place.run(&["inspect", "components/audit/audit.wasm"]).await;
    assert!(
        inspected.stdout.contains("\n  wharf:worker/sql@0.1.0: needs [sql]\n"),
        "{inspected:?}"
    );
    assert!(inspected.stdout.ends_with("exports\n  handle\n"), "{inspected:?}");

    fs::create_dir(place.path("empty")).unwrap();
    for (path, what) in [("empty", "holds no component, no contract"), ("nowhere", "not exist")] {
        let nothing = place.run(&["check", path]).await;
        nothing.failed_with(&[path, what, "component.toml"]);
        place.run(&["inspect", path]).await.failed_with(&[path, "cannot be read"]);
    }
}

#[tokio::test]
async fn a_dedup_window_that_is_too_short_for_the_contracts_is_told() {
    let place = Place::new().own_contracts();
    place.write("wharf.toml", "[ledger]\ndedup_window = 3600\n");
    let checked = place.run(&["check", "--config", "wharf.toml"]).await;
    checked.failed_with(&[
        "contract.toml",
        "[ledger] dedup_window is 3600 s",
        "give 691200 or more",
    ]);
    let place = place.with("WHARF_LEDGER__DEDUP_WINDOW", 604_800);
    assert_eq!(place.run(&["check", "--config", "wharf.toml"]).await.code, Some(0));
}

#[tokio::test]
async fn an_event_type_that_nobody_can_send_is_told() {
    let place = Place::new().own_contracts();
    let manifest = "components/audit/component.toml";
    place.edit(manifest, "event = \"*\"", "event = \"com.todo.task.creatd.v1\"");
    let checked = place.run(&["check"]).await;
    checked.failed_with(&["`com.todo.task.creatd.v1`", "did you mean `com.todo.task.created.v1`?"]);
}

#[tokio::test]
async fn many_are_tried_again_and_given_up_from_a_terminal() {
    let place = Place::new();
    let running = place.start().await;
    let url = format!("http://{}/v1.0/publish/todo-pubsub/task-events", running.dapr);
    let http = reqwest::Client::new();
    let broken = (0..120).map(|id| {
        let event = json!({ "specversion": "1.0", "id": format!("no uuid {id}"), "source": "me",
            "type": TYPE, "data": {} });
        let request = http.post(&url).header("content-type", "application/cloudevents+json");
        request.body(event.to_string()).send()
    });
    let answers = futures::future::join_all(broken).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().status() == 204));
    let admin = format!("http://{}", running.admin);
    let run =
        async |arguments: &[&str]| place.run(&[arguments, &["--admin", &admin]].concat()).await;
    let dead = ["deliveries", "--component", "-", "--status", "dead", "--limit", "1000", "--json"];
    let all_dead = async || run(&dead).await.json().as_array().unwrap().len() == 120;
    until("all are dead", all_dead).await;

    let counted = run(&["retry", "--component", "-", "--topic", "task-events", "--dry-run"]).await;
    assert_eq!(
        (counted.code, counted.stdout.as_str()),
        (Some(0), "120 deliveries would be tried again\n")
    );
    assert_eq!(counted.stderr, "100 so far\n");
    let one = run(&["retry", "--error", "no uuid 7 ", "--dry-run", "--json"]).await;
    assert_eq!(one.json(), json!({ "matched": 0, "changed": 0, "passed": [] }));
    let tried = run(&["retry", "--all"]).await;
    assert_eq!(
        (tried.code, tried.stdout.as_str()),
        (Some(1), "120 deliveries tried again: 120 dead again\n")
    );
    let given_up = run(&["discard", "--type", TYPE, "--since", "1h", "--json"]).await;
    assert_eq!(given_up.json(), json!({ "matched": 120, "changed": 120, "passed": [] }));
    let again = run(&["discard", "--type", TYPE]).await;
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), "no delivery matches\n"));

    // A name that is misspelt is said to be one.
    for command in ["deliveries", "retry", "discard"] {
        run(&[command, "--component", "audti"]).await.failed_with(&["`audti`", "audit"]);
    }
    assert_eq!(
        run(&["deliveries", "--component", "audit", "--status", "dead"]).await.code,
        Some(0)
    );
    let id = format!("-/{}", "0".repeat(32));
    for wrong in [
        &["retry"][..],
        &["discard", "--dry-run"],
        &["retry", &id, "--all"],
        &["deliveries", &id, "--refused"],
    ] {
        assert_eq!(run(wrong).await.code, Some(2), "{wrong:?}");
    }
    assert_eq!(running.signal("TERM").await.code(), Some(0), "{}", place.stderr());
}

#[tokio::test]
async fn wrong_use_is_exit_code_2_and_help_has_examples() {
    let place = Place::new();
    let wrong: [&[&str]; 5] =
        [&[], &["fly"], &["emit"], &["inspect"], &["emit", TYPE, "--contract", "No Name"]];
    for arguments in wrong {
        let ended = place.run(arguments).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains("--help"), "{arguments:?}: {ended:?}");
    }
    for command in
        ["dev", "new", "components", "deliveries", "retry", "discard", "emit", "check", "inspect"]
    {
        let help = place.run(&[command, "--help"]).await;
        assert_eq!(help.code, Some(0));
        assert!(help.stdout.contains(&format!("Examples:\n  wharf {command}")), "{}", help.stdout);
    }
}

/// Runs a command as the printed one runs: towards the process by `DAPR_HTTP_PORT`.
async fn emit_to(place: Place, running: &Running, arguments: &[&str]) -> (Place, Ended) {
    let place = place.with("DAPR_HTTP_PORT", running.dapr.port());
    let ended = place.run(arguments).await;
    (place, ended)
}

/// Runs the printed line in a shell; where there is no curl, sends the same.
async fn try_curl(line: &str) {
    let ran = Command::new("sh").args(["-c", line]).output().await.unwrap();
    if ran.status.code() != Some(127) {
        let answer = String::from_utf8_lossy(&ran.stdout);
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}\n{ran:?}");
        return;
    }
    let [_, header, _, body, _] = line.split('\'').collect::<Vec<_>>()[..] else {
        panic!("two quoted arguments: {line}")
    };
    let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
    let (name, value) = header.split_once(": ").unwrap();
    let request = reqwest::Client::new().post(url).header(name, value).body(body.to_owned());
    assert_eq!(request.send().await.unwrap().status(), 204);
}

fn line_with<'a>(text: &'a str, part: &str) -> &'a str {
    let line = text.lines().find(|line| line.contains(part));
    line.unwrap_or_else(|| panic!("no `{part}` in:\n{text}")).trim()
}

async fn deliveries(running: &Running) -> Vec<String> {
    let kept: Value = serde_json::from_str(&running.admin("/deliveries").await).unwrap();
    let status = |delivery: &Value| delivery["status"].as_str().unwrap().to_owned();
    kept.as_array().unwrap().iter().map(status).collect()
}
