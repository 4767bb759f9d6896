//! What a commit costs at 1, 8 and 32 in flight, beside a native loop on the same file system that
//! inserts one row in a transaction of its own. The ledger writes more (the inbox row, the
//! component's row, an effect) and shares its transactions.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::join_all;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wharf::clock::{Clock as _, ManualClock, Timestamp};
use wharf::delivery::{DeliveryHead, DeliveryId};
use wharf::effect::{Execute, Outgoing, OutgoingEvent, SqlValue};
use wharf::event::{Arrival, WireEvent};
use wharf::grant::{self, Permitted};
use wharf::ledger::{Committed, Ledger, LedgerOptions, Migration, NewEffect, Outcome, Submission};
use wharf::manifest::{Database, Manifest};
use wharf::name::{ComponentId, EventKey, Lane, Pubsub, Topic};
use wharf_tests::figures::{self, Budget, Figure, Line};

const TABLE: &str = "CREATE TABLE audit_log (event_id TEXT PRIMARY KEY, payload TEXT NOT NULL)";
const INSERT: &str = "INSERT INTO audit_log (event_id, payload) VALUES ($1, $2)";
/// About as long as a task event.
const PAYLOAD: &str = concat!(
    r#"{"specversion":"1.0","type":"com.todo.task.created.v1","source":"todo-api","id":"","#,
    r#""subject":"1","time":"2026-01-01T00:00:00Z","datacontenttype":"application/json","#,
    r#""data":{"task_id":"1","user_id":"u1","task":{"id":"1","title":"Water the plants","#,
    r#""description":"All of them, the cactus too","completed":false,"priority":"high","#,
    r#""tags":["home","weekly"],"due_date":"2026-01-02T09:00:00Z"}}}"#
);

pub fn run() {
    let runtime = Runtime::new().expect("a runtime starts");
    let folder =
        TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder can be written");
    let options = LedgerOptions::at(folder.path().join("ledger.db"));
    let ours = runtime.block_on(Ours::open(options, Database::Sqlite));
    let native = runtime.block_on(Native::open(&folder));
    figures::heading("ledger on SQLite, synchronous = FULL");
    for in_flight in [1, 8, 32] {
        let (wharf, native) = runtime.block_on(rates(&ours, &native, in_flight));
        let name = format!("deliveries committed, {in_flight} in flight");
        let budget = (in_flight == 32).then_some(Budget::AtLeast(5000.0));
        Line { name: &name, wharf, native: Some(native), budget }.print();
    }
}

/// Both in turns, since a disk has its moods.
async fn rates(ours: &Ours, native: &Native, in_flight: usize) -> (Figure, Figure) {
    const TURNS: usize = 5;
    let (commits, inserts) = (160 + 120 * in_flight, 300);
    let mut took = (Duration::ZERO, Duration::ZERO);
    for _ in 0..TURNS {
        took.0 += ours.commit_many(commits as u64, in_flight).await;
        took.1 += native.insert_many(inserts as u64).await;
    }
    (figures::rate(TURNS * commits, took.0), figures::rate(TURNS * inserts, took.1))
}

pub struct Ours {
    pub ledger: Ledger,
    insert: Permitted,
    next: AtomicU64,
    now: Timestamp,
}

impl Ours {
    pub async fn open(options: LedgerOptions, database: Database) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let ledger = Ledger::open(options, &tasks, stop).await.expect("the ledger opens");
        let migration = Migration { set: "audit".into(), name: "1".into(), sql: TABLE.into() };
        ledger.migrate(&[migration]).await.expect("the table is made");
        Self {
            ledger,
            insert: insert(database),
            next: AtomicU64::new(0),
            now: ManualClock::default().now(),
        }
    }

    async fn commit_many(&self, count: u64, in_flight: usize) -> Duration {
        let start = Instant::now();
        futures::stream::iter(0..count)
            .map(|_| self.ledger.commit(self.delivery()))
            .buffer_unordered(in_flight)
            .for_each(async |answer| assert_eq!(answer, Ok(Committed::Done)))
            .await;
        start.elapsed()
    }

    /// One after the other is handed in without waiting, and all are answered.
    pub async fn commit_together(&self, count: u32) -> Duration {
        let all: Vec<_> = (0..count).map(|_| self.delivery()).collect();
        let start = Instant::now();
        let answers = join_all(all.into_iter().map(|one| self.ledger.commit(one))).await;
        let took = start.elapsed();
        assert!(answers.into_iter().all(|answer| answer == Ok(Committed::Done)));
        took
    }

    fn delivery(&self) -> Submission {
        let event = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let wire = WireEvent {
            bytes: Bytes::from_static(PAYLOAD.as_bytes()),
            arrival: Arrival::default(),
        };
        let outcome = Outcome::Done {
            statements: vec![self.execute(&event)],
            outbox: vec![effect(&event)],
            internal: Vec::new(),
        };
        let head = head(&event, self.now);
        Submission { head, wire: Arc::new(wire), claim: None, attempts: 1, log: vec![], outcome }
    }

    fn execute(&self, event: &str) -> Execute {
        Execute {
            statement: "insert".into(),
            sql: self.insert.sql.clone(),
            many: self.insert.many.clone(),
            params: vec![SqlValue::Text(event.to_owned()), SqlValue::Json(PAYLOAD.into())],
            expect: None,
        }
    }
}

fn head(event: &str, now: Timestamp) -> DeliveryHead {
    DeliveryHead {
        id: DeliveryId {
            component: ComponentId::new("audit").expect("a name"),
            key: EventKey::of(&[event.as_bytes()]),
        },
        subject: Some(event.to_owned()),
        ordered: true,
        contract: "cloudevents".parse().ok(),
        pubsub: Pubsub::new("todo-pubsub").ok(),
        topic: Topic::new("task-events").ok(),
        digest: "0".repeat(64),
        event_id: event.to_owned(),
        event_type: "com.todo.task.created.v1".into(),
        received_at: now,
    }
}

/// As a component's manifest declares it.
fn insert(database: Database) -> Permitted {
    let text = format!(
        "name = \"audit\"\nversion = \"1\"\n[[on]]\nevent = \"*\"\n\
         [grants]\ntables = {{ audit_log = \"write\" }}\n\
         [sql.insert]\nmany = true\nexecute = \"{INSERT}\"\n"
    );
    let manifest = Manifest::parse(Path::new("component.toml"), &text).expect("a manifest");
    let insert = manifest.sql.get("insert").expect("the statement");
    grant::statement(&manifest, "insert", insert, database).expect("it is granted")
}

fn effect(event: &str) -> NewEffect {
    NewEffect {
        lane: Lane::new(event).expect("a lane"),
        index: 0,
        outgoing: Outgoing::Publish(OutgoingEvent {
            pubsub: Pubsub::new("todo-pubsub").expect("a name"),
            topic: Topic::new("task-updates").expect("a name"),
            id: event.to_owned(),
            content_type: "application/cloudevents+json".into(),
            payload: Bytes::from_static(PAYLOAD.as_bytes()),
            partition_key: None,
        }),
    }
}

/// What one would write by hand: one connection, one insert, one transaction.
struct Native {
    connection: tokio::sync::Mutex<SqliteConnection>,
    next: AtomicU64,
}

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
        sqlx::query(TABLE).execute(&mut connection).await.expect("the table is made");
        Self { connection: connection.into(), next: AtomicU64::new(0) }
    }

    async fn insert_many(&self, count: u64) -> Duration {
        let mut connection = self.connection.lock().await;
        let start = Instant::now();
        for _ in 0..count {
            let event = self.next.fetch_add(1, Ordering::Relaxed).to_string();
            let query = sqlx::query(INSERT).bind(event).bind(PAYLOAD);
            query.execute(&mut *connection).await.expect("the row is inserted");
        }
        start.elapsed()
    }
}
