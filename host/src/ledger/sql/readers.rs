//! A few read-only connections. Each stops by itself when its query has run for too long: a guest's
//! query must not hold one for ever.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ledger::database::{Connect, Connection};
use crate::ledger::error::LedgerError;

/// What was idle for longer is asked whether it is there before it is used.
const LONG: Duration = Duration::from_secs(1);

pub struct Readers {
    connect: Connect,
    timeout: Duration,
    permits: Arc<Semaphore>,
    /// How many permits there are.
    count: u32,
    idle: Mutex<Vec<Reader>>,
}

struct Reader {
    connection: Connection,
    /// When it was last given back.
    since: Instant,
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
    /// `count` of them, 1 or more.
    pub fn new(connect: Connect, count: u32, timeout: Duration) -> Self {
        let count = count.max(1);
        Self {
            connect,
            timeout,
            permits: Arc::new(Semaphore::new(usize::try_from(count).unwrap_or(1))),
            count,
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
        let idle = match idle {
            Some(mut reader) => reader.is_there().await.then_some(reader),
            None => None,
        };
        let reader = match idle {
            Some(reader) => reader,
            None => self.connect().await?,
        };
        reader.limit(self.timeout);
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
        let mut connection = self.connect.connect().await?;
        let permit = Held::default();
        match &mut connection {
            Connection::Sqlite(open) => {
                let held = Arc::clone(&permit);
                // Never called, for it only reads; dropped when the connection is closed, on its
                // thread.
                open.connection.lock_handle().await?.set_commit_hook(move || {
                    let _held = &held;
                    true
                });
            }
            Connection::Postgres(_) => {}
        }
        Ok(Reader { connection, since: Instant::now(), permit })
    }
}

impl Reader {
    /// A server that went away meanwhile is not to be found out by a delivery.
    async fn is_there(&mut self) -> bool {
        self.since.elapsed() < LONG || self.connection.ping().await.is_ok()
    }

    /// PostgreSQL's session has a limit of its own.
    fn limit(&self, timeout: Duration) {
        match &self.connection {
            Connection::Sqlite(open) => open.deadline.set(timeout),
            Connection::Postgres(_) => {}
        }
    }
}

impl Borrowed<'_> {
    pub fn give_back(mut self) {
        if let Some(mut reader) = self.reader.take() {
            reader.since = Instant::now();
            let permit = reader.permit.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
            drop(permit);
        }
    }

    pub fn timeout(&self) -> Duration {
        self.readers.timeout
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        if let Some(reader) = &self.reader {
            reader.limit(Duration::ZERO);
        }
    }
}

impl Deref for Borrowed<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.reader.as_ref().expect("held until given back").connection
    }
}

impl DerefMut for Borrowed<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.reader.as_mut().expect("held until given back").connection
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;
    use crate::ledger::LedgerOptions;
    use crate::ledger::database::args;
    use crate::ledger::sqlite::Options;

    const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                           SELECT count(*) FROM n";

    /// One reader, whose queries may take a minute.
    async fn readers(folder: &TempDir) -> Readers {
        let path = folder.path().join("ledger.db");
        let options = LedgerOptions::at(&path);
        Options::writing(&options, &path).open().await.unwrap();
        reading(&path, 1, Duration::from_secs(60))
    }

    fn reading(path: &Path, count: u32, timeout: Duration) -> Readers {
        let options = Options::reading(&LedgerOptions::at(path), path);
        Readers::new(Connect::Sqlite(Box::new(options)), count, timeout)
    }

    #[tokio::test]
    async fn a_query_that_nobody_waits_for_is_interrupted() {
        let folder = TempDir::new().unwrap();
        let readers = readers(&folder).await;
        let mut reader = readers.get().await.unwrap();
        let held = Arc::downgrade(&reader.reader.as_ref().unwrap().permit);
        let query = reader.execute(ENDLESS, args![]);
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
            assert!(reader.execute("SELECT 1", args![]).await.is_ok());
            reader.give_back();
            assert_eq!(readers.permits.available_permits(), 1);
        }
        assert_eq!(readers.idle.lock().unwrap().len(), 1);
    }
}
