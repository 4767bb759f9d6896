//! Jobs: when they come, under which name, by which schedule.

use std::time::Duration;

use futures::FutureExt as _;
use reqwest::Method;
use serde_json::json;
use wharf::backend::BackendError;
use wharf::clock::{Clock as _, SystemClock, rfc3339};
use wharf::effect::OutgoingJob;
use wharf::name::JobName;

use super::app::Answer::Http;
use super::{Behaviour, World, word};

/// Long enough for what must not happen.
const QUIET: Duration = Duration::from_millis(2500);

impl World {
    /// A job's name that no other world has, and the path that it comes to.
    fn job(&self, name: &str) -> (JobName, String) {
        let name = format!("{}-{name}", self.pubsub);
        let path = format!("/job/{name}");
        (JobName::new(name).expect("a job's name"), path)
    }

    /// Schedules one that is due at once.
    async fn schedule(&self, name: &JobName, data: &str) -> Result<(), BackendError> {
        let due = Some(SystemClock.now() - Duration::from_secs(1));
        self.backend
            .schedule(OutgoingJob {
                name: name.clone(),
                due,
                schedule: None,
                repeats: None,
                data: data.to_owned(),
            })
            .await
    }
}

pub fn behaviours() -> Vec<Behaviour> {
    let mut all = jobs();
    all.extend(repeated());
    all
}

fn jobs() -> Vec<Behaviour> {
    vec![
        Behaviour {
            name: "job: one that is due since a second",
            expected: "comes once, with its data",
            but: &[],
            ask: |world| {
                async move {
                    let (name, path) = world.job("once");
                    world.schedule(&name, r#"{"a":[1,"é"]}"#).await.expect("it is scheduled");
                    world.app.wait(&path, 1).await;
                    let came = world.app.within(&path, 2, QUIET).await;
                    match (came.len(), came[0].body == json!({ "a": [1, "é"] })) {
                        (1, true) => "comes once, with its data".into(),
                        (many, _) => format!("{many} times, {}", came[0].body),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "job: an integer beyond 2^53 in its data",
            expected: "9007199254740992",
            but: &[],
            ask: |world| {
                async move {
                    let (name, path) = world.job("exact");
                    world.schedule(&name, r#"{"n":9007199254740993}"#).await.expect("scheduled");
                    let came = world.app.wait(&path, 1).await;
                    let number = &came[0].body["n"];
                    number.as_f64().map_or_else(|| number.to_string(), |n| format!("{n:.0}"))
                }
                .boxed()
            },
        },
        Behaviour {
            name: "job: answered 500 seven times",
            expected: "comes until it is taken: 8 times",
            but: &[],
            ask: |world| {
                async move {
                    let (name, path) = world.job("failing");
                    world.app.answers(&path, &[Http(500); 7]);
                    world.schedule(&name, "1").await.expect("it is scheduled");
                    world.app.wait(&path, 8).await;
                    let came = world.app.within(&path, 9, QUIET).await;
                    match came.len() {
                        8 => "comes until it is taken: 8 times".into(),
                        many => format!("{many} times"),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "job: answered 404",
            expected: "comes once",
            but: &[],
            ask: |world| {
                async move {
                    let (name, path) = world.job("unknown");
                    world.app.answers(&path, &[Http(404)]);
                    world.schedule(&name, "1").await.expect("it is scheduled");
                    world.app.wait(&path, 1).await;
                    match world.app.within(&path, 2, QUIET).await.len() {
                        1 => "comes once".into(),
                        many => format!("{many} times"),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "job: a name of odd characters; one with `%`",
            expected: "comes once; refused",
            but: &[],
            ask: |world| {
                async move {
                    let (name, path) = world.job("a b+c\"é;1");
                    world.schedule(&name, "1").await.expect("it is scheduled");
                    // However it is written in a path, it is one name.
                    let came = world.app.wait(&path, 1).await.len();
                    let (name, _) = world.job("a%41");
                    let percent = world.schedule(&name, "1").await;
                    let all = world.app.paths(&format!("/job/{}-a", world.pubsub));
                    match (came, all.len()) {
                        (1, 1) => format!("comes once; {}", word(&percent)),
                        _ => format!("{all:?}"),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "job: a name with `|`; cancelling one that is not there",
            expected: "refused, taken",
            but: &[],
            ask: |world| {
                async move {
                    let (name, _) = world.job("a|b");
                    let scheduled = world.schedule(&name, "1").await;
                    let (name, _) = world.job("missing");
                    let cancelled = world.backend.cancel(name).await;
                    [word(&scheduled), word(&cancelled)].join(", ")
                }
                .boxed()
            },
        },
        Behaviour {
            name: "job: a name that ends in a space; one that is too long",
            expected: "refused, refused",
            but: &[],
            ask: |world| {
                async move {
                    let (space, _) = world.job("a ");
                    let space = world.schedule(&space, "1").await;
                    let (long, _) = world.job(&"é".repeat(200));
                    let long = world.schedule(&long, "1").await;
                    [word(&space), word(&long)].join(", ")
                }
                .boxed()
            },
        },
    ]
}

/// Schedules, and what becomes of them.
const CRON: [(&str, &str); 17] = [
    ("0 0 0 * * 7", "refused"),
    ("0 0 0 * * 5-7", "refused"),
    ("0 0 0 L * *", "refused"),
    ("0 0 0 15W * *", "refused"),
    ("0 0 0 * * 1#2", "refused"),
    ("0 0 0 * * FRI-SUN", "refused"),
    ("0 0 0 * * MONDAY", "refused"),
    ("0 0 0 0 1 *", "refused"),
    ("0 */0 0 * * *", "refused"),
    ("0 0 * * *", "refused"),
    (" @daily", "refused"),
    ("@daily ", "refused"),
    ("5/20 0 * 1 1 ?", "taken"),
    ("0 0 0 1 JAN-mar/2 Sun", "taken"),
    ("0  0 0 ,1,, 1 *", "taken"),
    ("CRON_TZ=Europe/Berlin  @daily", "taken"),
    ("@every 1h0.5s", "taken"),
];

fn repeated() -> Vec<Behaviour> {
    vec![
        Behaviour {
            name: "job: every second, three times",
            expected: "3 times",
            but: &[],
            ask: |world| {
                async move {
                    let (name, path) = world.job("every");
                    let job = OutgoingJob {
                        name,
                        due: Some(SystemClock.now() + Duration::from_secs(1)),
                        schedule: Some("@every 1s".into()),
                        repeats: Some(3),
                        data: "1".into(),
                    };
                    world.backend.schedule(job).await.expect("it is scheduled");
                    world.app.wait(&path, 3).await;
                    let came = world.app.within(&path, 4, QUIET).await;
                    format!("{} times", came.len())
                }
                .boxed()
            },
        },
        Behaviour {
            name: "job: every 24 hours from the next second on; what is kept of it then",
            expected: "comes once; its schedule and that second",
            but: &[],
            ask: |world| {
                async move {
                    let (name, path) = world.job("daily");
                    let due = SystemClock.now() + Duration::from_secs(1);
                    let job = OutgoingJob {
                        name: name.clone(),
                        due: Some(due),
                        schedule: Some("@every 24h".into()),
                        repeats: None,
                        data: "1".into(),
                    };
                    world.backend.schedule(job).await.expect("it is scheduled");
                    world.app.wait(&path, 1).await;
                    let came = world.app.within(&path, 2, QUIET).await.len();
                    let (_, kept) =
                        world.call(Method::GET, &format!("/v1.0/jobs/{name}"), &[], "").await;
                    world.backend.cancel(name).await.expect("it is cancelled");
                    let kept = (&kept["schedule"], &kept["dueTime"]);
                    match (came, kept == (&json!("@every 24h"), &json!(rfc3339(due)))) {
                        (1, true) => "comes once; its schedule and that second".into(),
                        (many, _) => format!("{many} times; {kept:?}"),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "job: replaced before it is due; cancelled before it is due",
            expected: "the new one; never",
            but: &[],
            ask: |world| {
                async move {
                    let (replaced, replaced_path) = world.job("replaced");
                    let (cancelled, cancelled_path) = world.job("cancelled");
                    let later = |name: &JobName, seconds: u64, data: &str| OutgoingJob {
                        name: name.clone(),
                        due: Some(SystemClock.now() + Duration::from_secs(seconds)),
                        schedule: None,
                        repeats: None,
                        data: data.into(),
                    };
                    let schedule = async |job| {
                        world.backend.schedule(job).await.expect("it is scheduled");
                    };
                    schedule(later(&replaced, 8, "\"old\"")).await;
                    schedule(later(&cancelled, 8, "1")).await;
                    schedule(later(&replaced, 1, "\"new\"")).await;
                    world.backend.cancel(cancelled).await.expect("it is cancelled");
                    world.app.wait(&replaced_path, 1).await;
                    tokio::time::sleep(QUIET + Duration::from_secs(7)).await;
                    let came = world.app.came(&replaced_path);
                    let bodies: Vec<_> = came.iter().map(|came| came.body.to_string()).collect();
                    match (bodies.join(" ").as_str(), world.app.came(&cancelled_path).len()) {
                        ("\"new\"", 0) => "the new one; never".into(),
                        (bodies, many) => format!("{bodies}; {many} times"),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "job: cron with 7, 5-7, L, 15W, 1#2, FRI-SUN, five fields; with 5/20, ?, SUN, @daily",
            expected: "all refused; all taken",
            but: &[],
            ask: |world| {
                async move {
                    let (name, _) = world.job("cron");
                    let mut odd = Vec::new();
                    for (schedule, expected) in CRON {
                        let job = OutgoingJob {
                            name: name.clone(),
                            due: None,
                            schedule: Some(schedule.into()),
                            repeats: None,
                            data: "1".into(),
                        };
                        let came = world.backend.schedule(job).await;
                        if word(&came) != expected {
                            odd.push(format!("`{schedule}` {}", word(&came)));
                        }
                    }
                    world.backend.cancel(name).await.expect("it is cancelled");
                    match odd.is_empty() {
                        true => "all refused; all taken".to_owned(),
                        false => odd.join(", "),
                    }
                }
                .boxed()
            },
        },
        Behaviour {
            name: "job: a schedule that is none; repeats without a schedule",
            expected: "refused, refused",
            but: &[],
            ask: |world| {
                async move {
                    let (name, _) = world.job("wrong");
                    let job = |schedule: Option<&str>, repeats| OutgoingJob {
                        name: name.clone(),
                        due: None,
                        schedule: schedule.map(str::to_owned),
                        repeats,
                        data: "1".into(),
                    };
                    let none = world.backend.schedule(job(Some("now and then"), None)).await;
                    let due = Some(SystemClock.now() + Duration::from_secs(60));
                    let repeats = OutgoingJob { due, ..job(None, Some(2)) };
                    let repeats = world.backend.schedule(repeats).await;
                    [word(&none), word(&repeats)].join(", ")
                }
                .boxed()
            },
        },
    ]
}
