//! The story that every suite of faults tells: events that each have an effect of every kind, some
//! of which fail on their first attempts, some for good, and some have effects that end dead. What
//! there is to see of them afterwards is in `seen`, and what must hold of it in `judge`.

#[path = "errands/judge.rs"]
mod judge;
#[path = "errands/seen.rs"]
mod seen;

use serde_json::{Value, json};

pub use judge::{Judged, judge};
pub use seen::{Database, Seen};

/// The topic that errands come on, and what is published of each.
pub const TOPIC: &str = "errands";
pub const DONE: &str = "errands-done";

/// The type of an errand.
pub const ERRAND: &str = "com.errands.run.v1";

/// Short delays: a suite has many of them to wait for.
pub const CONTRACT: &str = r#"
name = "errands"
description = "Events with an effect of every kind"
pubsub = "todo-pubsub"
retry = ["100ms", "200ms"]
dead_letter = "{topic}-dlq"
stores = { state = ["todo-statestore"] }
job = [{ name = "errand-*" }]
binding = [{ name = "notify-file" }, { name = "notify-http" }]
topic = [
    { name = "errands", path = "/events/errands", retention = "7d" },
    { name = "errands-done", path = "/events/errands-done", retention = "7d" },
]
event = [
    { type = "com.errands.run.v1", topic = "errands", consumers = ["audit"] },
    { type = "com.errands.done.v1", topic = "errands-done", consumers = [] },
]
"#;

/// The guest's manifest. Its tables have no key that would hide what happens twice; and it has time
/// enough on a busy machine, where an attempt that runs out of it would be one more than expected.
pub const MANIFEST: &str = r#"
name = "errands"
version = "0.1.0"
[[on]]
event = "com.errands.run.v1"
[[on]]
event = "com.wharf.binding.succeeded.v1"
[[on]]
event = "com.wharf.binding.failed.v1"
[[on]]
job = "errand-*"
[grants]
publish = ["com.errands.done.v1"]
state = ["todo-statestore"]
jobs = ["errand-*"]
bindings = ["notify-file", "notify-http"]
tables = { errands = "write", errand_counts = "write", errand_news = "write" }
[sql.note]
many = true
execute = """
INSERT INTO errands (event_id, subject, effect, state, attempt) VALUES ($1, $2, $3, $4, $5)
"""
[sql.count]
execute = """
INSERT INTO errand_counts (subject, n) VALUES ($1, 1)
ON CONFLICT (subject) DO UPDATE SET n = errand_counts.n + 1
"""
[sql.tell]
execute = "INSERT INTO errand_news (kind, what) VALUES ($1, $2)"
[sql.miss]
execute = "UPDATE errand_counts SET n = n WHERE subject = ''"
[limits]
time = "10s"
"#;

pub const TABLES: &str = "
CREATE TABLE errands (
    turn INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL, subject TEXT NOT NULL, effect TEXT NOT NULL, state TEXT NOT NULL,
    attempt INTEGER NOT NULL
);
CREATE TABLE errand_counts (subject TEXT PRIMARY KEY, n INTEGER NOT NULL);
CREATE TABLE errand_news (kind TEXT NOT NULL, what TEXT NOT NULL);
";

/// Where `notify-http` posts to: nobody listens there.
pub const NOBODY: &str = "http://127.0.0.1:1/";

/// One event, which its number makes wholly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Errand {
    pub number: u32,
    /// How many subjects there are: what goes wrong with one holds up the rest of its subject.
    pub subjects: u32,
}

impl Errand {
    pub fn id(self) -> String {
        format!("run-{:06}", self.number)
    }

    pub fn subject(self) -> String {
        format!("s-{}", self.number % self.subjects)
    }

    /// How many attempts fail, and how. The contract allows three.
    fn fails(self) -> (u32, &'static str) {
        match self.number % 17 {
            3 => (1, "retry"),
            7 => (2, "trap"),
            9 => (1, "break"),
            11 => (9, "trap"),
            13 => (1, "miss"),
            15 => (9, "reject"),
            _ => (0, ""),
        }
    }

    /// The attempt that succeeds; none of one that dies.
    pub fn succeeds(self) -> Option<u32> {
        let (failing, _) = self.fails();
        (failing < 3).then_some(failing + 1)
    }

    pub fn is_parked(self) -> bool {
        self.fails().0 > 0 && self.fails().1 != "reject"
    }

    pub fn calls(self) -> bool {
        self.number.is_multiple_of(5)
    }

    pub fn plans(self) -> bool {
        self.number.is_multiple_of(7)
    }

    /// Two effects that end dead: a state that Dapr refuses, and a call of nobody.
    pub fn is_refused(self) -> bool {
        self.number % 17 == 6
    }

    /// The CloudEvent. Its time has passed, so that its job is due.
    pub fn event(self) -> Value {
        let (fails, how) = self.fails();
        json!({
            "specversion": "1.0",
            "id": self.id(),
            "source": "test",
            "type": ERRAND,
            "subject": self.subject(),
            "time": "2026-01-01T00:00:00Z",
            "data": {
                "fails": fails,
                "how": how,
                "calls": self.calls(),
                "plans": self.plans(),
                "refused": self.is_refused(),
            },
        })
    }
}
