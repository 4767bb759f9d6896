//! Stories: events come one after the other, and the tables remember.

use todo::act::{Job, When};
use todo::{Row, time};

use super::*;

const NOW: &str = "2026-03-01T12:00:00Z";
const SOON: &str = "2026-03-01T13:00:00Z";
const LATER: &str = "2026-03-01T14:00:00Z";
const PAST: &str = "2026-03-01T11:00:00Z";

const REMINDER_COLUMNS: [&str; 9] = [
    "reminder_id",
    "task_id",
    "user_id",
    "title",
    "remind_at",
    "due_date",
    "job_name",
    "status",
    "contract",
];

/// The tables, and the contract that the events come in.
struct World {
    contract: &'static str,
    now: &'static str,
    reminders: Vec<Row>,
    tasks: Vec<Row>,
    deleted: Vec<Value>,
}

fn world(contract: &'static str) -> World {
    let (reminders, tasks, deleted) = (Vec::new(), Vec::new(), Vec::new());
    World { contract, now: NOW, reminders, tasks, deleted }
}

fn row(columns: &[&str], values: &[Value]) -> Row {
    let names = columns.iter().map(|name| (*name).to_owned());
    Row { columns: names.zip(values.iter().cloned()).collect() }
}

fn get<'a>(row: &'a Row, column: &str) -> &'a Value {
    &row.columns.iter().find(|(name, _)| name == column).unwrap().1
}

fn set(row: &mut Row, column: &str, value: Value) {
    row.columns.iter_mut().find(|(name, _)| name == column).unwrap().1 = value;
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

impl World {
    fn read(&self, statement: &str, params: &[Value]) -> Vec<Row> {
        let scheduled = |row: &&Row| row.text("status") == Some("scheduled");
        let no_later = |row: &Row, column: &str, limit: &Value| match limit {
            Value::Timestamp(limit) => row.text(column).is_some_and(|at| at <= limit.as_str()),
            _ => false,
        };
        let rows = self.reminders.iter();
        match statement {
            "reminder" => {
                rows.filter(|row| get(row, "reminder_id") == &params[0]).cloned().collect()
            }
            "task_reminders" => rows
                .filter(scheduled)
                .filter(|row| get(row, "task_id") == &params[0])
                .take(200)
                .cloned()
                .collect(),
            "due_reminders" => rows
                .filter(scheduled)
                .filter(|row| {
                    get(row, "contract") == &params[0] && no_later(row, "remind_at", &params[1])
                })
                .filter(|row| !self.deleted.contains(get(row, "task_id")))
                .cloned()
                .collect(),
            "due_tasks" => self
                .tasks
                .iter()
                .filter(|task| no_later(task, "reminder_at", &params[0]))
                .filter(|task| {
                    !self.reminders.iter().any(|row| get(row, "task_id") == get(task, "id"))
                })
                .cloned()
                .collect(),
            "deleted" => {
                let found = self.deleted.contains(&params[0]);
                found.then(|| row(&["deleted_at"], &[text(PAST)])).into_iter().collect()
            }
            _ => panic!("no statement {statement}"),
        }
    }

    fn when(&mut self, ty: &str, data: &serde_json::Value) -> Vec<String> {
        self.try_when(ty, data).unwrap()
    }

    /// Handles an event and keeps what it writes. Gives what was done, in short.
    fn try_when(&mut self, ty: &str, data: &serde_json::Value) -> Result<Vec<String>, Failure> {
        let config = [
            ("job_prefix.task-event", "reminder-task-"),
            ("tasks_carry_reminders", "task-event, pascal"),
            ("tick", "pascal"),
            ("integer_ids", "task-event, pascal"),
        ];
        let config = config.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let event = Event {
            id: "e".into(),
            source: "chat-api".into(),
            ty: ty.into(),
            subject: None,
            time: PAST.into(),
            data: data.to_string(),
            contract: self.contract.into(),
            attempt: 1,
        };
        let dialect = Dialect::of(self.contract, &config);
        let now = time::parse(self.now).unwrap();
        let acts = decide(&event, &dialect, now, &mut |s, p| Ok(self.read(s, p)))?;
        Ok(acts.iter().map(|act| self.perform(act)).collect())
    }

    fn perform(&mut self, act: &Act) -> String {
        match act {
            Act::Execute { statement, params, expect } => {
                let touched = self.write(statement, params);
                assert!(
                    expect.is_none_or(|expected| expected == touched),
                    "{statement}: {touched}"
                );
                (*statement).to_owned()
            }
            Act::Publish { ty, subject, data } => {
                let data: todo::reminder::ReminderData = serde_json::from_str(data).unwrap();
                assert_eq!(data.task_id.as_ref(), Some(subject));
                format!(
                    "publish {} {}",
                    ty.split('.').nth_back(1).unwrap(),
                    data.reminder_id.unwrap()
                )
            }
            Act::Job(Job::Schedule { name, when: When::At(at), .. }) => {
                format!("schedule {name} {at}")
            }
            Act::Job(Job::Cancel { name }) => format!("cancel {name}"),
            Act::Warn(text) => format!("warn {text}"),
            Act::Job(other) => panic!("{other:?}"),
        }
    }

    fn write(&mut self, statement: &str, params: &[Value]) -> u64 {
        let is = |row: &Row| get(row, "reminder_id") == &params[0];
        let scheduled = |row: &Row| row.text("status") == Some("scheduled");
        match statement {
            "insert_reminder" => {
                if self.reminders.iter().any(is) || self.deleted.contains(&params[1]) {
                    return 0;
                }
                self.reminders.push(row(&REMINDER_COLUMNS, params));
                1
            }
            "move_reminder" => {
                let as_read = |row: &&mut Row| {
                    is(row)
                        && get(row, "status") == &params[9]
                        && get(row, "remind_at") == &params[10]
                        && !self.deleted.contains(&params[1])
                };
                let Some(found) = self.reminders.iter_mut().find(as_read) else { return 0 };
                *found = row(&REMINDER_COLUMNS, &params[..9]);
                1
            }
            "set_due" => {
                let as_read = |row: &&mut Row| {
                    is(row)
                        && scheduled(row)
                        && get(row, "remind_at") == &params[1]
                        && !self.deleted.contains(get(row, "task_id"))
                };
                let Some(found) = self.reminders.iter_mut().find(as_read) else { return 0 };
                set(found, "status", text("due"));
                1
            }
            "set_cancelled" => {
                let Some(found) = self.reminders.iter_mut().find(|row| is(row) && scheduled(row))
                else {
                    return 0;
                };
                set(found, "status", text("cancelled"));
                1
            }
            "cancel_task" => {
                let of_task = |row: &&mut Row| get(row, "task_id") == &params[0] && scheduled(row);
                let found = self.reminders.iter_mut().filter(of_task);
                found.map(|row| set(row, "status", text("cancelled"))).count() as u64
            }
            "mark_deleted" => {
                self.deleted.push(params[0].clone());
                1
            }
            "unmark_deleted" => {
                self.deleted.retain(|id| id != &params[0]);
                1
            }
            _ => panic!("no statement {statement}"),
        }
    }

    fn scheduled(&mut self, at: &str) -> Vec<String> {
        let data = serde_json::json!({
            "reminder_id": "r", "task_id": "t", "user_id": "u", "title": "Water", "remind_at": at,
        });
        self.when("com.todo.reminder.scheduled.v1", &data)
    }

    fn task(&mut self, action: &str, reminder_at: Option<&str>) -> Vec<String> {
        self.task_of(
            "t",
            action,
            &serde_json::json!({ "title": "Water", "reminder_at": reminder_at }),
        )
    }

    fn task_of(&mut self, id: &str, action: &str, task: &serde_json::Value) -> Vec<String> {
        let data = serde_json::json!({ "task_id": id, "user_id": "u", "task": task });
        self.when(&format!("com.todo.task.{action}.v1"), &data)
    }

    fn fires(&mut self, at: &'static str) -> Vec<String> {
        self.now = at;
        let data = serde_json::json!({ "name": "reminder-r", "data": { "reminder_id": "r" } });
        self.when("com.wharf.job.fired.v1", &data)
    }

    fn tick(&mut self, at: &'static str) -> Vec<String> {
        self.now = at;
        let data = serde_json::json!({ "binding": "reminder-cron", "time": at });
        self.when("com.wharf.binding.ticked.v1", &data)
    }
}

fn kept(at: &str) -> [String; 2] {
    ["insert_reminder".to_owned(), format!("schedule reminder-r {at}")]
}

fn moved(at: &str) -> [String; 2] {
    ["move_reminder".to_owned(), format!("schedule reminder-r {at}")]
}

#[test]
fn a_reminder_is_kept_and_due_once() {
    let mut world = world("cloudevents");
    assert_eq!(world.scheduled(SOON), kept(SOON));
    assert!(world.scheduled(SOON).is_empty());
    assert_eq!(world.fires(SOON), ["set_due", "publish due r"]);
    assert!(world.fires(SOON).is_empty());
    assert!(world.scheduled(SOON).is_empty());
}

#[test]
fn one_in_the_past_is_scheduled_as_it_is() {
    assert_eq!(world("cloudevents").scheduled(PAST), kept(PAST));
}

#[test]
fn a_moved_reminder_fires_at_its_new_time() {
    let mut world = world("cloudevents");
    world.scheduled(SOON);
    assert_eq!(world.scheduled(LATER), moved(LATER));
    // The first job was on its way.
    assert_eq!(world.fires(SOON), [format!("schedule reminder-r {LATER}")]);
    assert_eq!(world.fires("2026-03-01T13:59:59.5Z"), ["set_due", "publish due r"]);
    // Moved again after it was due.
    assert_eq!(world.scheduled("2026-03-01T18:00:00Z"), moved("2026-03-01T18:00:00Z"));
}

#[test]
fn a_task_that_is_done_or_gone_is_not_reminded_of() {
    for (action, more) in [("completed", &[][..]), ("deleted", &["mark_deleted"][..])] {
        let mut world = world("cloudevents");
        world.scheduled(SOON);
        let cancelled = ["cancel_task", "cancel reminder-r", "publish cancelled r"];
        assert_eq!(world.task(action, None), [&cancelled, more].concat(), "{action}");
        assert!(world.fires(SOON).is_empty(), "{action}");
        assert_eq!(world.task(action, None), more, "{action}");
    }
}

#[test]
fn a_cancelled_reminder_comes_back_while_it_is_not_past() {
    let mut world = world("cloudevents");
    world.scheduled(SOON);
    world.task("completed", None);
    assert_eq!(world.scheduled(SOON), moved(SOON));
    world.task("completed", None);
    world.now = LATER;
    assert!(world.scheduled(SOON).is_empty());
}

#[test]
fn a_reminder_for_a_deleted_task_is_not_kept() {
    let mut world = world("cloudevents");
    world.task("deleted", None);
    let acts = world.scheduled(SOON);
    assert_eq!(
        acts,
        ["warn reminder `r` is not kept: its task `t` was deleted", "publish cancelled r"]
    );
    assert!(world.reminders.is_empty());
    assert_eq!(world.task("created", None), ["unmark_deleted"]);
    assert_eq!(world.scheduled(SOON), kept(SOON));
}

#[test]
fn tasks_set_reminders_where_the_contract_says_so() {
    for action in ["created", "updated", "uncompleted"] {
        assert!(world("cloudevents").task(action, Some(SOON)).is_empty(), "{action}");
        let acts = world("task-event").task(action, Some(SOON));
        assert_eq!(
            acts,
            ["insert_reminder".to_owned(), format!("schedule reminder-task-t {SOON}")]
        );
        assert_eq!(world("pascal").task(action, Some(SOON)), ["insert_reminder"], "{action}");
        assert!(world("pascal").task(action, None).is_empty(), "{action}");
    }
}

#[test]
fn a_deleted_task_that_is_undone_is_reminded_of_again() {
    let mut world = world("task-event");
    world.task("created", Some(SOON));
    world.task("deleted", None);
    let acts = world.task("uncompleted", Some(SOON));
    assert_eq!(acts[..2], ["unmark_deleted", "move_reminder"]);
}

#[test]
fn a_tick_finds_the_reminders_of_its_own_contract() {
    let mut world = world("pascal");
    world.task_of("7", "created", &serde_json::json!({ "reminder_at": SOON }));
    assert!(world.tick(NOW).is_empty());
    world.contract = "cloudevents";
    assert!(world.tick(LATER).is_empty());
    world.contract = "pascal";
    assert_eq!(world.tick(LATER), ["set_due", "publish due 7"]);
    assert!(world.tick(LATER).is_empty());
}

#[test]
fn a_row_that_cannot_be_told_keeps_no_other_from_being_due() {
    let mut world = world("pascal");
    for id in ["a-uuid", "1", "2", "3"] {
        world.task_of(id, "created", &serde_json::json!({ "reminder_at": SOON }));
    }
    set(&mut world.reminders[1], "user_id", Value::Null);
    let columns = ["id", "user_id", "title", "due_date", "reminder_at"];
    for id in ["b-uuid", "8"] {
        let values = [text(id), text("u"), Value::Null, Value::Null, text(SOON)];
        world.tasks.push(row(&columns, &values));
    }
    let acts = world.tick(LATER);
    let (warned, done): (Vec<_>, Vec<_>) = acts.iter().partition(|act| act.starts_with("warn"));
    for (act, row) in
        warned.iter().zip(["`a-uuid` of reminders", "`1` of reminders", "`b-uuid` of tasks"])
    {
        assert!(act.contains(row), "{act}");
    }
    assert_eq!(warned.len(), 3);
    let expected = [
        "set_due",
        "publish due 2",
        "set_due",
        "publish due 3",
        "insert_reminder",
        "publish due 8",
    ];
    assert_eq!(done, expected.each_ref());
}

#[test]
fn a_tick_leaves_out_the_reminders_of_deleted_tasks() {
    let mut world = world("pascal");
    world.task_of("7", "created", &serde_json::json!({ "reminder_at": SOON }));
    world.deleted.push(text("7"));
    assert!(world.tick(LATER).is_empty());
}

/// It was kept on one host while its task was deleted on another.
#[test]
fn a_reminder_of_a_deleted_task_is_cancelled_when_it_fires() {
    let mut world = world("cloudevents");
    world.scheduled(SOON);
    world.deleted.push(text("t"));
    assert_eq!(world.fires(SOON), ["set_cancelled", "publish cancelled r"]);
    assert!(world.fires(SOON).is_empty());
}

#[test]
fn every_reminder_of_a_task_is_cancelled_whatever_their_number() {
    let mut world = world("cloudevents");
    for number in 0..250 {
        let data = serde_json::json!({
            "reminder_id": format!("r{number}"), "task_id": "t", "user_id": "u", "remind_at": SOON,
        });
        world.when("com.todo.reminder.scheduled.v1", &data);
    }
    set(&mut world.reminders[0], "user_id", Value::Null);
    let acts = world.task("deleted", None);
    assert!(acts.len() < 500, "{}", acts.len());
    assert_eq!(acts.iter().filter(|act| act.starts_with("cancel reminder-")).count(), 199);
    assert!(acts.iter().any(|act| act.starts_with("warn row `r0` of reminders")), "{acts:?}");
    assert!(acts.iter().any(|act| act.starts_with("warn more than 200")), "{acts:?}");
    assert!(world.reminders.iter().all(|row| row.text("status") == Some("cancelled")));
}

#[test]
fn a_change_to_a_task_that_is_done_or_gone_brings_no_reminder_back() {
    let update = serde_json::json!({ "completed": true, "reminder_at": SOON });
    let mut world = world("task-event");
    world.task("created", Some(SOON));
    world.task("completed", None);
    assert!(world.task_of("t", "updated", &update).is_empty());
    // The event says it is not done, whatever it carries.
    assert_eq!(world.task_of("t", "uncompleted", &update)[0], "move_reminder");
    world.task("deleted", None);
    assert!(world.task("updated", Some(SOON)).is_empty());
    assert!(world.task("updated", Some(LATER)).is_empty());
    assert!(world.task_of("t", "deleted", &serde_json::json!({})) == ["mark_deleted"]);
}

#[test]
fn an_empty_id_names_nothing() {
    let mut world = world("cloudevents");
    world.scheduled(SOON);
    let data = serde_json::json!({ "reminder_id": "", "task_id": "r", "user_id": "u" });
    let fired = serde_json::json!({ "name": "reminder-r", "data": data });
    world.now = SOON;
    assert_eq!(world.when("com.wharf.job.fired.v1", &fired)[0], "set_due");
}

#[test]
fn where_jobs_fire_a_tick_does_nothing() {
    let mut world = world("cloudevents");
    world.scheduled(SOON);
    assert!(world.tick(LATER).is_empty());
}

#[test]
fn a_tick_finds_tasks_without_a_reminder_once() {
    let mut world = world("pascal");
    let columns = ["id", "user_id", "title", "due_date", "reminder_at"];
    world.tasks.push(row(&columns, &[text("7"), text("u"), Value::Null, Value::Null, text(SOON)]));
    assert!(world.tick(NOW).is_empty());
    assert_eq!(world.tick(LATER), ["insert_reminder", "publish due 7"]);
    assert_eq!(world.reminders[0].text("status"), Some("due"));
    assert_eq!(world.reminders[0].text("title"), Some("Reminder"));
    assert!(world.tick(LATER).is_empty());
}

#[test]
fn a_job_of_others_names_the_task() {
    let mut world = world("task-event");
    world.task("created", Some(PAST));
    let data = serde_json::json!({ "task_id": "t", "user_id": "u", "type": "reminder" });
    let fired = serde_json::json!({ "name": "reminder-task-t", "data": data });
    assert_eq!(world.when("com.wharf.job.fired.v1", &fired), ["set_due", "publish due t"]);
}

#[test]
fn what_cannot_help_is_rejected_by_name() {
    for (ty, data, text) in [
        (
            "com.wharf.job.fired.v1",
            r#"{"name": "reminder-x", "data": {"reminder_id": "x"}}"#,
            "unknown reminder `x`",
        ),
        (
            "com.wharf.job.fired.v1",
            r#"{"name": "reminder-x", "data": null}"#,
            "`reminder-x` names no reminder",
        ),
        (
            "com.todo.reminder.scheduled.v1",
            r#"{"task_id": "t", "user_id": "u"}"#,
            "`t` has no remind_at",
        ),
        (
            "com.todo.reminder.scheduled.v1",
            r#"{"task_id": "t", "remind_at": "2026-03-01T13:00:00Z"}"#,
            "no user_id",
        ),
        ("com.todo.task.deleted.v1", "{}", "no task_id"),
    ] {
        match world("cloudevents").try_when(ty, &serde_json::from_str(data).unwrap()) {
            Err(Failure::Reject(reason)) => assert!(reason.contains(text), "{reason}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}
