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
    kept: Vec<Kept>,
}

/// A row of `recurring_tasks`.
struct Kept {
    task_id: String,
    series: String,
    recurrence_id: Option<String>,
    due_date: Option<String>,
    deleted: bool,
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
        Self { tasks: tasks.to_vec(), ..Self::default() }
    }

    fn with_rule(rule: [&'static str; 3]) -> Self {
        Self { rules: vec![rule], ..Self::default() }
    }

    fn has_deleted(&self, task_id: &str) -> bool {
        self.kept.iter().any(|row| row.task_id == task_id && row.deleted)
    }

    fn read(&self, statement: &str, params: &[Value]) -> Vec<Row> {
        let param = |at: usize| match &params[at] {
            Value::Text(text) => text.as_str(),
            _ => "",
        };
        let has_id = |task: &&Task| task.id.as_deref() == Some(param(0));
        let is_child = |task: &&Task| task.parent_task_id.as_deref() == Some(param(0));
        let count = |number: usize| Value::Integer(number.try_into().unwrap());
        match statement {
            "task" => self.tasks.iter().filter(has_id).map(as_row).collect(),
            "series" => {
                let first =
                    self.tasks.iter().find(has_id).and_then(|task| task.due_date.as_deref());
                let children: Vec<_> = self.tasks.iter().filter(is_child).collect();
                let open = |task: &&&Task| {
                    task.id.as_deref() != Some(param(1)) && task.completed != Some(true)
                };
                let kept = self.kept.iter().find(|row| row.task_id == param(0));
                let of_series = self
                    .kept
                    .iter()
                    .filter(|row| row.series == param(0) && row.task_id != param(0));
                vec![row(vec![
                    ("kept_due", Value::text(kept.and_then(|row| row.due_date.as_deref()))),
                    ("first_due", Value::text(first)),
                    ("kept", count(usize::from(kept.is_some()))),
                    ("kept_made", count(of_series.count())),
                    ("deleted", count(usize::from(self.has_deleted(param(1))))),
                    ("made", count(children.len())),
                    ("open", count(children.iter().filter(open).count())),
                ])]
            }
            "occurrence" => vec![row(vec![
                ("there", count(self.tasks.iter().filter(has_id).count())),
                ("deleted", count(usize::from(self.has_deleted(param(0))))),
            ])],
            "deleted" => {
                let text = |text: &Option<String>| Value::text(text.as_deref());
                let kept = self
                    .kept
                    .iter()
                    .filter(|row| row.task_id == param(0))
                    .map(|kept| (Value::Text(kept.series.clone()), text(&kept.recurrence_id)));
                let tasks = self.tasks.iter().filter(has_id);
                let tasks =
                    tasks.map(|task| (text(&task.parent_task_id), text(&task.recurrence_id)));
                let found = kept.chain(tasks).take(1);
                found
                    .map(|(series, rule_id)| {
                        row(vec![("series", series), ("recurrence_id", rule_id)])
                    })
                    .collect()
            }
            "newest" => {
                let parent =
                    self.tasks.iter().find(has_id).and_then(|task| task.parent_task_id.clone());
                let is_sibling = |task: &&Task| parent.is_some() && task.parent_task_id == parent;
                let mut series = self
                    .tasks
                    .iter()
                    .filter(|task| has_id(task) || is_child(task) || is_sibling(task));
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

    /// Handles an event and keeps what it writes. Gives what was done, in short: what it does to
    /// its own table is not told.
    fn when(&mut self, event: &Event) -> Vec<String> {
        self.try_when(event).unwrap()
    }

    fn try_when(&mut self, event: &Event) -> Result<Vec<String>, Failure> {
        let acts = self.acts(event)?;
        Ok(acts.iter().filter_map(|act| self.perform(act)).collect())
    }

    fn acts(&self, event: &Event) -> Result<Vec<Act>, Failure> {
        let now = time::parse(NOW).unwrap();
        decide(event, now, &mut |statement, params| Ok(self.read(statement, params)))
    }

    fn perform(&mut self, act: &Act) -> Option<String> {
        Some(match act {
            Act::Execute { statement, params, expect } => {
                let (touched, said) = self.write(statement, params);
                assert!(
                    expect.is_none_or(|expected| expected == touched),
                    "{statement}: {touched}"
                );
                return said.map(|said| format!("{said} expect {expect:?}"));
            }
            Act::Publish { ty, .. } => format!("publish {ty}"),
            Act::Job(Job::Schedule { name, when, .. }) => format!("schedule {name} {when:?}"),
            Act::Job(Job::Cancel { name }) => format!("cancel {name}"),
            other @ Act::Warn(_) => panic!("{other:?}"),
        })
    }

    /// How many rows were touched, and what is told of it.
    fn write(&mut self, statement: &str, params: &[Value]) -> (u64, Option<String>) {
        let text = |at: usize| match &params[at] {
            Value::Text(text) | Value::Timestamp(text) => Some(text.clone()),
            _ => None,
        };
        let id = text(0).unwrap();
        match statement {
            "insert_task" | "insert_alone" => {
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
                let said = Some(format!("insert {}", task.due_date.clone().unwrap_or_default()));
                let open = |other: &Task| {
                    other.parent_task_id == task.parent_task_id
                        && other.id != text(12)
                        && other.completed != Some(true)
                };
                let is_refused = self.has_deleted(&id)
                    || self.tasks.iter().any(|other| other.id == task.id)
                    || (statement == "insert_alone" && self.tasks.iter().any(open));
                if is_refused {
                    return (0, said);
                }
                self.tasks.push(task);
                (1, said)
            }
            "keep_task" | "hold_task" | "mark_deleted" => {
                let deleted = statement == "mark_deleted";
                match self.kept.iter_mut().find(|row| row.task_id == id) {
                    Some(row) => row.deleted |= deleted,
                    None => self.kept.push(Kept {
                        task_id: id,
                        series: text(1).unwrap(),
                        recurrence_id: text(2),
                        due_date: text(3),
                        deleted,
                    }),
                }
                (1, None)
            }
            _ => panic!("no statement {statement}"),
        }
    }

    /// The backend is another one: `tasks` has no row.
    fn forget_tasks(&mut self) {
        self.tasks.clear();
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
fn two_that_follow_the_same_event_at_once_make_one() {
    let mut world = World::default();
    let task = Task { due_date: None, ..task("daily") };
    let late = Event { time: "2026-03-01T11:30:00Z".into(), ..done("t", task.clone()) };
    let late = world.acts(&late).unwrap();
    world.when(&done("t", task));
    // What the second read holds no more: its insert is guarded, after it waited for the first.
    let statements: Vec<_> = late
        .iter()
        .filter_map(|act| match act {
            Act::Execute { statement, params, expect } => Some((*statement, params, *expect)),
            _ => None,
        })
        .collect();
    let [("hold_task", held, None), ("insert_alone", insert, Some(1)), ("keep_task", ..)] =
        statements[..]
    else {
        panic!("{statements:?}")
    };
    assert_eq!(held[0], Value::Text("t".into()));
    assert_eq!(world.write("insert_alone", insert).0, 0);
}

#[test]
fn two_of_a_series_without_due_dates_wait_for_its_first_task() {
    let world = World::default();
    let of = |id: &str| Task {
        id: Some(id.into()),
        due_date: None,
        parent_task_id: Some("s".into()),
        ..task("daily")
    };
    for id in ["t", "u"] {
        let acts = world.acts(&done(id, of(id))).unwrap();
        let held: Vec<_> = acts
            .iter()
            .filter_map(|act| match act {
                Act::Execute { statement: "hold_task", params, .. } => Some(params[0].clone()),
                _ => None,
            })
            .collect();
        assert_eq!(held, [Value::Text("s".into()), Value::Text(id.into())]);
    }
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
    let acts = world.acts(&completed).unwrap();
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

/// The first task, then what the component made after it, each completed in its turn.
fn dates(world: &mut World, first: Task) -> Vec<String> {
    let (mut id, mut current) = ("t".to_owned(), first);
    let mut dates = Vec::new();
    while dates.len() < 9 {
        let acts = world.when(&done(&id, current));
        if acts.is_empty() {
            break;
        }
        current = world.tasks.last().unwrap().clone();
        id = current.id.clone().unwrap();
        dates.push(current.due_date.clone().unwrap());
    }
    dates
}

#[test]
fn the_first_task_is_remembered_where_the_table_has_no_row_of_it() {
    let first =
        |recurrence| Task { due_date: Some("2026-01-31T10:00:00Z".into()), ..task(recurrence) };
    let monthly = dates(&mut World::default(), first("monthly"));
    let expected = ["2026-02-28", "2026-03-31", "2026-04-30"];
    assert_eq!(monthly[..3], expected.map(|day| format!("{day}T10:00:00Z")));
    assert_eq!(dates(&mut World::default(), first("FREQ=DAILY;COUNT=4")).len(), 3);
    // Without a due date it is the time of the event.
    let undated = Task { due_date: None, ..task("FREQ=DAILY;COUNT=4") };
    assert_eq!(dates(&mut World::default(), undated).len(), 3);
}

#[test]
fn the_tasks_made_are_counted_where_they_are_remembered() {
    let mut world = World::default();
    let spawned = |id: &str| {
        let data = serde_json::json!({ "task_id": id, "user_id": "u", "parent_task_id": "t" });
        event(GENERATED, "backend", &data)
    };
    world.when(&spawned("a"));
    world.when(&spawned("b"));
    world.forget_tasks();
    let third = Task { parent_task_id: Some("t".into()), ..task("FREQ=DAILY;COUNT=3") };
    assert!(world.when(&done("b", third.clone())).is_empty());
    let four = Task { recurrence: Some("FREQ=DAILY;COUNT=4".into()), ..third };
    assert_eq!(world.when(&done("b", four)).len(), 3);
}

#[test]
fn an_empty_id_is_no_id() {
    let told = Task {
        parent_task_id: Some(String::new()),
        recurrence_id: Some(String::new()),
        ..task("daily")
    };
    let mut world = World::default();
    assert_eq!(world.when(&done("t", told)), made("2026-03-02T10:00:00Z"));
    assert_eq!(world.tasks[0].parent_task_id.as_deref(), Some("t"));
    let told = Task { recurrence: None, recurrence_id: Some(String::new()), ..task("") };
    assert!(World::default().when(&done("t", told)).is_empty());
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
    let mut world = World::with_rule(["r1", "weekly", "America/New_York"]);
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
    let mut world = World::with_rule(RULE);
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
    let mut world = World::with_rule(["r1", "FREQ=DAILY;COUNT=1", ""]);
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
    let mut world = World::with_rule(["r1", "daily", "UTC"]);
    let firing = firing(&world.acts(&done("t", ruled())).unwrap());
    // Nothing is in the table: what the job kept is followed.
    assert_eq!(world.when(&firing), made("2026-03-02T10:00:00Z"));
    // The newest is not done.
    assert!(world.when(&firing).is_empty());
    // It is done, and nothing follows it; its row does not say how it recurs.
    world.tasks[0].completed = Some(true);
    world.tasks[0].recurrence_id = None;
    assert_eq!(world.when(&firing), made("2026-03-03T10:00:00Z"));
}

/// Only the ids, as some producers send it.
fn gone(task_id: &str) -> Event {
    event(DELETED, "chat-api", &serde_json::json!({ "task_id": task_id, "user_id": "u" }))
}

#[test]
fn a_deleted_occurrence_does_not_come_back() {
    let mut world = World::with_rule(["r1", "daily", "UTC"]);
    let firing = firing(&world.acts(&done("t", ruled())).unwrap());
    world.when(&done("t", ruled()));
    let next = world.tasks[0].id.clone().unwrap();
    world.forget_tasks();
    assert_eq!(world.when(&gone(&next)), ["cancel recurring-r1"]);
    // A firing that was on its way, and the first task completed again.
    assert_eq!(world.when(&firing), ["cancel recurring-r1"]);
    assert_eq!(world.when(&done("t", ruled())), ["cancel recurring-r1"]);
    assert!(world.tasks.is_empty());
}

#[test]
fn a_deletion_between_the_reading_and_the_insert_wins() {
    let mut world = World::default();
    let acts = world.acts(&done("t", task("daily"))).unwrap();
    world.when(&done("t", task("daily")));
    let next = world.tasks[0].id.clone().unwrap();
    world.forget_tasks();
    world.when(&gone(&next));
    let insert = acts.iter().find_map(|act| match act {
        Act::Execute { statement: "insert_task", params, expect: Some(1) } => Some(params),
        _ => None,
    });
    assert_eq!(world.write("insert_task", insert.unwrap()).0, 0);
}

#[test]
fn nothing_follows_a_deleted_task_by_its_job() {
    for by_others in [false, true] {
        let mut world = World::with_rule(["r1", "daily", "UTC"]);
        let acts = if by_others {
            let spawned = serde_json::json!({
                "task_id": "t", "user_id": "u", "parent_task_id": "s",
                "next_at": "2026-03-14T10:00:00Z",
            });
            world.tasks.push(Task { id: Some("s".into()), ..ruled() });
            let acts = world.acts(&event(GENERATED, "backend", &spawned)).unwrap();
            world.when(&event(GENERATED, "backend", &spawned));
            world.tasks[1].completed = Some(true);
            acts
        } else {
            let acts = world.acts(&done("t", ruled())).unwrap();
            world.when(&done("t", ruled()));
            world.forget_tasks();
            acts
        };
        let firing = firing(&acts);
        let tasks = world.tasks.len();
        assert_eq!(world.when(&gone("t")), ["cancel recurring-r1"]);
        let name = if by_others { "s" } else { "r1" };
        assert_eq!(world.when(&firing), [format!("cancel recurring-{name}")]);
        assert_eq!(world.tasks.len(), tasks);
    }
}

#[test]
fn a_job_whose_series_is_over_is_cancelled() {
    for rules in [vec![], vec![["r1", "FREQ=DAILY;COUNT=1", ""]]] {
        let mut world = World::with_rule(["r1", "daily", "UTC"]);
        let firing = firing(&world.acts(&done("t", ruled())).unwrap());
        world.rules = rules;
        assert_eq!(world.when(&firing), ["cancel recurring-r1"]);
    }
}

#[test]
fn a_job_of_others_names_the_rule_and_any_task_of_the_series() {
    let first = Task { id: Some("t".into()), completed: Some(true), ..task("") };
    let first = Task { recurrence: None, ..first };
    let mut world = World::with(&[first]);
    world.rules = vec![["r1", "daily", "UTC"]];
    let fired = |task_id: &str| {
        let data =
            serde_json::json!({ "recurrence_rule_id": "r1", "task_id": task_id, "user_id": "u" });
        event(FIRED, "wharf", &serde_json::json!({ "name": "recurring-r1", "data": data }))
    };
    assert_eq!(world.when(&fired("t")), made("2026-03-02T10:00:00Z"));
    assert_eq!(world.tasks[1].recurrence_id.as_deref(), Some("r1"));
    world.tasks[1].completed = Some(true);
    let second = world.tasks[1].id.clone().unwrap();
    assert_eq!(world.when(&fired("t")), made("2026-03-03T10:00:00Z"));
    world.tasks[2].completed = Some(true);
    assert_eq!(world.when(&fired(&second)), made("2026-03-04T10:00:00Z"));
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
