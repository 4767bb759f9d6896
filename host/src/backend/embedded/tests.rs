//! The embedded Dapr through its front doors: its HTTP API on one side, a model of an app on the
//! other.

mod api;
mod bindings;
mod delivery;
mod jobs;
mod secrets;
mod state;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::{Embedded, Keep, Options};
use crate::clock::ManualClock;
use crate::name::{Pubsub, StoreName, Topic};

/// One request that the app got.
#[derive(Debug, Clone)]
struct Received {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Value,
    text: String,
}

impl Received {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The ids of a bulk's events, in order.
    fn ids(&self) -> Vec<&str> {
        let entries = self.body["entries"].as_array().unwrap();
        entries.iter().map(|entry| entry["event"]["id"].as_str().unwrap()).collect()
    }
}

type Answer = dyn Fn(usize, &Received) -> (u16, String) + Send + Sync;

/// A model of an app: what it subscribes, and what it answers to its nth event request.
#[derive(Clone)]
struct App {
    subscriptions: Value,
    answer: Arc<Answer>,
    healthy: Arc<AtomicBool>,
    /// What it answers when it is asked whether it wants a binding.
    probe: Arc<AtomicU16>,
    /// Everything but health probes.
    received: Arc<Mutex<Vec<Received>>>,
    events: watch::Sender<usize>,
}

impl App {
    fn new(
        subscriptions: Value,
        answer: impl Fn(usize, &Received) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        Self {
            subscriptions,
            answer: Arc::new(answer),
            healthy: Arc::new(AtomicBool::new(true)),
            probe: Arc::new(AtomicU16::new(200)),
            received: Arc::default(),
            events: watch::Sender::new(0),
        }
    }

    fn events(&self) -> Vec<Received> {
        let received = self.received.lock().unwrap();
        let events = received.iter().filter(|one| one.method == Method::POST);
        events.cloned().collect()
    }

    /// The `data` of single events, in order of arrival.
    fn data(&self) -> Vec<Value> {
        self.events().iter().map(|event| event.body["data"].clone()).collect()
    }

    async fn got(&self, events: usize) {
        let mut got = self.events.subscribe();
        in_time(got.wait_for(|got| *got >= events)).await.unwrap();
    }
}

async fn app(State(app): State<App>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    if path == "/health" {
        assert!(!parts.headers.contains_key("dapr-api-token"), "a probe carries no token");
        let healthy = app.healthy.load(Ordering::SeqCst);
        return if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
            .into_response();
    }
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let text = String::from_utf8_lossy(&body).into_owned();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let method = parts.method;
    let received =
        Received { method: method.clone(), path: path.clone(), headers: parts.headers, body, text };
    app.received.lock().unwrap().push(received.clone());
    match path.as_str() {
        "/dapr/config" => StatusCode::NOT_FOUND.into_response(),
        "/dapr/subscribe" => app.subscriptions.to_string().into_response(),
        _ if method == Method::OPTIONS => {
            let status = app.probe.load(Ordering::SeqCst);
            StatusCode::from_u16(status).unwrap().into_response()
        }
        _ => {
            let mut nth = 0;
            app.events.send_modify(|events| {
                nth = *events;
                *events += 1;
            });
            let (status, text) = (app.answer)(nth, &received);
            (StatusCode::from_u16(status).unwrap(), text).into_response()
        }
    }
}

/// An embedded Dapr on a file of its own, with an app and a manual clock.
struct World {
    dapr: Embedded,
    clock: ManualClock,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl World {
    async fn open(folder: &Path, clock: &ManualClock) -> Self {
        Self::open_with(folder, clock, |_| {}).await
    }

    async fn open_with(
        folder: &Path,
        clock: &ManualClock,
        change: impl FnOnce(&mut Options),
    ) -> Self {
        let mut options = Options {
            path: folder.join("dapr.db"),
            data: folder.to_owned(),
            pubsubs: vec![Pubsub::new("shop").unwrap()],
            state_stores: vec![StoreName::new("store").unwrap()],
            secret_stores: vec![StoreName::new("vault").unwrap()],
            bindings: Vec::new(),
            secret_variable: |name| (name == "from-env").then(|| "outside".to_owned()),
            notify_url: None,
            app_id: "wharf".into(),
            app_token: Some("from-dapr".into()),
            api_token: None,
            clock: Arc::new(clock.clone()),
            retention: Options::RETENTION,
        };
        change(&mut options);
        Self {
            dapr: Embedded::open(options).await.unwrap(),
            clock: clock.clone(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// With an app that is started and has been asked.
    async fn with_app(folder: &TempDir, model: &App) -> Self {
        let world = Self::open(folder.path(), &ManualClock::default()).await;
        world.start(model).await;
        world
    }

    async fn start(&self, model: &App) {
        let router = Router::new().fallback(app).with_state(model.clone());
        self.deliver_to(router).await;
    }

    async fn deliver_to(&self, router: Router) {
        let tasks = self.tasks.clone();
        let keep: Keep = Arc::new(move |_, run| drop(tasks.spawn(run)));
        self.dapr.start(router, &keep, self.stop.clone());
        self.dapr.ready().await;
    }

    /// Calls the API with a line such as `GET /v1.0/metadata`; JSON goes in and comes out.
    async fn call(&self, line: &str, body: impl Into<Body>) -> (u16, Value) {
        let (status, _, body) = self.call_with(line, &[], body).await;
        (status, body)
    }

    /// The same with headers, which also come back.
    async fn call_with(
        &self,
        line: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> (u16, HeaderMap, Value) {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        let (parts, body) = self.dapr.router().oneshot(request).await.unwrap().into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (parts.status.as_u16(), parts.headers, value)
    }

    /// Moves the clock and returns when nothing is due any more.
    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.nothing_due().await;
    }

    async fn nothing_due(&self) {
        let mut acknowledged = self.dapr.acknowledgements();
        let settled = async {
            while self.dapr.waiting().await.unwrap() > 0 {
                acknowledged.changed().await.unwrap();
            }
        };
        in_time(settled).await;
    }

    async fn publish(&self, query: &str, data: Value) {
        let request = Request::post(format!("/v1.0/publish/shop/orders{query}"))
            .header("content-type", "application/json")
            .body(Body::from(data.to_string()));
        let answer = self.dapr.router().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }

    /// Returns when the app has settled everything; each retry is waited for by moving the clock.
    async fn settle(&self) {
        let mut acknowledged = self.dapr.acknowledgements();
        let settled = async {
            while self.dapr.waiting().await.unwrap() > 0 {
                tokio::select! {
                    changed = acknowledged.changed() => changed.unwrap(),
                    () = self.sleeper() => self.clock.advance(Duration::from_secs(1)),
                }
            }
        };
        in_time(settled).await;
    }

    /// Returns when something sleeps by the clock.
    async fn sleeper(&self) {
        while self.clock.next_wake().is_none() {
            tokio::task::yield_now().await;
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.dapr.close().await;
    }

    async fn stored(&self, topic: &str) -> Vec<Value> {
        let topic = Topic::new(topic).unwrap();
        let stored = self.dapr.messages(&Pubsub::new("shop").unwrap(), &topic, 100).await.unwrap();
        stored.iter().map(|one| serde_json::from_slice(&one.body).unwrap_or(Value::Null)).collect()
    }
}

/// What takes longer never happens.
async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.unwrap()
}

fn singly() -> Value {
    json!([{ "pubsubname": "shop", "topic": "orders", "route": "/orders" }])
}

fn in_bulk(max: u32) -> Value {
    json!([{
        "pubsubname": "shop", "topic": "orders", "routes": { "default": "/orders" },
        "bulkSubscribe": { "enabled": true, "maxMessagesCount": max, "maxAwaitDurationMs": 250 },
    }])
}

fn success() -> (u16, String) {
    (200, r#"{"status":"SUCCESS"}"#.into())
}
