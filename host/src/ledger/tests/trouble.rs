//! A locked file, a full one, a crash, a stop: nothing is acknowledged that is not durable.

use std::sync::Arc;
use std::time::Duration;

use super::super::{Committed, LedgerError};
use super::{Host, dead, done, insert, lock, on_postgres, parked, start, submission};
use crate::delivery::DeliveryStatus;

#[tokio::test]
async fn a_locked_ledger_acknowledges_nothing_and_recovers() {
    let host = Host::start().await.with_audit_log().await;
    let mut other = host.other_program(lock()).await;
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

    other.run("ROLLBACK").await;
    // What was given up may still hold a connection for a moment.
    let back = async { while host.ledger.ping().await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(30), back).await.unwrap();
    let answer = host.ledger.commit(submission("e1", done(vec![insert("e1")]))).await;
    assert_eq!(answer, Ok(Committed::Done));
}

/// As a long ALTER TABLE of the application's holds it.
#[tokio::test]
async fn a_table_that_is_held_holds_up_only_what_needs_it() {
    if !on_postgres() {
        return; // In SQLite whoever writes holds all tables.
    }
    let host = Host::start().await.with_audit_log().await;
    let mut other = host.other_program("BEGIN; LOCK TABLE audit_log").await;
    let writes = |event| submission(event, done(vec![insert(event)]));
    let [one, two, three] = ["1", "2", "3"].map(|event| match event {
        "3" => submission(event, done(Vec::new())),
        _ => writes(event),
    });
    let ledger = &host.ledger;
    let answers = tokio::join!(ledger.commit(one), ledger.commit(two), ledger.commit(three));
    for answer in [answers.0, answers.1] {
        assert!(matches!(answer, Ok(Committed::Locked { .. })), "{answer:?}");
    }
    assert_eq!(answers.2, Ok(Committed::Done));
    other.run("ROLLBACK").await;
    assert_eq!(ledger.commit(writes("1")).await, Ok(Committed::Done));
    assert_eq!(host.audited().await, ["1"]);
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_crash() {
    let host = Host::start().await.with_audit_log().await;
    host.ledger.commit(submission("done", done(vec![insert("done")]))).await.unwrap();
    host.ledger.commit(submission("parked", parked(start()))).await.unwrap();
    host.ledger.commit(submission("dead", dead())).await.unwrap();
    host.claim_at(start()).await;
    let place = Arc::clone(&host.place);
    drop(host);

    let host = Host::open(place, |_| {}).await;
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
    host.other_program(sql).await;
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
    host.other_program(back).await;
    let answer = host.ledger.commit(submission("e1", done(vec![insert("e1")]))).await;
    assert_eq!(answer, Ok(Committed::Done));
}
