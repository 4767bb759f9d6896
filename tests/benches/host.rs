//! The whole host in process: callbacks go through the ingress router, without sockets, to the
//! audit component on a SQLite ledger in a file. Beside it a consumer as one would write it by
//! hand: the same row, an inbox row, one transaction for each callback.
//!
//! Then where the processor time goes: decoding, sandbox and commits are measured by themselves,
//! and what remains of an event's time is the host's own work.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use audit::record;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;
use tower::ServiceExt as _;
use wharf::app::App;
use wharf::catalog::Catalog;
use wharf::catalog::load;
use wharf::clock::{Clock as _, SystemClock};
use wharf::config::Config;
use wharf::contract::Decode;
use wharf::dispatch::decide::internal;
use wharf::dispatch::reads::LiveReads;
use wharf::effect::Effect;
use wharf::event::{Arrival, Decoded, Origin, TopicOrigin, WireEvent};
use wharf::ledger::{Committed, Outcome, Submission};
use wharf::name::{ComponentId, Pubsub, Topic};
use wharf::runtime::{Call, Component};
use wharf_tests::built;
use wharf_tests::figures::{self, Budget, Figure, Line};
use wharf_tests::host::root;

/// As daprd hands them over: bulks one after the other, single events side by side.
const BULK: usize = 100;
const IN_FLIGHT: usize = 32;
const EVENTS: u64 = 12_000;

pub fn run() {
    // Each delivery writes its log line, to where it costs the least.
    let nowhere = File::create("/dev/null").expect("there is a /dev/null");
    tracing_subscriber::fmt().with_env_filter("info").with_writer(nowhere).init();
    let folder =
        TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder can be written");
    let runtime = Runtime::new().expect("a runtime starts");
    runtime.block_on(benchmarks(&folder));
}

async fn benchmarks(folder: &TempDir) {
    figures::heading("host, SQLite, synchronous = FULL");
    let (app, started) = start(folder, "host").await;
    let native = Arc::new(Native::open(folder).await);
    let parts = Parts::new(folder).await;

    let wharf = send(&app.ingress(), Shape::Bulk, 0).await;
    let by_hand = native.run(Shape::Bulk, 0).await;
    line("events, bulks of 100, one at a time", wharf.rate, Some(by_hand.rate), None);
    let budget = Duration::from_micros(12);
    parts.lines(wharf.cpu, by_hand.cpu, BULK, "bulk", budget).await;

    let wharf = send(&app.ingress(), Shape::Single, EVENTS).await;
    let by_hand = native.run(Shape::Single, EVENTS).await;
    line("events, single, 32 in flight", wharf.rate, Some(by_hand.rate), None);
    let budget = Duration::from_micros(30);
    parts.lines(wharf.cpu, by_hand.cpu, IN_FLIGHT, "single", budget).await;

    line("start to healthy, compiling audit", Figure::Mean(started), None, None);
    app.stop().await;
}

fn line(name: &str, wharf: Figure, native: Option<Figure>, budget: Option<Budget>) {
    Line { name, wharf, native, budget }.print();
}

/// A host with the audit component, and how long it took until it was healthy.
async fn start(folder: &TempDir, name: &str) -> (App, Duration) {
    let data = folder.path().join(name);
    let config = Config { cache: Some(data.join("cache")), data, ..Config::default() };
    std::fs::create_dir(&config.data).expect("the data folder can be made");
    let began = Instant::now();
    let wasm = std::path::Path::new(built::AUDIT);
    let offer = load::read(&root().join("components/audit"), wasm).expect("audit is whole");
    let contracts = vec![root().join("contracts/cloudevents")];
    let app = App::build(config, contracts, vec![offer], Arc::new(SystemClock)).await;
    let app = app.expect("the host starts");
    app.start();
    let health = Request::get("/health").body(Body::empty()).expect("a request");
    let answer = app.ingress().oneshot(health).await.expect("routers do not fail");
    assert_eq!(answer.status(), StatusCode::OK);
    (app, began.elapsed())
}

#[derive(Clone, Copy)]
enum Shape {
    Bulk,
    Single,
}

/// Throughput, and processor time for each event.
struct Run {
    rate: Figure,
    cpu: Option<Duration>,
}

impl Run {
    async fn of(work: impl Future<Output = ()>) -> Self {
        let (began, cpu) = (Instant::now(), figures::cpu());
        work.await;
        let took = began.elapsed();
        let cpu = figures::cpu().zip(cpu).map(|(after, before)| (after - before) / EVENTS as u32);
        Self { rate: figures::rate(EVENTS as usize, took), cpu }
    }
}

async fn send(router: &Router, shape: Shape, first: u64) -> Run {
    let callbacks = callbacks(shape, first).into_iter().map(|(content_type, body)| {
        let router = router.clone();
        async move {
            let request = Request::post("/events/task-events")
                .header("content-type", content_type)
                .header("pubsubName", "todo-pubsub")
                .body(Body::from(body));
            let answer = router.oneshot(request.expect("a request")).await;
            let body = answer.expect("routers do not fail").into_body();
            let body = axum::body::to_bytes(body, usize::MAX).await.expect("a whole answer");
            let answer = String::from_utf8_lossy(&body);
            assert!(answer.contains("SUCCESS") && !answer.contains("RETRY"), "{answer}");
        }
    });
    Run::of(all(callbacks, shape.in_flight())).await
}

/// Every callback is a task, as every connection is in a server.
async fn all<F>(callbacks: impl Iterator<Item = F>, in_flight: usize)
where
    F: Future<Output = ()> + Send + 'static,
{
    let tasks = futures::stream::iter(callbacks).map(tokio::spawn).buffer_unordered(in_flight);
    tasks.for_each(async |done| done.expect("no callback panics")).await;
}

impl Shape {
    fn in_flight(self) -> usize {
        match self {
            Self::Bulk => 1,
            Self::Single => IN_FLIGHT,
        }
    }
}

/// Content types and bodies.
fn callbacks(shape: Shape, first: u64) -> Vec<(&'static str, String)> {
    let events: Vec<_> = (first..first + EVENTS).map(event).collect();
    match shape {
        Shape::Single => {
            events.into_iter().map(|event| ("application/cloudevents+json", event)).collect()
        }
        Shape::Bulk => {
            events.chunks(BULK).map(|events| ("application/json", bulk(events))).collect()
        }
    }
}

fn bulk(events: &[String]) -> String {
    let entries = events.iter().enumerate().map(|(index, event)| {
        format!(
            r#"{{"entryId":"{index}","event":{event},"metadata":{{}},"contentType":"application/cloudevents+json"}}"#
        )
    });
    let entries: Vec<_> = entries.collect();
    format!(
        r#"{{"id":"b","type":"com.dapr.event.sent.bulk","topic":"task-events","pubsubname":"todo-pubsub","metadata":{{}},"entries":[{}]}}"#,
        entries.join(",")
    )
}

fn event(number: u64) -> String {
    format!(
        concat!(
            r#"{{"specversion":"1.0","id":"00000000-0000-4000-8000-{number:012}","source":"chat-api","#,
            r#""type":"com.todo.task.created.v1","subject":"{number}","time":"2026-02-03T10:00:00Z","#,
            r#""datacontenttype":"application/json","data":{{"task_id":"{number}","user_id":"u-7a1c","#,
            r#""task":{{"id":"{number}","title":"Water the plants","completed":false,"priority":"medium","#,
            r#""tags":["home"],"due_date":"2026-02-04T18:00:00Z","recurrence":"weekly"}}}}}}"#
        ),
        number = number
    )
}

/// The steps of the way by themselves, in a host of their own.
struct Parts {
    app: App,
    catalog: Arc<Catalog>,
    component: Arc<Component>,
    decode: Option<Duration>,
    sandbox: Option<Duration>,
    next: std::sync::atomic::AtomicU64,
}

impl Parts {
    async fn new(folder: &TempDir) -> Self {
        let (app, _) = start(folder, "parts").await;
        let catalog = app.registry.snapshot();
        let id = ComponentId::new("audit").expect("a name");
        let component = Arc::clone(catalog.component(&id).expect("audit is loaded"));
        let next = std::sync::atomic::AtomicU64::new(0);
        let mut parts = Self { app, catalog, component, decode: None, sandbox: None, next };
        let wires: Vec<_> = (0..EVENTS).map(wire).collect();
        let contracts = &parts.catalog.contracts;
        let decode = Run::of(async {
            for wire in &wires {
                std::hint::black_box(contracts.decode(wire));
            }
        });
        parts.decode = decode.await.cpu;
        let decoded: Vec<_> = wires.into_iter().map(|wire| parts.decoded(wire)).collect();
        let sandbox = Run::of(async {
            for (decoded, wire) in &decoded {
                parts.effects(decoded, wire).await;
            }
        });
        parts.sandbox = sandbox.await.cpu;
        parts
    }

    /// What an event costs the processor, and whom.
    async fn lines(
        &self,
        whole: Option<Duration>,
        native: Option<Duration>,
        in_flight: usize,
        shape: &str,
        budget: Duration,
    ) {
        let commit = self.commit(in_flight).await;
        let (Some(whole), Some(native)) = (whole, native) else { return };
        let (Some(decode), Some(sandbox), Some(commit)) = (self.decode, self.sandbox, commit)
        else {
            return;
        };
        let mean = |name: &str, time, native: Option<Duration>, budget| {
            let name = format!("  {shape}, processor time: {name}");
            line(&name, Figure::Mean(time), native.map(Figure::Mean), budget);
        };
        mean("whole", whole, Some(native), None);
        mean("decode", decode, None, None);
        mean("sandbox", sandbox, None, None);
        mean("commit", commit, None, None);
        let budget = Budget::AtMost { p50: budget, p99: None };
        mean("host", whole.saturating_sub(decode + sandbox + commit), None, Some(budget));
    }

    async fn commit(&self, in_flight: usize) -> Option<Duration> {
        let first = self.next.fetch_add(EVENTS, std::sync::atomic::Ordering::Relaxed);
        let mut submissions = Vec::new();
        for number in first..first + EVENTS {
            let (decoded, wire) = self.decoded(wire(number));
            let statements = self.effects(&decoded, &wire).await.into_iter();
            let statements = statements.filter_map(|effect| match effect {
                Effect::Execute(execute) => Some(execute),
                Effect::Publish(_)
                | Effect::State(_)
                | Effect::Schedule(_)
                | Effect::Cancel(_)
                | Effect::Invoke(_) => None,
            });
            let outcome = Outcome::Done {
                statements: statements.collect(),
                outbox: Vec::new(),
                internal: Vec::new(),
            };
            let head = internal::head(&self.component, &decoded, SystemClock.now());
            let log = Vec::new();
            submissions.push(Submission { head, wire, claim: None, attempts: 1, log, outcome });
        }
        let commits = submissions.into_iter().map(|submission| {
            let ledger = self.app.ledger.clone();
            async move { assert_eq!(ledger.commit(submission).await, Ok(Committed::Done)) }
        });
        Run::of(all(commits, in_flight)).await.cpu
    }

    fn decoded(&self, wire: WireEvent) -> (Arc<Decoded>, Arc<WireEvent>) {
        let Decode::Event(decoded) = self.catalog.contracts.decode(&wire) else {
            unreachable!("the event is valid")
        };
        (Arc::new(*decoded), Arc::new(wire))
    }

    async fn effects(&self, decoded: &Arc<Decoded>, wire: &Arc<WireEvent>) -> Vec<Effect> {
        let call = Call {
            decoded: Arc::clone(decoded),
            wire: Arc::clone(wire),
            attempt: 1,
            now: SystemClock.now(),
            seed: SystemClock.draw(),
            reads: Arc::new(LiveReads {
                ledger: self.app.ledger.clone(),
                backend: self.app.dapr.backend(),
            }),
            record: true,
        };
        let permit = self.component.permit(Duration::from_secs(1)).await.expect("room");
        self.component.invoke(permit, call).await.outcome.expect("effects")
    }
}

fn wire(number: u64) -> WireEvent {
    let origin = TopicOrigin {
        path: "/events/task-events".to_owned(),
        pubsub: Pubsub::new("todo-pubsub").ok(),
        topic: Topic::new("task-events").ok(),
        ..TopicOrigin::default()
    };
    let arrival = Arrival { origin: Origin::Topic(origin), ..Arrival::default() };
    WireEvent { bytes: Bytes::from(event(number)), arrival }
}

/// What one would write by hand: parse, one transaction for each callback, two inserts an event.
struct Native {
    connection: Mutex<SqliteConnection>,
}

const INBOX: &str = "CREATE TABLE inbox (id TEXT PRIMARY KEY)";

impl Native {
    async fn open(folder: &TempDir) -> Self {
        let mut connection = SqliteConnectOptions::new()
            .filename(folder.path().join("native.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .connect()
            .await
            .expect("the file opens");
        let table = include_str!("../../components/audit/migrations/sqlite/0001_audit_log.sql");
        for sql in [INBOX, table] {
            connection.execute(sql).await.expect("the table is made");
        }
        Self { connection: connection.into() }
    }

    async fn run(self: &Arc<Self>, shape: Shape, first: u64) -> Run {
        let callbacks = callbacks(shape, first).into_iter().map(|(_, body)| {
            let native = Arc::clone(self);
            async move { native.take(shape, &body).await }
        });
        Run::of(all(callbacks, shape.in_flight())).await
    }

    async fn take(&self, shape: Shape, body: &str) {
        let events = match shape {
            Shape::Single => vec![body],
            Shape::Bulk => {
                let bulk: Envelope<'_> = serde_json::from_str(body).expect("a bulk");
                bulk.entries.into_iter().map(|entry| entry.event.get()).collect()
            }
        };
        let rows: Vec<_> = events.into_iter().map(row).collect();
        let mut connection = self.connection.lock().await;
        let mut transaction = connection.begin().await.expect("a transaction");
        for row in rows {
            let id = value(&row, 0).to_owned();
            let new = sqlx::query("INSERT INTO inbox VALUES ($1) ON CONFLICT DO NOTHING").bind(id);
            if new.execute(&mut *transaction).await.expect("inserted").rows_affected() == 1 {
                let insert =
                    row.into_iter().fold(sqlx::query(INSERT), |query, value| match value {
                        record::Value::Null => query.bind(None::<i64>),
                        record::Value::Integer(value) => query.bind(value),
                        record::Value::Text(value) | record::Value::Time(value) => {
                            query.bind(value)
                        }
                        record::Value::Bytes(value) => query.bind(value),
                    });
                insert.execute(&mut *transaction).await.expect("inserted");
            }
        }
        transaction.commit().await.expect("committed");
    }
}

const INSERT: &str = "INSERT INTO audit_log (event_id, source, type, event_type, contract, pubsub, \
    topic, user_id, entity_id, occurred_at, recorded_at, payload, error, attempts) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING";

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    entries: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    event: &'a RawValue,
}

#[derive(Deserialize)]
struct Parsed<'a> {
    id: String,
    source: String,
    #[serde(rename = "type")]
    ty: String,
    time: String,
    #[serde(borrow)]
    data: &'a RawValue,
}

fn row(event: &str) -> [record::Value; 14] {
    let parsed: Parsed<'_> = serde_json::from_str(event).expect("an event");
    let wire_type = parsed.ty.clone();
    let (contract, data) = ("cloudevents".to_owned(), parsed.data.get().to_owned());
    let Parsed { id, source, ty, time, .. } = parsed;
    let arrival = record::Arrival {
        pubsub: Some("todo-pubsub".to_owned()),
        topic: Some("task-events".to_owned()),
        wire_type,
        payload: event.as_bytes().to_vec(),
        recorded_at: SystemTime::from(SystemClock.now()),
    };
    record::row(record::Event { id, source, ty, contract, time, data }, arrival)
}

fn value(row: &[record::Value], at: usize) -> &str {
    match row.get(at) {
        Some(record::Value::Text(text)) => text,
        _ => "",
    }
}
