//! The connections that write: one to SQLite, which has one writer, several to PostgreSQL. Groups
//! and claims take turns on them.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ledger::database::{Connect, Connection, args};
use crate::ledger::error::LedgerError;
use crate::ledger::fault::Fault;
use crate::ledger::limit::Limit;
use crate::ledger::postgres::is_gone;

/// So soon after a connection failed, another is not tried: everyone who waits hears of it at once.
const BREATH: Duration = Duration::from_millis(250);

/// How often a transaction is written that others are in the way of.
pub const TRIES: u32 = 5;

/// A transaction of the ledger's own, and again where others were in its way. The work gives a
/// `Result<_, Fault>`, without `?`: that would leave it begun.
macro_rules! transact {
    ($writer:ident, |$connection:ident| $work:expr) => {{
        let mut tries = 1;
        loop {
            let $connection = $writer.begin().await?;
            let result = $work;
            match $writer.end(result).await {
                Err($crate::ledger::fault::Fault::Conflict(error))
                    if tries < $crate::ledger::sql::writer::TRIES =>
                {
                    tracing::debug!(error, "a transaction is written again");
                    tries += 1;
                }
                ended => break ended.map_err($crate::ledger::LedgerError::from),
            }
        }
    }};
}
pub(in crate::ledger) use transact;

/// Lends connections, one to each caller.
pub struct Writers {
    connect: Connect,
    statements_timeout: Duration,
    /// How long a caller waits for a free one.
    patience: Duration,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Writer>>,
    failed: Mutex<Option<(Instant, LedgerError)>>,
}

/// One connection. Opens again by itself after it broke, or was left in the middle of something.
pub struct Writer {
    connect: Connect,
    connection: Option<Connection>,
    statements_timeout: Duration,
    /// Between [`begin`](Self::begin) and [`end`](Self::end).
    begun: bool,
}

/// A writer that is given back when dropped.
pub struct Lent {
    writers: Arc<Writers>,
    writer: Option<Writer>,
    _permit: OwnedSemaphorePermit,
}

impl Writers {
    pub fn new(
        connect: Connect,
        count: usize,
        statements_timeout: Duration,
        patience: Duration,
    ) -> Self {
        Self {
            connect,
            statements_timeout,
            patience,
            permits: Arc::new(Semaphore::new(count)),
            idle: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    /// Lends this connection first, and opens others, or it again, as the pool does.
    pub fn adopt(&self, mut writer: Lent) {
        if let Some(mut writer) = writer.writer.take() {
            writer.connect = self.connect.clone();
            lock(&self.idle).push(writer);
        }
    }

    /// Waits for a free one, and that it is connected.
    pub async fn get(self: &Arc<Self>) -> Result<Lent, LedgerError> {
        let busy = || LedgerError::Unavailable("all its connections are busy".into());
        let permit = Arc::clone(&self.permits).acquire_owned();
        let permit = tokio::time::timeout(self.patience, permit).await;
        let permit = permit.map_err(|_| busy())?.map_err(|_| busy())?;
        let idle = lock(&self.idle).pop();
        let mut writer = idle.unwrap_or_else(|| Writer {
            connect: self.connect.clone(),
            connection: None,
            statements_timeout: self.statements_timeout,
            begun: false,
        });
        if writer.needs_connection() {
            if let Some((at, error)) = &*lock(&self.failed)
                && at.elapsed() < BREATH
            {
                return Err(error.clone());
            }
            if let Err(error) = writer.connection().await {
                *lock(&self.failed) = Some((Instant::now(), error.clone()));
                return Err(error);
            }
        }
        Ok(Lent { writers: Arc::clone(self), writer: Some(writer), _permit: permit })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    fn needs_connection(&self) -> bool {
        self.begun || self.connection.is_none()
    }

    /// For a single statement, which is its own transaction.
    pub async fn connection(&mut self) -> Result<&mut Connection, LedgerError> {
        if std::mem::take(&mut self.begun) {
            // Its caller went away in the middle: what it began is taken back with the connection.
            self.connection = None;
        }
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect.connect().await?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Begins a transaction. With SQLite that takes the write lock, and waits for it no longer than
    /// the busy timeout.
    pub async fn begin(&mut self) -> Result<&mut Connection, LedgerError> {
        let reused = !self.needs_connection();
        let mut begun = self.connection().await?.begin().await;
        if reused && begun.as_ref().is_err_and(is_gone) {
            // It died while nobody used it, and nothing was sent that could count.
            self.connection = None;
            begun = self.connection().await?.begin().await;
        }
        self.checked(begun.map_err(LedgerError::from))?;
        self.begun = true;
        self.connection.as_mut().ok_or_else(broken)
    }

    /// Like [`begin`](Self::begin), where components' statements run: one without end must not keep
    /// everyone else from writing.
    pub async fn begin_limited(&mut self) -> Result<(&mut Connection, Limit), LedgerError> {
        let timeout = self.statements_timeout;
        Ok((self.begin().await?, Limit::begin(timeout)))
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
        let result = match (result, &mut self.connection) {
            (Ok(value), Some(connection)) => {
                connection.execute("COMMIT", args![]).await.map(|_| value).map_err(Fault::from)
            }
            (Ok(_), None) => Err(broken().into()),
            (Err(fault), _) => Err(fault),
        };
        match &result {
            Ok(_) => {}
            // Whatever answers no more is not asked to take it back: closing does that.
            Err(Fault::Ledger(_)) if self.is_remote() => self.connection = None,
            Err(_) => self.roll_back().await,
        }
        self.begun = false;
        result
    }

    fn is_remote(&self) -> bool {
        matches!(self.connection, Some(Connection::Postgres(_)))
    }

    /// SQLite takes some transactions back by itself (full, I/O), and then there is nothing to roll
    /// back; what is left of the connection is not worth finding out.
    async fn roll_back(&mut self) {
        if let Some(mut connection) = self.connection.take()
            && connection.execute("ROLLBACK", args![]).await.is_ok()
        {
            self.connection = Some(connection);
        }
    }

    /// Whether it can be written: takes the lock, asks for room, and takes it back.
    pub async fn probe(&mut self) -> Result<(), LedgerError> {
        let connection = self.begin().await?;
        let sql = "INSERT INTO wharf_probe (filler) VALUES ({blob})";
        let room = connection.execute(sql, args![]).await;
        self.roll_back().await;
        self.begun = false;
        room.map(drop).map_err(LedgerError::from)
    }
}

fn broken() -> LedgerError {
    LedgerError::Unavailable("its connection broke".into())
}

impl Deref for Lent {
    type Target = Writer;

    fn deref(&self) -> &Writer {
        self.writer.as_ref().expect("held until dropped")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Writer {
        self.writer.as_mut().expect("held until dropped")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        lock(&self.writers.idle).extend(self.writer.take());
    }
}
