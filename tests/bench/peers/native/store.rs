//! Writes to either database what the chosen promise needs.

mod postgres;
mod sqlite;

use std::str::FromStr as _;

use clap::ValueEnum;
use futures::future::try_join_all;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, SqlitePool};

use crate::envelope::Incoming;

/// What happens to an event that comes twice, and whether something is published of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Promise {
    /// One insert for each event. Its primary key alone keeps repeats out; nothing is published.
    Insert,
    /// An inbox row and the row, together.
    Inbox,
    /// An inbox row, the row and an outbox row, together.
    Outbox,
}

/// Who handles the events, as the inbox says it.
const COMPONENT: &str = "audit";

/// Where the outbox would publish to.
const ECHOES: &str = "todo-pubsub/echoes";

pub struct Store {
    database: Database,
    promise: Promise,
}

enum Database {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

impl Store {
    pub async fn open(url: &str, connections: u32, promise: Promise) -> anyhow::Result<Self> {
        let database = match url.starts_with("sqlite:") {
            true => {
                let options = SqliteConnectOptions::from_str(url)?
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full);
                // SQLite has one writer at a time.
                let pool = SqlitePoolOptions::new().max_connections(1).test_before_acquire(false);
                Database::Sqlite(pool.connect_with(options).await?)
            }
            false => {
                let pool = PgPoolOptions::new()
                    .min_connections(connections)
                    .max_connections(connections)
                    .test_before_acquire(false);
                Database::Postgres(pool.connect_with(PgConnectOptions::from_str(url)?).await?)
            }
        };
        Ok(Self { database, promise })
    }

    /// One event, durable when this returns.
    pub async fn take(&self, event: Incoming) -> sqlx::Result<()> {
        match &self.database {
            Database::Postgres(pool) => postgres::take(pool, self.promise, event).await,
            Database::Sqlite(pool) => sqlite::take(pool, self.promise, event).await,
        }
    }

    /// A bulk. With `insert` each event is inserted by itself, as many at once as there are
    /// connections; else all are in one transaction.
    pub async fn take_all(&self, events: Vec<Incoming>) -> sqlx::Result<()> {
        match (&self.database, self.promise) {
            (_, Promise::Insert) => {
                try_join_all(events.into_iter().map(|event| self.take(event))).await?;
                Ok(())
            }
            (Database::Postgres(pool), promise) => postgres::take_all(pool, promise, events).await,
            (Database::Sqlite(pool), promise) => sqlite::take_all(pool, promise, events).await,
        }
    }
}
