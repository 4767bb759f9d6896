//! Stories: events come one after the other, and the tables remember.

use todo::act::{Job, json};

use super::*;

const NOW: &str = "2026-03-01T12:00:00Z";

/// The tables that the component reads, and what its acts make of them.
#[derive(Default)]
struct World {
    tasks: Vec<Task>,
    /// Id, rule, zone.
    rules: Vec<[&'static str; 3]>,
}

fn row(columns: Vec<(&str, Value)>) -> Row {
    Row { columns: columns.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() }
}

fn as_row(task: &Task) -> Row {
    let text = |text: &Option<String>| Value::text(text.as_deref());
    row(vec![
        ("id", text(&task.id)),
        ("user_id", Value::Text("u".into())),
        ("title", text(&task.title)),
        ("completed", Value::Boolean(task.completed == Some(true))),
        ("tags", task.tags.as_ref().map_or(Value::Null, |tags| Value::Json(json(tags).unwrap()))),
        ("due_date", text(&task.due_date)),
        ("recurrence", text(&task.recurrence)),
        ("recurrence_id", text(&task.recurrence_id)),
        ("time_zone", text(&task.time_zone)),
        ("parent_task_id", text(&task.parent_task_id)),
        ("created_at", text(&task.created_at)),
    ])
}

impl World {
    fn with(tasks: &[Task]) -> Self {
        Self { tasks: tasks.to_vec(), rules: Vec::new() }
    }

    fn read(&self, statement: &str, params: &[Value]) -> Vec<Row> {
        let param = |at: usize| match &params[at] {
            Value::Text(text) => text.as_str(),
            _ => "",
        };
        let has_id = |task: &&Task| task.id.as_deref() == Some(param(0));
        let is_child = |task: &&Task| task.parent_task_id.as_deref() == Some(param(0));
        match statement {
            "task" => self.tasks.iter().filter(has_id).map(as_row).collect(),
            "series" => {
                let first =
                    self.tasks.iter().find(has_id).and_then(|task| task.due_date.as_deref());
                let children: Vec<_> = self.tasks.iter().filter(is_child).collect();
                let open = |task: &&&Task| {
                    task.id.as_deref() != Some(param(1)) && task.completed != Some(true)
                };
                let count = |number: usize| Value::Integer(number.try_into().unwrap());
                vec![row(vec![
                    ("first_due", Value::text(first)),
                    ("made", count(children.len())),
                    ("open", count(children.iter().filter(open).count())),
                ])]
            }
            "newest" => {
                let mut series = self.tasks.iter().filter(|task| has_id(task) || is_child(task));
                series.next_back().map(as_row).into_iter().collect()
            }
            "rule" => {
                let rules = self.rules.iter().filter(|[id, ..]| *id == param(0));
                let text = |text: &str| Value::Text(text.to_owned());
                rules
                    .map(|[_, rule, zone]| {
                        row(vec![("rule", text(rule)), ("time_zone", text(zone))])
                    })
                    .collect()
            }
            _ => panic!("no statement {statement}"),
        }
    }

    /// Handles an event and keeps what it inserts. Gives what was done, in short.
    fn when(&mut self, event: &Event) -> Vec<String> {
        self.try_when(event).unwrap()
    }

    fn try_when(&mut self, event: &Event) -> Result<Vec<String>, Failure> {
        let now = time::parse(NOW).unwrap();
        let acts = decide(event, now, &mut |statement, params| Ok(self.read(statement, params)))?;
        Ok(acts.iter().map(|act| self.perform(act)).collect())
    }

    fn perform(&mut self, act: &Act) -> String {
        match act {
            Act::Execute { statement: "insert_task", params, expect } => {
                let text = |at: usize| match &params[at] {
                    Value::Text(text) | Value::Timestamp(text) => Some(text.clone()),
                    _ => None,
                };
                let task = Task {
                    id: text(0),
                    title: text(2),
                    due_date: text(6),
                    recurrence: text(7),
                    recurrence_id: text(8),
                    time_zone: text(9),
                    parent_task_id: text(10),
                    created_at: text(11),
                    ..Task::default()
                };
                let due = task.due_date.clone().unwrap_or_default();
                if !self.tasks.iter().any(|old| old.id == task.id) {
                    self.tasks.push(task);
                }
                format!("insert {due} expect {expect:?}")
            }
            Act::Publish { ty, .. } => format!("publish {ty}"),
            Act::Job(Job::Schedule { name, when, .. }) => format!("schedule {name} {when:?}"),
            Act::Job(Job::Cancel { name }) => format!("cancel {name}"),
            other => panic!("{other:?}"),
        }
    }
}

fn event(ty: &str, source: &str, data: &impl Serialize) -> Event {
    Event {
        id: "e".into(),
        source: source.into(),
        ty: ty.into(),
        subject: None,
        time: "2026-03-01T11:00:00Z".into(),
        data: json(data).unwrap(),
        contract: "cloudevents".into(),
        attempt: 1,
    }
}

fn of_task(ty: &str, task_id: &str, task: Task) -> Event {
    let data =
        TaskData { task_id: Some(task_id.into()), user_id: Some("u".into()), task: Some(task) };
    event(ty, "chat-api", &data)
}

fn done(task_id: &str, task: Task) -> Event {
    of_task(COMPLETED, task_id, task)
}

fn task(recurrence: &str) -> Task {
    Task {
        title: Some("Water the plants".into()),
        due_date: Some("2026-03-01T10:00:00Z".into()),
        recurrence: Some(recurrence.into()),
        ..Task::default()
    }
}

fn made(due: &str) -> [String; 3] {
    [
        format!("insert {due} expect Some(1)"),
        format!("publish {CREATED}"),
        format!("publish {GENERATED}"),
    ]
}

#[test]
fn a_completed_task_has_a_next_one() {
    for (rule, due) in [
        ("daily", "2026-03-02T10:00:00Z"),
        ("weekly", "2026-03-08T10:00:00Z"),
        ("monthly", "2026-04-01T10:00:00Z"),
        ("FREQ=DAILY;INTERVAL=3", "2026-03-04T10:00:00Z"),
    ] {
        assert_eq!(World::default().when(&done("t", task(rule))), made(due), "{rule}");
    }
}

#[test]
fn what_does_not_recur_is_left_alone() {
    for task in [task("none"), task(""), Task::default()] {
        assert!(World::default().when(&done("t", task)).is_empty());
    }
    let other = of_task("com.todo.task.updated.v1", "t", task("daily"));
    assert!(World::default().when(&other).is_empty());
}

#[test]
fn the_same_again_makes_no_second_one() {
    let mut world = World::default();
    assert_eq!(world.when(&done("t", task("daily"))).len(), 3);
    assert!(world.when(&done("t", task("daily"))).is_empty());
}

#[test]
fn without_a_due_date_it_follows_the_event_and_only_once() {
    let mut world = World::default();
    let task = Task { due_date: None, ..task("daily") };
    assert_eq!(world.when(&done("t", task.clone())), made("2026-03-02T11:00:00Z"));
    let later = Event { time: "2026-03-01T11:30:00Z".into(), ..done("t", task) };
    assert!(world.when(&later).is_empty());
}

#[test]
fn what_is_published_is_whole_and_belongs_to_the_series() {
    let told = Task {
        tags: Some(vec!["home".into()]),
        time_zone: Some("Europe/Berlin".into()),
        ..task("daily")
    };
    let completed = Event { data: done("7", told.clone()).data, ..done("7", told) };
    let world = World::default();
    let now = time::parse(NOW).unwrap();
    let acts = decide(&completed, now, &mut |s, p| Ok(world.read(s, p))).unwrap();
    let published: Vec<_> = acts
        .iter()
        .filter_map(|act| match act {
            Act::Publish { subject, data, .. } => Some((subject.as_str(), data.as_str())),
            _ => None,
        })
        .collect();
    let [(subject, created), (same, generated)] = published[..] else { panic!("{published:?}") };
    assert_eq!(subject, same);
    assert!(subject.parse::<u64>().is_ok(), "{subject}: the series' id is a number");
    let created: serde_json::Value = serde_json::from_str(created).unwrap();
    assert_eq!(
        created,
        serde_json::json!({
            "task_id": subject,
            "user_id": "u",
            "task": {
                "id": subject,
                "title": "Water the plants",
                "completed": false,
                "tags": ["home"],
                "due_date": "2026-03-02T10:00:00Z",
                "recurrence": "daily",
                "time_zone": "Europe/Berlin",
                "parent_task_id": "7",
                "created_at": NOW,
            }
        })
    );
    let generated: serde_json::Value = serde_json::from_str(generated).unwrap();
    assert_eq!(
        generated,
        serde_json::json!({
            "task_id": subject,
            "user_id": "u",
            "parent_task_id": "7",
            "title": "Water the plants",
            "due_date": "2026-03-02T10:00:00Z",
            "next_at": "2026-03-03T10:00:00Z",
        })
    );
}

#[test]
fn the_table_tells_what_the_event_does_not() {
    let stored = Task {
        id: Some("n".into()),
        due_date: Some("2026-03-05T10:00:00Z".into()),
        parent_task_id: Some("t".into()),
        ..task("none")
    };
    let mut world = World::with(&[stored]);
    let told = Task { recurrence: Some("daily".into()), ..Task::default() };
    assert_eq!(world.when(&done("n", told)), made("2026-03-06T10:00:00Z"));
    assert_eq!(world.tasks[1].parent_task_id.as_deref(), Some("t"));
    assert_eq!(world.tasks[1].title.as_deref(), Some("Water the plants"));
}

#[test]
fn the_first_of_the_series_says_where_a_rule_starts() {
    let first = Task {
        id: Some("t".into()),
        due_date: Some("2026-01-31T10:00:00Z".into()),
        ..task("monthly")
    };
    let mut world = World::with(&[first]);
    let second = Task {
        parent_task_id: Some("t".into()),
        due_date: Some("2026-02-28T10:00:00Z".into()),
        ..task("monthly")
    };
    assert_eq!(world.when(&done("n", second)), made("2026-03-31T10:00:00Z"));
}

#[test]
fn a_count_ends_the_series_from_task_to_task() {
    let mut world = World::default();
    let first = Task { id: Some("t".into()), completed: Some(true), ..task("FREQ=DAILY;COUNT=3") };
    world.tasks.push(first.clone());
    let mut current = first;
    let mut made = 0;
    while !world.when(&done(&current.id.clone().unwrap(), current)).is_empty() {
        made += 1;
        current = world.tasks.last().unwrap().clone();
    }
    assert_eq!(made, 2);
}

const RULE: [&str; 3] = ["r/1", "weekly", "America/New_York"];

fn ruled() -> Task {
    Task { recurrence: None, recurrence_id: Some("r1".into()), ..task("") }
}

#[test]
fn a_named_rule_is_read_and_has_a_job() {
    let mut world = World { rules: vec![["r1", "weekly", "America/New_York"]], ..World::default() };
    let acts = world.when(&done("t", ruled()));
    // New York sets its clock forward on the very day.
    assert_eq!(acts[..3], made("2026-03-08T09:00:00Z"));
    assert_eq!(acts[3..], [r#"schedule recurring-r1 Every("@every 24h")"#]);
    // The job alone, when the occurrence is there.
    assert_eq!(world.when(&done("t", ruled())), acts[3..]);
    assert_eq!(world.when(&of_task(DELETED, "t", ruled())), ["cancel recurring-r1"]);
}

#[test]
fn a_job_is_named_after_the_rule_whatever_its_id() {
    let mut world = World { rules: vec![RULE], ..World::default() };
    let odd = Task { recurrence_id: Some("r/1".into()), ..ruled() };
    let name = id::job("recurring-", "r/1");
    assert!(world.when(&done("t", odd.clone()))[3].starts_with(&format!("schedule {name} ")));
    assert_eq!(world.when(&of_task(DELETED, "t", odd)), [format!("cancel {name}")]);
}

#[test]
fn a_deleted_task_names_its_rule_or_the_table_does() {
    let mut world = World::with(&[Task { id: Some("t".into()), ..ruled() }]);
    assert_eq!(world.when(&of_task(DELETED, "t", Task::default())), ["cancel recurring-r1"]);
    assert!(world.when(&of_task(DELETED, "other", Task::default())).is_empty());
}

#[test]
fn an_ended_series_has_no_job() {
    let mut world = World { rules: vec![["r1", "FREQ=DAILY;COUNT=1", ""]], ..World::default() };
    assert_eq!(world.when(&done("t", ruled())), ["cancel recurring-r1"]);
}

/// The event of the job that the acts schedule.
fn firing(acts: &[Act]) -> Event {
    let scheduled = acts.iter().find_map(|act| match act {
        Act::Job(Job::Schedule { name, data, .. }) => Some((name, data)),
        _ => None,
    });
    let (name, data) = scheduled.unwrap();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    event(FIRED, "wharf", &serde_json::json!({ "name": name, "data": data }))
}

#[test]
fn a_job_makes_only_what_is_missing() {
    let mut world = World { rules: vec![["r1", "daily", "UTC"]], ..World::default() };
    let now = time::parse(NOW).unwrap();
    let acts = decide(&done("t", ruled()), now, &mut |s, p| Ok(world.read(s, p))).unwrap();
    let firing = firing(&acts);
    // Nothing is in the table: what the job kept is followed.
    assert_eq!(world.when(&firing), made("2026-03-02T10:00:00Z"));
    // The newest is not done.
    assert!(world.when(&firing).is_empty());
    // It is done, and nothing follows it; its row does not say how it recurs.
    world.tasks[0].completed = Some(true);
    world.tasks[0].recurrence_id = None;
    assert_eq!(world.when(&firing), made("2026-03-03T10:00:00Z"));
}

#[test]
fn an_occurrence_of_others_is_kept_and_watched() {
    let spawned = serde_json::json!({
        "task_id": "n", "user_id": "u", "parent_task_id": "t", "title": "Weekly Report",
        "next_at": "2026-03-14T10:00:00+01:00",
    });
    let mut world = World::with(&[Task { id: Some("t".into()), ..task("weekly") }]);
    let acts = world.when(&event(GENERATED, "backend", &spawned));
    assert_eq!(acts[0], "insert  expect None");
    assert_eq!(acts[1..], [r#"schedule recurring-t At("2026-03-14T09:00:00Z")"#]);
    assert_eq!(world.tasks[1].title.as_deref(), Some("Weekly Report"));
    assert_eq!(world.tasks[1].recurrence.as_deref(), Some("weekly"));
    assert!(world.when(&event(GENERATED, OURSELVES, &spawned)).is_empty());
}

#[test]
fn what_cannot_help_is_rejected_by_name() {
    for (event, text) in [
        (done("t", task("fortnightly")), "`fortnightly`"),
        (done("t", task("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30")), "BYMONTHDAY=30"),
        (done("t", Task { time_zone: Some("Mars/Base".into()), ..task("daily") }), "`Mars/Base`"),
        (done("t", Task { due_date: Some("soon".into()), ..task("daily") }), "`soon`"),
        (done("", task("daily")), "no task_id"),
        (Event { data: "[".into(), ..done("t", task("daily")) }, "cannot be read"),
        (
            event(FIRED, "x", &serde_json::json!({ "name": "recurring-x", "data": null })),
            "`recurring-x` carries no task",
        ),
    ] {
        match World::default().try_when(&event) {
            Err(Failure::Reject(reason)) => assert!(reason.contains(text), "{reason}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    let missing = World::default().try_when(&done("t", ruled()));
    assert!(matches!(missing, Err(Failure::Retry(reason)) if reason.contains("`r1`")));
}
