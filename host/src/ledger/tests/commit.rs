//! Commits, repeats, and errors that are one delivery's own.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::future::join_all;
use tokio::sync::oneshot;

use super::super::commit::{Queued, take_group};
use super::super::{Committed, Outcome};
use super::many::is_unique;
use super::{
    Host, dead, done, insert, internal, of, on_postgres, parked, publish, start, submission, under,
};
use crate::delivery::DeliveryStatus;
use crate::effect::{Execute, Outgoing, SqlValue};
use crate::event::{Arrival, WireEvent};

#[tokio::test]
async fn a_delivery_is_done_once() {
    let host = Host::start().await.with_audit_log().await;
    let first = submission("e1", done(vec![insert("e1")]));
    assert_eq!(host.ledger.commit(first.clone()).await, Ok(Committed::Done));
    let repeat = host.ledger.commit(first.clone()).await;
    assert_eq!(repeat, Ok(Committed::Repeat(DeliveryStatus::Done)));
    assert_eq!(host.audited().await, ["e1"]);

    let detail = host.ledger.delivery(&first.head.id).await.unwrap().unwrap();
    assert_eq!(detail.summary.head, first.head);
    assert_eq!(detail.wire, None, "a done row keeps no event");
}

#[tokio::test]
async fn of_many_at_the_same_moment_one_is_done() {
    let (one, two) = {
        let host = Host::start().await.with_audit_log().await;
        let second = host.second().await;
        (host, second)
    };
    let all = (0..64).map(|n| {
        let ledger = if n % 2 == 0 { &one.ledger } else { &two.ledger };
        ledger.commit(submission("e1", done(vec![insert("e1")])))
    });
    let answers: Vec<_> = join_all(all).await.into_iter().filter_map(Result::ok).collect();
    assert_eq!(answers.iter().filter(|answer| **answer == Committed::Done).count(), 1);
    let repeats = answers.iter().filter(|a| **a == Committed::Repeat(DeliveryStatus::Done));
    assert_eq!(repeats.count(), answers.len() - 1);
    assert_eq!(one.audited().await, ["e1"]);
}

fn is_late(error: &str) -> bool {
    let alone = error == "interrupted" || error.contains("statement timeout");
    alone || error.contains("took longer than")
}

#[tokio::test]
async fn a_failing_statement_costs_only_its_own_delivery() {
    let host = Host::start().await.with_audit_log().await;
    let all = (0..40).map(|n| {
        let event = format!("e{n:02}");
        let mut statements = vec![insert(&event)];
        if n % 10 == 3 {
            statements.push(insert("e00"));
            statements.push(insert("e00"));
        }
        host.ledger.commit(submission(&event, done(statements)))
    });
    let answers = join_all(all).await;
    for (n, answer) in answers.into_iter().enumerate() {
        match answer.unwrap() {
            Committed::StatementFailed { statement, error } => {
                assert!(n % 10 == 3 && statement == "insert" && is_unique(&error), "{n}");
            }
            other => assert!(n % 10 != 3 && other == Committed::Done, "{n}: {other:?}"),
        }
    }
    assert_eq!(host.audited().await.len(), 36);
    let failed = submission("e13", parked(start()));
    assert_eq!(host.ledger.status(&failed.head.id).await, Ok(None), "nothing of it is written");
    assert_eq!(host.ledger.commit(failed).await, Ok(Committed::Parked { behind: false }));
}

#[tokio::test]
async fn an_error_that_shows_at_the_commit_costs_only_its_own_delivery() {
    let host = Host::start().await.with_audit_log().await;
    let sql = "CREATE TABLE notes (event_id TEXT REFERENCES audit_log (event_id) \
               DEFERRABLE INITIALLY DEFERRED)";
    let migration = super::Migration { set: "n".into(), name: "1".into(), sql: sql.into() };
    host.ledger.migrate(&[migration]).await.unwrap();
    let all = (0..16).map(|n| {
        let event = format!("e{n:02}");
        let mut statements = vec![insert(&event)];
        if n == 5 {
            let sql = "INSERT INTO notes VALUES ('nowhere')".into();
            statements.push(Execute { sql, params: Vec::new(), ..insert("") });
        }
        host.ledger.commit(submission(&event, done(statements)))
    });
    for (n, answer) in join_all(all).await.into_iter().enumerate() {
        let failed = matches!(answer, Ok(Committed::StatementFailed { .. }));
        assert_eq!(failed, n == 5, "{n}: {answer:?}");
    }
    assert_eq!(host.audited().await.len(), 15);
}

#[tokio::test]
async fn a_statement_that_takes_the_transaction_back_costs_only_its_own_delivery() {
    let host = Host::start().await.with_audit_log().await;
    let all = (0..8).map(|n| {
        let event = format!("e{n}");
        let mut statements = vec![insert(&event)];
        if n == 4 {
            let sql = "INSERT OR ROLLBACK INTO audit_log (event_id) VALUES ($1)".into();
            statements.push(Execute { sql, ..insert(&event) });
        }
        host.ledger.commit(submission(&event, done(statements)))
    });
    for (n, answer) in join_all(all).await.into_iter().enumerate() {
        let failed = matches!(answer, Ok(Committed::StatementFailed { .. }));
        assert_eq!(failed, n == 4, "{n}: {answer:?}");
    }
    assert_eq!(host.audited().await.len(), 7);
}

#[tokio::test]
async fn a_statement_without_end_costs_only_its_own_delivery() {
    let timeout = std::time::Duration::from_secs(1);
    let host = Host::with(|options| options.query_timeout = timeout).await;
    let host = host.with_audit_log().await;
    let sql = "INSERT INTO audit_log WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
               SELECT count(*), 'never' FROM n";
    let endless = Execute { sql: sql.into(), params: Vec::new(), ..insert("") };
    let answers = join_all([
        host.ledger.commit(submission("a", done(vec![insert("a")]))),
        host.ledger.commit(submission("b", done(vec![endless]))),
        host.ledger.commit(submission("c", done(vec![insert("c")]))),
    ])
    .await;
    let failed =
        matches!(&answers[1], Ok(Committed::StatementFailed { error, .. }) if is_late(error));
    assert!(failed, "{answers:?}");
    assert_eq!((&answers[0], &answers[2]), (&Ok(Committed::Done), &Ok(Committed::Done)));
    assert_eq!(host.audited().await, ["a", "c"]);
}

#[tokio::test]
async fn an_unexpected_count_takes_back_only_its_own_delivery() {
    let host = Host::start().await.with_audit_log().await;
    let expecting = |event: &str, rows| {
        let sql = "INSERT INTO audit_log (event_id) VALUES ($1) \
                   ON CONFLICT DO NOTHING RETURNING event_id";
        let only = Execute { sql: sql.into(), expect: Some(rows), ..insert(event) };
        submission(event, done(vec![insert(&format!("{event}-before")), only]))
    };
    let answers = join_all([
        host.ledger.commit(expecting("a", 1)),
        host.ledger.commit(expecting("b", 2)),
        host.ledger.commit(expecting("c", 1)),
    ])
    .await;
    let mismatch = Committed::Unexpected { statement: "insert".into(), expected: 2, touched: 1 };
    assert_eq!(answers, [Ok(Committed::Done), Ok(mismatch), Ok(Committed::Done)]);
    assert_eq!(host.audited().await, ["a", "a-before", "c", "c-before"]);
    assert_eq!(host.ledger.commit(expecting("b", 1)).await, Ok(Committed::Done), "run again");
}

#[tokio::test]
async fn a_claimed_delivery_whose_count_is_unexpected_stays_claimed() {
    let host = Host::start().await.with_audit_log().await;
    host.ledger.commit(submission("a", parked(start()))).await.unwrap();
    let claimed = host.claim_at(start()).await.remove(0);
    let run = |expect| {
        super::under(&claimed, done(vec![Execute { expect: Some(expect), ..insert("a") }]))
    };
    let mismatch = host.ledger.commit(run(7)).await.unwrap();
    assert!(matches!(mismatch, Committed::Unexpected { expected: 7, touched: 1, .. }));
    assert!(host.claim_at(start()).await.is_empty(), "the lease goes on");
    assert_eq!(host.ledger.commit(run(1)).await, Ok(Committed::Done));
    assert_eq!(host.audited().await, ["a"]);
}

#[tokio::test]
async fn values_are_bound_by_their_kind() {
    let host = Host::start().await.with_audit_log().await;
    // PostgreSQL is told the types, SQLite is asked for them.
    let kinds = if on_postgres() {
        "CASE WHEN $2::text IS NULL THEN 'null' END || CASE WHEN $3 THEN 'integer' END || \
         CASE WHEN $4 = '\\x01'::bytea THEN 'blob' END || $5::text || $6::text"
    } else {
        "typeof($2) || typeof($3) || typeof($4) || $5 || $6"
    };
    let execute = Execute {
        sql: format!("INSERT INTO audit_log VALUES ($1, {kinds})").into(),
        params: vec![
            SqlValue::Text("a".into()),
            SqlValue::Null,
            SqlValue::Bool(true),
            SqlValue::Bytes(vec![1]),
            SqlValue::Json("[1]".into()),
            SqlValue::Timestamp("2026-03-01T12:00:00.5+02:00".into()),
        ],
        ..insert("")
    };
    assert_eq!(host.ledger.commit(submission("a", done(vec![execute]))).await, Ok(Committed::Done));
    let rows = host.ledger.query("SELECT note FROM audit_log", &[], 1, || {}).await.unwrap();
    let expected = "nullintegerblob[1]2026-03-01T10:00:00.500000Z";
    assert_eq!(rows[0][0].1, SqlValue::Text(expected.into()));

    let wrong = Execute { params: vec![SqlValue::Timestamp("soon".into())], ..insert("") };
    let answer = host.ledger.commit(submission("b", done(vec![wrong]))).await.unwrap();
    assert!(matches!(answer, Committed::StatementFailed { .. }), "{answer:?}");
}

#[tokio::test]
async fn what_comes_after_a_parked_delivery_of_its_subject_waits_behind_it() {
    let host = Host::start().await.with_audit_log().await;
    host.ledger.commit(of("s", submission("1", parked(start())))).await.unwrap();
    let effects = Outcome::Done {
        statements: vec![insert("2")],
        outbox: vec![publish("l", "2")],
        internal: vec![internal("i")],
    };
    for outcome in [effects, dead()] {
        let event = if matches!(outcome, Outcome::Dead { .. }) { "3" } else { "2" };
        let answer = host.ledger.commit(of("s", submission(event, outcome))).await;
        assert_eq!(answer, Ok(Committed::Parked { behind: true }));
    }
    assert!(host.audited().await.is_empty());
    assert_eq!(host.ledger.counts().await.unwrap().outbox_waiting, 0);

    let waiting = host.ledger.delivery(&super::head("2", None).id).await.unwrap().unwrap();
    assert_eq!((waiting.summary.attempts, waiting.summary.due), (0, Some(start())));
    assert_eq!(waiting.wire.as_ref(), Some(&*super::wire("2")));
    assert_eq!(waiting.log.len(), 1);

    for (event, mut other) in
        [("4", "t"), ("5", "s")].map(|(e, s)| (e, of(s, submission(e, done(vec![])))))
    {
        other.head.ordered = event != "5";
        assert_eq!(host.ledger.commit(other).await, Ok(Committed::Done), "{event} is free");
    }
}

#[tokio::test]
async fn what_leaves_with_a_delivery_is_there_with_it() {
    let host = Host::start().await;
    let mut given_up = submission("1", dead());
    given_up.outcome = Outcome::Dead {
        error: "rejected".into(),
        outbox: vec![publish("dead-letter", "d1")],
        internal: vec![internal("report"), internal("report")],
    };
    let (outbox, parked) = (host.ledger.outbox_changed(), host.ledger.parked_changed());
    assert_eq!(host.ledger.commit(given_up.clone()).await, Ok(Committed::Dead));
    outbox.notified().await;
    parked.notified().await;

    let detail = host.ledger.delivery(&given_up.head.id).await.unwrap().unwrap();
    assert_eq!(detail.summary.status, DeliveryStatus::Dead);
    assert_eq!(detail.summary.error.as_deref(), Some("rejected"));
    assert_eq!(detail.wire.as_ref(), Some(&*given_up.wire));
    assert_eq!(detail.log, given_up.log);
    assert_eq!(detail.outbox.len(), 1);
    let report = host.claim_at(start()).await.remove(0);
    assert_eq!((report.head.clone(), report.attempts), (internal("report").head, 0));
    assert_eq!(report.wire, *internal("report").wire);
}

#[tokio::test]
async fn what_comes_to_wait_behind_another_wakes_nobody() {
    let host = Host::start().await;
    let changed = host.ledger.parked_changed();
    host.ledger.commit(of("s", submission("1", parked(start())))).await.unwrap();
    changed.notified().await;
    let behind = host.ledger.commit(of("s", submission("2", parked(start())))).await;
    assert_eq!(behind, Ok(Committed::Parked { behind: true }));
    assert!(futures::poll!(Box::pin(changed.notified())).is_pending());

    let first = host.claim_at(start()).await.remove(0);
    host.ledger.commit(under(&first, done(vec![]))).await.unwrap();
    changed.notified().await;
    assert_eq!(host.claim_at(start()).await[0].head.event_id, "2");
}

#[test]
fn what_waits_is_shared_out_when_it_is_much() {
    let groups = |deliveries: usize, committers: usize| {
        let queued = |number: usize| {
            let submission = of(&number.to_string(), submission(&number.to_string(), done(vec![])));
            Queued { submission, reply: oneshot::channel().0 }
        };
        let mut waiting: VecDeque<_> = (0..deliveries).map(queued).collect();
        let group = |_| take_group(&mut waiting, committers).len();
        (0..committers).map(group).collect::<Vec<_>>()
    };
    assert_eq!(groups(100, 1), [100], "SQLite has one writer");
    assert_eq!(groups(100, 2), [50, 50]);
    assert_eq!(groups(79, 2), [79, 0], "two small ones cost more than they gain");
    assert_eq!(groups(90, 8), [45, 45, 0, 0, 0, 0, 0, 0]);
}

#[tokio::test]
async fn a_group_ends_at_some_bytes_and_none_overtakes_what_did_not_fit() {
    const MIB: usize = 1 << 20;
    let queued = |event: &str, wire: usize, payload: usize| {
        let mut effect = publish("l", event);
        let Outgoing::Publish(out) = &mut effect.outgoing else { panic!("a publish") };
        out.payload = vec![0; payload].into();
        let outcome = Outcome::Done { statements: vec![], outbox: vec![effect], internal: vec![] };
        let mut submission = of("s", submission(event, outcome));
        submission.head.ordered = false;
        let bytes = vec![0; wire].into();
        submission.wire = Arc::new(WireEvent { bytes, arrival: Arrival::default() });
        Queued { submission, reply: oneshot::channel().0 }
    };
    let mut waiting = VecDeque::from([
        queued("1", 3 * MIB, MIB),
        queued("2", 0, 3 * MIB),
        queued("3", 2 * MIB, 0),
        queued("4", 0, 0),
        queued("5", 20 * MIB, 0),
        queued("6", 0, 0),
    ]);
    let mut groups = Vec::new();
    while !waiting.is_empty() {
        let group = take_group(&mut waiting, 1);
        assert!(!group.is_empty());
        let events = group.into_iter().map(|queued| queued.submission.head.event_id);
        groups.push(events.collect::<Vec<_>>().join(" "));
    }
    assert_eq!(groups, ["1 2", "3 4", "5", "6"]);
}
