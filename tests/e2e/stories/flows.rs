//! The two flows of the todo system, from topic to topic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};
use wharf_test_real::Yard;
use wharf_tests::host::id;

use crate::project::Project;
use crate::stage::{Host, Stage, eventually, from_now};

const TASK: &str = "0d9f4a5e-6f0b-4c1d-9a53-2f4f3b0f7c10";
const REMINDER: &str = "c2b7d1a0-58a4-4b7e-9f43-6d1f0e9a8b7c";
const COMPLETED: &str = "com.todo.task.completed.v1";
const TOPICS: [&str; 3] = ["task-events", "reminder-events", "recurring-events"];

/// A CloudEvent of the contract `cloudevents` about the task.
fn event(number: u32, ty: &str, data: impl Into<Value>) -> Value {
    json!({
        "specversion": "1.0", "id": id(number), "source": "e2e", "type": ty, "subject": TASK,
        "time": "2026-01-01T00:00:00Z", "datacontenttype": "application/json", "data": data.into(),
    })
}

/// A completed task makes the next one, once, whatever is published again.
pub async fn recurring(yard: Arc<Yard>) -> anyhow::Result<()> {
    let stage = Stage::set(Arc::clone(&yard), &TOPICS).await?;
    let project = Project::todo(&yard)?;
    let host = stage.host("host", &project).await?;
    let task = json!({
        "id": TASK, "title": "Water the plants", "completed": true,
        "due_date": "2026-02-04T18:00:00Z", "recurrence": "weekly", "time_zone": "UTC",
    });
    let completed = |number| {
        let data = json!({ "task_id": TASK, "user_id": "ann", "task": task });
        event(number, COMPLETED, data)
    };
    // Twice the same event, and another for the same occurrence.
    for number in [1, 1, 2] {
        stage.outside.publish("todo-pubsub", "task-events", &completed(number)).await?;
    }
    let audited = "SELECT type, count(*)::text FROM audit_log GROUP BY type ORDER BY type";
    stage
        .become_rows(
            audited,
            &[
                &["com.todo.recurring.generated.v1", "1"],
                &[COMPLETED, "2"],
                &["com.todo.task.created.v1", "1"],
            ],
        )
        .await?;
    stage.settled().await?;
    let tasks = "SELECT title, parent_task_id, to_char(due_date AT TIME ZONE 'UTC', \
        'YYYY-MM-DD HH24:MI') FROM tasks WHERE parent_task_id IS NOT NULL";
    let next = ["Water the plants", TASK, "2026-02-11 18:00"];
    stage.become_rows(tasks, &[&next]).await?;

    let app = &stage.outside.app;
    let came = async |topic: &str, ty: &str, times: usize| {
        eventually(&format!("{ty} comes {times} times"), async || {
            let types = app.types(topic);
            let count = types.iter().filter(|one| *one == ty).count();
            if count == times { Ok(()) } else { Err(format!("{types:?}")) }
        })
        .await
    };
    came("task-events", COMPLETED, 3).await?;
    came("task-events", "com.todo.task.created.v1", 1).await?;
    came("recurring-events", "com.todo.recurring.generated.v1", 1).await?;
    let created = app.came("task-events").into_iter().find(|one| one["type"] != COMPLETED);
    let created = created.unwrap_or_default();
    ensure!(created["source"] == "wharf/recurring", "{created}");
    ensure!(created["data"]["task"]["due_date"] == "2026-02-11T18:00:00Z", "{created}");
    ruled(&stage, &host).await
}

/// A rule by its name has a job that makes each day what is missing.
async fn ruled(stage: &Stage, host: &Host) -> anyhow::Result<()> {
    stage.rows("INSERT INTO recurrence_rules (id, rule) VALUES ('rule', 'daily')").await?;
    let task = json!({
        "id": "t-2", "title": "Run", "completed": true, "due_date": "2026-02-04T18:00:00Z",
        "recurrence_id": "rule",
    });
    let data = json!({ "task_id": "t-2", "user_id": "ann", "task": task });
    stage.outside.publish("todo-pubsub", "task-events", &event(3, COMPLETED, data)).await?;
    let next = "SELECT to_char(due_date AT TIME ZONE 'UTC', 'YYYY-MM-DD') FROM tasks \
        WHERE parent_task_id = 't-2'";
    stage.become_rows(next, &[&["2026-02-05"]]).await?;
    stage.settled().await?;

    let http = &stage.outside.http;
    let url = format!("{}/v1.0/jobs/recurring-rule", host.daprd.url());
    let kept = async || anyhow::Ok(http.get(&url).send().await?.json::<Value>().await?);
    let mut job = kept().await?;
    ensure!(job["schedule"] == "@every 24h" && job["dueTime"].is_string(), "{job}");
    // Someone loses the task; the job is due in two seconds, and not only tomorrow.
    stage.rows("DELETE FROM tasks WHERE parent_task_id = 't-2'").await?;
    let due = from_now(Duration::from_secs(2));
    job["data"] = job["data"]["value"].take();
    job["data"]["wharf"]["first"] = json!(due);
    job["dueTime"] = json!(due);
    job["overwrite"] = json!(true);
    job.as_object_mut().and_then(|job| job.remove("name"));
    let answer = http.post(&url).json(&job).send().await?;
    ensure!(answer.status() == 204, "{} {}", answer.status(), answer.text().await?);
    stage.become_rows(next, &[&["2026-02-05"]]).await?;
    stage.settled().await?;
    let fired = "SELECT component, status, count(*)::text FROM wharf_deliveries \
        WHERE event_type = 'com.wharf.job.fired.v1' GROUP BY component, status";
    stage.become_rows(fired, &[&["recurring", "done", "1"]]).await?;
    // It fires again a day after that instant.
    let job = kept().await?;
    ensure!(job["schedule"] == "@every 24h" && job["dueTime"] == due, "{job}");
    Ok(())
}

/// A reminder goes out when it is due; what came of it is published. One whose task is deleted
/// before does not.
pub async fn reminding(yard: Arc<Yard>) -> anyhow::Result<()> {
    let stage = Stage::set(Arc::clone(&yard), &TOPICS).await?;
    let project = Project::todo(&yard)?;
    let host = stage.host("host", &project).await?;
    let scheduled = |number, reminder: &str, task: &str, seconds| {
        let data = json!({
            "reminder_id": reminder, "task_id": task, "user_id": "ann", "title": "Water the plants",
            "remind_at": from_now(Duration::from_secs(seconds)), "due_date": "2026-02-04T18:00:00Z",
        });
        event(number, "com.todo.reminder.scheduled.v1", data)
    };
    let outside = &stage.outside;
    let other = "5d3a2c51-38a4-4b7e-8f43-6d1f0e9a8b70";
    outside.publish("todo-pubsub", "reminder-events", &scheduled(1, REMINDER, TASK, 10)).await?;
    outside.publish("todo-pubsub", "reminder-events", &scheduled(2, other, "t-2", 12)).await?;
    let latest = Instant::now() + Duration::from_secs(12);
    let status = "SELECT count(*)::text FROM reminders WHERE status = 'scheduled'";
    stage.become_rows(status, &[&["2"]]).await?;
    let deleted = json!({ "task_id": "t-2", "user_id": "ann" });
    let deleted = event(3, "com.todo.task.deleted.v1", deleted);
    outside.publish("todo-pubsub", "task-events", &deleted).await?;

    let sent = outside.came("notify-file", 1).await?;
    ensure!(
        sent[0]["reminder_id"] == REMINDER && sent[0]["title"] == "Water the plants",
        "{sent:?}"
    );
    eventually("triggered and delivered are published", async || {
        let types = outside.app.types("reminder-events");
        let has = |what: &str| types.contains(&format!("com.todo.reminder.{what}.v1"));
        if has("triggered") && has("delivered") { Ok(()) } else { Err(format!("{types:?}")) }
    })
    .await?;
    let reminders = "SELECT reminder_id, status FROM reminders ORDER BY status";
    stage.become_rows(reminders, &[&[other, "cancelled"], &[REMINDER, "due"]]).await?;
    stage.become_rows("SELECT status FROM notifications", &[&["delivered"]]).await?;
    stage.settled().await?;

    // The other's job is gone, and does not fire when its time has come.
    let job = format!("{}/v1.0/jobs/reminder-{other}", host.daprd.url());
    let job = outside.http.get(job).send().await?;
    ensure!(job.status() == 500, "the cancelled job is there: {}", job.text().await?);
    tokio::time::sleep_until((latest + Duration::from_secs(2)).into()).await;
    ensure!(outside.app.came("notify-file").len() == 1, "sent twice");
    Ok(())
}
