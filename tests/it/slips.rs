//! Slips of the pen at the command line and in settings: each is told, with the name that was most
//! likely meant. And what `wharf dev` and `wharf retry` say while they are at it.

use std::fs;

use serde_json::{Value, json};
use wharf_tests::host::event;

use crate::program::{Ended, Place, Running, until};

const TYPE: &str = "com.todo.task.created.v1";

/// Runs a command towards a host.
async fn ask(place: &Place, running: &Running, arguments: &[&str]) -> Ended {
    let admin = format!("http://{}", running.admin);
    place.run(&[arguments, &["--admin", &admin]].concat()).await
}

/// Delivers something that cannot be read, and gives its delivery once it is dead.
async fn dead(place: &Place, running: &Running, number: u32) -> String {
    let url = format!("http://{}/events/task-events", running.ingress);
    let mut broken = event(TYPE, number);
    broken["data"] = json!({});
    let request = reqwest::Client::new().post(url).header("pubsubName", "todo-pubsub");
    assert_eq!(request.body(broken.to_string()).send().await.unwrap().status(), 200);
    let listed = ask(place, running, &["deliveries", "--status", "dead", "--json"]).await.json();
    let of_event = |one: &&Value| one["event"]["id"] == broken["id"];
    let found = listed.as_array().unwrap().iter().find(of_event).unwrap();
    found["delivery"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_filter_that_nothing_knows_is_told_with_the_nearest_name() {
    let place = Place::new();
    let running = place.start().await;
    for (filter, meant) in [
        (["--topic", "tsak-events"], "did you mean `task-events`?"),
        (["--component", "audti"], "did you mean `audit`?"),
        (["--type", "com.todo.task.creatd.v1"], "did you mean `com.todo.task.created.v1`?"),
        (["--topic", "quite-another"], "the topics: recurring-events"),
    ] {
        for command in [&["retry", "--dry-run"][..], &["discard"], &["deliveries"]] {
            let ended = ask(&place, &running, &[command, &filter].concat()).await;
            ended.failed_with(&[filter[1], meant]);
        }
    }
    // A right name that has nothing is fine.
    let fine = ask(&place, &running, &["retry", "--topic", "task-events"]).await;
    assert_eq!((fine.code, fine.stdout.as_str()), (Some(0), "no delivery matches\n"));
    assert!(running.signal("TERM").await.success());
}

#[tokio::test]
async fn a_retry_of_nothing_in_particular_says_what_is_needed() {
    let place = Place::new();
    for command in [&["retry", "--dry-run"][..], &["discard"], &["retry", "--no-wait"]] {
        let example = format!("\n  wharf {} --component notification --dry-run\n", command[0]);
        place.run(command).await.ended_with(2, &["COMPONENT/KEY", "--all", &example, "--help"]);
    }
}

#[tokio::test]
async fn a_retry_says_what_became_of_it() {
    let place = Place::new().own_contracts();
    let running = place.start().await;
    let id = dead(&place, &running, 1).await;
    let again = ask(&place, &running, &["retry", &id]).await;
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.stdout.contains("  dead ") && again.stdout.contains("missing"), "{again:?}");
    let left = ask(&place, &running, &["retry", "--no-wait", &id]).await;
    assert_eq!(left.code, Some(0), "{left:?}");
    let is_dead =
        async || ask(&place, &running, &["deliveries", &id]).await.stdout.contains("missing");
    until("it died again", is_dead).await;
    assert!(running.signal("TERM").await.success());

    // It can be read once the contract takes it.
    let schema = format!("contracts/cloudevents/events/{TYPE}.schema.json");
    let text = fs::read_to_string(place.path(&schema)).unwrap();
    let mut loose: Value = serde_json::from_str(&text).unwrap();
    loose["required"] = json!([]);
    place.write(&schema, &loose.to_string());
    let running = place.start().await;
    let many = ask(&place, &running, &["retry", "--topic", "task-events"]).await;
    let said = "1 delivery tried again: 1 done\n";
    assert_eq!((many.code, many.stdout.as_str()), (Some(0), said), "{many:?}");
    assert!(running.signal("TERM").await.success());
}

#[tokio::test]
async fn a_field_that_nothing_knows_is_told_before_it_is_published() {
    let things = "name = \"things\"\ndescription = \"\"\n\
        retry = [\"1s\"]\ndead_letter = \"{topic}-dlq\"\npubsub = \"todo-pubsub\"\n[[topic]]\nname = \"things\"\npath = \"/events/things\"\n\
        retention = \"7d\"\n\
        [[event]]\ntype = \"com.things.made.v1\"\ntopic = \"things\"\nconsumers = []\n\
        schema = \"events/thing.schema.json\"\n";
    let place = Place::new().contract("things", things).known_contract("cloudevents");
    let schema = json!({ "type": "object", "properties": { "size": {}, "owner": {
        "type": "object", "properties": { "name": {} }, "additionalProperties": false } } });
    place.write("contracts/things/events/thing.schema.json", &schema.to_string());
    let mut example = event("com.things.made.v1", 1);
    example["data"] = json!({ "size": 1, "owner": {}, "colour": "red" });
    place.write("contracts/things/examples/com.things.made.v1.json", &example.to_string());

    // Nothing listens on port 1: what is refused before is told first.
    let place = place.with("DAPR_HTTP_PORT", 1);
    let emit = async |ty: &str, change: &str| place.run(&["emit", ty, "--set", change]).await;
    let thing = "com.things.made.v1";
    emit(thing, "owner.nmae=ann").await.ended_with(2, &["`owner.nmae`", "`owner.name`?"]);
    let away = "no Dapr answers";
    emit(thing, "siez=2").await.failed_with(&["warning", "`siez`", "`size`?", away]);
    emit(TYPE, "task.titel=x").await.failed_with(&[
        "warning",
        "`task.titel`",
        "`task.title`?",
        away,
    ]);
    for (ty, known) in [(thing, "colour=1"), (thing, "owner.name=x"), (TYPE, "task.time_zone=UTC")]
    {
        let fine = emit(ty, known).await;
        fine.failed_with(&[away]);
        assert!(!fine.stderr.contains("warning"), "{fine:?}");
    }
}

#[tokio::test]
async fn a_setting_that_is_none_is_told_with_the_nearest_one() {
    let place = Place::new();
    place.write("wharf.toml", "[ledger]\nquery_timout = 3\n");
    for command in ["dev", "serve", "check"] {
        let ended = place.run(&[command, "--config", "wharf.toml"]).await;
        ended.failed_with(&["wharf.toml", "`query_timout`", "did you mean `query_timeout`?"]);
    }
    for (variable, meant) in [
        ("WHARF_LEDGER__QUERY_TIMOUT", "WHARF_LEDGER__QUERY_TIMEOUT"),
        ("WHARF_DAPR_ADDRESS", "WHARF_DAPR__ADDRESS"),
        ("WHARF_LEGDER__LEASE", "WHARF_LEDGER__LEASE"),
        ("WHARF_SERVCE", "WHARF_SERVICE"),
    ] {
        let place = Place::new().with(variable, "100");
        let meant = format!("{variable} is no setting; did you mean {meant}?");
        place.run(&["deliveries"]).await.failed_with(&[&meant]);
    }
}

#[tokio::test]
async fn a_build_says_which_component_and_how_long_it_took() {
    let place = Place::new();
    let manifest = "components/audit/component.toml";
    let command = "cargo build --release --target wasm32-wasip2 -p audit";
    place.edit(manifest, command, "true");
    let running = place.start_building().await;
    let said = place.stderr();
    assert!(said.contains("building audit (1 of 1) with `true`\n"), "{said}");
    let (_, took) = said.split_once("\nbuilt audit in ").unwrap();
    assert!(took.split_once(" s\n").unwrap().0.parse::<f64>().is_ok(), "{said}");
    assert!(running.signal("TERM").await.success());
}
