//! SQLite: how it is opened, how its errors are read, and how values come in and out. One
//! connection writes; a few read-only ones answer everything else, so that looking never waits for
//! a commit.

mod deadline;
mod value;

use std::time::Duration;

use futures::TryStreamExt as _;
use sqlx::error::DatabaseError;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous,
};
use sqlx::{Arguments as _, AssertSqlSafe, ConnectOptions as _};

use super::LedgerOptions;
use super::database::Arg;
use super::error::LedgerError;
use super::fault::Fault;
use crate::effect::{Execute, Many, SqlRow, SqlValue};

pub use deadline::Deadline;
pub use value::utc;

/// An open connection.
pub struct Open {
    pub connection: SqliteConnection,
    /// Ends what runs past it.
    pub deadline: Deadline,
}

/// How to open one.
#[derive(Clone)]
pub struct Options(SqliteConnectOptions);

impl Options {
    pub async fn open(&self) -> Result<Open, sqlx::Error> {
        let mut connection = self.0.connect().await?;
        let deadline = Deadline::watch(&mut connection).await?;
        Ok(Open { connection, deadline })
    }

    pub fn writing(options: &LedgerOptions, path: &std::path::Path) -> Self {
        let connect = connecting(path, options.busy_timeout)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Each commit reaches the disk before it is answered.
            .synchronous(SqliteSynchronous::Full)
            // 16 MiB of log, not 4: a page that many commits touch goes to the file once for all.
            .pragma("wal_autocheckpoint", "4000")
            .thread_name(|id| format!("ledger-write-{id}"));
        Self(match options.max_page_count {
            Some(pages) => connect.pragma("max_page_count", pages.to_string()),
            None => connect,
        })
    }

    /// Later that would be an empty ledger without tables, which forgot what it answered.
    #[must_use]
    pub fn of_existing(self) -> Self {
        Self(self.0.create_if_missing(false))
    }

    pub fn reading(options: &LedgerOptions, path: &std::path::Path) -> Self {
        let connect = connecting(path, options.busy_timeout)
            .read_only(true)
            .pragma("query_only", "ON")
            // Rows that are read ahead, of any size: few, for they count against no bound.
            .row_buffer_size(16)
            .thread_name(|id| format!("ledger-read-{id}"));
        Self(connect)
    }
}

fn connecting(path: &std::path::Path, busy_timeout: Duration) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(busy_timeout)
        .statement_cache_capacity(256)
        .row_buffer_size(512)
}

/// By SQLite's result code.
pub fn fault(error: &dyn DatabaseError) -> Fault {
    let code = error.code().and_then(|code| code.parse::<i32>().ok());
    match code.map(|code| code & 0xff) {
        Some(INTERRUPT) => Fault::Late(error.message().to_owned()),
        Some(code) if !LEDGER.contains(&code) => Fault::own(error.message()),
        _ => Fault::Ledger(LedgerError::Unavailable(error.to_string())),
    }
}

/// Busy, locked, no memory, read only, I/O, corrupt, full, cannot open, locking protocol, not a
/// database: <https://sqlite.org/rescode.html>. The low byte of an extended code is its primary one.
const LEDGER: [i32; 10] = [5, 6, 7, 8, 10, 11, 13, 14, 15, 26];

/// What a connection's deadline does to its statement.
const INTERRUPT: i32 = 9;

/// The parameters of one of the ledger's own statements.
pub fn arguments(args: Vec<Arg<'_>>) -> Result<SqliteArguments, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    for arg in args {
        let added = match arg {
            Arg::Text(text) => arguments.add(text),
            Arg::Integer(number) => arguments.add(number),
            Arg::Bytes(bytes) => arguments.add(bytes),
            Arg::Flag(flag) => arguments.add(flag),
            Arg::Rows(rows) => match serde_json::to_string(&rows) {
                Ok(text) => arguments.add(text),
                Err(error) => Err(error.into()),
            },
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

/// Runs one of a component's statements.
pub async fn run(
    connection: &mut SqliteConnection,
    sql: &std::sync::Arc<str>,
    params: &[SqlValue],
) -> Result<u64, Fault> {
    let arguments = value::arguments(params).map_err(Fault::own)?;
    let query = sqlx::query_with(AssertSqlSafe(std::sync::Arc::clone(sql)), arguments);
    Ok(query.execute(connection).await?.rows_affected())
}

/// Runs one insert for several rows, as many at a time as there is a text for.
pub async fn run_many(connection: &mut SqliteConnection, rows: &[&Execute]) -> Result<(), Fault> {
    let mut rest = rows;
    while let Some((first, others)) = rest.split_first() {
        let Some((order, text, now, later)) = fitting(first, rest) else {
            run(connection, &first.sql, &first.params).await?;
            rest = others;
            continue;
        };
        let params = now.iter().flat_map(|row| order.iter().filter_map(|at| row.params.get(*at)));
        let arguments = value::arguments(params).map_err(Fault::own)?;
        let query = sqlx::query_with(AssertSqlSafe(std::sync::Arc::clone(text)), arguments);
        query.execute(&mut *connection).await?;
        rest = later;
    }
    Ok(())
}

type Fitting<'a> = (&'a [usize], &'a std::sync::Arc<str>, &'a [&'a Execute], &'a [&'a Execute]);

/// The text for the most rows that are there, the order of its parameters, and which rows it takes.
fn fitting<'a>(first: &'a Execute, rest: &'a [&'a Execute]) -> Option<Fitting<'a>> {
    let Some(Many::Values { texts, order }) = first.many.as_deref() else { return None };
    texts.iter().find_map(|(rows, text)| {
        let (now, later) = rest.split_at_checked(*rows)?;
        Some((order.as_slice(), text, now, later))
    })
}

/// A component's query.
pub async fn query(
    connection: &mut SqliteConnection,
    sql: &str,
    params: &[SqlValue],
    mut take: impl FnMut(SqlRow) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let arguments = value::arguments(params).map_err(Fault::own)?;
    let mut rows = sqlx::query_with(AssertSqlSafe(sql), arguments).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        take(value::read(&row)?)?;
    }
    Ok(())
}
