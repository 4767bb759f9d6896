//! What stands around a delivery goes away in its middle: the sidecar, the host, the broker. Each
//! published event is audited once, and each effect of a committed delivery goes out under one id.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::ensure;
use serde_json::{Value, json};
use wharf_test_real::Yard;
use wharf_tests::host::{THING, THINGS, event, thing};

use crate::project::Project;
use crate::stage::{Host, Locked, Stage, eventually};

pub const CREATED: &str = "com.todo.task.created.v1";

/// Few subjects, so that some are in progress twice.
pub fn created(number: u32) -> Value {
    let mut event = event(CREATED, number);
    event["subject"] = json!(format!("t-{}", number % 40));
    event
}

pub async fn daprd(yard: Arc<Yard>) -> anyhow::Result<()> {
    let stage = Stage::set(Arc::clone(&yard), &[]).await?;
    let mut host = stage.host("host", &Project::audit(&yard)?).await?;
    let faults = async {
        stage.progress().await?;
        host.daprd.stop().await?;
        host.daprd.start_again().await?;
        for _ in 0..3 {
            stage.progress().await?;
            let ledger = stage.lock_ledger().await?;
            in_progress(&host).await?;
            host.daprd.kill()?;
            // The host commits what it has, and can tell nobody.
            ledger.unlock().await?;
            host.daprd.start_again().await?;
        }
        stage.progress().await
    };
    let ids = stage.outside.under_load("task-events", created, faults).await?;
    stage.audited_once(CREATED, &ids).await?;
    ensure!(host.count("wharf_repeats_total").await? > 0.0, "nothing was delivered again");
    Ok(())
}

pub async fn host(yard: Arc<Yard>) -> anyhow::Result<()> {
    let stage = Stage::set(Arc::clone(&yard), &[]).await?;
    let mut host = stage.host("host", &Project::audit(&yard)?).await?;
    let faults = async {
        for number in 0..6 {
            stage.progress().await?;
            // Every second time it dies at some moment, else with deliveries that wait for a commit.
            let ledger = match number % 2 {
                0 => None,
                _ => Some(stage.lock_ledger().await?),
            };
            if ledger.is_some() {
                in_progress(&host).await?;
            }
            host.wharf.kill()?;
            if let Some(ledger) = ledger {
                ledger.unlock().await?;
            }
            host.start_again().await?;
        }
        stage.progress().await
    };
    let ids = stage.outside.under_load("task-events", created, faults).await?;
    stage.audited_once(CREATED, &ids).await
}

const SAID: &str = "com.things.said.v1";

/// How the component fails after it has published something, if it does: it is dead at once, or
/// after all of its attempts.
fn fails(number: u32) -> Option<&'static str> {
    match number % 20 {
        7 => Some("reject"),
        13 => Some("retry"),
        _ => None,
    }
}

/// Its number is published, and then what came of that.
fn told(number: u32) -> Value {
    let mut steps = vec![json!({ "do": "publish", "type": SAID, "data": number })];
    steps.extend(fails(number).map(|how| json!({ "do": how, "reason": "it is to fail" })));
    // One that fails holds up no other.
    let subject = fails(number).map_or(number % 40, |_| 1000 + number);
    thing(number, &format!("s-{subject}"), steps)
}

/// Events come and are published all the while. Both times there are effects that wait for the broker.
pub async fn broker(yard: Arc<Yard>) -> anyhow::Result<()> {
    let mut stage = Stage::set(Arc::clone(&yard), &["echoes"]).await?;
    let project = Project::audit(&yard)?.contract("things", THINGS)?;
    let project = project.with_doer(&format!("event = \"{THING}\""))?;
    let host = stage.host("host", &project).await?;
    let Stage { outside, kafka, database, .. } = &mut stage;
    let failed = async || host.count("event_publish_errors_total").await;
    let faults = async {
        for is_killed in [false, true] {
            outside.progress().await?;
            let before = failed().await?;
            let ledger = Locked::of(database).await?;
            in_progress(&host).await?;
            // What is in progress commits when the broker goes or is gone.
            if is_killed {
                kafka.kill()?;
                ledger.unlock().await?;
            } else {
                futures::try_join!(kafka.stop(), ledger.unlock())?;
            }
            eventually("an effect cannot be published", async || match failed().await {
                Ok(count) if count > before => Ok(()),
                Ok(count) => Err(format!("{count} calls failed")),
                Err(error) => Err(format!("{error:#}")),
            })
            .await?;
            kafka.start_again().await?;
        }
        outside.progress().await
    };
    let ids = outside.under_load("things", told, faults).await?;
    stage.audited(THING, &ids).await?;
    let numbers = 0..u32::try_from(ids.len())?;
    let (failing, committed): (Vec<u32>, Vec<u32>) = numbers.partition(|at| fails(*at).is_some());
    let ended = "SELECT status, count(*)::text FROM wharf_deliveries WHERE component = 'doer' \
        GROUP BY status ORDER BY status";
    let (dead, done) = (failing.len().to_string(), committed.len().to_string());
    stage.become_rows(ended, &[&["dead", &dead], &["done", &done]]).await?;
    stage.become_rows("SELECT kind FROM wharf_outbox", &[]).await?;
    // Of each that is done two, and none of those that failed.
    let came = stage.outside.came_by_id("echoes", SAID, 2 * committed.len()).await?;
    let told: BTreeSet<u32> = came.iter().filter_map(|data| data.parse().ok()).collect();
    ensure!(told == committed.into_iter().collect(), "published of some that failed: {told:?}");
    Ok(())
}

/// Waits until the host has taken events and not answered.
pub async fn in_progress(host: &Host) -> anyhow::Result<()> {
    eventually("events are in progress", async || match host.count("wharf_ingress_events").await {
        Ok(count) if count > 0.0 => Ok(()),
        Ok(_) => Err("none".to_owned()),
        Err(error) => Err(format!("{error:#}")),
    })
    .await
}
