//! The ledger by its front door. This file is compiled twice: as `tests` it is on SQLite, as
//! `tests_on_postgres` on PostgreSQL.

#[path = "tests/behind.rs"]
mod behind;
#[path = "tests/bounds.rs"]
mod bounds;
#[path = "tests/claims.rs"]
mod claims;
#[path = "tests/commit.rs"]
mod commit;
#[path = "tests/effects.rs"]
mod effects;
#[path = "tests/many.rs"]
pub(super) mod many;
#[path = "tests/plans.rs"]
mod plans;
#[path = "tests/prune.rs"]
mod prune;
#[path = "tests/sql.rs"]
mod sql;
#[path = "tests/trouble.rs"]
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{
    ClaimedDelivery, Ledger, LedgerOptions, Migration, NewDelivery, NewEffect, Outcome, Place,
    Submission,
};
use crate::clock::{Clock as _, ManualClock, Timestamp};
use crate::delivery::{DeliveryHead, DeliveryId, LogLine};
use crate::effect::{Execute, Outgoing, OutgoingEvent, SqlValue};
use crate::event::{Arrival, Origin, WireEvent};
use crate::name::{ComponentId, EventKey, Lane, Pubsub, Topic};

/// A ledger of a test's own.
pub(super) struct Host {
    pub(super) ledger: Ledger,
    pub(super) place: Arc<TestPlace>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A file that goes away with it, or a schema.
pub(super) struct TestPlace {
    pub(super) place: Place,
    _folder: TempDir,
}

fn on_postgres() -> bool {
    module_path!().ends_with("postgres")
}

impl TestPlace {
    pub(super) async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let place = if on_postgres() {
            Place::Url(wharf_test_postgres::schema("ledger").await.url)
        } else {
            Place::File(folder.path().join("ledger.db"))
        };
        Self { place, _folder: folder }
    }
}

impl Host {
    pub(super) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut LedgerOptions)) -> Self {
        Self::open(Arc::new(TestPlace::new().await), change).await
    }

    pub(super) async fn open(
        place: Arc<TestPlace>,
        change: impl FnOnce(&mut LedgerOptions),
    ) -> Self {
        let mut options = LedgerOptions::of(place.place.clone());
        options.busy_timeout = Duration::from_millis(50);
        change(&mut options);
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let ledger = Ledger::open(options, &tasks, stop.clone()).await.unwrap();
        Self { ledger, place, tasks, stop }
    }

    /// Another host on the same database.
    async fn second(&self) -> Self {
        self.again(|_| {}).await
    }

    async fn again(&self, change: impl FnOnce(&mut LedgerOptions)) -> Self {
        Self::open(Arc::clone(&self.place), change).await
    }

    /// Runs statements as another program does, past the ledger.
    pub(super) async fn other_program(&self, sql: &str) -> Other {
        let mut other = Other::at(self.place()).await;
        other.run(sql).await;
        other
    }

    pub(super) fn place(&self) -> &Place {
        &self.place.place
    }

    /// A table of a component's own.
    pub(super) async fn with_audit_log(self) -> Self {
        let sql = "CREATE TABLE audit_log (event_id TEXT PRIMARY KEY, note TEXT)";
        let migration = Migration { set: "audit".into(), name: "1".into(), sql: sql.into() };
        self.ledger.migrate(&[migration]).await.unwrap();
        self
    }

    pub(super) async fn audited(&self) -> Vec<String> {
        let rows =
            self.ledger.query("SELECT event_id FROM audit_log ORDER BY 1", &[], 1000, || {}).await;
        let text = |row: crate::effect::SqlRow| match &row[0].1 {
            SqlValue::Text(text) => text.clone(),
            other => panic!("{other:?}"),
        };
        rows.unwrap().into_iter().map(text).collect()
    }

    async fn claim_at(&self, now: Timestamp) -> Vec<ClaimedDelivery> {
        self.ledger.claim_parked(now, LEASE, &[audit(), recurring()], 100).await.unwrap()
    }
}

/// Another program's connection.
pub(super) enum Other {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Other {
    pub(super) async fn at(place: &Place) -> Self {
        match place {
            Place::File(path) => {
                let options = SqliteConnectOptions::new().filename(path);
                Self::Sqlite(options.connect().await.unwrap())
            }
            Place::Url(url) => Self::Postgres(PgConnection::connect(url).await.unwrap()),
        }
    }

    pub(super) async fn run(&mut self, sql: &str) {
        let script = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
        match self {
            Self::Sqlite(connection) => script.execute(connection).await.map(drop).unwrap(),
            Self::Postgres(connection) => script.execute(connection).await.map(drop).unwrap(),
        }
    }
}

/// Until it is rolled back, nobody else can write.
fn lock() -> &'static str {
    if on_postgres() {
        "BEGIN; LOCK TABLE wharf_deliveries, wharf_outbox, wharf_probe IN EXCLUSIVE MODE"
    } else {
        "BEGIN IMMEDIATE"
    }
}

pub(super) const LEASE: Duration = Duration::from_secs(30);

pub(super) fn start() -> Timestamp {
    ManualClock::default().now()
}

pub(super) fn after(seconds: u64) -> Timestamp {
    start() + Duration::from_secs(seconds)
}

pub(super) fn audit() -> ComponentId {
    ComponentId::new("audit").unwrap()
}

pub(super) fn recurring() -> ComponentId {
    ComponentId::new("recurring").unwrap()
}

pub(super) fn head(event: &str, subject: Option<&str>) -> DeliveryHead {
    DeliveryHead {
        id: DeliveryId { component: audit(), key: EventKey::of(&[event.as_bytes()]) },
        subject: subject.map(str::to_owned),
        ordered: true,
        contract: Some("cloudevents".parse().unwrap()),
        pubsub: Some(Pubsub::new("todo-pubsub").unwrap()),
        topic: Some(Topic::new("task-events").unwrap()),
        digest: "d1".into(),
        event_id: event.into(),
        event_type: "com.todo.task.created.v1".into(),
        received_at: start(),
    }
}

pub(super) fn wire(event: &str) -> Arc<WireEvent> {
    // Not UTF-8: what could not be decoded is kept too.
    let bytes = [event.as_bytes(), &[0xff, 0x00]].concat();
    Arc::new(WireEvent { bytes: bytes.into(), arrival: Arrival::default() })
}

pub(super) fn submission(event: &str, outcome: Outcome) -> Submission {
    Submission {
        head: head(event, None),
        wire: wire(event),
        claim: None,
        attempts: 1,
        log: vec![LogLine { level: "info".into(), text: "seen".into() }],
        outcome,
    }
}

/// Of a subject, so that order matters.
pub(super) fn of(subject: &str, mut submission: Submission) -> Submission {
    submission.head.subject = Some(subject.into());
    submission
}

/// The result of a claimed run.
pub(super) fn under(claimed: &ClaimedDelivery, outcome: Outcome) -> Submission {
    Submission {
        head: claimed.head.clone(),
        wire: Arc::new(claimed.wire.clone()),
        claim: Some(claimed.claim),
        attempts: claimed.attempts + 1,
        log: Vec::new(),
        outcome,
    }
}

pub(super) fn done(statements: Vec<Execute>) -> Outcome {
    Outcome::Done { statements, outbox: Vec::new(), internal: Vec::new() }
}

pub(super) fn parked(due: Timestamp) -> Outcome {
    Outcome::Parked { due, error: "the handler trapped".into() }
}

pub(super) fn dead() -> Outcome {
    Outcome::Dead { error: "rejected".into(), outbox: Vec::new(), internal: Vec::new() }
}

pub(super) fn insert(event: &str) -> Execute {
    Execute {
        many: None,
        statement: "insert".into(),
        sql: "INSERT INTO audit_log (event_id) VALUES ($1)".into(),
        params: vec![SqlValue::Text(event.into())],
        expect: None,
    }
}

pub(super) fn publish(lane: &str, id: &str) -> NewEffect {
    NewEffect {
        lane: Lane::new(lane).unwrap(),
        index: 0,
        outgoing: Outgoing::Publish(OutgoingEvent {
            pubsub: Pubsub::new("todo-pubsub").unwrap(),
            topic: Topic::new("task-updates").unwrap(),
            id: id.into(),
            content_type: "application/cloudevents+json".into(),
            payload: Bytes::from_static(b"{\"a\":1}\xff"),
            partition_key: Some("t1".into()),
        }),
    }
}

pub(super) fn internal(event: &str) -> NewDelivery {
    let arrival = Arrival { origin: Origin::Internal, ..Arrival::default() };
    let bytes = Bytes::from(event.to_owned());
    NewDelivery { head: head(event, None), wire: Arc::new(WireEvent { bytes, arrival }) }
}
