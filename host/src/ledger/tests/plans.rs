//! No statement of the ledger reads a table of millions from one end to the other. Every statement
//! that a host's life runs is heard as it goes to the database, and its plan is asked for: with
//! empty tables, with many rows, with what the database knows of many rows, and where it knows that
//! the outbox is empty, as it is most of the time.
//!
//! A statement in `sql/` that [`story`] does not run fails the test: add it there.

#[path = "plans/postgres.rs"]
mod postgres;
#[path = "plans/sqlite.rs"]
mod sqlite;
#[path = "plans/story.rs"]
mod story;

use std::path::Path;

use super::super::LedgerOptions;
use super::super::database::Connection;
use super::super::heard::{self, Statement};
use super::{Host, on_postgres};

/// The tables that grow with the events.
const LARGE: [&str; 2] = ["wharf_deliveries", "wharf_outbox"];

/// Indexes that have the few rows which are parked, dead or waiting. To read one of them whole is
/// no fault.
const PARTIAL: [&str; 8] = [
    "wharf_deliveries_turn",
    "wharf_deliveries_due",
    "wharf_deliveries_failed",
    "wharf_outbox_lane",
    "wharf_outbox_due",
    "wharf_outbox_dead",
    "wharf_deliveries_behind",
    "wharf_outbox_behind",
];

/// How the statement begins that enters what just came in.
const ENTERING: &str = "INSERT INTO wharf_deliveries (component, key, status, claim, attempts, \
    next_attempt_at, subject, ordered, contract, pubsub, topic, digest, event_id, event_type, \
    received_at) SELECT component, key, CASE";

/// The same on PostgreSQL, with the components' inserts and what leaves.
const AT_ONCE: &str = "WITH wharf_entered AS (INSERT INTO wharf_deliveries";

/// How statements must be planned, by how they begin: through these indexes, in any order.
const EXPECTED: [(&str, &[&str]); 13] = [
    (ENTERING, &["turn"]),
    (AT_ONCE, &["turn"]),
    (
        "WITH walked AS MATERIALIZED (SELECT d.sequence AS place",
        &["deliveries_due", "turn", "pkey"],
    ),
    ("WITH walked AS MATERIALIZED (SELECT o.sequence AS place", &["outbox_due", "lane", "pkey"]),
    ("UPDATE wharf_deliveries SET behind", &["deliveries_behind", "pkey"]),
    ("UPDATE wharf_outbox SET behind", &["outbox_behind", "pkey"]),
    ("UPDATE wharf_deliveries SET status", &["key"]),
    ("UPDATE wharf_deliveries SET wire", &["key"]),
    ("DELETE FROM wharf_outbox WHERE status || '' = 'waiting'", &["pkey"]),
    ("SELECT (SELECT d.next_attempt_at", &["deliveries_due", "outbox_due"]),
    ("SELECT component, status, count(*)", &["failed"]),
    ("SELECT count(*) AS many, max(sequence)", &["pkey"]),
    ("DELETE FROM wharf_deliveries WHERE sequence >", &["pkey", "outbox_delivery"]),
];

#[tokio::test]
async fn every_statement_uses_its_index() {
    let host = Host::start().await;
    heard::listen();
    story::tell(&host).await;
    let statements: Vec<_> = heard::heard().into_iter().filter(asks).collect();
    assert_eq!(not_heard(&statements), [""; 0], "no plan was asked for; see story.rs");
    for (begins, _) in EXPECTED {
        let met = statements.iter().any(|statement| is_begun_by(&statement.text, begins));
        assert!(met || (begins == AT_ONCE && !on_postgres()), "no statement begins so: {begins}");
    }
    let mut faults = Vec::new();
    for tables in ["as the story leaves them", "full", "full and known", "with an empty outbox"] {
        match tables {
            "full" => fill(&host).await,
            "full and known" => drop(host.other_program("ANALYZE").await),
            "with an empty outbox" => {
                host.other_program("DELETE FROM wharf_outbox").await;
                let look = if on_postgres() { "VACUUM ANALYZE wharf_outbox" } else { "ANALYZE" };
                host.other_program(look).await;
            }
            _ => {}
        }
        for statement in &statements {
            for fault in faults_of(&host, statement).await {
                faults.push(format!("{fault}, with tables {tables}: {}", statement.text));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

/// A step of a plan that touches one of the large tables.
#[derive(Debug, PartialEq, Eq)]
pub struct Access {
    /// `None` when it reads the whole table.
    index: Option<String>,
    /// Whether it looks for something in it.
    sought: bool,
    /// Whether what it gives is joined with something else at once, so that all of it is read.
    joined: bool,
}

async fn faults_of(host: &Host, statement: &Statement) -> Vec<String> {
    let options = LedgerOptions::of(host.place().clone());
    let [_, writing, looking, _] = options.connects().unwrap();
    let text = &statement.text;
    let looks = text.starts_with("SELECT") && !text.contains("FOR UPDATE");
    let mut connection = if looks { looking } else { writing }.connect().await.unwrap();
    let plan = match &mut connection {
        Connection::Sqlite(open) => sqlite::plan(&mut open.connection, text).await,
        Connection::Postgres(open) => postgres::plan(&mut open.connection, statement).await,
    };
    let mut faults: Vec<_> = plan.iter().filter_map(Access::fault).collect();
    let names = |index: &str| plan.iter().any(|access| access.is_through(index));
    for (_, indexes) in EXPECTED.iter().filter(|(begins, _)| is_begun_by(text, begins)) {
        let missing = indexes.iter().filter(|index| !names(index));
        faults.extend(missing.map(|index| format!("`{index}` is not used")));
    }
    faults
}

impl Access {
    fn fault(&self) -> Option<String> {
        let Some(index) = &self.index else { return Some("a whole table is read".to_owned()) };
        let few = PARTIAL.contains(&index.as_str()) && (!self.joined || index.ends_with("dead"));
        (!self.sought && !few).then(|| format!("all of `{index}` is read"))
    }

    /// `pkey` is the order of entry, in either database.
    fn is_through(&self, index: &str) -> bool {
        self.index.as_deref().is_some_and(|name| name.ends_with(index))
    }
}

fn is_begun_by(statement: &str, begins: &str) -> bool {
    let plain =
        |text: &str| text.replace('?', "$").split_whitespace().collect::<Vec<_>>().join(" ");
    plain(statement).starts_with(&plain(begins))
}

/// Many done rows, few others, and an outbox of some length.
async fn fill(host: &Host) {
    let rows = |from: u32, to: u32| {
        if on_postgres() {
            format!("generate_series({from}, {to}) AS n(i)")
        } else {
            format!(
                "(WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n \
                 WHERE i < {to}) SELECT i FROM n) AS n"
            )
        }
    };
    let key = |i: &str| {
        if on_postgres() {
            format!("decode(lpad(to_hex({i}), 32, '0'), 'hex')")
        } else {
            format!("unhex(printf('%032x', {i}))")
        }
    };
    let deliveries = |status: &str, due: &str, rows: &str| {
        format!(
            "INSERT INTO wharf_deliveries (component, key, status, attempts, next_attempt_at, \
                 subject, ordered, digest, event_id, event_type, received_at) \
             SELECT 'audit', {key}, '{status}', 1, {due}, 's' || i, 1, 'd', 'e' || i, 't', \
                 1700000000000000 + i FROM {rows};",
            key = key("i")
        )
    };
    let outbox = format!(
        "INSERT INTO wharf_outbox (lane, component, key, effect_index, kind, target, payload, \
             status, next_attempt_at, since) \
         SELECT 'l' || i, 'audit', {key}, 0, 'publish', '{{}}', {key}, 'waiting', i, i FROM {rows};",
        key = key("i"),
        rows = rows(1, 3000)
    );
    let sql = [
        deliveries("done", "NULL", &rows(1, 20_000)),
        deliveries("parked", "1700000000000000 + i", &rows(20_001, 20_100)),
        deliveries("dead", "NULL", &rows(20_101, 20_150)),
        outbox,
    ];
    host.other_program(&sql.concat()).await;
}

/// Those of the ledger's own tables.
fn asks(statement: &Statement) -> bool {
    let begins = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"];
    statement.text.contains("wharf_")
        && begins.iter().any(|begin| statement.text.starts_with(begin))
}

/// Of each statement in `sql/` the beginning, as far as it is the same in every text, where none of
/// the statements begins so.
fn not_heard(statements: &[Statement]) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ledger/sql");
    let mut missing = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        // Run when a host starts, and its own tables are small.
        if path.ends_with("migrate.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for begin in text.lines().filter_map(beginning) {
            let begin = begin.replace('?', "$");
            if !statements.iter().any(|statement| statement.text.replace('?', "$").contains(&begin))
            {
                missing.push(format!("{}: {begin}", path.display()));
            }
        }
    }
    missing
}

/// Of a line of source in which a statement begins.
fn beginning(line: &str) -> Option<&str> {
    let verbs = ["\"SELECT ", "\"INSERT INTO ", "\"UPDATE ", "\"DELETE FROM "];
    let at = verbs.iter().find_map(|verb| line.find(verb))?;
    let text = line.get(at + 1..)?;
    let end = text.find(['"', '\\', '{']).unwrap_or(text.len());
    Some(text.get(..end)?.trim_end())
}
