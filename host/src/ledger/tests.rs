//! The ledger by its front door, on files.

mod claims;
mod commit;
mod effects;
mod sql;
mod trouble;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{
    ClaimedDelivery, Ledger, LedgerOptions, Migration, NewDelivery, NewEffect, Outcome, Submission,
};
use crate::clock::{Clock as _, ManualClock, Timestamp};
use crate::delivery::{DeliveryHead, DeliveryId, LogLine};
use crate::effect::{Execute, Outgoing, OutgoingEvent, SqlValue};
use crate::event::{Arrival, Origin, WireEvent};
use crate::name::{ComponentId, EventKey, Lane, Pubsub, Topic};

/// A ledger on a file that goes away with it.
struct Host {
    ledger: Ledger,
    folder: Arc<TempDir>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Host {
    async fn start() -> Self {
        Self::open(Arc::new(TempDir::new().unwrap()), |_| {}).await
    }

    async fn open(folder: Arc<TempDir>, change: impl FnOnce(&mut LedgerOptions)) -> Self {
        let mut options = LedgerOptions::at(folder.path().join("ledger.db"));
        options.busy_timeout = Duration::from_millis(50);
        change(&mut options);
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let ledger = Ledger::open(options, &tasks, stop.clone()).await.unwrap();
        Self { ledger, folder, tasks, stop }
    }

    /// Another host on the same file.
    async fn second(&self) -> Self {
        Self::open(Arc::clone(&self.folder), |_| {}).await
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("ledger.db")
    }

    /// A table of a component's own.
    async fn with_audit_log(self) -> Self {
        let sql = "CREATE TABLE audit_log (event_id TEXT PRIMARY KEY, note TEXT)";
        let migration = Migration { set: "audit".into(), name: "1".into(), sql: sql.into() };
        self.ledger.migrate(&[migration]).await.unwrap();
        self
    }

    async fn audited(&self) -> Vec<String> {
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

const LEASE: Duration = Duration::from_secs(30);

fn start() -> Timestamp {
    ManualClock::default().now()
}

fn after(seconds: u64) -> Timestamp {
    start() + Duration::from_secs(seconds)
}

fn audit() -> ComponentId {
    ComponentId::new("audit").unwrap()
}

fn recurring() -> ComponentId {
    ComponentId::new("recurring").unwrap()
}

fn head(event: &str, subject: Option<&str>) -> DeliveryHead {
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

fn wire(event: &str) -> Arc<WireEvent> {
    // Not UTF-8: what could not be decoded is kept too.
    let bytes = [event.as_bytes(), &[0xff, 0x00]].concat();
    Arc::new(WireEvent { bytes: bytes.into(), arrival: Arrival::default() })
}

fn submission(event: &str, outcome: Outcome) -> Submission {
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
fn of(subject: &str, mut submission: Submission) -> Submission {
    submission.head.subject = Some(subject.into());
    submission
}

/// The result of a claimed run.
fn under(claimed: &ClaimedDelivery, outcome: Outcome) -> Submission {
    Submission {
        head: claimed.head.clone(),
        wire: Arc::new(claimed.wire.clone()),
        claim: Some(claimed.claim),
        attempts: claimed.attempts + 1,
        log: Vec::new(),
        outcome,
    }
}

fn done(statements: Vec<Execute>) -> Outcome {
    Outcome::Done { statements, outbox: Vec::new(), internal: Vec::new() }
}

fn parked(due: Timestamp) -> Outcome {
    Outcome::Parked { due, error: "the handler trapped".into() }
}

fn dead() -> Outcome {
    Outcome::Dead { error: "rejected".into(), outbox: Vec::new(), internal: Vec::new() }
}

fn insert(event: &str) -> Execute {
    Execute {
        many: None,
        statement: "insert".into(),
        sql: "INSERT INTO audit_log (event_id) VALUES ($1)".into(),
        params: vec![SqlValue::Text(event.into())],
        expect: None,
    }
}

fn publish(lane: &str, id: &str) -> NewEffect {
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

fn internal(event: &str) -> NewDelivery {
    let arrival = Arrival { origin: Origin::Internal, ..Arrival::default() };
    let bytes = Bytes::from(event.to_owned());
    NewDelivery { head: head(event, None), wire: Arc::new(WireEvent { bytes, arrival }) }
}
