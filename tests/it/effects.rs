//! Effects and reads of every interface through the whole host: a guest does what its event says,
//! and publishes what came of it on `echoes`.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use wharf_tests::built;
use wharf_tests::host::{Host, Setup, thing};
use wharf_tests::moods::Mood;

pub const MANIFEST: &str = r#"
name = "caps"
version = "0.1.0"
[[on]]
event = "com.things.made.v1"
[[on]]
event = "com.wharf.binding.succeeded.v1"
[[on]]
event = "com.wharf.binding.failed.v1"
[[on]]
job = "caps-*"
[grants]
publish = ["com.things.said.v1"]
state = ["todo-statestore"]
secrets = { todo-secrets = ["database-url", "not-there"] }
jobs = ["caps-*"]
bindings = ["notify-file", "notify-http"]
[limits]
memory = "32MiB"
"#;

pub async fn host() -> Host {
    with(MANIFEST).await
}

async fn with(manifest: &str) -> Host {
    Setup::bare().things().guest("caps", built::CAPABILITIES, manifest).start().await
}

/// One that the contract's cron binding ticks.
async fn ticked() -> Host {
    with(&MANIFEST.replace("[grants]", "[[on]]\nbinding = \"clock\"\n[grants]")).await
}

/// Has the guest do it, and gives what it said last.
pub async fn said(host: &Host, number: u32, steps: Value) -> Value {
    host.publish("things", &thing(number, "s", steps)).await;
    host.settle().await;
    last(host).await
}

pub async fn last(host: &Host) -> Value {
    host.messages("echoes").await.pop().map_or(Value::Null, |message| message["data"].clone())
}

#[tokio::test]
async fn state_is_read_back_own_writes_first() {
    let host = host().await;
    let store = "todo-statestore";
    let came = said(
        &host,
        1,
        json!([
            { "do": "get", "store": store, "key": "k" },
            { "do": "set", "store": store, "key": "k", "value": "one" },
            { "do": "get", "store": store, "key": "k" },
        ]),
    )
    .await;
    assert_eq!(came, json!([{ "ok": null }, { "ok": null }, { "ok": "one" }]));
    let came = said(
        &host,
        2,
        json!([
            { "do": "get", "store": store, "key": "k" },
            { "do": "delete", "store": store, "key": "k" },
            { "do": "get", "store": store, "key": "k" },
        ]),
    )
    .await;
    assert_eq!(came, json!([{ "ok": "one" }, { "ok": null }, { "ok": null }]));
    let came = said(&host, 3, json!({ "do": "get", "store": store, "key": "k" })).await;
    assert_eq!(came, json!([{ "ok": null }]));
    host.stop().await;
}

#[tokio::test]
async fn state_is_forgotten_after_its_time() {
    let host = host().await;
    let store = "todo-statestore";
    let set = json!({ "do": "set", "store": store, "key": "k", "value": "v", "ttl": 10 });
    said(&host, 1, set).await;
    let get = json!({ "do": "get", "store": store, "key": "k" });
    assert_eq!(said(&host, 2, get.clone()).await, json!([{ "ok": "v" }]));
    host.advance(Duration::from_secs(11)).await;
    assert_eq!(said(&host, 3, get).await, json!([{ "ok": null }]));
    host.stop().await;
}

#[tokio::test]
async fn a_value_of_5_mb_is_refused_with_the_limit() {
    let host = host().await;
    let set = json!({ "do": "set", "store": "todo-statestore", "key": "k", "size": 5_000_000 });
    let came = said(&host, 1, set).await.to_string();
    assert!(came.contains("5000000") && came.contains("3000000"), "{came}");
    host.stop().await;
}

#[tokio::test]
async fn secrets_are_read_and_never_recorded() {
    let host = host().await;
    host.write_data(
        "secrets.json",
        r#"{"todo-secrets": {"database-url": "postgres://x:hunter2@y"}}"#,
    );
    let secret = |key| json!({ "do": "secret", "store": "todo-secrets", "key": key });
    let came = said(&host, 1, secret("database-url")).await.to_string();
    assert!(came.contains("hunter2"), "{came}");
    let came = said(&host, 2, secret("not-there")).await.to_string();
    assert!(came.contains("Missing") && came.contains("not-there"), "{came}");
    let shown = host.shown("caps").await;
    let runs: Vec<_> = shown.iter().map(|delivery| delivery["run"].to_string()).collect();
    assert!(runs.iter().all(|run| !run.contains("hunter2")), "{runs:?}");
    let reads: Vec<_> = shown.iter().map(|delivery| delivery["run"]["reads"].to_string()).collect();
    assert!(reads.iter().any(|read| read.contains("database-url")), "{reads:?}");

    host.publish("things", &thing(3, "s", secret("ungranted"))).await;
    host.settle().await;
    let (_, parked) = host.admin("/deliveries?status=parked").await;
    let error = parked[0]["error"].as_str().unwrap_or_default();
    assert!(error.contains("`ungranted`") && error.contains("[grants] secrets"), "{error}");
    host.stop().await;
}

#[tokio::test]
async fn a_store_that_is_away_uses_up_no_attempt() {
    let host = host().await;
    host.write_data("secrets.json", "{ broken");
    let secret = json!({ "do": "secret", "store": "todo-secrets", "key": "database-url" });
    host.publish("things", &thing(1, "s", secret)).await;
    host.settle().await;
    for _ in 0..6 {
        host.advance(Duration::from_secs(60)).await;
    }
    let (_, parked) = host.admin("/deliveries?status=parked").await;
    assert_eq!(parked[0]["attempts"], 0, "{parked}");
    let error = parked[0]["error"].as_str().unwrap_or_default();
    assert!(error.contains("secrets.json"), "{error}");

    host.write_data("secrets.json", r#"{"todo-secrets": {"database-url": "there"}}"#);
    host.advance(Duration::from_secs(90)).await;
    assert!(last(&host).await.to_string().contains("there"));
    host.stop().await;
}

#[tokio::test]
async fn a_repeat_and_a_failed_commit_are_recorded_as_what_they_are() {
    let manifest = MANIFEST.replace("[limits]", "[recording]\nredact = [\"/data/key\"]\n[limits]");
    let host = with(&manifest).await;
    let dead = json!({ "do": "reject", "reason": "no" });
    host.publish("things", &thing(1, "s", dead)).await;
    host.settle().await;
    // The same event again, which the handler would take this time.
    let get = json!({ "do": "get", "store": "todo-statestore", "key": "hidden-key" });
    host.publish("things", &thing(1, "s", get.clone())).await;
    host.settle().await;
    let shown = host.shown("caps").await;
    assert_eq!(
        (&shown[0]["run"]["failed"], &shown[0]["run"]["error"]),
        (&json!(true), &json!("rejected: no"))
    );

    // What the event may not tell is told nowhere.
    host.publish("things", &thing(2, "s", get)).await;
    host.settle().await;
    let shown = host.shown("caps").await;
    assert!(!shown[0]["run"].to_string().contains("hidden-key"), "{}", shown[0]["run"]);
    host.stop().await;
}

#[tokio::test]
async fn what_dapr_refused_is_listed_and_performed_again() {
    let host = Setup::bare()
        .things()
        .guest("caps", built::CAPABILITIES, &MANIFEST.replace("todo-statestore", "nowhere"))
        .start()
        .await;
    let set = json!({ "do": "set", "store": "nowhere", "key": "k", "value": "v" });
    said(&host, 1, set).await;
    let (_, refused) = host.admin("/deliveries?refused=true").await;
    assert_eq!(refused.as_array().map(Vec::len), Some(1), "{refused}");
    let id = refused[0]["delivery"].as_str().unwrap_or_default().to_owned();
    assert_eq!(refused[0]["status"], "done");
    assert_eq!(host.admin_post(&format!("/deliveries/{id}/retry")).await.0, StatusCode::OK);
    host.settle().await;
    let (_, again) = host.admin(&format!("/deliveries/{id}")).await;
    assert_eq!(again["outbox"][0]["status"], "dead", "it is refused again");
    assert_eq!(host.admin_post(&format!("/deliveries/{id}/discard")).await.0, StatusCode::OK);
    let (_, refused) = host.admin("/deliveries?refused=true").await;
    assert_eq!(refused, json!([]));
    host.stop().await;
}

#[tokio::test]
async fn a_job_or_binding_that_nobody_knows_is_kept_by_dapr() {
    let host = ticked().await;
    let invoked = [("dapr-caller-app-id", "another")];
    let (status, _) = host.callback("/job/caps-9", &invoked, "{}").await;
    assert_eq!(status, StatusCode::FORBIDDEN, "invoked by another app, not by the scheduler");
    let (status, _) = host.callback("/clock", &invoked, "{}").await;
    assert_eq!(status, StatusCode::FORBIDDEN, "it would take the period's only tick");
    let (status, answer) = host.callback("/job/nobody", &[], "{}").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let said = answer.as_str().unwrap_or_default();
    assert!(said.contains("no component wants the job `nobody`"), "{said}");
    let (status, _) = host.callback("/nobody", &[], "").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(host.ingress(Method::OPTIONS, "/nobody").await.0, StatusCode::NOT_FOUND);
    assert_eq!(host.ingress(Method::OPTIONS, "/clock").await.0, StatusCode::OK);
    assert_eq!(host.deliveries().await, Vec::<Vec<String>>::new());
    host.stop().await;
}

#[tokio::test]
async fn ticks_of_one_period_are_one_event() {
    let host = ticked().await;
    for _ in 0..2 {
        assert_eq!(host.callback("/clock", &[], "").await.0, StatusCode::OK);
    }
    host.settle().await;
    let ticks = async || {
        let messages = host.messages("echoes").await;
        messages.iter().filter(|m| m["data"]["type"] == "com.wharf.binding.ticked.v1").count()
    };
    assert_eq!(ticks().await, 1);
    // Dapr's own tick comes at the same time as the second replica's.
    host.advance(Duration::from_secs(300)).await;
    host.callback("/clock", &[], "").await;
    host.settle().await;
    assert_eq!(ticks().await, 2);
    host.stop().await;
}

#[tokio::test]
async fn a_call_tells_its_component_what_came_of_it() {
    let host = host().await;
    let call = json!({ "do": "invoke", "binding": "notify-file", "operation": "create",
        "value": "{\"hello\":1}", "metadata": { "to": "ann" } });
    host.publish("things", &thing(1, "s", call)).await;
    host.settle().await;
    let messages = host.messages("echoes").await;
    let id = messages[0]["data"][0]["ok"].clone();
    assert_eq!(messages[1]["data"]["type"], "com.wharf.binding.succeeded.v1");
    assert_eq!(messages[1]["data"]["data"]["effect_id"], id);
    assert_eq!(messages[1]["data"]["data"]["binding"], "notify-file");
    let sent = host.notifications();
    assert_eq!(sent[0]["data"], json!({ "hello": 1 }));
    assert_eq!(sent[0]["idempotency-key"], id);

    let call =
        json!({ "do": "invoke", "binding": "notify-http", "operation": "create", "value": "x" });
    let failed = said(&host, 2, call).await;
    assert_eq!(failed["type"], "com.wharf.binding.failed.v1", "{failed}");
    host.stop().await;
}

#[tokio::test]
async fn a_call_outlasts_a_dapr_that_is_away() {
    let host = host().await;
    host.moods.set("notify-file", Mood::NobodyIsThere);
    let call = json!({ "do": "invoke", "binding": "notify-file", "operation": "create",
        "value": "{}", "metadata": {} });
    host.publish("things", &thing(1, "s", call)).await;
    host.settle().await;
    // Far longer than the contract's schedule: 1 s, 2 s, 4 s.
    for _ in 0..20 {
        host.advance(Duration::from_secs(5)).await;
    }
    let waiting = host.rows("SELECT kind, attempts, status FROM wharf_outbox").await;
    assert_eq!(waiting, [["invoke", "0", "waiting"]]);
    host.moods.clear();
    host.advance(Duration::from_secs(5)).await;
    assert_eq!(host.notifications().len(), 1);
    host.stop().await;
}

#[tokio::test]
async fn a_delivery_shows_what_its_handler_read_did_and_logged() {
    let host = host().await;
    let store = "todo-statestore";
    said(
        &host,
        1,
        json!([
            { "do": "get", "store": store, "key": "k" },
            { "do": "set", "store": store, "key": "k", "value": "v" },
        ]),
    )
    .await;
    let shown = host.shown("caps").await;
    let run = &shown[0]["run"];
    assert_eq!((&run["failed"], &run["attempt"]), (&json!(false), &json!(1)));
    let effects: Vec<_> = run["effects"].as_array().into_iter().flatten().collect();
    assert_eq!(
        effects.iter().map(|e| e["effect"].as_str()).collect::<Vec<_>>(),
        [Some("state"), Some("publish")]
    );
    assert!(run["reads"].to_string().contains("caps/k"), "{}", run["reads"]);
    assert!(run["log"].to_string().contains("ok"), "{}", run["log"]);
    assert_eq!(shown[0]["outbox"], json!([]));

    host.publish("things", &thing(2, "s", json!({ "do": "reject", "reason": "no" }))).await;
    host.settle().await;
    let shown = host.shown("caps").await;
    assert_eq!((&shown[0]["status"], &shown[0]["error"]), (&json!("dead"), &json!("rejected: no")));
    assert_eq!(shown[0]["run"]["error"], "rejected: no");
    host.stop().await;
}

#[tokio::test]
async fn a_dead_delivery_is_tried_again_or_given_up_by_hand() {
    let host = host().await;
    host.publish("things", &thing(1, "s", json!({ "do": "reject", "reason": "no" }))).await;
    host.settle().await;
    let (_, dead) = host.admin("/deliveries?status=dead&component=caps").await;
    let id = dead[0]["delivery"].as_str().unwrap_or_default().to_owned();
    let (status, _) = host.admin_post(&format!("/deliveries/{id}/retry")).await;
    assert_eq!(status, StatusCode::OK);
    host.settle().await;
    let (_, again) = host.admin(&format!("/deliveries/{id}")).await;
    assert_eq!(
        (&again["status"], &again["attempts"]),
        (&json!("dead"), &json!(1)),
        "it died again"
    );
    assert_eq!(host.admin_post(&format!("/deliveries/{id}/discard")).await.0, StatusCode::OK);
    let (status, refused) = host.admin_post(&format!("/deliveries/{id}/retry")).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(refused["error"].as_str().unwrap_or_default().contains("discarded"), "{refused}");
    let unknown = "/deliveries/caps/00000000000000000000000000000000/retry";
    assert_eq!(host.admin_post(unknown).await.0, StatusCode::NOT_FOUND);

    // A repeat of what was given up is still known as one.
    host.publish("things", &thing(1, "s", json!({ "do": "reject", "reason": "no" }))).await;
    host.settle().await;
    assert_eq!(host.deliveries().await, [["caps discarded 1", "rejected: no"]]);
    host.stop().await;
}

#[tokio::test]
async fn dapr_and_the_guest_see_the_same_store() {
    let host = host().await;
    let key = "todo-statestore";
    let set = json!({ "do": "set", "store": key, "key": "k", "value": "v" });
    said(&host, 1, set).await;
    let (status, value) =
        host.dapr(Method::GET, "/v1.0/state/todo-statestore/caps%2Fk", None).await;
    assert_eq!((status, value), (StatusCode::OK, json!("dg==")));
    host.stop().await;
}
