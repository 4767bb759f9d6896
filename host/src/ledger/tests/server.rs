//! What only a PostgreSQL server can do: be behind a pool, end a session, send a row of any size, go
//! on with what nobody waits for.

#[path = "server/between.rs"]
mod between;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::heard;
use super::tests_on_postgres::many::row;
use super::tests_on_postgres::{Host, TestPlace, done, insert, submission};
use super::{Committed, Ledger, LedgerError, LedgerOptions, Place, SqlError};
use crate::effect::{Execute, Many, SqlRow, SqlValue};
use between::Between;

fn url(place: &Place) -> &str {
    match place {
        Place::Url(url) => url,
        Place::File(_) => panic!("it is no server"),
    }
}

async fn open(url: String) -> Result<Ledger, LedgerError> {
    Ledger::open(LedgerOptions::postgres(url), &TaskTracker::new(), CancellationToken::new()).await
}

async fn ask(host: &Host, sql: &str) -> Result<Vec<SqlRow>, SqlError> {
    host.ledger.query(sql, &[], 10, || {}).await
}

/// Waits until a query's only value is that number.
async fn until(host: &Host, sql: &str, number: i64) {
    let met = async {
        while ask(host, sql).await.unwrap()[0][0].1 != SqlValue::Integer(number) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), met).await.expect(sql);
}

#[tokio::test]
async fn a_pool_that_drops_what_a_session_asks_for_is_refused() {
    let place = TestPlace::new().await;
    let pool = Between::without_options(url(&place.place)).await;
    let refused = open(pool.url.clone()).await.err().unwrap();
    let text = refused.to_string();
    assert!(matches!(refused, LedgerError::Unfit(_)), "{text}");
    assert!(text.contains("`statement_timeout`") && text.contains("pgbouncer"), "{text}");
}

#[tokio::test]
async fn an_address_that_is_not_what_it_seems_is_refused_with_the_remedy() {
    let place = TestPlace::new().await;
    for (url, says) in [
        (format!("{}&sslmod=require", url(&place.place)), "the parameter `sslmod`"),
        ("postgres://wharf:pa#ss@localhost/wharf".to_owned(), "(`#` is %23)"),
    ] {
        let refused = open(url).await.err().unwrap();
        let text = refused.to_string();
        assert!(matches!(refused, LedgerError::Unfit(_)) && text.contains(says), "{text}");
    }
    let place = Place::Url("postgres://wharf:secret@db.example:6432/todo?sslmode=require".into());
    assert_eq!(place.to_string(), "PostgreSQL at db.example:6432/todo");
}

#[tokio::test]
async fn a_server_that_acknowledges_what_is_not_on_its_disk_is_refused() {
    let place = TestPlace::new().await;
    for (setting, fits) in [("off", false), ("local", true)] {
        let url = format!("{}&options[synchronous_commit]={setting}", url(&place.place));
        let opened = open(url).await;
        assert_eq!(opened.is_ok(), fits, "{setting}");
        let text = opened.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(fits || text.contains("ALTER ROLE … SET synchronous_commit = on"), "{text}");
    }
}

/// Writes down which of the server's processes wrote it.
fn telling() -> Execute {
    let sql = "INSERT INTO audit_log (event_id) VALUES (CAST(pg_backend_pid() AS text))";
    Execute { sql: sql.into(), params: Vec::new(), ..insert("") }
}

/// The same, with others in one statement.
fn telling_with_others() -> Execute {
    let head = "INSERT INTO audit_log (event_id, note) SELECT pg_backend_pid()::text, p1 FROM ";
    let sql = "INSERT INTO audit_log (event_id, note) VALUES (pg_backend_pid()::text, $1)";
    let many = Many::Unnest { head: head.into(), tail: "".into() };
    let params = vec![SqlValue::Text("note".into())];
    Execute { sql: sql.into(), many: Some(Arc::new(many)), params, ..insert("") }
}

/// While a group waits for what somebody holds, another is written and answered.
#[tokio::test]
async fn two_groups_are_written_side_by_side() {
    let patient = |options: &mut LedgerOptions| {
        (options.busy_timeout, options.query_timeout) =
            (Duration::from_secs(60), Duration::from_secs(60));
    };
    let host = Host::with(patient).await.with_audit_log().await;
    let schema = ask(&host, "SELECT CAST(current_schema AS text)").await.unwrap();
    let SqlValue::Text(schema) = &schema[0][0].1 else { panic!("{schema:?}") };
    let waits = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%/* by {schema} */' \
         AND wait_event_type = 'Lock'"
    );
    let mut other = host.other_program("BEGIN; INSERT INTO audit_log VALUES ('held')").await;
    let held = Execute { sql: format!("{} /* by {schema} */", insert("").sql).into(), ..insert("held") };
    let first = {
        let (ledger, held) = (host.ledger.clone(), submission("first", done(vec![held])));
        tokio::spawn(async move { ledger.commit(held).await })
    };
    until(&host, &waits, 1).await;
    let second = host.ledger.commit(submission("second", done(vec![insert("free")])));
    let second = tokio::time::timeout(Duration::from_secs(20), second).await;
    assert_eq!(second.expect("it does not wait for the first"), Ok(Committed::Done));
    until(&host, &waits, 1).await;
    assert_eq!(host.audited().await, ["free"]);
    other.run("ROLLBACK").await;
    assert_eq!(first.await.unwrap(), Ok(Committed::Done));
    assert_eq!(host.audited().await, ["free", "held"]);
}

#[tokio::test]
async fn a_connection_that_died_idle_costs_nothing() {
    let host = Host::start().await.with_audit_log().await;
    let statements = [telling(), telling(), telling_with_others(), telling_with_others()];
    for (event, statement) in ["a", "b", "c", "d"].into_iter().zip(statements) {
        let answer = host.ledger.commit(submission(event, done(vec![statement]))).await;
        assert_eq!(answer, Ok(Committed::Done), "{event}");
        let dead = "SELECT count(*) FROM audit_log JOIN pg_stat_activity ON pid::text = event_id";
        let end = "SELECT pg_terminate_backend(event_id::int) FROM audit_log";
        host.other_program(end).await;
        until(&host, dead, 0).await;
        host.other_program("DELETE FROM audit_log").await;
    }
    let answer = host.ledger.commit(submission("e", done(vec![insert("e")]))).await;
    assert_eq!(answer, Ok(Committed::Done));
}

/// What a DBA's rule makes of an insert cannot stand in one statement with others.
#[tokio::test]
async fn what_cannot_be_written_at_once_is_not_tried_again_each_time() {
    let host = Host::start().await.with_audit_log().await;
    let rule = "CREATE TABLE copies (note TEXT); CREATE RULE copy AS ON INSERT TO audit_log \
                DO ALSO INSERT INTO copies VALUES (new.note)";
    host.other_program(rule).await;
    for (event, tries) in [("a", 1), ("b", 0)] {
        heard::listen();
        let answer = host.ledger.commit(submission(event, done(vec![row(event)]))).await;
        assert_eq!(answer, Ok(Committed::Done), "{event}");
        let heard = heard::heard();
        let tried = heard.iter().filter(|one| one.text.starts_with("WITH wharf_entered"));
        assert_eq!(tried.count(), tries, "{event}");
    }
    assert_eq!(host.audited().await, ["a", "b"]);
    until(&host, "SELECT count(*) FROM copies", 2).await;
}

#[tokio::test]
async fn a_reader_that_died_idle_costs_no_query() {
    let host = Host::start().await;
    let pid = ask(&host, "SELECT pg_backend_pid()").await.unwrap();
    let SqlValue::Integer(pid) = pid[0][0].1 else { panic!("{pid:?}") };
    host.other_program(&format!("SELECT pg_terminate_backend({pid}, 10000)")).await;
    // So long must it be idle to be asked whether it is there.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let other = ask(&host, "SELECT pg_backend_pid()").await.unwrap();
    assert_ne!(other[0][0].1, SqlValue::Integer(pid));
}

#[tokio::test]
async fn a_query_that_nobody_waits_for_ends_in_the_server() {
    let host = Host::with(|options| options.query_timeout = Duration::from_secs(60)).await;
    let running = "SELECT count(*) FROM pg_stat_activity \
                   WHERE query LIKE '%1 AS given_up%' AND query NOT LIKE '%activity%' \
                   AND state = 'active' AND query LIKE concat('%', current_schema, '%')";
    let schema = ask(&host, "SELECT CAST(current_schema AS text)").await.unwrap();
    let SqlValue::Text(schema) = &schema[0][0].1 else { panic!("{schema:?}") };
    let sql = format!("SELECT 1 AS given_up, '{schema}' AS whose, CAST(pg_sleep(60) AS text) AS x");
    {
        let mut asked = ask(&host, &sql).boxed();
        tokio::select! {
            answer = &mut asked => panic!("{answer:?}"),
            () = until(&host, running, 1) => {}
        }
    }
    until(&host, running, 0).await;
}

#[tokio::test]
async fn a_row_that_is_too_large_does_not_come() {
    const LARGE: &str = "string_agg(repeat('x', 1000), '') AS large FROM generate_series(1, 30000)";
    let mut place = TestPlace::new().await;
    let between = Between::counting(url(&place.place)).await;
    place.place = Place::Url(between.url.clone());
    let host = Host::open(std::sync::Arc::new(place), |_| {}).await.with_audit_log().await;
    ask(&host, "SELECT 1").await.unwrap();
    let before = between.came();
    let refused = ask(&host, &format!("SELECT {LARGE}")).await.unwrap_err().to_string();
    assert!(refused.contains("more than 4 MiB; add a LIMIT"), "{refused}");
    let aggregates =
        ask(&host, "SELECT json_agg(i), 'x' AS wharf_row FROM generate_series(1, 900000) AS g(i);")
            .await;
    assert!(aggregates.is_err(), "{aggregates:?}");

    let sql = format!("INSERT INTO audit_log (event_id) VALUES ('a') RETURNING (SELECT {LARGE})");
    let returning = Execute { sql: sql.into(), params: Vec::new(), expect: Some(1), ..insert("") };
    let answer = host.ledger.commit(submission("a", done(vec![returning]))).await;
    assert_eq!(answer, Ok(Committed::Done));
    let came = between.came() - before;
    assert!(came < 1 << 20, "{came} bytes came from the server");
}

#[tokio::test]
async fn a_row_is_measured_only_when_the_query_gives_it() {
    let host = Host::start().await.with_audit_log().await;
    let fill = "INSERT INTO audit_log SELECT i::text, repeat('x', 3000000 * (i % 2) + 2500000) \
                FROM generate_series(1, 4) AS g(i)";
    host.other_program(fill).await;
    let sizes = "SELECT event_id, length(note) AS n FROM audit_log ORDER BY event_id DESC -- last";
    let sizes = ask(&host, sizes).await.unwrap();
    assert_eq!(sizes.len(), 4);
    assert_eq!(sizes[0][0].1, SqlValue::Text("4".into()), "in its order");
    let small = "SELECT * FROM audit_log WHERE length(note) < 3000000 AND event_id = $1";
    let rows = host.ledger.query(small, &[SqlValue::Text("2".into())], 1, || {}).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert!(ask(&host, "SELECT * FROM audit_log WHERE event_id = '1'").await.is_err());
    assert!(ask(&host, "SELECT * FROM audit_log WHERE event_id IN ('2', '4')").await.is_err());
}

#[tokio::test]
async fn an_application_may_add_a_column_at_any_time() {
    let host = Host::start().await.with_audit_log().await;
    let write = async |event: &str| {
        let sql = "INSERT INTO audit_log (event_id) VALUES ($1) RETURNING *";
        let execute = Execute { sql: sql.into(), expect: Some(1), ..insert(event) };
        host.ledger.commit(submission(event, done(vec![execute]))).await
    };
    let columns = async || {
        let rows = ask(&host, "SELECT * FROM audit_log").await.unwrap();
        rows.iter().map(Vec::len).collect::<Vec<_>>()
    };
    assert_eq!(write("a").await, Ok(Committed::Done));
    assert_eq!(columns().await, [2]);
    host.other_program("ALTER TABLE audit_log ADD COLUMN more TEXT").await;
    assert_eq!(write("b").await, Ok(Committed::Done));
    assert_eq!(columns().await, [3, 3]);
}
