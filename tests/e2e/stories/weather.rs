//! Calls between Wharf and its sidecar are lost, delayed and repeated, in both directions. What is
//! decided is decided once; what goes out more than once has the same id.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};
use wharf_test_real::Yard;
use wharf_tests::dice::Dice;
use wharf_tests::host::{event, id};

use crate::project::Project;
use crate::stage::{Stage, from_now};

const COMPLETED: &str = "com.todo.task.completed.v1";
const MADE: &str = "com.todo.task.created.v1";
const TASKS: u32 = 60;
const REMINDERS: u32 = 20;

fn completed(number: u32) -> Value {
    let mut event = event(COMPLETED, number);
    event["data"]["task"]["due_date"] = json!("2026-02-04T18:00:00Z");
    event["data"]["task"]["recurrence"] = json!("daily");
    event
}

fn scheduled(number: u32) -> Value {
    // Of tasks that are not completed: that would cancel it.
    let mut event = event("com.todo.reminder.scheduled.v1", 1000 + number);
    event["data"] = json!({
        "reminder_id": id(number), "task_id": format!("t-{}", 1000 + number),
        "user_id": "ann", "title": "Water the plants", "due_date": "2026-02-04T18:00:00Z",
        "remind_at": from_now(Duration::from_secs(5)),
    });
    event
}

pub async fn play(yard: Arc<Yard>) -> anyhow::Result<()> {
    let topics = ["task-events", "recurring-events", "reminder-events"];
    let stage = Stage::set(Arc::clone(&yard), &topics).await?;
    let project = Project::todo(&yard)?.counting()?;
    let mut dice = Dice::thrown("calls");
    let host = stage.host_behind_a_bad_wire("host", &project, &mut dice).await?;
    for number in 0..TASKS {
        stage.outside.publish("todo-pubsub", "task-events", &completed(number)).await?;
    }
    for number in 0..REMINDERS {
        stage.outside.publish("todo-pubsub", "reminder-events", &scheduled(number)).await?;
    }

    let tasks = "SELECT count(*)::text, count(DISTINCT parent_task_id)::text FROM tasks \
        WHERE parent_task_id IS NOT NULL";
    let many = TASKS.to_string();
    stage.become_rows(tasks, &[&[&many, &many]]).await?;
    let delivered = "SELECT status, count(*)::text FROM notifications GROUP BY status";
    stage.become_rows(delivered, &[&["delivered", &REMINDERS.to_string()]]).await?;
    stage.settled().await?;
    let ids: Vec<_> = (0..TASKS).map(id).collect();
    stage.audited_once(COMPLETED, &ids).await?;

    let app = &stage.outside.app;
    for (topic, ty) in
        [("task-events", MADE), ("recurring-events", "com.todo.recurring.generated.v1")]
    {
        stage.outside.came_by_id(topic, ty, TASKS as usize).await?;
    }
    let sent: BTreeSet<_> = app.came("notify-file").iter().map(reminder).collect();
    let expected: BTreeSet<_> = (0..REMINDERS).map(id).collect();
    ensure!(sent == expected, "sent: {sent:?}");
    let idle = host.idle_faults();
    ensure!(idle.is_empty(), "these faults never came: {idle:?}");
    Ok(())
}

fn reminder(sent: &Value) -> String {
    sent["reminder_id"].as_str().unwrap_or_default().to_owned()
}
