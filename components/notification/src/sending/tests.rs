//! Stories: a reminder is due, and the binding answers.

use super::*;

const NOW: &str = "2026-03-01T12:00:00Z";
const COLUMNS: [&str; 9] = [
    "reminder_id",
    "remind_at",
    "task_id",
    "user_id",
    "title",
    "due_date",
    "binding",
    "effect_id",
    "updated_at",
];

/// The table `notifications`.
#[derive(Default)]
struct World {
    rows: Vec<Row>,
}

fn event(ty: &str, data: &str) -> Event {
    Event {
        id: "e".into(),
        source: "wharf/reminder".into(),
        ty: ty.into(),
        subject: None,
        time: "2026-03-01T11:00:00Z".into(),
        data: data.into(),
        contract: "cloudevents".into(),
        attempt: 1,
    }
}

fn due(data: &str) -> Event {
    event("com.todo.reminder.due.v1", data)
}

const REMINDER: &str = r#"{"reminder_id": "r", "task_id": "t", "user_id": "u", "title": "Water",
    "remind_at": "2026-03-01T12:00:00+00:00", "due_date": "2026-03-01T13:00:00Z"}"#;

impl World {
    fn decide(&self, event: &Event) -> Result<Decision, Failure> {
        let now = time::parse(NOW).unwrap();
        decide(event, now, &mut |statement, params| {
            let is = |row: &&Row, column: &str, at: usize| {
                row.columns.contains(&(column.to_owned(), params[at].clone()))
            };
            let rows = self.rows.iter();
            Ok(match statement {
                "sent" => rows
                    .filter(|row| is(row, "reminder_id", 0) && is(row, "remind_at", 1))
                    .cloned()
                    .collect(),
                "by_effect" => rows.filter(|row| is(row, "effect_id", 0)).cloned().collect(),
                _ => panic!("no statement {statement}"),
            })
        })
    }

    /// Sends, under that effect id. Gives the body and what is published.
    fn send(&mut self, event: &Event, effect_id: &str) -> Option<(serde_json::Value, String)> {
        let Decision::Send(sending) = self.decide(event).unwrap() else { return None };
        let body = serde_json::from_str(&sending.body().unwrap()).unwrap();
        let acts = sending.recorded(FILE, effect_id, time::parse(NOW).unwrap()).unwrap();
        let [Act::Execute { statement: "insert_sending", params, expect: Some(1) }, published] =
            &acts[..]
        else {
            panic!("{acts:?}")
        };
        let columns = COLUMNS.iter().map(|name| (*name).to_owned()).zip(params.iter().cloned());
        let status = ("status".to_owned(), Value::Text("sending".into()));
        self.rows.push(Row { columns: columns.chain([status]).collect() });
        Some((body, short(published)))
    }

    fn result(&mut self, ty: &str, data: &str) -> Vec<String> {
        let Decision::Do(acts) = self.decide(&event(ty, data)).unwrap() else {
            panic!("sent again")
        };
        if let Some(Act::Execute { statement: "set_result", params, expect: Some(1) }) =
            acts.first()
        {
            let status =
                self.rows[0].columns.iter_mut().find(|(name, _)| name == "status").unwrap();
            status.1 = params[1].clone();
        }
        acts.iter().skip(1).map(short).collect()
    }
}

fn short(act: &Act) -> String {
    let Act::Publish { ty, subject, data } = act else { panic!("{act:?}") };
    format!("{} {subject} {data}", ty.split('.').nth_back(1).unwrap())
}

const PUBLISHED: &str = r#""reminder_id":"r","task_id":"t","user_id":"u","title":"Water","remind_at":"2026-03-01T12:00:00Z","due_date":"2026-03-01T13:00:00Z""#;

#[test]
fn a_due_reminder_is_sent_once_and_then_delivered() {
    let mut world = World::default();
    let (body, triggered) = world.send(&due(REMINDER), "e1").unwrap();
    assert_eq!(body["text"], "Water is due at 2026-03-01T13:00:00Z");
    assert_eq!(body["remind_at"], NOW);
    assert_eq!(triggered, format!("triggered t {{{PUBLISHED}}}"));
    assert_eq!(world.send(&due(REMINDER), "e2"), None);
    let succeeded = r#"{"effect_id": "e1", "binding": "notify-file", "operation": "create"}"#;
    let delivered = world.result("com.wharf.binding.succeeded.v1", succeeded);
    assert_eq!(delivered, [format!("delivered t {{{PUBLISHED}}}")]);
    assert!(world.result("com.wharf.binding.succeeded.v1", succeeded).is_empty());
}

#[test]
fn at_another_time_it_is_sent_again() {
    let mut world = World::default();
    world.send(&due(REMINDER), "e1");
    assert!(world.send(&due(&REMINDER.replace("12:00", "12:30")), "e2").is_some());
}

#[test]
fn a_failure_says_why() {
    for (error, reason) in [
        (r#", "error": "no such \"host\"""#, r#""reason":"no such \"host\"""#),
        ("", r#""reason":"the binding gave no reason""#),
    ] {
        let mut world = World::default();
        world.send(&due(REMINDER), "e1");
        let failed = format!(r#"{{"effect_id": "e1", "binding": "notify-file"{error}}}"#);
        let published = world.result("com.wharf.binding.failed.v1", &failed);
        assert_eq!(published, [format!("failed t {{{PUBLISHED},{reason}}}")]);
    }
}

#[test]
fn a_result_that_nobody_waits_for_is_left_alone() {
    let data = r#"{"effect_id": "e1", "binding": "other"}"#;
    assert!(World::default().result("com.wharf.binding.succeeded.v1", data).is_empty());
}

#[test]
fn what_is_not_told_has_a_fallback() {
    let (body, _) = World::default().send(&due(r#"{"task_id": 5, "user_id": "u"}"#), "e1").unwrap();
    assert_eq!(body["reminder_id"], "5");
    assert_eq!(body["text"], "Reminder");
    assert_eq!(body["remind_at"], "2026-03-01T11:00:00Z");
    let due_only = r#"{"task_id": 5, "user_id": "u", "due_date": "2026-03-01T13:00:00Z"}"#;
    let (body, _) = World::default().send(&due(due_only), "e1").unwrap();
    assert_eq!(body["remind_at"], "2026-03-01T13:00:00Z");
}

#[test]
fn without_a_task_it_is_rejected() {
    let failure = World::default().decide(&due(r#"{"user_id": "u"}"#)).unwrap_err();
    assert!(matches!(failure, Failure::Reject(reason) if reason.contains("no task_id")));
}
