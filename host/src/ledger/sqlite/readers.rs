//! A few read-only connections. Each stops by itself when its query has run for too long: a guest's
//! query must not hold one for ever.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::deadline::Deadline;
use crate::ledger::LedgerOptions;
use crate::ledger::error::LedgerError;

pub struct Readers {
    options: SqliteConnectOptions,
    timeout: Duration,
    permits: Arc<Semaphore>,
    /// How many permits there are.
    count: u32,
    idle: Mutex<Vec<Reader>>,
}

struct Reader {
    connection: SqliteConnection,
    deadline: Deadline,
    permit: Held,
}

/// The permit of a connection that is at work. The connection's own thread holds it too.
type Held = Arc<Mutex<Option<OwnedSemaphorePermit>>>;

/// A connection for one query. Dropped without [`give_back`](Self::give_back), as by a caller that
/// was cancelled, it is interrupted and closed; its permit is free when its thread is done.
pub struct Borrowed<'a> {
    readers: &'a Readers,
    reader: Option<Reader>,
}

impl Readers {
    pub fn new(options: &LedgerOptions) -> Self {
        Self {
            options: super::reading(options),
            timeout: options.query_timeout,
            permits: Arc::new(Semaphore::new(usize::try_from(options.readers.max(1)).unwrap_or(1))),
            count: options.readers.max(1),
            idle: Mutex::default(),
        }
    }

    /// Waits for a free one no longer than a query may take.
    pub async fn get(&self) -> Result<Borrowed<'_>, LedgerError> {
        let busy = || LedgerError::Unavailable("all its read connections are busy".into());
        let permit = tokio::time::timeout(self.timeout, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| busy())?
            .map_err(|_| busy())?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let reader = match idle {
            Some(reader) => reader,
            None => self.connect().await?,
        };
        reader.deadline.set(self.timeout);
        *reader.permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
        Ok(Borrowed { readers: self, reader: Some(reader) })
    }

    /// Waits until no query runs, and lets none begin for as long as the answer is held. The
    /// connections that are there are closed: what they prepared was for the tables as they are.
    pub async fn pause(&self) -> Result<OwnedSemaphorePermit, LedgerError> {
        let busy = || LedgerError::Unavailable("its read connections are busy".into());
        let all = Arc::clone(&self.permits).acquire_many_owned(self.count);
        let all = tokio::time::timeout(self.timeout * 2, all);
        let paused = all.await.map_err(|_| busy())?.map_err(|_| busy())?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(paused)
    }

    async fn connect(&self) -> Result<Reader, LedgerError> {
        let mut connection = self.options.connect().await?;
        let deadline = Deadline::watch(&mut connection).await?;
        let permit = Held::default();
        let held = Arc::clone(&permit);
        // Never called, for it only reads; dropped when the connection is closed, on its thread.
        connection.lock_handle().await?.set_commit_hook(move || {
            let _held = &held;
            true
        });
        Ok(Reader { connection, deadline, permit })
    }
}

impl Borrowed<'_> {
    pub fn give_back(mut self) {
        if let Some(reader) = self.reader.take() {
            let permit = reader.permit.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
            drop(permit);
        }
    }

    pub fn timeout(&self) -> Duration {
        self.readers.timeout
    }

    pub fn deadline_passed(&self) -> bool {
        self.reader.as_ref().is_some_and(|reader| reader.deadline.passed())
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        if let Some(reader) = &self.reader {
            reader.deadline.set(Duration::ZERO);
        }
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

#[cfg(test)]
mod tests {
    use sqlx::Connection as _;
    use tempfile::TempDir;

    use super::*;

    const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                           SELECT count(*) FROM n";

    /// One reader, whose queries may take a minute.
    async fn readers(folder: &TempDir) -> Readers {
        let options = LedgerOptions {
            readers: 1,
            query_timeout: Duration::from_secs(60),
            ..LedgerOptions::at(folder.path().join("ledger.db"))
        };
        super::super::writing(&options)
            .create_if_missing(true)
            .connect()
            .await
            .unwrap()
            .close()
            .await
            .unwrap();
        Readers::new(&options)
    }

    #[tokio::test]
    async fn a_query_that_nobody_waits_for_is_interrupted() {
        let folder = TempDir::new().unwrap();
        let readers = readers(&folder).await;
        let mut reader = readers.get().await.unwrap();
        let held = Arc::downgrade(&reader.reader.as_ref().unwrap().permit);
        let query = sqlx::query(ENDLESS).execute(&mut *reader);
        assert!(tokio::time::timeout(Duration::from_millis(20), query).await.is_err());
        drop(reader);
        let next = tokio::time::timeout(Duration::from_secs(20), readers.get()).await;
        assert!(next.expect("it ends long before its minute").is_ok());
        assert!(held.upgrade().is_none(), "the thread of the first is done");
    }

    #[tokio::test]
    async fn a_reader_that_is_given_back_serves_again() {
        let folder = TempDir::new().unwrap();
        let readers = readers(&folder).await;
        for _ in 0..3 {
            let mut reader = readers.get().await.unwrap();
            assert_eq!(readers.permits.available_permits(), 0);
            assert!(sqlx::query("SELECT 1").execute(&mut *reader).await.is_ok());
            reader.give_back();
            assert_eq!(readers.permits.available_permits(), 1);
        }
        assert_eq!(readers.idle.lock().unwrap().len(), 1);
    }
}
