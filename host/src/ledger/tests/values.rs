//! How numbers and texts cross to PostgreSQL and back.

use super::tests_on_postgres::{Host, done, insert, submission};
use super::{Committed, Migration, SqlError};
use crate::effect::{Execute, Many, SqlValue};

async fn host_with(sql: &str) -> Host {
    let host = Host::start().await;
    let migration = Migration { set: "t".into(), name: "1".into(), sql: sql.into() };
    host.ledger.migrate(&[migration]).await.unwrap();
    host
}

async fn write(host: &Host, event: &str, sql: &str, value: SqlValue) -> Committed {
    let execute = Execute { sql: sql.into(), params: vec![value], ..insert("") };
    host.ledger.commit(submission(event, done(vec![execute]))).await.unwrap()
}

fn text(text: &str) -> SqlValue {
    SqlValue::Text(text.into())
}

/// What the only column of a query gives.
async fn column(host: &Host, sql: &str) -> Result<Vec<SqlValue>, SqlError> {
    let rows = host.ledger.query(sql, &[], 5000, || {}).await?;
    Ok(rows.into_iter().map(|mut row| row.remove(0).1).collect())
}

#[tokio::test]
async fn a_numeric_is_read_as_the_server_itself_would_round_it() {
    let host = Host::start().await;
    let sql = "SELECT n, CAST(n AS double precision) AS f FROM ( \
               SELECT (i * 1234567.890123456789 / (7919 + i)) ^ ((i % 19) - 9) AS n \
               FROM generate_series(1, 2000) AS g(i)) AS numbers";
    let rows = host.ledger.query(sql, &[], 5000, || {}).await.unwrap();
    assert_eq!(rows.len(), 2000);
    for row in rows {
        let SqlValue::Float(nearest) = row[1].1 else { panic!("{row:?}") };
        match row[0].1 {
            SqlValue::Float(read) => assert_eq!(read, nearest),
            SqlValue::Integer(read) => assert_eq!(read.to_string(), nearest.to_string()),
            _ => panic!("{row:?}"),
        }
    }
    let whole = "SELECT CAST(t AS numeric) FROM unnest(ARRAY['9007199254740993', '1.00', \
                 '-9223372036854775808', '9223372036854775808', '-0.00', '120000']) AS u(t)";
    let expected = [
        SqlValue::Integer(9_007_199_254_740_993),
        SqlValue::Integer(1),
        SqlValue::Integer(i64::MIN),
        SqlValue::Float(9_223_372_036_854_775_808.0),
        SqlValue::Integer(0),
        SqlValue::Integer(120_000),
    ];
    assert_eq!(column(&host, whole).await.unwrap(), expected);
    for none in
        ["'NaN'::numeric", "'Infinity'::numeric", "'NaN'::float8", "'-Infinity'::float4", "1e309"]
    {
        let error = column(&host, &format!("SELECT {none}")).await.unwrap_err().to_string();
        assert!(error.contains("cast it to text in the query"), "{none}: {error}");
    }
}

#[tokio::test]
async fn numbers_and_their_texts_go_into_a_numeric_with_all_their_digits() {
    let host = host_with("CREATE TABLE t (n NUMERIC)").await;
    let sql = "INSERT INTO t (n) VALUES ($1)";
    let many = Many::Unnest {
        head: "INSERT INTO t (n) SELECT p1 FROM ".into(),
        tail: "".into(),
    };
    let values = [
        (SqlValue::Integer(i64::MIN), "-9223372036854775808"),
        (SqlValue::Integer(0), "0"),
        (SqlValue::Integer(99_990_000), "99990000"),
        (SqlValue::Float(0.1), "0.1"),
        (SqlValue::Float(-2.5e-10), "-0.00000000025"),
        (SqlValue::Float(1e25), "10000000000000000000000000"),
        (text("12345678901234567890.1234567890"), "12345678901234567890.1234567890"),
        (text("-0007.50"), "-7.50"),
        (text(".00001"), "0.00001"),
    ];
    for (many, round) in [(None, "one"), (Some(std::sync::Arc::new(many)), "many")] {
        let inserts = values.iter().map(|(value, _)| Execute {
            sql: sql.into(),
            many: many.clone(),
            params: vec![value.clone()],
            ..insert("")
        });
        let answer = host.ledger.commit(submission(round, done(inserts.collect()))).await;
        assert_eq!(answer, Ok(Committed::Done));
        let kept = column(&host, "SELECT CAST(n AS text) FROM t ORDER BY ctid").await.unwrap();
        assert_eq!(kept, values.clone().map(|(_, kept)| text(kept)), "{round}");
        host.other_program("TRUNCATE t").await;
    }
    let refused = write(&host, "x", sql, text("1,5")).await;
    assert!(
        matches!(&refused, Committed::StatementFailed { error, .. } if error.contains("`1,5` is not a decimal number")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_number_that_does_not_fit_is_refused_with_what_to_write() {
    let host = host_with("CREATE TABLE t (name TEXT, small REAL)").await;
    let named = "INSERT INTO t (name) VALUES ($1)";
    assert_eq!(write(&host, "1", named, SqlValue::Integer(-7)).await, Committed::Done);
    assert_eq!(column(&host, "SELECT name FROM t").await.unwrap(), [text("-7")]);
    for (event, sql, value, why) in [
        ("2", named, SqlValue::Float(1.5), "CAST(CAST($1 AS double precision) AS TEXT)"),
        (
            "3",
            "INSERT INTO t (small) VALUES ($1)",
            SqlValue::Float(1e39),
            "out of the column's range",
        ),
    ] {
        let refused = write(&host, event, sql, value).await;
        let says =
            matches!(&refused, Committed::StatementFailed { error, .. } if error.contains(why));
        assert!(says, "{refused:?}");
    }
}

#[tokio::test]
async fn a_text_of_any_case_is_a_text() {
    let host = Host::start().await;
    host.other_program("CREATE EXTENSION IF NOT EXISTS citext SCHEMA public").await;
    let sql = "SELECT CAST($1 AS public.citext) AS name";
    let rows = host.ledger.query(sql, &[text("Ann")], 1, || {}).await.unwrap();
    assert_eq!(rows[0][0].1, text("Ann"));
}
