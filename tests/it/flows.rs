//! The two flows of the todo system, on plain CloudEvents: what a person publishes, and what comes
//! out on topics, in tables, and at the binding.

use std::time::Duration;

use serde_json::{Value, json};
use wharf::clock::{Clock as _, rfc3339};
use wharf_tests::host::{Host, Setup, id};

const COMPLETED: &str = "com.todo.task.completed.v1";
const SCHEDULED: &str = "com.todo.reminder.scheduled.v1";
const TASK: &str = "0d9f4a5e-6f0b-4c1d-9a53-2f4f3b0f7c10";
const REMINDER: &str = "c2b7d1a0-58a4-4b7e-9f43-6d1f0e9a8b7c";

fn cloud_event(number: u32, ty: &str, data: impl Into<Value>) -> Value {
    json!({
        "specversion": "1.0",
        "id": id(number),
        "source": "test",
        "type": ty,
        "time": "2026-01-01T00:00:00Z",
        "datacontenttype": "application/json",
        "data": data.into(),
    })
}

fn completed(number: u32, recurrence: &str, zone: &str, due: &str) -> Value {
    let task = json!({
        "id": TASK, "title": "Water the plants", "completed": true, "priority": "medium",
        "tags": ["home"], "due_date": due, "recurrence": recurrence, "time_zone": zone,
    });
    cloud_event(number, COMPLETED, json!({ "task_id": TASK, "user_id": "ann", "task": task }))
}

async fn types(host: &Host, topic: &str) -> Vec<String> {
    let messages = host.messages(topic).await;
    messages.iter().map(|m| m["type"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn audited(host: &Host) -> Vec<String> {
    let rows = host.rows("SELECT type FROM audit_log ORDER BY type").await;
    rows.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_completed_task_recurs_once_whatever_its_rule() {
    for (recurrence, zone, due, next) in [
        ("daily", "UTC", "2026-02-04T18:00:00Z", "2026-02-05T18:00:00"),
        // The clocks go forward on 29 March: the wall clock stays.
        ("daily", "Europe/Berlin", "2026-03-28T17:00:00Z", "2026-03-29T16:00:00"),
        ("weekly", "UTC", "2026-02-04T18:00:00Z", "2026-02-11T18:00:00"),
        ("monthly", "UTC", "2026-01-31T18:00:00Z", "2026-02-28T18:00:00"),
        ("yearly", "UTC", "2028-02-29T18:00:00Z", "2029-02-28T18:00:00"),
        ("FREQ=WEEKLY;BYDAY=MO,WE", "UTC", "2026-02-04T18:00:00Z", "2026-02-09T18:00:00"),
    ] {
        let host = Setup::todo().start().await;
        host.publish("task-events", &completed(1, recurrence, zone, due)).await;
        host.settle().await;
        let rows = host
            .rows("SELECT title, completed, parent_task_id, user_id, substr(due_date, 1, 19) FROM tasks")
            .await;
        let completed_now = &rows[0][1];
        assert!(["0", "false"].contains(&completed_now.as_str()), "{rows:?}");
        assert_eq!(rows.len(), 1, "{recurrence}");
        assert_eq!(
            (&*rows[0][0], &*rows[0][2], &*rows[0][3], &*rows[0][4]),
            ("Water the plants", TASK, "ann", next),
            "{recurrence}"
        );
        assert_eq!(types(&host, "task-events").await, [COMPLETED, "com.todo.task.created.v1"]);
        assert_eq!(types(&host, "recurring-events").await, ["com.todo.recurring.generated.v1"]);
        assert_eq!(
            audited(&host).await,
            ["com.todo.recurring.generated.v1", COMPLETED, "com.todo.task.created.v1"]
        );

        // Completed, uncompleted, completed: another event, the same occurrence.
        host.publish("task-events", &completed(2, recurrence, zone, due)).await;
        host.settle().await;
        assert_eq!(host.rows("SELECT count(*) FROM tasks").await, [["1"]], "{recurrence}");
        assert_eq!(types(&host, "recurring-events").await.len(), 1, "{recurrence}");
        assert_eq!(
            host.rows("SELECT count(*) FROM wharf_deliveries WHERE status <> 'done'").await,
            [["0"]]
        );
        host.stop().await;
    }
}

#[tokio::test]
async fn a_rule_by_id_is_looked_up_and_its_job_makes_what_is_missing() {
    let host = Setup::todo().start().await;
    let mut program = host.other_program().await;
    program.run("INSERT INTO recurrence_rules (id, rule, time_zone, user_id) VALUES ('rule-1', 'daily', 'UTC', 'ann')").await;
    let task = json!({ "id": TASK, "title": "Run", "completed": true,
        "due_date": "2026-01-01T18:00:00Z", "recurrence_id": "rule-1" });
    let data = json!({ "task_id": TASK, "user_id": "ann", "task": task });
    host.publish("task-events", &cloud_event(1, COMPLETED, data.clone())).await;
    host.settle().await;
    assert_eq!(host.rows("SELECT substr(due_date, 1, 10) FROM tasks").await, [["2026-01-02"]]);
    assert_eq!(host.jobs().await, ["recurring-rule-1"]);

    // Someone loses the next task; the job's next firing makes it again.
    program.run("DELETE FROM tasks").await;
    host.advance(Duration::from_secs(24 * 60 * 60)).await;
    assert_eq!(host.rows("SELECT substr(due_date, 1, 10) FROM tasks").await, [["2026-01-02"]]);
    host.advance(Duration::from_secs(24 * 60 * 60)).await;
    assert_eq!(host.rows("SELECT count(*) FROM tasks").await, [["1"]], "nothing is missing now");

    host.publish("task-events", &cloud_event(2, "com.todo.task.deleted.v1", data)).await;
    host.settle().await;
    assert!(host.jobs().await.is_empty());
    host.stop().await;
}

#[tokio::test]
async fn a_deleted_occurrence_does_not_come_back() {
    let host = Setup::todo().start().await;
    let mut program = host.other_program().await;
    program.run("INSERT INTO recurrence_rules (id, rule) VALUES ('rule-1', 'daily')").await;
    let task = json!({ "id": TASK, "title": "Run", "completed": true,
        "due_date": "2026-01-01T18:00:00Z", "recurrence_id": "rule-1" });
    let data = json!({ "task_id": TASK, "user_id": "ann", "task": task });
    host.publish("task-events", &cloud_event(1, COMPLETED, data.clone())).await;
    host.settle().await;
    let next = host.rows("SELECT id FROM tasks").await[0][0].clone();

    // The backend deletes its row, and tells the ids only.
    program.run("DELETE FROM tasks").await;
    let gone = json!({ "task_id": next, "user_id": "ann" });
    host.publish("task-events", &cloud_event(2, "com.todo.task.deleted.v1", gone)).await;
    host.settle().await;
    assert!(host.jobs().await.is_empty());
    host.publish("task-events", &cloud_event(3, COMPLETED, data)).await;
    host.settle().await;
    host.advance(Duration::from_secs(24 * 60 * 60)).await;
    assert_eq!(host.rows("SELECT count(*) FROM tasks").await, [["0"]]);
    assert!(host.jobs().await.is_empty());
    host.stop().await;
}

#[tokio::test]
async fn a_series_keeps_its_day_without_a_row_of_its_first_task() {
    let host = Setup::todo().start().await;
    let last = "SELECT id, substr(due_date, 1, 10) FROM tasks ORDER BY due_date DESC LIMIT 1";
    let mut current = (TASK.to_owned(), "2026-01-31".to_owned());
    for (number, due) in (1..).zip(["2026-02-28", "2026-03-31", "2026-04-30"]) {
        let (id, date) = &current;
        let task = json!({ "title": "Pay", "due_date": format!("{date}T18:00:00Z"),
            "recurrence": "monthly" });
        let data = json!({ "task_id": id, "user_id": "ann", "task": task });
        host.publish("task-events", &cloud_event(number, COMPLETED, data)).await;
        host.settle().await;
        let row = host.rows(last).await.remove(0);
        assert_eq!(row[1], due);
        current = (row[0].clone(), row[1].clone());
    }
    host.stop().await;
}

#[tokio::test]
async fn a_task_without_a_due_date_is_followed_once() {
    let host = Setup::todo().start().await;
    for number in 1..=2 {
        let data = json!({ "task_id": TASK, "user_id": "ann", "task": { "recurrence": "daily" } });
        let mut event = cloud_event(number, COMPLETED, data);
        event["time"] = json!(format!("2026-01-01T0{number}:00:00Z"));
        host.publish("task-events", &event).await;
        host.settle().await;
    }
    let rows = host.rows("SELECT substr(due_date, 1, 19) FROM tasks").await;
    assert_eq!(rows, [["2026-01-02T01:00:00"]]);
    let kept = host.rows("SELECT count(*) FROM recurring_tasks WHERE series = task_id").await;
    assert_eq!(kept, [["1"]]);
    host.stop().await;
}

fn scheduled(number: u32, remind_at: &str) -> Value {
    cloud_event(
        number,
        SCHEDULED,
        json!({
            "reminder_id": REMINDER, "task_id": TASK, "user_id": "ann", "title": "Water the plants",
            "remind_at": remind_at, "due_date": "2026-02-04T18:00:00Z",
        }),
    )
}

fn in_two_seconds(host: &Host) -> String {
    rfc3339(host.clock.now() + Duration::from_secs(2))
}

#[tokio::test]
async fn a_reminder_is_sent_when_it_is_due_and_what_came_of_it_is_told() {
    let host = Setup::todo().start().await;
    host.publish("reminder-events", &scheduled(1, &in_two_seconds(&host))).await;
    host.settle().await;
    assert_eq!(host.jobs().await, [format!("reminder-{REMINDER}")]);
    assert_eq!(host.rows("SELECT status FROM reminders").await, [["scheduled"]]);
    assert!(host.notifications().is_empty());

    host.advance(Duration::from_secs(2)).await;
    let sent = host.notifications();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(sent[0]["data"]["reminder_id"], REMINDER);
    assert_eq!(sent[0]["data"]["title"], "Water the plants");
    assert_eq!(
        types(&host, "reminder-events").await,
        [SCHEDULED, "com.todo.reminder.triggered.v1", "com.todo.reminder.delivered.v1"]
    );
    assert_eq!(host.rows("SELECT status FROM reminders").await, [["due"]]);
    assert_eq!(
        host.rows("SELECT status, binding FROM notifications").await,
        [["delivered", "notify-file"]]
    );
    assert_eq!(
        audited(&host).await,
        [
            "com.todo.reminder.delivered.v1",
            "com.todo.reminder.due.v1",
            SCHEDULED,
            "com.todo.reminder.triggered.v1",
        ]
    );
    assert!(host.jobs().await.is_empty());

    host.advance(Duration::from_secs(600)).await;
    assert_eq!(host.notifications().len(), 1, "once");
    host.stop().await;
}

#[tokio::test]
async fn a_binding_that_fails_is_told_with_the_reason() {
    let setup = Setup::todo().changed(
        "notification",
        "binding = \"notify-file\"",
        "binding = \"notify-http\"",
    );
    let host = setup.start().await;
    host.publish("reminder-events", &scheduled(1, &in_two_seconds(&host))).await;
    host.settle().await;
    for _ in 0..6 {
        host.advance(Duration::from_secs(4)).await;
    }
    let last = host.messages("reminder-events").await.pop().unwrap_or_default();
    assert_eq!(last["type"], "com.todo.reminder.failed.v1", "{last}");
    let reason = last["data"]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("notify_url"), "{reason}");
    assert_eq!(host.rows("SELECT status FROM notifications").await, [["failed"]]);
    assert!(audited(&host).await.contains(&"com.todo.reminder.failed.v1".to_owned()));
    assert!(!audited(&host).await.contains(&"com.todo.audit.failed.v1".to_owned()), "told once");
    host.stop().await;
}

#[tokio::test]
async fn a_deleted_task_is_reminded_of_no_more() {
    let host = Setup::todo().start().await;
    host.publish("reminder-events", &scheduled(1, &in_two_seconds(&host))).await;
    host.settle().await;
    let deleted = json!({ "task_id": TASK, "user_id": "ann" });
    host.publish("task-events", &cloud_event(2, "com.todo.task.deleted.v1", deleted)).await;
    host.settle().await;
    assert!(host.jobs().await.is_empty());
    assert_eq!(host.rows("SELECT status FROM reminders").await, [["cancelled"]]);
    assert!(audited(&host).await.contains(&"com.todo.reminder.cancelled.v1".to_owned()));
    host.advance(Duration::from_secs(10)).await;
    assert!(host.notifications().is_empty());

    // One that comes after its task is gone.
    host.publish("reminder-events", &scheduled(3, &in_two_seconds(&host))).await;
    host.settle().await;
    assert!(host.jobs().await.is_empty());
    host.advance(Duration::from_secs(10)).await;
    assert!(host.notifications().is_empty());
    host.stop().await;
}

#[tokio::test]
async fn a_reminder_that_is_moved_is_sent_once_at_its_new_time() {
    let host = Setup::todo().start().await;
    host.publish("reminder-events", &scheduled(1, &in_two_seconds(&host))).await;
    host.settle().await;
    let later = rfc3339(host.clock.now() + Duration::from_secs(60));
    host.publish("reminder-events", &scheduled(2, &later)).await;
    host.settle().await;
    host.advance(Duration::from_secs(10)).await;
    assert!(host.notifications().is_empty());
    host.advance(Duration::from_secs(50)).await;
    assert_eq!(host.notifications().len(), 1);
    host.stop().await;
}

#[tokio::test]
async fn a_due_time_in_the_past_is_due_now() {
    let host = Setup::todo().start().await;
    host.publish("reminder-events", &scheduled(1, "2025-12-31T23:00:00Z")).await;
    host.settle().await;
    assert_eq!(host.notifications().len(), 1);
    host.stop().await;
}

#[tokio::test]
async fn a_reminder_survives_a_restart() {
    let host = Setup::todo().start().await;
    host.publish("reminder-events", &scheduled(1, &in_two_seconds(&host))).await;
    host.settle().await;
    let host = host.restart().await;
    host.clock.advance(Duration::from_secs(2));
    host.settle().await;
    assert_eq!(host.notifications().len(), 1);
    let host = host.restart().await;
    host.settle().await;
    assert_eq!(host.notifications().len(), 1);
    host.stop().await;
}

#[tokio::test]
async fn rules_and_zones_that_cannot_be_are_dead_with_the_reason() {
    let host = Setup::todo().start().await;
    for (number, (recurrence, zone, says)) in (1..).zip([
        ("FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30", "UTC", "BYMONTHDAY"),
        ("FREQ=NEVER", "UTC", "FREQ"),
        ("sometimes", "UTC", "sometimes"),
        ("daily", "Mars/Base", "Mars/Base"),
    ]) {
        host.publish("task-events", &completed(number, recurrence, zone, "2026-02-04T18:00:00Z"))
            .await;
        host.settle().await;
        let (_, dead) = host.admin("/deliveries?component=recurring&status=dead&limit=1").await;
        let error = dead[0]["error"].as_str().unwrap_or_default();
        assert!(error.starts_with("rejected: ") && error.contains(says), "{recurrence}: {error}");
    }
    assert_eq!(host.rows("SELECT count(*) FROM tasks").await, [["0"]]);
    assert_eq!(host.messages("task-events-dlq").await.len(), 4);
    host.stop().await;
}
