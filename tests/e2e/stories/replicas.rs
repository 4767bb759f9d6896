//! Several hosts with a sidecar each, on one ledger: a job fires at one of them, a cron binding
//! ticks all of them, and each acts once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use serde_json::json;
use wharf_test_real::{Yard, component};
use wharf_tests::host::{THINGS, event, id};

use crate::project::Project;
use crate::stage::{Stage, eventually, from_now};

const REMINDERS: u32 = 15;

pub async fn job(yard: Arc<Yard>) -> anyhow::Result<()> {
    let stage = Stage::set(Arc::clone(&yard), &[]).await?;
    let project = Project::todo(&yard)?;
    let mut hosts = Vec::new();
    for name in ["host-1", "host-2", "host-3"] {
        hosts.push(stage.host(name, &project).await?);
    }
    for number in 0..REMINDERS {
        let mut scheduled = event("com.todo.reminder.scheduled.v1", number);
        let later = Duration::from_secs(4 + u64::from(number % 3));
        scheduled["data"] = json!({
            "reminder_id": id(number), "task_id": format!("t-{number}"), "user_id": "ann",
            "title": "Water the plants", "remind_at": from_now(later),
            "due_date": "2026-02-04T18:00:00Z",
        });
        stage.outside.publish("todo-pubsub", "reminder-events", &scheduled).await?;
    }
    stage.outside.came("notify-file", REMINDERS as usize).await?;
    let delivered = "SELECT status, count(*)::text FROM notifications GROUP BY status";
    let many = REMINDERS.to_string();
    stage.become_rows(delivered, &[&["delivered", &many]]).await?;
    stage.settled().await?;
    let fired = "SELECT count(*)::text FROM wharf_deliveries WHERE component = 'reminder' \
        AND event_type = 'com.wharf.job.fired.v1'";
    stage.become_rows(fired, &[&[&many]]).await?;
    let sent = stage.outside.app.came("notify-file");
    let reminders: BTreeSet<_> = sent.iter().map(|one| one["reminder_id"].to_string()).collect();
    ensure!(sent.len() == reminders.len(), "sent twice: {sent:?}");
    Ok(())
}

pub async fn tick(yard: Arc<Yard>) -> anyhow::Result<()> {
    let mut stage = Stage::set(Arc::clone(&yard), &["echoes"]).await?;
    // Without a direction daprd asks the host whether it wants each: one is wanted, one is not.
    for name in ["clock", "unwanted"] {
        stage.resources.push(component(name, "bindings.cron", &[("schedule", "*/5 * * * * *")]));
    }
    let contract = THINGS.replace("period = \"5m\"", "period = \"5s\"");
    let project =
        Project::new(&yard)?.with_doer("binding = \"clock\"")?.contract("things", &contract)?;
    let mut hosts = Vec::new();
    for name in ["host-1", "host-2"] {
        hosts.push(stage.host(name, &project).await?);
    }
    let each = eventually("each host is ticked four times", async || {
        let mut ticks = Vec::new();
        for host in &hosts {
            let count = host.daprd.count("dapr_component_input_binding_count").await;
            ticks.push(count.map_err(|error| format!("{error:#}"))?);
        }
        if ticks.iter().all(|ticks| *ticks >= 4.0) { Ok(ticks) } else { Err(format!("{ticks:?}")) }
    })
    .await?;
    stage.settled().await?;
    for host in &hosts {
        let said = host.daprd.process.log();
        ensure!(said.contains("app has not subscribed to binding unwanted"), "{said}");
    }
    let came = stage.outside.came("echoes", 4).await?;
    let times: BTreeSet<_> =
        came.iter().map(|one| one["data"]["data"]["time"].to_string()).collect();
    ensure!(times.len() == came.len(), "one tick acted twice: {came:?}");
    let most = each.iter().fold(0.0_f64, |most, ticks| most.max(*ticks)) + 2.0;
    ensure!((came.len() as f64) <= most, "{each:?} ticks, {came:?}");
    Ok(())
}
