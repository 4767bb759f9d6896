//! What only a SQLite file can do: be full, be deleted, have its own kinds of trigger.

use std::path::Path;
use std::time::Duration;

use super::tests::{
    Host, LEASE, audit, done, insert, internal, parked, publish, start, submission,
};
use super::{Committed, LedgerError, Outcome, Place};
use crate::effect::{Execute, SqlValue};

/// What other programs may do to the ledger's own tables, and what comes of it.
async fn broken_by(sql: &str) -> Host {
    let host = Host::start().await.with_audit_log().await;
    host.other_program(sql).await;
    host
}

fn path(host: &Host) -> &Path {
    match host.place() {
        Place::File(path) => path,
        Place::Url(_) => panic!("it has no file"),
    }
}

fn assert_unavailable<T: std::fmt::Debug>(answer: &Result<T, LedgerError>) {
    assert!(matches!(answer, Err(LedgerError::Unavailable(_))), "{answer:?}");
}

#[tokio::test]
async fn a_full_ledger_acknowledges_nothing_and_recovers() {
    let host = Host::with(|options| options.max_page_count = Some(80)).await;
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

#[tokio::test]
async fn ping_sees_that_there_is_no_room() {
    let host = Host::with(|options| options.max_page_count = Some(30)).await;
    assert!(matches!(host.ledger.ping().await, Err(LedgerError::Unavailable(_))));
    assert!(host.ledger.ping().await.is_err(), "and goes on seeing it");
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
async fn a_file_that_went_away_is_not_made_anew() {
    let host = Host::start().await;
    let _other = host.other_program("BEGIN IMMEDIATE").await;
    // After that, the ledger opens its file again.
    let claim = host.ledger.claim_parked(start(), LEASE, &[audit()], 1).await;
    assert_unavailable(&claim);
    std::fs::remove_file(path(&host)).unwrap();
    assert_unavailable(&host.ledger.commit(submission("1", parked(start()))).await);
    assert!(!path(&host).exists());
}

#[tokio::test]
async fn the_components_time_does_not_end_the_ledgers_own_statements() {
    let host = Host::with(|options| options.query_timeout = Duration::ZERO).await;
    let host = host.with_audit_log().await;
    let internal = (0..2000).map(|n| internal(&format!("i{n}"))).collect();
    let outcome = Outcome::Done { statements: Vec::new(), outbox: Vec::new(), internal };
    assert_eq!(host.ledger.commit(submission("1", outcome)).await, Ok(Committed::Done));
    let late = host.ledger.commit(submission("2", done(vec![insert("2")]))).await;
    assert!(matches!(late, Ok(Committed::StatementFailed { .. })), "{late:?}");
}
