//! The ledger's SQL for SQLite, and how it reads SQLite's errors. One connection writes; a few
//! read-only ones answer everything else, so that looking never waits for a commit.

pub mod by_hand;
pub mod claims;
mod deadline;
pub mod group;
pub mod look;
pub mod matching;
pub mod migrate;
pub mod query;
pub mod readers;
pub mod recordings;
pub mod releases;
mod row;
mod value;
pub mod writer;

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use super::LedgerOptions;
use super::error::LedgerError;

/// Why a write did not happen, by whose fault it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Locked, full, broken or gone: nobody's delivery is to blame.
    Ledger(LedgerError),
    /// The statement's own: a constraint, a wrong type, a missing table. Only a component's
    /// statement, and a commit that has some, may say so of a delivery.
    Own { statement: Option<String>, error: String },
}

impl Fault {
    /// Says which statement it was.
    pub fn of(self, statement: &str) -> Self {
        match self {
            Self::Own { error, .. } => Self::Own { statement: Some(statement.to_owned()), error },
            ledger @ Self::Ledger(_) => ledger,
        }
    }
}

impl From<LedgerError> for Fault {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        let own = |error: String| Self::Own { statement: None, error };
        match &error {
            sqlx::Error::Database(database) if is_own(database.code().as_deref()) => {
                own(database.message().to_owned())
            }
            sqlx::Error::Encode(encode) => own(encode.to_string()),
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::Decode(_) => Self::Ledger(LedgerError::Unreadable(error.to_string())),
            _ => Self::Ledger(LedgerError::Unavailable(error.to_string())),
        }
    }
}

/// Where nothing but the ledger's own statements run, no fault is a delivery's.
impl From<Fault> for LedgerError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Ledger(error) => error,
            Fault::Own { error, .. } => Self::Unavailable(error),
        }
    }
}

impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> Self {
        Fault::from(error).into()
    }
}

/// Busy, locked, no memory, read only, I/O, corrupt, full, cannot open, locking protocol, not a
/// database: <https://sqlite.org/rescode.html>. The low byte of an extended code is its primary one.
fn is_own(code: Option<&str>) -> bool {
    const LEDGER: [i32; 10] = [5, 6, 7, 8, 10, 11, 13, 14, 15, 26];
    code.and_then(|code| code.parse::<i32>().ok())
        .is_some_and(|code| !LEDGER.contains(&(code & 0xff)))
}

fn writing(options: &LedgerOptions) -> SqliteConnectOptions {
    let connect = connecting(options, options.busy_timeout)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // Each commit reaches the disk before it is answered.
        .synchronous(SqliteSynchronous::Full)
        // 16 MiB of log, not 4: a page that many commits touch goes to the file once for all.
        .pragma("wal_autocheckpoint", "4000")
        .thread_name(|id| format!("ledger-write-{id}"));
    match options.max_page_count {
        Some(pages) => connect.pragma("max_page_count", pages.to_string()),
        None => connect,
    }
}

fn reading(options: &LedgerOptions) -> SqliteConnectOptions {
    connecting(options, options.busy_timeout)
        .read_only(true)
        .pragma("query_only", "ON")
        // Rows that are read ahead, of any size: few, for they count against no bound.
        .row_buffer_size(16)
        .thread_name(|id| format!("ledger-read-{id}"))
}

fn connecting(options: &LedgerOptions, busy_timeout: Duration) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(&options.path)
        .busy_timeout(busy_timeout)
        .statement_cache_capacity(256)
        .row_buffer_size(512)
}
