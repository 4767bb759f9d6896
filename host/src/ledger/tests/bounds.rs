//! What components' SQL may take: of time and of the host's memory.

use std::time::{Duration, Instant};

use futures::future::join_all;

use super::super::Committed;
use super::{Host, done, insert, on_postgres, submission};
use crate::effect::Execute;

/// Takes some tens of milliseconds, and adds nothing.
fn busy() -> Execute {
    let sql = if on_postgres() {
        "INSERT INTO audit_log (event_id) SELECT 'busy' WHERE pg_sleep(0.05) IS NULL"
    } else {
        "INSERT INTO audit_log WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
         WHERE i < 200000) SELECT 'busy', 'never' FROM n WHERE i = 0"
    };
    Execute { sql: sql.into(), params: Vec::new(), ..insert("") }
}

#[tokio::test]
async fn the_statements_of_one_commit_share_their_time() {
    let timeout = Duration::from_secs(1);
    let host = Host::with(|options| options.query_timeout = timeout).await.with_audit_log().await;
    // They fail by their time or not at all.
    let answer = host.ledger.commit(submission("a", done(vec![busy(); 200]))).await;
    assert!(matches!(answer, Ok(Committed::StatementFailed { .. })), "{answer:?}");
    let answer = host.ledger.commit(submission("a", done(vec![insert("a")]))).await;
    assert_eq!(answer, Ok(Committed::Done));
    assert_eq!(host.audited().await, ["a"]);
}

#[tokio::test]
async fn what_comes_late_in_a_commit_has_only_what_is_left() {
    let timeout = Duration::from_secs(1);
    let host = Host::with(|options| options.query_timeout = timeout).await.with_audit_log().await;
    let endless = "INSERT INTO audit_log WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL \
                   SELECT i + 1 FROM n) SELECT count(*), 'never' FROM n";
    let endless = Execute { sql: endless.into(), params: Vec::new(), ..insert("") };
    let statements = [vec![busy(); 10], vec![endless]].concat();
    let answer = host.ledger.commit(submission("a", done(statements))).await;
    // One that had all of the time is ended in other words.
    let late = matches!(&answer, Ok(Committed::StatementFailed { error, .. }) if error.contains("1s together"));
    assert!(late, "{answer:?}");
}

#[tokio::test]
async fn a_group_that_takes_too_long_together_is_written_in_parts() {
    let host = Host::start().await.with_audit_log().await;
    let started = Instant::now();
    host.ledger.commit(submission("alone", done(vec![busy()]))).await.unwrap();
    // The machine may pause meanwhile: one takes a tenth of the time at most. All take twice as long.
    let one = started.elapsed();
    let timeout = one.max(Duration::from_millis(100)) * 10;
    let many = 2 * timeout.as_micros() / one.as_micros();
    let host = host.again(|options| options.query_timeout = timeout).await;
    let all = (0..many).map(|n| {
        let event = format!("e{n:02}");
        host.ledger.commit(submission(&event, done(vec![busy(), insert(&event)])))
    });
    for (n, answer) in join_all(all).await.into_iter().enumerate() {
        assert_eq!(answer, Ok(Committed::Done), "{n}, each with {timeout:?}");
    }
    assert_eq!(host.audited().await.len() as u128, many);
}
