//! What components may ask, and their migrations.

use std::time::Duration;

use super::super::{Fitting, MigrateError, Migration, NewRelease, SqlError, Why};
use super::{Host, done, on_postgres, start, submission};
use crate::effect::SqlValue;
use crate::name::ComponentId;

#[tokio::test]
async fn a_query_reads_what_is_stored_and_nothing_else() {
    let host = Host::start().await.with_audit_log().await;
    let bytes = if on_postgres() { "'\\x00ff'::bytea" } else { "x'00ff'" };
    let sql = format!("SELECT CAST($1 AS TEXT) AS a, 1.5 AS b, {bytes} AS c, NULL AS d, 7 AS e");
    let rows = host.ledger.query(&sql, &[SqlValue::Text("x".into())], 1, || {}).await.unwrap();
    let expected = [
        ("a", SqlValue::Text("x".into())),
        ("b", SqlValue::Float(1.5)),
        ("c", SqlValue::Bytes(vec![0, 255])),
        ("d", SqlValue::Null),
        ("e", SqlValue::Integer(7)),
    ];
    assert_eq!(rows, [expected.map(|(name, value)| (name.to_owned(), value)).to_vec()]);

    let many = "SELECT 1 UNION ALL SELECT 2";
    assert_eq!(host.ledger.query(many, &[], 1, || {}).await, Err(SqlError::TooManyRows(1)));
    for write in [
        "INSERT INTO audit_log VALUES ('a', 'b')",
        "PRAGMA query_only = OFF; INSERT INTO audit_log VALUES ('a', 'b')",
        "DROP TABLE audit_log",
    ] {
        let refused = host.ledger.query(write, &[], 1, || {}).await;
        assert!(refused.is_err(), "{write}: {refused:?}");
    }
    assert!(host.audited().await.is_empty());
}

#[tokio::test]
async fn a_query_without_end_is_interrupted() {
    let timeout = Duration::from_millis(500);
    let host = Host::with(|options| options.query_timeout = timeout).await;
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                   SELECT count(*) FROM n";
    assert_eq!(host.ledger.query(endless, &[], 1, || {}).await, Err(SqlError::Deadline(timeout)));
    assert!(host.ledger.query("SELECT 1", &[], 1, || {}).await.is_ok());
}

#[tokio::test]
async fn prepare_says_whether_a_statement_fits_the_tables() {
    let host = Host::start().await.with_audit_log().await;
    let ledger = &host.ledger;
    assert_eq!(ledger.prepare("INSERT INTO audit_log (event_id) VALUES ($1)").await, Ok(()));
    assert!(host.audited().await.is_empty(), "it does not run");
    let missing = ledger.prepare("INSERT INTO audit_log (nothing) VALUES ($1)").await;
    assert!(matches!(missing, Err(SqlError::Statement(error)) if error.contains("nothing")));
}

fn migration(name: &str, sql: &str) -> Migration {
    Migration { set: "todo".into(), name: name.into(), sql: sql.into() }
}

#[tokio::test]
async fn migrations_are_applied_once_and_together() {
    let host = Host::start().await;
    let first = migration("1", "CREATE TABLE a (x TEXT); CREATE TABLE b (x TEXT)");
    let applied = host.ledger.migrate(std::slice::from_ref(&first)).await;
    assert_eq!(applied, Ok(vec!["todo/1".to_owned()]));
    assert_eq!(host.ledger.migrate(std::slice::from_ref(&first)).await, Ok(Vec::new()));

    let broken =
        [migration("2", "CREATE TABLE c (x TEXT)"), migration("3", "CREATE TABLE a (x TEXT)")];
    let failed = host.ledger.migrate(&broken).await;
    assert!(matches!(failed, Err(MigrateError::Failed { name, .. }) if name == "3"));
    assert!(host.ledger.prepare("SELECT * FROM c").await.is_err(), "neither is applied");

    let changed = migration("1", "CREATE TABLE a (y TEXT)");
    let refused = host.ledger.migrate(&[changed]).await;
    assert_eq!(refused, Err(MigrateError::Changed { set: "todo".into(), name: "1".into() }));
    assert!(host.ledger.ping().await.is_ok());
}

#[tokio::test]
async fn a_migration_that_a_statement_does_not_fit_is_taken_back() {
    let host = Host::start().await;
    let tables = "CREATE TABLE a (x TEXT); CREATE TABLE b (y TEXT)";
    host.ledger.migrate(&[migration("1", tables)]).await.unwrap();
    let wider = vec![migration("2", "ALTER TABLE a ADD COLUMN y TEXT")];
    let fitting = |sql: &str| vec![Fitting { name: "[sql.s] of audit".into(), sql: sql.into() }];
    // It fits the tables before.
    let before = host.ledger.migrate_fitting(Vec::new(), fitting("SELECT y FROM a, b"));
    assert_eq!(before.await, Ok(Vec::new()));
    let refused = host.ledger.migrate_fitting(wider.clone(), fitting("SELECT y FROM a, b")).await;
    let error = refused.unwrap_err().to_string();
    assert!(error.starts_with("[sql.s] of audit does not fit the tables: "), "{error}");
    assert!(host.ledger.prepare("SELECT y FROM a").await.is_err(), "it is not applied");

    let applied = host.ledger.migrate_fitting(wider, fitting("SELECT b.y FROM a, b"));
    assert_eq!(applied.await, Ok(vec!["todo/2".to_owned()]));
    host.ledger.prepare("SELECT y FROM a").await.unwrap();
}

#[tokio::test]
async fn a_digest_that_was_kept_as_digits_is_kept_as_bytes() {
    let host = Host::start().await;
    let one = submission("1", done(vec![]));
    host.ledger.commit(one.clone()).await.unwrap();
    let (as_before, migration) = if on_postgres() {
        (
            "ALTER TABLE wharf_deliveries ALTER COLUMN digest TYPE TEXT USING encode(digest, 'hex')",
            include_str!("../../../migrations/postgres/0004_digest_as_bytes.sql"),
        )
    } else {
        (
            "UPDATE wharf_deliveries SET digest = lower(hex(digest))",
            include_str!("../../../migrations/sqlite/0006_digest_as_bytes.sql"),
        )
    };
    let mut other = host.other_program(as_before).await;
    other.run(migration).await;
    let sql = "SELECT length(digest) AS bytes FROM wharf_deliveries";
    let bytes = host.ledger.query(sql, &[], 1, || {}).await.unwrap();
    assert_eq!(bytes[0][0].1, SqlValue::Integer(1));
    let kept = host.ledger.delivery(&one.head.id).await.unwrap().unwrap();
    assert_eq!(kept.summary.head, one.head);
}

#[tokio::test]
async fn releases_are_told_newest_first_and_ten_bundles_are_kept() {
    let host = Host::start().await;
    let of = |component: &str, number: u32, why| NewRelease {
        component: ComponentId::new(component).unwrap(),
        digest: format!("d{number}"),
        version: "1".into(),
        bundle: vec![u8::try_from(number).unwrap()],
        at: start() + Duration::from_secs(number.into()),
        why,
    };
    host.ledger.record_release(of("recurring", 0, Why::Start)).await.unwrap();
    for number in 0..12 {
        assert!(host.ledger.record_release(of("audit", number, Why::Build)).await.unwrap());
        let again = of("audit", number, Why::Start);
        assert!(!host.ledger.record_release(again).await.unwrap(), "it runs already");
    }
    let back = of("audit", 3, Why::Build);
    assert!(host.ledger.record_release(back).await.unwrap(), "an old one again is news");
    let audit = super::audit();
    let told = host.ledger.releases(&audit, 3).await.unwrap();
    let told: Vec<_> = told.iter().map(|r| (r.digest.as_str(), r.why)).collect();
    assert_eq!(told, [("d3", Why::Build), ("d11", Why::Build), ("d10", Why::Build)]);
    for (digest, kept) in [("d2", None), ("d3", Some(vec![3])), ("d4", Some(vec![4]))] {
        assert_eq!(host.ledger.bundle(&audit, digest).await.unwrap(), kept, "{digest}");
    }
    let other = ComponentId::new("recurring").unwrap();
    assert_eq!(host.ledger.bundle(&other, "d0").await.unwrap(), Some(vec![0]));
}

#[tokio::test]
async fn a_query_sees_a_column_that_was_added_meanwhile() {
    let host = Host::start().await.with_audit_log().await;
    let insert = "INSERT INTO audit_log VALUES ('e1', 'n')";
    let seed = |name: &str, sql: &str| Migration {
        set: "audit".into(),
        name: name.into(),
        sql: sql.into(),
    };
    host.ledger.migrate(&[seed("2", insert)]).await.unwrap();
    let columns = async || {
        let rows = host.ledger.query("SELECT * FROM audit_log", &[], 9, || {}).await.unwrap();
        rows.iter().map(Vec::len).collect::<Vec<_>>()
    };
    assert_eq!(columns().await, [2]);
    let add = seed("3", "ALTER TABLE audit_log ADD COLUMN more TEXT");
    host.ledger.migrate(&[add]).await.unwrap();
    assert_eq!(columns().await, [3]);
}
