//! Bindings: ticks at a model of an app, and calls of the two that the embedded Dapr has.

use std::fs;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::super::Options;
use super::{App, World};
use crate::backend::{Backend as _, BackendError};
use crate::clock::ManualClock;
use crate::contract::BindingRules;
use crate::effect::Call;
use crate::event::Trace;
use crate::name::{BindingName, ContractName};

fn binding(name: &str, period: Option<u64>) -> BindingRules {
    let period = period.map(Duration::from_secs);
    BindingRules { name: BindingName::new(name).unwrap(), period }
}

fn outputs(options: &mut Options) {
    options.bindings =
        ["notify-file", "notify-http", "mail"].map(|name| binding(name, None)).to_vec();
}

fn call_of(name: &str, operation: &str, data: &'static [u8]) -> Call {
    Call {
        id: "id-1".into(),
        binding: BindingName::new(name).unwrap(),
        operation: operation.into(),
        data: data.into(),
        metadata: vec![("to".into(), "ann".into())],
        contract: ContractName::new("c").unwrap(),
        subject: None,
        trace: None,
    }
}

async fn ticking(folder: &TempDir, model: &App) -> World {
    let clock = ManualClock::default();
    clock.advance(Duration::from_millis(2_500));
    let bindings = vec![binding("clock", Some(300)), binding("notify-file", None)];
    let world =
        World::open_with(folder.path(), &clock, |options| options.bindings = bindings).await;
    world.start(model).await;
    world
}

#[tokio::test]
async fn a_binding_ticks_at_each_period_since_the_epoch() {
    let folder = TempDir::new().unwrap();
    let app = App::new(json!([]), |_, _| (200, String::new()));
    let world = ticking(&folder, &app).await;
    let probes: Vec<_> = {
        let received = app.received.lock().unwrap();
        let probes = received.iter().filter(|one| one.method == Method::OPTIONS);
        probes.map(|one| one.path.clone()).collect()
    };
    assert_eq!(probes, ["/clock"]);
    world.advance(Duration::from_secs(297)).await;
    assert!(app.events().is_empty());
    world.advance(Duration::from_millis(500)).await;
    let tick = app.events().remove(0);
    assert_eq!((tick.path.as_str(), tick.text.as_str()), ("/clock", ""));
    assert_eq!(tick.header("content-type"), Some("application/json"));
    assert_eq!(tick.header("timezone"), Some("Local"));
    let read = "2026-01-01 00:05:00 +0000 UTC m=+297.500000000";
    assert_eq!(tick.header("readtimeutc"), Some(read));
    assert_eq!(tick.header("dapr-api-token"), Some("from-dapr"));
    // What passes in one step is one tick.
    world.advance(Duration::from_secs(1000)).await;
    assert_eq!(app.events().len(), 2);
    world.advance(Duration::from_secs(200)).await;
    assert_eq!(app.events().len(), 3);
    world.stop().await;
}

#[tokio::test]
async fn a_tick_that_fails_is_not_tried_again() {
    let folder = TempDir::new().unwrap();
    let app = App::new(json!([]), |_, _| (500, String::new()));
    let world = ticking(&folder, &app).await;
    world.advance(Duration::from_secs(300)).await;
    world.advance(Duration::from_secs(200)).await;
    assert_eq!(app.events().len(), 1);
    world.advance(Duration::from_secs(100)).await;
    assert_eq!(app.events().len(), 2);
    world.stop().await;
}

#[tokio::test]
async fn the_app_says_whether_it_wants_the_ticks() {
    for (status, wants) in [(200, true), (204, true), (405, true), (404, false), (500, false)] {
        let folder = TempDir::new().unwrap();
        let app = App::new(json!([]), |_, _| (200, String::new()));
        app.probe.store(status, Ordering::SeqCst);
        let world = ticking(&folder, &app).await;
        world.advance(Duration::from_secs(300)).await;
        assert_eq!(app.events().len(), usize::from(wants), "{status}");
        world.stop().await;
    }
}

#[tokio::test]
async fn a_notification_is_a_line_of_the_file() {
    let folder = TempDir::new().unwrap();
    let world = World::open_with(folder.path(), &ManualClock::default(), outputs).await;
    let body = json!({ "operation": "create", "data": { "n": 1 },
                       "metadata": { "to": "ben", "idempotency-key": "api" } });
    let line = "POST /v1.0/bindings/notify-file";
    assert_eq!(world.call(line, body.to_string()).await, (204, json!("")));
    let calls = [
        call_of("notify-file", "create", b"{\"hello\":1}"),
        call_of("notify-file", "create", b"no json"),
        Call {
            trace: Trace::new("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None),
            ..call_of("notify-file", "create", b"\xff")
        },
    ];
    for call in calls {
        assert_eq!(world.dapr.invoke(call).await.as_deref(), Ok(&b""[..]));
    }
    let file = fs::read_to_string(folder.path().join("notifications.jsonl")).unwrap();
    let lines: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = |key: &str, data: Value, metadata: Value| {
        json!({ "time": "2026-01-01T00:00:00.000000Z", "binding": "notify-file",
                "operation": "create", "idempotency-key": key, "data": data, "metadata": metadata })
    };
    let traced = json!({ "to": "ann",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" });
    assert_eq!(
        lines,
        [
            line("api", json!({ "n": 1 }), json!({ "to": "ben" })),
            line("id-1", json!({ "hello": 1 }), json!({ "to": "ann" })),
            line("id-1", json!("no json"), json!({ "to": "ann" })),
            line("id-1", json!("/w=="), traced),
        ]
    );
    world.stop().await;
}

#[tokio::test]
async fn lines_of_many_callers_do_not_mix() {
    let folder = TempDir::new().unwrap();
    let world = World::open_with(folder.path(), &ManualClock::default(), outputs).await;
    let calls = (0..50).map(|_| world.dapr.invoke(call_of("notify-file", "create", b"[1,2,3]")));
    assert!(futures::future::join_all(calls).await.iter().all(Result::is_ok));
    let file = fs::read_to_string(folder.path().join("notifications.jsonl")).unwrap();
    assert_eq!(file.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count(), 50);
    world.stop().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_written_may_be_later() {
    let folder = TempDir::new().unwrap();
    let world = World::open_with(folder.path(), &ManualClock::default(), outputs).await;
    fs::create_dir(folder.path().join("notifications.jsonl")).unwrap();
    let failed = world.dapr.invoke(call_of("notify-file", "create", b"1")).await;
    let Err(BackendError::Unavailable(why)) = failed else { panic!("{failed:?}") };
    assert!(why.contains("notifications.jsonl cannot be written"), "{why}");
    fs::remove_dir(folder.path().join("notifications.jsonl")).unwrap();
    assert!(world.dapr.invoke(call_of("notify-file", "create", b"1")).await.is_ok());
    world.stop().await;
}

#[tokio::test]
async fn calls_that_make_no_sense_are_refused_in_daprds_words() {
    let folder = TempDir::new().unwrap();
    let clock = ManualClock::default();
    let change = |options: &mut Options| {
        outputs(options);
        options.bindings.push(binding("clock", Some(300)));
    };
    let world = World::open_with(folder.path(), &clock, change).await;
    let huge = json!({ "operation": "create", "data": "x".repeat(4 << 20) }).to_string();
    for (name, body, status, says) in [
        ("nope", r#"{"operation":"create"}"#, 500, "couldn't find output binding nope"),
        ("clock", r#"{"operation":"create"}"#, 500, "couldn't find output binding clock"),
        ("notify-file", "{}", 500, "operation field is missing from request"),
        (
            "notify-file",
            r#"{"operation":"get"}"#,
            500,
            "does not support operation get. supported operations:create",
        ),
        ("notify-file", r#"{"operation":"get"}"#, 500, "ERR_INVOKE_OUTPUT_BINDING"),
        (
            "mail",
            r#"{"operation":"create"}"#,
            500,
            "notify-file and notify-http; `mail` needs a daprd",
        ),
        ("notify-http", r#"{"operation":"create"}"#, 500, "WHARF_DAPR__NOTIFY_URL"),
        ("notify-file", "no", 400, "ERR_MALFORMED_REQUEST"),
        ("notify-file", r#"{"operation":5}"#, 400, "failed deserializing HTTP body"),
        ("notify-file", &huge, 400, "stream too large"),
    ] {
        let line = format!("PUT /v1.0/bindings/{name}");
        let (got, answer) = world.call(&line, body.to_owned()).await;
        let answer = answer.to_string();
        assert!(got == status && answer.contains(says), "{name} {body}: {got} {answer}");
    }
    for call in [
        call_of("nope", "create", b"1"),
        call_of("mail", "create", b"1"),
        call_of("notify-http", "create", b"1"),
        call_of("notify-file", "delete", b"1"),
        Call { data: vec![b'x'; 4 << 20].into(), ..call_of("notify-file", "create", b"") },
    ] {
        let result = world.dapr.invoke(call).await;
        assert!(matches!(result, Err(BackendError::Refused(_))), "{result:?}");
    }
    assert!(!folder.path().join("notifications.jsonl").exists());
    world.stop().await;
}

type Posted = Arc<Mutex<Vec<(HeaderMap, String)>>>;

/// Something that takes notifications on a port of its own, with the status that the data says.
async fn receiver() -> (String, Posted, tokio::task::JoinHandle<()>) {
    let posted = Posted::default();
    let seen = Arc::clone(&posted);
    let router = axum::Router::new().fallback(move |headers: HeaderMap, body: String| async move {
        let status = body.parse().ok().and_then(|status| StatusCode::from_u16(status).ok());
        seen.lock().unwrap().push((headers, body));
        (status.unwrap_or(StatusCode::OK), "got it")
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/notify?key=hunter2", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, posted, server)
}

#[tokio::test]
async fn a_notification_is_posted_and_its_answer_judged() {
    let folder = TempDir::new().unwrap();
    let (url, posted, server) = receiver().await;
    let change = |options: &mut Options| {
        outputs(options);
        options.notify_url = Some(url);
    };
    let world = World::open_with(folder.path(), &ManualClock::default(), change).await;
    let answer = world.dapr.invoke(call_of("notify-http", "create", b"{\"hello\":1}")).await;
    assert_eq!(answer.as_deref(), Ok(&b"got it"[..]));
    {
        let posted = posted.lock().unwrap();
        let (headers, body) = &posted[0];
        assert_eq!(headers["idempotency-key"], "id-1");
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(body, "{\"hello\":1}");
    }
    let line = "POST /v1.0/bindings/notify-http";
    let (status, answer) = world.call(line, r#"{"operation":"create","data":"x"}"#).await;
    assert_eq!((status, answer), (200, json!("got it")));
    assert!(!posted.lock().unwrap()[1].0.contains_key("idempotency-key"));

    for (status, refused) in [
        (b"400", true),
        (b"404", false),
        (b"422", true),
        (b"302", false),
        (b"408", false),
        (b"429", false),
        (b"500", false),
        (b"503", false),
    ] {
        let result = world.dapr.invoke(call_of("notify-http", "create", status)).await;
        let text = format!("{result:?}");
        assert_eq!(matches!(result, Err(BackendError::Refused(_))), refused, "{text}");
        assert_eq!(matches!(result, Err(BackendError::Unavailable(_))), !refused, "{text}");
    }
    server.abort();
    assert!(server.await.is_err());
    let gone = world.dapr.invoke(call_of("notify-http", "create", b"1")).await;
    let Err(BackendError::Unavailable(why)) = gone else { panic!("{gone:?}") };
    assert!(!why.contains("hunter2"), "{why}");
    world.stop().await;
}

#[tokio::test]
async fn what_there_is_is_listed_and_guarded() {
    let folder = TempDir::new().unwrap();
    let clock = ManualClock::default();
    let change = |options: &mut Options| {
        options.bindings = vec![binding("clock", Some(300)), binding("notify-file", None)];
        options.state_stores.extend(options.state_stores.clone());
    };
    let world = World::open_with(folder.path(), &clock, change).await;
    let (_, metadata) = world.call("GET /v1.0/metadata", "").await;
    let components = metadata["components"].as_array().unwrap();
    let named = |one: &Value| {
        format!("{} {}", one["name"].as_str().unwrap(), one["type"].as_str().unwrap())
    };
    assert_eq!(
        components.iter().map(named).collect::<Vec<_>>(),
        [
            "shop pubsub.embedded",
            "store state.embedded",
            "vault secretstores.embedded",
            "clock bindings.cron",
            "notify-file bindings.embedded",
        ]
    );
    assert_eq!(clock.next_wake(), None, "nothing ticks before there is an app");
    world.stop().await;

    let change = |options: &mut Options| options.api_token = Some("secret".into());
    let world = World::open_with(folder.path(), &clock, change).await;
    for line in [
        "POST /v1.0/state/store",
        "GET /v1.0/state/store/k",
        "DELETE /v1.0/state/store/k",
        "POST /v1.0/state/store/bulk",
        "POST /v1.0/state/store/transaction",
        "GET /v1.0/secrets/vault/from-env",
        "GET /v1.0/secrets/vault/bulk",
        "POST /v1.0/jobs/j",
        "GET /v1.0/jobs/j",
        "DELETE /v1.0-alpha1/jobs/j",
        "POST /v1.0/bindings/notify-file",
    ] {
        for (token, admitted) in [("", false), ("wrong", false), ("secret", true)] {
            let (status, _, answer) = world.call_with(line, &[("dapr-api-token", token)], "").await;
            let turned_away = (status, &answer) == (401, &json!("invalid api token\n"));
            assert_eq!(!turned_away, admitted, "{line} {token}: {status} {answer}");
        }
    }
    world.stop().await;
}
