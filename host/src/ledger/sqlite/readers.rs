//! A few read-only connections. Each stops by itself when its query has run for too long: a guest's
//! query must not hold one for ever.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::deadline::Deadline;
use crate::ledger::LedgerOptions;
use crate::ledger::error::LedgerError;

pub struct Readers {
    options: SqliteConnectOptions,
    timeout: Duration,
    permits: Semaphore,
    idle: Mutex<Vec<Reader>>,
}

struct Reader {
    connection: SqliteConnection,
    deadline: Deadline,
}

/// A connection for one query. Dropped without [`give_back`](Self::give_back), as by a caller that
/// was cancelled, it is closed: it may still be at work.
pub struct Borrowed<'a> {
    readers: &'a Readers,
    reader: Option<Reader>,
    _permit: SemaphorePermit<'a>,
}

impl Readers {
    pub fn new(options: &LedgerOptions) -> Self {
        Self {
            options: super::reading(options),
            timeout: options.query_timeout,
            permits: Semaphore::new(usize::try_from(options.readers.max(1)).unwrap_or(1)),
            idle: Mutex::default(),
        }
    }

    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Waits for a free one no longer than a query may take.
    pub async fn get(&self) -> Result<Borrowed<'_>, LedgerError> {
        let busy = || LedgerError::Unavailable("all its read connections are busy".into());
        let permit = tokio::time::timeout(self.timeout, self.permits.acquire())
            .await
            .map_err(|_| busy())?
            .map_err(|_| busy())?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let reader = match idle {
            Some(reader) => reader,
            None => self.connect().await?,
        };
        reader.deadline.set(self.timeout);
        Ok(Borrowed { readers: self, reader: Some(reader), _permit: permit })
    }

    async fn connect(&self) -> Result<Reader, LedgerError> {
        let mut connection = self.options.connect().await?;
        let deadline = Deadline::watch(&mut connection).await?;
        Ok(Reader { connection, deadline })
    }
}

impl Borrowed<'_> {
    pub fn give_back(mut self) {
        if let Some(reader) = self.reader.take() {
            self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
        }
    }

    pub fn deadline_passed(&self) -> bool {
        self.reader.as_ref().is_some_and(|reader| reader.deadline.passed())
    }
}

impl Deref for Borrowed<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.reader.as_ref().expect("held until given back").connection
    }
}

impl DerefMut for Borrowed<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.reader.as_mut().expect("held until given back").connection
    }
}
