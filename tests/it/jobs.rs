//! Jobs from the schedule to the firing, and what becomes of one whose component is no more.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use wharf::clock::{Clock as _, rfc3339};
use wharf_tests::built;
use wharf_tests::host::{Host, Setup};

use crate::effects::{MANIFEST, host, last, said};

#[tokio::test]
async fn a_job_fires_once_and_brings_its_data_back() {
    let host = host().await;
    let due = rfc3339(host.clock.now() + Duration::from_secs(10));
    let data = json!({ "a": [1, "ä"] });
    let job = json!({ "do": "schedule", "name": "caps-1", "due": due, "data": data });
    assert_eq!(said(&host, 1, job).await, json!([{ "ok": null }]));
    assert_eq!(host.jobs().await, ["caps-1"]);
    host.advance(Duration::from_secs(9)).await;
    assert_eq!(host.messages("echoes").await.len(), 1);
    host.advance(Duration::from_secs(1)).await;
    let fired = json!({ "type": "com.wharf.job.fired.v1",
        "data": { "name": "caps-1", "data": data } });
    assert_eq!(last(&host).await, fired);
    assert!(host.jobs().await.is_empty());

    // Dapr may call twice: the second call is the same firing.
    let before = host.messages("echoes").await.len();
    let shown = host.rows("SELECT count(*) FROM wharf_deliveries").await;
    host.advance(Duration::from_secs(3600)).await;
    assert_eq!(host.messages("echoes").await.len(), before);
    assert_eq!(host.rows("SELECT count(*) FROM wharf_deliveries").await, shown);
    host.stop().await;
}

#[tokio::test]
async fn a_firing_of_ours_that_dapr_sends_again_is_the_same() {
    let host = host().await;
    let body = json!({ "wharf": { "effect": "e-1", "component": "caps", "contract": "things" },
        "json": "{\"n\":1}" });
    for _ in 0..3 {
        let (status, _) = host.callback("/job/caps-1", &[], body.to_string()).await;
        assert_eq!(status, StatusCode::OK);
        host.advance(Duration::from_secs(60)).await;
    }
    assert_eq!(host.messages("echoes").await.len(), 1);
    let odd = body.to_string().replace("{\\\"n\\\":1}", "1e999").replace("e-1", "e-2");
    assert_eq!(host.callback("/job/caps-1", &[], odd).await.0, StatusCode::OK);
    host.settle().await;
    host.stop().await;
}

#[tokio::test]
async fn a_repeating_job_fires_at_each_of_its_instants() {
    let host = host().await;
    let job = json!({ "do": "schedule", "name": "caps-2", "schedule": "@every 1m", "repeats": 3, "data": 1 });
    said(&host, 1, job).await;
    for fired in 1..=5_usize {
        host.advance(Duration::from_secs(60)).await;
        assert_eq!(host.messages("echoes").await.len(), 1 + fired.min(3));
    }
    assert!(host.jobs().await.is_empty());
    host.stop().await;
}

#[tokio::test]
async fn a_cancelled_job_does_not_fire() {
    let host = host().await;
    let job = json!({ "do": "schedule", "name": "caps-3", "schedule": "0 0 * * * *", "data": 1 });
    said(&host, 1, job).await;
    said(&host, 2, json!({ "do": "cancel", "name": "caps-3" })).await;
    assert!(host.jobs().await.is_empty());
    host.advance(Duration::from_secs(7200)).await;
    assert_eq!(host.messages("echoes").await.len(), 2);
    host.stop().await;
}

#[tokio::test]
async fn a_firing_that_comes_twice_is_one() {
    let host = host().await;
    for _ in 0..2 {
        let (status, _) = host.callback("/job/caps-9", &[], "{\"by\":\"hand\"}").await;
        assert_eq!(status, StatusCode::OK);
        host.settle().await;
    }
    let fired = json!({ "type": "com.wharf.job.fired.v1",
        "data": { "name": "caps-9", "data": { "by": "hand" } } });
    assert_eq!((host.messages("echoes").await.len(), last(&host).await), (1, fired));
    host.stop().await;
}

/// A job that is due in ten seconds.
async fn schedule(host: &Host, name: &str) {
    let due = rfc3339(host.clock.now() + Duration::from_secs(10));
    let job = json!({ "do": "schedule", "name": name, "due": due, "data": 1 });
    assert_eq!(said(host, 1, job).await, json!([{ "ok": null }]));
}

/// What the admin's health says of a component.
async fn health_of(host: &Host, component: &str) -> Value {
    let (_, health) = host.admin("/health").await;
    let all = health["ledger"]["components"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|one| one["component"] == component).unwrap_or_default()
}

/// Dapr would send it again every second, for ever.
#[tokio::test]
async fn a_job_of_a_component_that_is_gone_waits_for_it() {
    let host = host().await;
    schedule(&host, "caps-1").await;
    let host = host.restart_without(Some("caps")).await;
    host.advance(Duration::from_secs(10)).await;
    assert!(host.jobs().await.is_empty(), "Dapr is done with it");
    assert_eq!(host.deliveries().await, [["caps done 1", ""], ["caps parked 0", ""]]);
    let parked = json!({ "component": "caps", "parked": 1, "dead": 0, "runs": false });
    assert_eq!(health_of(&host, "caps").await, parked);
    host.advance(Duration::from_secs(60)).await;
    assert_eq!(host.messages("echoes").await.len(), 1);

    let host = host.restart_without(None).await;
    host.settle().await;
    let fired =
        json!({ "type": "com.wharf.job.fired.v1", "data": { "name": "caps-1", "data": 1 } });
    assert_eq!((host.messages("echoes").await.len(), last(&host).await), (2, fired));
    host.stop().await;
}

/// It is there, and asks for the job no longer.
#[tokio::test]
async fn a_job_that_nobody_wants_any_more_is_dead_until_someone_does() {
    let deaf = MANIFEST.replace("job = \"caps-*\"\n[grants]", "job = \"other-*\"\n[grants]");
    let setup = Setup::bare().things().guest("caps", built::CAPABILITIES, &deaf);
    let heir = MANIFEST
        .replace("name = \"caps\"", "name = \"heir\"")
        .replace("[[on]]\nevent = \"com.things.made.v1\"\n", "");
    let host = setup.guest("heir", built::CAPABILITIES, &heir).start().await;
    schedule(&host, "caps-1").await;
    let host = host.restart_without(Some("heir")).await;
    host.advance(Duration::from_secs(10)).await;
    assert!(host.jobs().await.is_empty(), "Dapr is done with it");
    let dead = host.rows("SELECT component, error FROM wharf_deliveries WHERE status = 'dead'");
    let [row] = &dead.await[..] else { panic!("one is dead") };
    assert_eq!(row[0], "-");
    assert!(row[1].contains("`caps-1`") && row[1].contains("no component wants it"), "{row:?}");
    assert_eq!(health_of(&host, "-").await["dead"], 1);
    // It is no better for being tried.
    assert_eq!(host.admin_post("/deliveries/retry?component=-").await.0, StatusCode::OK);
    host.settle().await;
    assert_eq!(health_of(&host, "-").await["dead"], 1);
    assert_eq!(host.messages("echoes").await.len(), 1);

    let host = host.restart_without(None).await;
    assert_eq!(host.admin_post("/deliveries/retry?component=-").await.0, StatusCode::OK);
    host.settle().await;
    assert_eq!(host.messages("echoes").await.len(), 2);
    assert_eq!(health_of(&host, "-").await, Value::Null, "nothing is left of it");
    host.stop().await;
}
