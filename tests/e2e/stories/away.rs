//! The ledger is away for a minute, while events come and a job is due. Kafka's offset must not pass
//! what was not acknowledged, and the scheduler must not give up. Of two hosts one has a sidecar that
//! stops delivering when the host is ill; the other's goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};
use serde_json::json;
use wharf_test_real::{Durability, Postgres, Yard};
use wharf_tests::host::{event, id};

use crate::project::Project;
use crate::restarts::{CREATED, created};
use crate::stage::{Stage, from_now};

const AWAY: Duration = Duration::from_secs(60);

pub async fn ledger(yard: Arc<Yard>) -> anyhow::Result<()> {
    let mut server = Postgres::start(Durability::None).map_err(|error| anyhow!(error))?;
    let mut stage = Stage::with_ledger(Arc::clone(&yard), &[], server.url()).await?;
    let project = Project::todo(&yard)?.counting()?;
    let with_checks = stage.host("host-checked", &project).await?;
    // Its sidecar goes on to deliver, and is answered RETRY all the while.
    stage.checks_health = false;
    let without_checks = stage.host("host-unchecked", &project).await?;

    // Its job fires within the minute.
    let mut reminder = event("com.todo.reminder.scheduled.v1", 900_000);
    reminder["data"] = json!({
        "reminder_id": id(1), "task_id": "t-1", "user_id": "ann", "title": "Water the plants",
        "remind_at": from_now(Duration::from_secs(40)), "due_date": "2026-02-04T18:00:00Z",
    });
    stage.outside.publish("todo-pubsub", "reminder-events", &reminder).await?;
    let scheduled = "SELECT count(*)::text FROM reminders WHERE status = 'scheduled'";
    stage.become_rows(scheduled, &[&["1"]]).await?;
    stage.settled().await?;

    let fault = async {
        stage.outside.progress().await?;
        let began = Instant::now();
        tokio::task::block_in_place(|| server.stop());
        // Events come all the while; this is how long nothing can be kept, not a wait for anything.
        tokio::time::sleep(AWAY.saturating_sub(began.elapsed())).await;
        ensure!(stage.outside.app.came("notify-file").is_empty(), "sent without a ledger");
        tokio::task::block_in_place(|| server.start_again()).map_err(|error| anyhow!(error))
    };
    let ids = stage.outside.under_load("task-events", created, fault).await?;
    let sent = stage.outside.came("notify-file", 1).await?;
    ensure!(sent[0]["reminder_id"] == id(1), "{sent:?}");
    stage.audited_once(CREATED, &ids).await?;
    stage.become_rows("SELECT status FROM notifications", &[&["delivered"]]).await?;
    ensure!(stage.outside.app.came("notify-file").len() == 1, "sent twice");
    drop((with_checks, without_checks));
    Ok(())
}
