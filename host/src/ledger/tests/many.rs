//! Inserts that are for many deliveries at once. On PostgreSQL a group of nothing else is one
//! statement, inbox and outbox included.

use std::sync::Arc;

use futures::future::join_all;

use super::super::{Committed, Outcome};
use super::{Host, done, insert, internal, of, on_postgres, parked, publish, start, submission};
use crate::delivery::DeliveryStatus;
use crate::effect::{Execute, Many, SqlValue};

/// Each database has its own words.
pub fn is_unique(error: &str) -> bool {
    error.contains("UNIQUE") || error.contains("unique constraint")
}

/// The row of a delivery, or of several.
pub fn row(event: &str) -> Execute {
    let many = if on_postgres() {
        let head = "INSERT INTO audit_log (note, event_id) SELECT p2, p1 FROM ".into();
        Many::Unnest { head, tail: "".into() }
    } else {
        let text = |rows: usize| {
            let rows = vec!["(?, ?)"; rows].join(", ");
            format!("INSERT INTO audit_log (note, event_id) VALUES {rows}").into()
        };
        Many::Values { texts: vec![(4, text(4)), (2, text(2))], order: vec![1, 0] }
    };
    Execute {
        sql: "INSERT INTO audit_log (event_id, note) VALUES ($1, $2)".into(),
        many: Some(Arc::new(many)),
        params: vec![SqlValue::Text(event.into()), SqlValue::Text(format!("of {event}"))],
        ..insert("")
    }
}

async fn count(host: &Host, what: &str) -> i64 {
    let rows = host.ledger.query(&format!("SELECT {what}"), &[], 1, || {}).await.unwrap();
    match &rows[0][0].1 {
        SqlValue::Integer(count) => *count,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn rows_of_many_deliveries_share_statements_and_an_error_costs_only_its_own() {
    let host = Host::start().await.with_audit_log().await;
    let all = (0..23).map(|n| {
        // One of them is there already.
        let event = format!("e{:02}", if n == 13 { 12 } else { n });
        host.ledger.commit(submission(&format!("e{n:02}"), done(vec![row(&event)])))
    });
    let mut failed = Vec::new();
    for (n, answer) in join_all(all).await.into_iter().enumerate() {
        match answer.unwrap() {
            Committed::Done => {}
            Committed::StatementFailed { error, .. } if is_unique(&error) => failed.push(n),
            other => panic!("{n}: {other:?}"),
        }
    }
    assert!(failed == [12] || failed == [13], "whoever comes second: {failed:?}");
    assert_eq!(count(&host, "count(*) FROM audit_log").await, 22);
    let right = "count(*) FROM audit_log WHERE note = 'of ' || event_id";
    assert_eq!(count(&host, right).await, 22);
}

/// One statement writes them, and what it must not write comes to the same as in a transaction.
#[tokio::test]
async fn of_a_group_only_what_the_inbox_lets_in_leaves_anything() {
    let host = Host::start().await;
    // No key that would hide a repeat.
    host.other_program("CREATE TABLE audit_log (event_id TEXT, note TEXT)").await;
    let leaving = |event: &str| Outcome::Done {
        statements: vec![row(event), row(event)],
        outbox: vec![publish(&format!("lane of {event}"), event)],
        internal: Vec::new(),
    };
    let commit = |submission| host.ledger.commit(submission);
    assert_eq!(commit(submission("repeat", leaving("repeat"))).await, Ok(Committed::Done));
    let answer = commit(of("s", submission("parked", parked(start())))).await;
    assert_eq!(answer, Ok(Committed::Parked { behind: false }));

    let behind = of("s", submission("behind", leaving("behind")));
    let group = ["a", "repeat", "b", "c"].map(|event| submission(event, leaving(event)));
    let answers = join_all(group.into_iter().chain([behind]).map(commit)).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let [a, repeat, b, c, behind] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!([a, b, c], [&Committed::Done; 3]);
    assert_eq!(*repeat, Committed::Repeat(DeliveryStatus::Done));
    assert_eq!(*behind, Committed::Parked { behind: true });

    assert_eq!(host.audited().await, ["a", "a", "b", "b", "c", "c", "repeat", "repeat"]);
    assert_eq!(host.ledger.counts().await.unwrap().outbox_waiting, 4);
    let waiting = host.ledger.delivery(&super::head("behind", None).id).await.unwrap().unwrap();
    assert_eq!(waiting.wire.as_ref(), Some(&*super::wire("behind")), "it keeps its event");
    let of_a = host.ledger.delivery(&super::head("a", None).id).await.unwrap().unwrap();
    assert_eq!((of_a.summary.status, of_a.outbox.len()), (DeliveryStatus::Done, 1));
    assert_eq!(of_a.summary.head, super::head("a", None));
}

#[tokio::test]
async fn internal_events_leave_with_rows_for_many() {
    let host = Host::start().await.with_audit_log().await;
    let outcome = Outcome::Done {
        statements: vec![row("a")],
        outbox: Vec::new(),
        internal: vec![internal("internal")],
    };
    assert_eq!(host.ledger.commit(submission("a", outcome)).await, Ok(Committed::Done));
    assert_eq!(host.audited().await, ["a"]);
    assert_eq!(host.claim_at(start()).await.len(), 1);
}
