//! A few read-only connections. Each stops by itself when its query has run for too long: a guest's
//! query must not hold one for ever.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::ledger::LedgerOptions;
use crate::ledger::error::LedgerError;

/// How many steps of SQLite's virtual machine pass between two looks at the time: well under a
/// millisecond.
const STEPS: i32 = 10_000;

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
        let deadline = Deadline::new();
        let watched = deadline.clone();
        connection.lock_handle().await?.set_progress_handler(STEPS, move || !watched.passed());
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

/// When to stop, read by SQLite's own thread.
#[derive(Clone)]
struct Deadline {
    start: Instant,
    millis: Arc<AtomicU64>,
}

impl Deadline {
    fn new() -> Self {
        Self { start: Instant::now(), millis: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    fn set(&self, timeout: Duration) {
        let millis = (self.start.elapsed() + timeout).as_millis();
        self.millis.store(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn passed(&self) -> bool {
        self.start.elapsed().as_millis() >= u128::from(self.millis.load(Ordering::Relaxed))
    }
}
