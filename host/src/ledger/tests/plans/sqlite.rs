//! SQLite's plans: `SCAN` reads all, `SEARCH` looks for something.

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::{Access, LARGE};

pub async fn plan(connection: &mut SqliteConnection, statement: &str) -> Vec<Access> {
    let sql = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let rows = sqlx::query(sql).fetch_all(connection).await;
    let rows = rows.unwrap_or_else(|error| panic!("{error}: {statement}"));
    let names = names(statement);
    rows.iter().filter_map(|row| access(&row.get::<String, _>("detail"), &names)).collect()
}

/// The tables, and what the statement calls them.
fn names(statement: &str) -> Vec<&str> {
    let mut words = statement.split([' ', '(', ')', ',', '\n']).filter(|word| !word.is_empty());
    let mut names = LARGE.to_vec();
    let mut next = words.next();
    while let Some(word) = next {
        next = words.next();
        if LARGE.contains(&word) {
            names.extend(next.filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase())));
        }
    }
    names
}

fn access(detail: &str, names: &[&str]) -> Option<Access> {
    let mut words = detail.split(' ');
    let (verb, name) = (words.next()?, words.next()?);
    if !matches!(verb, "SCAN" | "SEARCH") || !names.contains(&name) {
        return None;
    }
    let index = match detail.split_once(" INDEX ") {
        Some((_, index)) => index.split(' ').next().map(str::to_owned),
        // The order of entry is the table's own.
        None if verb == "SEARCH" => Some("pkey".to_owned()),
        None => None,
    };
    let index = index.map(|index| match index.as_str() {
        "sqlite_autoindex_wharf_deliveries_1" => "wharf_deliveries_key".to_owned(),
        _ => index,
    });
    let pairs = detail.contains("wharf_deliveries_1") && !detail.contains("component=? AND key=?");
    assert!(!pairs, "all rows of a component are read: {detail}");
    Some(Access { index, sought: verb == "SEARCH", joined: false })
}
