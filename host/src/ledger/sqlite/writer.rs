//! The one connection that writes. Groups and claims take turns on it.

use sqlx::ConnectOptions as _;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::Fault;
use super::deadline::Deadline;
use crate::ledger::LedgerOptions;
use crate::ledger::error::LedgerError;

/// Opens again by itself after the connection broke. Callers must not be cancelled between
/// [`begin`](Self::begin) and [`end`](Self::end).
pub struct Writer {
    options: SqliteConnectOptions,
    connection: Option<SqliteConnection>,
    deadline: Option<Deadline>,
    statements_timeout: Duration,
}

impl Writer {
    /// Makes the file when it is missing. Later that would be an empty ledger without tables, which
    /// forgot what it answered.
    pub async fn open(options: &LedgerOptions) -> Result<Self, LedgerError> {
        let mut writer = Self {
            options: super::writing(options),
            connection: None,
            deadline: None,
            statements_timeout: options.query_timeout,
        };
        writer.connection().await?;
        writer.options = writer.options.create_if_missing(false);
        Ok(writer)
    }

    /// For a single statement, which is its own transaction.
    pub async fn connection(&mut self) -> Result<&mut SqliteConnection, LedgerError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let mut connection = self.options.connect().await?;
                self.deadline = Some(Deadline::watch(&mut connection).await?);
                connection
            }
        };
        Ok(self.connection.insert(connection))
    }

    /// Takes the write lock; waits for it no longer than the busy timeout.
    pub async fn begin(&mut self) -> Result<&mut SqliteConnection, LedgerError> {
        let begun = sqlx::query("BEGIN IMMEDIATE").execute(self.connection().await?).await;
        self.checked(begun.map_err(LedgerError::from))?;
        self.connection().await
    }

    /// Like [`begin`](Self::begin), where components' statements run: one without end must not keep
    /// everyone else from writing.
    pub async fn begin_limited(&mut self) -> Result<&mut SqliteConnection, LedgerError> {
        self.begin().await?;
        if let Some(deadline) = &self.deadline {
            deadline.set(self.statements_timeout);
        }
        self.connection().await
    }

    /// After an error outside of a transaction the connection may be broken. It is opened again
    /// for the next caller: if it was only busy, nothing is lost by that.
    pub fn checked<T>(&mut self, result: Result<T, LedgerError>) -> Result<T, LedgerError> {
        if result.is_err() {
            self.connection = None;
        }
        result
    }

    /// Commits what went well, and takes back the rest. When the commit itself fails it is not
    /// known whether it happened.
    pub async fn end<T>(&mut self, result: Result<T, Fault>) -> Result<T, Fault> {
        if let Some(deadline) = &self.deadline {
            deadline.clear();
        }
        let result = match (result, &mut self.connection) {
            (Ok(value), Some(connection)) => {
                sqlx::query("COMMIT").execute(connection).await.map(|_| value).map_err(Fault::from)
            }
            (Ok(_), None) => Err(LedgerError::Unavailable("its connection broke".into()).into()),
            (Err(fault), _) => Err(fault),
        };
        if result.is_err() {
            self.roll_back().await;
        }
        result
    }

    /// SQLite takes some transactions back by itself (full, I/O), and then there is nothing to roll
    /// back; what is left of the connection is not worth finding out.
    async fn roll_back(&mut self) {
        if let Some(mut connection) = self.connection.take()
            && sqlx::query("ROLLBACK").execute(&mut connection).await.is_ok()
        {
            self.connection = Some(connection);
        }
    }

    /// Whether it can be written: takes the lock, asks for room, and takes it back.
    pub async fn probe(&mut self) -> Result<(), LedgerError> {
        let connection = self.begin().await?;
        let room = sqlx::query("INSERT INTO wharf_probe (filler) VALUES (zeroblob(65536))")
            .execute(connection)
            .await;
        self.roll_back().await;
        room.map(|_| ()).map_err(LedgerError::from)
    }
}
