//! Jobs through the API, and as the host schedules them, fired at a model of an app.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{App, World, in_time};
use crate::backend::embedded::{AskedJob, FailurePolicy};
use crate::backend::{Backend as _, BackendError};
use crate::clock::{Clock as _, ManualClock};
use crate::effect::OutgoingJob;
use crate::name::JobName;

const SECOND: Duration = Duration::from_secs(1);

/// An app without subscriptions that answers each firing with a status.
fn answering(status: impl Fn(usize) -> u16 + Send + Sync + 'static) -> App {
    App::new(json!([]), move |nth, _| (status(nth), String::new()))
}

async fn schedule(world: &World, name: &str, job: Value) {
    let line = format!("POST /v1.0/jobs/{name}");
    let (status, answer) = world.call(&line, job.to_string()).await;
    assert_eq!((status, answer), (204, json!("")), "{name} {job}");
}

async fn names(world: &World) -> Vec<String> {
    let jobs = world.dapr.jobs().await.unwrap();
    jobs.iter().map(|job| job.name.to_string()).collect()
}

#[tokio::test]
async fn a_job_fires_once_at_its_time_with_daprds_request() {
    let folder = TempDir::new().unwrap();
    let app = answering(|_| 200);
    let world = World::with_app(&folder, &app).await;
    let data = json!({ "n": 9_007_199_254_740_993_u64 });
    schedule(&world, "once", json!({ "dueTime": "10s", "data": data })).await;
    let due = world.clock.now() + 10 * SECOND;
    let jobs = world.dapr.jobs().await.unwrap();
    assert_eq!((jobs[0].name.as_str(), jobs[0].next_due), ("once", due));
    world.advance(9 * SECOND).await;
    assert!(app.events().is_empty());
    world.advance(SECOND).await;
    let fired = app.events().remove(0);
    assert_eq!(
        (fired.path.as_str(), fired.text.as_str()),
        ("/job/once", r#"{"n":9007199254740992}"#)
    );
    assert_eq!(fired.header("content-type"), Some("application/json"));
    assert_eq!(fired.header("dapr-api-token"), Some("from-dapr"));
    assert!(names(&world).await.is_empty());
    world.advance(100 * SECOND).await;
    assert_eq!(app.events().len(), 1);
    world.stop().await;
}

/// A caller that goes away while its job is written leaves one that fires.
#[tokio::test]
async fn a_job_fires_though_its_caller_is_gone() {
    let folder = TempDir::new().unwrap();
    let app = answering(|_| 200);
    let world = World::with_app(&folder, &app).await;
    let asked = AskedJob { due_time: Some("0s".into()), data: Some("1".into()), ..<_>::default() };
    {
        let mut scheduling = std::pin::pin!(world.dapr.schedule_job("left", asked, false));
        assert!(futures::poll!(&mut scheduling).is_pending(), "it is being written");
    }
    app.got(1).await;
    assert_eq!(app.events().remove(0).path, "/job/left");
    world.nothing_due().await;
    world.stop().await;
}

#[tokio::test]
async fn a_due_time_in_the_past_fires_at_once() {
    let folder = TempDir::new().unwrap();
    let app = answering(|_| 200);
    let world = World::with_app(&folder, &app).await;
    for (name, due) in [("one", "2020-02-02T00:00:00Z"), ("two", "-1h"), ("three", "0s")] {
        schedule(&world, name, json!({ "dueTime": due, "data": null })).await;
        world.nothing_due().await;
        let fired = app.events().pop().unwrap();
        assert_eq!((fired.path, fired.text), (format!("/job/{name}"), "null".to_owned()));
    }
    world.stop().await;
}

#[tokio::test]
async fn a_schedule_fires_until_it_is_used_up() {
    for (job, firings) in [
        (json!({ "schedule": "@every 10s", "repeats": 2 }), [1, 2, 2, 2]),
        (json!({ "schedule": "@every 10s", "ttl": "25s" }), [1, 2, 2, 2]),
        (json!({ "schedule": "*/20 * * * * *" }), [0, 1, 1, 2]),
        (json!({ "schedule": "@every 20s", "dueTime": "10s" }), [1, 1, 2, 2]),
        (json!({ "schedule": "CRON_TZ=Asia/Kolkata 30 30 5 * * *" }), [0, 0, 1, 1]),
        (json!({ "schedule": "@daily" }), [0, 0, 0, 0]),
    ] {
        let folder = TempDir::new().unwrap();
        let app = answering(|_| 200);
        let world = World::with_app(&folder, &app).await;
        let mut body = job.clone();
        body["data"] = json!("x");
        schedule(&world, "j", body).await;
        let mut counted = [0; 4];
        for count in &mut counted {
            world.advance(10 * SECOND).await;
            *count = app.events().len();
        }
        assert_eq!(counted, firings, "{job}");
        world.stop().await;
    }
}

#[tokio::test]
async fn what_came_due_meanwhile_fires_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let clock = ManualClock::default();
    let world = World::open(folder.path(), &clock).await;
    schedule(&world, "once", json!({ "dueTime": "10s", "data": 1 })).await;
    schedule(&world, "often", json!({ "schedule": "@every 10s", "data": 2 })).await;
    world.stop().await;
    clock.advance(35 * SECOND);

    let app = answering(|_| 200);
    let world = World::open(folder.path(), &clock).await;
    world.start(&app).await;
    world.nothing_due().await;
    let mut fired: Vec<_> = app.events().into_iter().map(|one| one.path).collect();
    fired.sort();
    assert_eq!(fired, ["/job/often", "/job/often", "/job/often", "/job/once"]);
    let jobs = world.dapr.jobs().await.unwrap();
    assert_eq!(jobs[0].next_due, clock.now() + 5 * SECOND);
    world.stop().await;
}

#[tokio::test]
async fn a_job_waits_for_the_app() {
    let folder = TempDir::new().unwrap();
    let world = World::open(folder.path(), &ManualClock::default()).await;
    schedule(&world, "early", json!({ "dueTime": "0s", "data": 1 })).await;
    assert_eq!(world.dapr.waiting().await.unwrap(), 1);
    let app = answering(|_| 200);
    world.start(&app).await;
    world.nothing_due().await;
    assert_eq!(app.events().len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn an_answer_is_read_as_daprd_reads_it() {
    let constant =
        |retries: Value| json!({ "constant": { "interval": "1s", "maxRetries": retries } });
    for (status, policy, attempts) in [
        (200, Value::Null, 1),
        (204, Value::Null, 1),
        (404, Value::Null, 1),
        (500, Value::Null, 4),
        (302, Value::Null, 4),
        (400, json!({ "drop": {} }), 1),
        (503, constant(json!(1)), 2),
        (503, json!({ "constant": { "maxRetries": 2 } }), 3),
        (503, constant(Value::Null), 20),
    ] {
        let folder = TempDir::new().unwrap();
        let app = answering(move |_| status);
        let world = World::with_app(&folder, &app).await;
        let job = json!({ "dueTime": "0s", "data": 1, "failurePolicy": policy });
        schedule(&world, "j", job).await;
        world.nothing_due().await;
        for _ in 1..20 {
            world.advance(SECOND).await;
        }
        assert_eq!(app.events().len(), attempts, "{status} {policy}");
        assert_eq!(names(&world).await.len(), usize::from(attempts == 20), "{status} {policy}");
        world.stop().await;
    }
}

#[tokio::test]
async fn attempts_outlive_a_restart_and_a_tick_that_is_given_up_leaves_the_next_in_its_place() {
    let folder = TempDir::new().unwrap();
    let clock = ManualClock::default();
    let app = answering(|_| 500);
    let world = World::open(folder.path(), &clock).await;
    world.start(&app).await;
    schedule(&world, "j", json!({ "schedule": "@every 10s", "data": 1 })).await;
    world.advance(10 * SECOND).await;
    world.advance(SECOND).await;
    assert_eq!(app.events().len(), 2);
    world.stop().await;

    let world = World::open(folder.path(), &clock).await;
    world.start(&app).await;
    world.nothing_due().await;
    for _ in 0..3 {
        world.advance(SECOND).await;
    }
    assert_eq!(app.events().len(), 4);
    let jobs = world.dapr.jobs().await.unwrap();
    assert_eq!(jobs[0].next_due, clock.now() + 6 * SECOND);
    world.stop().await;
}

#[tokio::test]
async fn a_slow_job_holds_no_other_and_a_stop_waits_for_it() {
    let folder = TempDir::new().unwrap();
    let (entered, mut is_in) = tokio::sync::mpsc::unbounded_channel();
    let gate = std::sync::Arc::new(tokio::sync::Notify::new());
    let (app, held) = (answering(|_| 200), std::sync::Arc::clone(&gate));
    let model = app.clone();
    let router = axum::Router::new().fallback(move |request: axum::extract::Request| {
        let (model, held, entered) = (model.clone(), std::sync::Arc::clone(&held), entered.clone());
        async move {
            if request.uri().path() == "/job/slow" {
                entered.send(()).unwrap();
                held.notified().await;
            }
            super::app(axum::extract::State(model), request).await
        }
    });
    let world = World::open(folder.path(), &ManualClock::default()).await;
    world.deliver_to(router).await;
    schedule(&world, "slow", json!({ "dueTime": "0s", "data": 1 })).await;
    in_time(is_in.recv()).await.unwrap();
    assert_eq!(world.dapr.waiting().await.unwrap(), 1);
    schedule(&world, "quick", json!({ "dueTime": "0s", "data": 1 })).await;
    app.got(1).await;
    assert_eq!(app.events()[0].path, "/job/quick");

    // Replaced while it runs: the answer to the old one does not settle the new one.
    let later = json!({ "dueTime": "1h", "data": 2, "overwrite": true });
    schedule(&world, "slow", later).await;
    world.stop.cancel();
    gate.notify_one();
    world.tasks.close();
    world.tasks.wait().await;
    assert_eq!(app.events().len(), 2);
    assert_eq!(names(&world).await, ["slow"]);
    world.stop().await;
}

#[tokio::test]
async fn a_job_is_read_back_replaced_and_deleted() {
    let folder = TempDir::new().unwrap();
    let world = World::open(folder.path(), &ManualClock::default()).await;
    let job = json!({ "schedule": "@daily", "repeats": 3, "dueTime": "10s", "ttl": "24h",
                      "data": { "a": 1 } });
    let (status, _) = world.call("POST /v1.0-alpha1/jobs/j", job.to_string()).await;
    assert_eq!(status, 204);
    let shown = json!({
        "name": "j", "schedule": "@daily", "repeats": 3, "dueTime": "10s", "ttl": "24h",
        "data": { "@type": "type.googleapis.com/google.protobuf.Value", "value": { "a": 1 } },
        "failurePolicy": { "constant": { "interval": "1s", "maxRetries": 3 } },
    });
    assert_eq!(world.call("GET /v1.0/jobs/j", "").await, (200, shown.clone()));
    assert_eq!(world.call("GET /v1.0-alpha1/jobs/j", "").await, (200, shown));

    let again = json!({ "dueTime": "1h", "data": null, "failurePolicy": { "drop": {} } });
    let (status, answer) = world.call("POST /v1.0/jobs/j", again.to_string()).await;
    assert_eq!((status, &answer["errorCode"]), (409, &json!("DAPR_SCHEDULER_SCHEDULE_JOB")));
    let says = "failed to schedule job due to: rpc error: code = AlreadyExists desc = job already \
                exists: 'app||default||wharf||j'";
    assert_eq!(answer["message"], says);
    let mut replacing = again.clone();
    replacing["overwrite"] = json!(true);
    schedule(&world, "j", replacing).await;
    let (_, shown) = world.call("GET /v1.0/jobs/j", "").await;
    assert_eq!(shown["failurePolicy"], json!({ "drop": {} }));
    assert_eq!((&shown["data"]["value"], shown.get("schedule")), (&Value::Null, None));

    for _ in 0..2 {
        assert_eq!(world.call("DELETE /v1.0/jobs/j", "").await, (204, json!("")));
    }
    let (status, answer) = world.call("GET /v1.0/jobs/j", "").await;
    assert_eq!((status, &answer["errorCode"]), (500, &json!("DAPR_SCHEDULER_GET_JOB")));
    assert_eq!(
        answer["details"],
        json!([{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "domain": "dapr.io", "reason": "DAPR_SCHEDULER_GET_JOB",
            "metadata": { "appID": "wharf", "namespace": "default" },
        }])
    );
    world.stop().await;
}

#[tokio::test]
async fn what_daprd_does_not_take_is_refused_with_its_codes() {
    let folder = TempDir::new().unwrap();
    let world = World::open(folder.path(), &ManualClock::default()).await;
    let huge = json!({ "dueTime": "1s", "data": "x".repeat(4 << 20) }).to_string();
    for (name, body, status, says) in [
        ("j", "", 400, "DAPR_SCHEDULER_SCHEDULE_EMPTY"),
        ("j", "{}", 400, "Schedule is empty"),
        ("j", "[{}]", 400, "ERR_MALFORMED_REQUEST"),
        ("j", r#"{"schedule":"@daily","repeats":-1}"#, 400, "failed deserializing HTTP body"),
        ("j", r#"{"name":"j","dueTime":"1s"}"#, 400, "Set the job name in the url only"),
        ("j", r#"{"name":"j","dueTime":"1s"}"#, 400, "DAPR_SCHEDULER_JOB_NAME\""),
        ("a%7Cb", r#"{"dueTime":"1s"}"#, 400, "Name is empty"),
        ("%20", r#"{"dueTime":"1s"}"#, 400, "DAPR_SCHEDULER_JOB_NAME_EMPTY"),
        ("a%2Fb", r#"{"dueTime":"1s"}"#, 500, "must not contain '/'"),
        ("a%07", r#"{"dueTime":"1s"}"#, 500, "must not contain control characters"),
        ("j", r#"{"dueTime":"soon"}"#, 500, "desc = job failed validation: due time format"),
        ("j", r#"{"dueTime":"1s","ttl":"1s"}"#, 500, "must have a schedule to have a ttl"),
        ("j", r#"{"schedule":"* * * * *"}"#, 500, "six cron fields"),
        ("j", r#"{"schedule":"CRON_TZ=Mars/Base 0 0 0 * * *"}"#, 500, "no zone `Mars/Base`"),
        ("j", &huge, 400, "failed to read request body: stream too large"),
    ] {
        let (got, answer) = world.call(&format!("POST /v1.0/jobs/{name}"), body.to_owned()).await;
        let answer = answer.to_string();
        assert!(got == status && answer.contains(says), "{name} {body}: {got} {answer}");
    }
    assert!(names(&world).await.is_empty());
    world.stop().await;
}

/// daprd 1.18.1 stores an empty protobuf value for it, which it can neither send nor show.
#[tokio::test]
async fn a_job_without_data_never_arrives() {
    let folder = TempDir::new().unwrap();
    let app = answering(|_| 200);
    let world = World::with_app(&folder, &app).await;
    schedule(&world, "j", json!({ "dueTime": "10s" })).await;
    let (status, answer) = world.call("GET /v1.0/jobs/j", "").await;
    assert!(status == 500 && answer["errorCode"] == "ERR_INTERNAL", "{answer}");
    for seconds in [10, 1, 1, 1] {
        assert_eq!(names(&world).await, ["j"]);
        world.advance(seconds * SECOND).await;
    }
    assert!(app.events().is_empty() && names(&world).await.is_empty());
    world.stop().await;
}

#[tokio::test]
async fn a_name_is_sent_as_it_is() {
    let folder = TempDir::new().unwrap();
    let app = answering(|_| 200);
    let world = World::with_app(&folder, &app).await;
    for (name, path) in
        [("a%20b", "/job/a%20b"), ("%C3%A4", "/job/%C3%A4"), ("a%2541", "/job/a%41")]
    {
        schedule(&world, name, json!({ "dueTime": "0s", "data": 1 })).await;
        world.nothing_due().await;
        assert_eq!(app.events().pop().unwrap().path, path);
    }
    world.stop().await;
}

#[tokio::test]
async fn the_host_schedules_for_ever() {
    let folder = TempDir::new().unwrap();
    let app = answering(|nth| if nth < 8 { 500 } else { 200 });
    let world = World::with_app(&folder, &app).await;
    let job = |schedule: Option<&str>| OutgoingJob {
        name: JobName::new("j").unwrap(),
        due: Some(world.clock.now() + SECOND),
        schedule: schedule.map(str::to_owned),
        repeats: None,
        data: r#"{"wharf":1}"#.into(),
    };
    world.dapr.schedule(job(Some("@every 1h"))).await.unwrap();
    world.dapr.schedule(job(None)).await.unwrap();
    let (_, shown) = world.call("GET /v1.0/jobs/j", "").await;
    assert_eq!(shown["failurePolicy"], json!({ "constant": { "interval": "1s" } }));
    assert_eq!(shown.get("schedule"), None);
    for attempts in 1..=9 {
        world.advance(SECOND).await;
        assert_eq!(app.events().len(), attempts);
    }
    assert!(names(&world).await.is_empty());

    world.dapr.schedule(job(Some("@every 1h"))).await.unwrap();
    for _ in 0..2 {
        world.dapr.cancel(JobName::new("j").unwrap()).await.unwrap();
    }
    world.advance(3600 * SECOND).await;
    assert_eq!(app.events().len(), 9);

    let refused = [
        job(Some("sometimes")),
        OutgoingJob { data: "no".into(), ..job(None) },
        OutgoingJob { name: JobName::new("a|b").unwrap(), ..job(None) },
        OutgoingJob { repeats: Some(2), ..job(None) },
        OutgoingJob { data: json!("x".repeat(4 << 20)).to_string(), ..job(None) },
    ];
    for job in refused {
        let name = format!("{:?} {:?}", job.name, job.schedule);
        let result = world.dapr.schedule(job).await;
        assert!(matches!(result, Err(BackendError::Refused(_))), "{name}: {result:?}");
    }
    world.dapr.close().await;
    let late = world.dapr.schedule(job(None)).await;
    assert!(matches!(late, Err(BackendError::Unavailable(_))), "{late:?}");
}

/// One that was stored before the limit was known must not hold the others either.
#[tokio::test]
async fn a_job_with_an_endless_interval_holds_no_other() {
    let folder = TempDir::new().unwrap();
    let status = |path: &str| if path == "/job/far" { 500 } else { 200 };
    let app = App::new(json!([]), move |_, one| (status(&one.path), String::new()));
    let world = World::with_app(&folder, &app).await;
    let far = |seconds: &str| {
        let policy = json!({ "constant": { "interval": seconds } });
        json!({ "dueTime": "0s", "data": 1, "failurePolicy": policy }).to_string()
    };
    let (status, body) = world.call("POST /v1.0/jobs/far", far("9000000000000s")).await;
    assert_eq!((status, &body["errorCode"]), (400, &json!("ERR_MALFORMED_REQUEST")));
    assert!(body["message"].as_str().unwrap().contains("at most 315576000000"), "{body}");
    let (status, _) = world.call("POST /v1.0/jobs/far", far("315576000000s")).await;
    assert_eq!(status, 204);
    let policy = FailurePolicy::Constant {
        interval: Some(Duration::from_secs(9_000_000_000_000)),
        max_retries: None,
    };
    let data = Some("1".to_owned());
    let stored = AskedJob { due_time: Some("0s".into()), data, policy, ..AskedJob::default() };
    world.dapr.schedule_job("far", stored, true).await.unwrap();
    world.nothing_due().await;
    schedule(&world, "near", json!({ "dueTime": "1s", "data": 1 })).await;
    world.advance(SECOND).await;
    assert_eq!(app.events().last().unwrap().path, "/job/near");
    world.stop().await;
}
