//! A locked file, a full one, a crash, a stop: nothing is acknowledged that is not durable.

use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Executor as _};
use tempfile::TempDir;

use super::super::{Committed, LedgerError, Outcome};
use super::{Host, dead, done, insert, internal, parked, publish, start, submission};
use crate::delivery::DeliveryStatus;
use crate::effect::{Execute, SqlValue};

async fn other_program(host: &Host) -> SqliteConnection {
    SqliteConnectOptions::new().filename(host.path()).connect().await.unwrap()
}

#[tokio::test]
async fn a_locked_ledger_acknowledges_nothing_and_recovers() {
    let host = Host::start().await.with_audit_log().await;
    let mut other = other_program(&host).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let all = (0..4).map(|n| {
        let event = format!("e{n}");
        host.ledger.commit(submission(&event, done(vec![insert(&event)])))
    });
    for answer in futures::future::join_all(all).await {
        assert!(matches!(answer, Err(LedgerError::Unavailable(_))), "{answer:?}");
    }
    assert!(matches!(host.ledger.ping().await, Err(LedgerError::Unavailable(_))));
    let claim = host.ledger.claim_parked(start(), super::LEASE, &[super::audit()], 1).await;
    assert!(matches!(claim, Err(LedgerError::Unavailable(_))), "{claim:?}");
    assert!(host.audited().await.is_empty(), "looking still works");

    other.execute("ROLLBACK").await.unwrap();
    host.ledger.ping().await.unwrap();
    let answer = host.ledger.commit(submission("e1", done(vec![insert("e1")]))).await;
    assert_eq!(answer, Ok(Committed::Done));
}

#[tokio::test]
async fn a_full_ledger_acknowledges_nothing_and_recovers() {
    let host = Host::open(folder(), |options| options.max_page_count = Some(80)).await;
    let host = host.with_audit_log().await;
    host.ledger.ping().await.unwrap();
    let big = |event: &str| {
        let sql = "INSERT INTO audit_log (event_id, note) VALUES ($1, zeroblob(100000))";
        let execute = Execute { sql: sql.into(), ..insert(event) };
        submission(event, done(vec![execute]))
    };
    let mut written = Vec::new();
    let refused = loop {
        let event = format!("e{}", written.len());
        match host.ledger.commit(big(&event)).await {
            Ok(answer) => assert_eq!(answer, Committed::Done),
            Err(error) => break (event, error),
        }
        written.push(event);
        assert!(written.len() < 10, "it never gets full");
    };
    assert!(matches!(refused.1, LedgerError::Unavailable(_)), "{refused:?}");
    assert_eq!(host.audited().await, written);
    assert_eq!(host.ledger.status(&big(&refused.0).head.id).await, Ok(None));
    assert!(host.ledger.commit(big("more")).await.is_err(), "still full");

    let free = Execute {
        sql: "DELETE FROM audit_log WHERE event_id = $1".into(),
        params: vec![SqlValue::Text("e0".into())],
        ..insert("")
    };
    assert_eq!(host.ledger.commit(submission("free", done(vec![free]))).await, Ok(Committed::Done));
    assert_eq!(host.ledger.commit(big(&refused.0)).await, Ok(Committed::Done));
}

fn folder() -> Arc<TempDir> {
    Arc::new(TempDir::new().unwrap())
}

#[tokio::test]
async fn ping_sees_that_there_is_no_room() {
    let host = Host::open(folder(), |options| options.max_page_count = Some(30)).await;
    assert!(matches!(host.ledger.ping().await, Err(LedgerError::Unavailable(_))));
    assert!(host.ledger.ping().await.is_err(), "and goes on seeing it");
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_crash() {
    let host = Host::start().await.with_audit_log().await;
    host.ledger.commit(submission("done", done(vec![insert("done")]))).await.unwrap();
    host.ledger.commit(submission("parked", parked(start()))).await.unwrap();
    host.ledger.commit(submission("dead", dead())).await.unwrap();
    host.claim_at(start()).await;
    let folder = Arc::clone(&host.folder);
    drop(host);

    let host = Host::open(folder, |_| {}).await;
    assert_eq!(host.audited().await, ["done"]);
    for (event, status) in [("done", DeliveryStatus::Done), ("dead", DeliveryStatus::Dead)] {
        let repeat = host.ledger.commit(submission(event, done(vec![insert("again")]))).await;
        assert_eq!(repeat, Ok(Committed::Repeat(status)));
    }
    assert!(host.claim_at(start()).await.is_empty(), "the lease of the crashed run goes on");
    assert_eq!(host.claim_at(start() + super::LEASE).await.len(), 1);
}

#[tokio::test]
async fn a_stop_commits_what_was_submitted_and_takes_nothing_more() {
    let host = Host::start().await.with_audit_log().await;
    let all: Vec<_> = (0..50)
        .map(|n| {
            let (event, ledger) = (format!("e{n:03}"), host.ledger.clone());
            async move { ledger.commit(submission(&event, done(vec![insert(&event)]))).await }
        })
        .map(Box::pin)
        .collect();
    let mut all = futures::future::join_all(all);
    assert!(futures::poll!(&mut all).is_pending(), "submitted");
    host.stop.cancel();
    for answer in all.await {
        assert_eq!(answer, Ok(Committed::Done));
    }
    host.tasks.close();
    host.tasks.wait().await;
    let late = host.ledger.commit(submission("late", done(vec![insert("late")]))).await;
    assert_eq!(late, Err(LedgerError::Stopping));
    assert_eq!(host.audited().await.len(), 50);
}

#[tokio::test]
async fn a_caller_that_goes_away_withdraws_nothing() {
    let host = Host::start().await.with_audit_log().await;
    let mut gone = Box::pin(host.ledger.commit(submission("1", done(vec![insert("1")]))));
    assert!(futures::poll!(&mut gone).is_pending());
    drop(gone);
    host.ledger.commit(submission("2", done(vec![insert("2")]))).await.unwrap();
    assert_eq!(host.audited().await, ["1", "2"]);
}

/// What other programs may do to the ledger's own tables, and what comes of it.
async fn broken_by(sql: &str) -> Host {
    let host = Host::start().await.with_audit_log().await;
    other_program(&host).await.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    host
}

fn assert_unavailable<T: std::fmt::Debug>(answer: &Result<T, LedgerError>) {
    assert!(matches!(answer, Err(LedgerError::Unavailable(_))), "{answer:?}");
}

#[tokio::test]
async fn a_fault_of_the_ledgers_own_statements_is_no_deliverys() {
    let host = broken_by("ALTER TABLE wharf_deliveries RENAME TO elsewhere").await;
    let all = (0..3).map(|n| {
        let event = format!("e{n}");
        host.ledger.commit(submission(&event, done(vec![insert(&event)])))
    });
    for answer in futures::future::join_all(all).await {
        assert_unavailable(&answer);
    }
    let back = "ALTER TABLE elsewhere RENAME TO wharf_deliveries";
    other_program(&host).await.execute(back).await.unwrap();
    let answer = host.ledger.commit(submission("e1", done(vec![insert("e1")]))).await;
    assert_eq!(answer, Ok(Committed::Done));
}

#[tokio::test]
async fn effects_that_cannot_be_kept_are_no_deliverys_fault() {
    let host = broken_by(
        "CREATE TRIGGER no BEFORE INSERT ON wharf_outbox BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    .await;
    let (statements, outbox) = (vec![insert("1")], vec![publish("a", "1")]);
    let outcome = Outcome::Done { statements, outbox, internal: Vec::new() };
    assert_unavailable(&host.ledger.commit(submission("1", outcome)).await);
    assert!(host.audited().await.is_empty());
}

#[tokio::test]
async fn a_failed_commit_is_no_deliverys_fault_where_no_component_wrote() {
    let host = broken_by(
        "CREATE TABLE child (x REFERENCES audit_log (event_id) DEFERRABLE INITIALLY DEFERRED); \
         CREATE TRIGGER t AFTER INSERT ON wharf_deliveries BEGIN INSERT INTO child VALUES ('?'); END",
    )
    .await;
    assert_unavailable(&host.ledger.commit(submission("1", parked(start()))).await);
    let answer = host.ledger.commit(submission("2", done(vec![insert("2")]))).await;
    assert!(matches!(answer, Ok(Committed::StatementFailed { .. })), "{answer:?}");
}

#[tokio::test]
async fn an_interrupt_of_the_ledgers_own_statement_is_no_deliverys_fault() {
    let host = Host::open(folder(), |options| options.query_timeout = Duration::ZERO).await;
    let internal = (0..2000).map(|n| internal(&format!("i{n}"))).collect();
    let outcome = Outcome::Done { statements: Vec::new(), outbox: Vec::new(), internal };
    let answer = host.ledger.commit(submission("1", outcome)).await;
    assert_eq!(answer, Err(LedgerError::Unavailable("interrupted".into())));
}

#[tokio::test]
async fn a_file_that_went_away_is_not_made_anew() {
    let host = Host::start().await;
    let mut other = other_program(&host).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    // After that, the ledger opens its file again.
    let claim = host.ledger.claim_parked(start(), super::LEASE, &[super::audit()], 1).await;
    assert_unavailable(&claim);
    std::fs::remove_file(host.path()).unwrap();
    assert_unavailable(&host.ledger.commit(submission("1", parked(start()))).await);
    assert!(!host.path().exists());
}
