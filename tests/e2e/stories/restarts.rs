//! What stands around a delivery goes away in its middle: the sidecar, the host, the broker. Each
//! published event is audited once.

use std::sync::Arc;

use anyhow::ensure;
use serde_json::{Value, json};
use wharf_test_real::Yard;
use wharf_tests::host::event;

use crate::project::Project;
use crate::stage::{Host, Stage, eventually};

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

pub async fn broker(yard: Arc<Yard>) -> anyhow::Result<()> {
    let mut stage = Stage::set(Arc::clone(&yard), &[]).await?;
    let _host = stage.host("host", &Project::audit(&yard)?).await?;
    let Stage { outside, kafka, .. } = &mut stage;
    let faults = async {
        kafka.stop().await?;
        kafka.start_again().await?;
        outside.progress().await?;
        kafka.kill()?;
        kafka.start_again().await?;
        outside.progress().await
    };
    let ids = outside.under_load("task-events", created, faults).await?;
    stage.audited_once(CREATED, &ids).await
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
