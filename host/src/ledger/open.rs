//! Where the ledger is, how it is opened, and what runs for it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::commit::{Committer, Intake};
use super::database::Connect;
use super::sql::migrate;
use super::sql::readers::Readers;
use super::sql::writer::Writers;
use super::{Ledger, LedgerError, MigrateError, postgres, sqlite};
use crate::manifest::Database;

/// How many submissions wait for a committer before submitting waits too.
const QUEUE: usize = 1024;

/// Beside the committers' connections to PostgreSQL: claims and results.
const OTHERS: usize = 2;

/// Where the ledger is and how long it is waited for.
#[derive(Debug, Clone)]
pub struct LedgerOptions {
    pub place: Place,
    /// A bound on SQLite's file, in pages of 4 KiB.
    pub max_page_count: Option<u32>,
    /// How long to wait for another program or host that holds a lock.
    pub busy_timeout: Duration,
    /// How many queries of components run at a time, and how many of the ledger's own.
    pub readers: u32,
    /// How many groups PostgreSQL commits at a time; SQLite commits one.
    pub committers: usize,
    /// How long one query may take, and the statements of one commit together.
    pub query_timeout: Duration,
}

/// Where the ledger is.
#[derive(Clone)]
pub enum Place {
    /// SQLite's file; made when missing. Its folder must exist.
    File(PathBuf),
    /// PostgreSQL: `postgres://user:password@host:port/database`.
    Url(String),
}

/// An address may hold a password.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Url(_) => f.write_str("Url"),
        }
    }
}

/// Without user and password.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Url(url) => match url.parse::<PgConnectOptions>() {
                Ok(options) => {
                    let (host, port) = (options.get_host(), options.get_port());
                    let database = options.get_database().unwrap_or_default();
                    write!(f, "PostgreSQL at {host}:{port}/{database}")
                }
                Err(_) => f.write_str("PostgreSQL"),
            },
        }
    }
}

impl LedgerOptions {
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self::of(Place::File(path.into()))
    }

    pub fn postgres(url: impl Into<String>) -> Self {
        Self::of(Place::Url(url.into()))
    }

    pub fn of(place: Place) -> Self {
        Self {
            place,
            max_page_count: None,
            busy_timeout: Duration::from_secs(1),
            readers: 4,
            committers: 2,
            query_timeout: Duration::from_secs(5),
        }
    }

    /// How to open what writes the first time, what writes later, what looks, and what reads for
    /// components.
    pub(super) fn connects(&self) -> Result<[Connect; 4], LedgerError> {
        Ok(match &self.place {
            Place::File(path) => {
                let writing = sqlite::Options::writing(self, path);
                let reading = sqlite::Options::reading(self, path);
                [writing.clone(), writing.of_existing(), reading.clone(), reading]
                    .map(|options| Connect::Sqlite(Box::new(options)))
            }
            Place::Url(url) => {
                let writing = postgres::Options::writing(self, url)?;
                let looking = postgres::Options::looking(self, url)?;
                let reading = postgres::Options::reading(self, url)?;
                [writing.clone(), writing, looking, reading]
                    .map(|options| Connect::Postgres(Box::new(options)))
            }
        })
    }
}

impl Ledger {
    /// Opens the file, brings its tables up to date, and starts the committer among `tasks`. On
    /// `stop` that commits what was submitted, then ends.
    pub async fn open(
        options: LedgerOptions,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, LedgerError> {
        let [first, later, looking, reading] = options.connects()?;
        let LedgerOptions { busy_timeout, query_timeout, committers, .. } = options;
        let pool = |connect: &Connect, count| {
            Arc::new(Writers::new(connect.clone(), count, query_timeout, query_timeout * 2))
        };
        let database = first.database();
        let mut writer = pool(&first, 1).get().await?;
        let migrated = migrate::migrate(&mut writer, &migrate::own(database), &[]).await;
        migrated.map_err(|error| match error {
            MigrateError::Ledger(error) => error,
            own @ (MigrateError::Changed { .. }
            | MigrateError::Failed { .. }
            | MigrateError::Statement { .. }) => LedgerError::Unreadable(own.to_string()),
        })?;
        let (committers, commits, writers) = match database {
            Database::Sqlite => {
                let one = pool(&later, 1);
                (1, Arc::clone(&one), one)
            }
            Database::Postgres => {
                let committers = committers.max(1);
                (committers, pool(&later, committers), pool(&later, OTHERS))
            }
        };
        commits.adopt(writer);
        let (submissions, queue) = mpsc::channel(QUEUE);
        let (outbox_changed, parked_changed) = (Arc::<Notify>::default(), Arc::<Notify>::default());
        let committer = Committer {
            intake: Arc::new(Mutex::new(Intake::new(queue))),
            committers,
            writers: commits,
            outbox_changed: Arc::clone(&outbox_changed),
            parked_changed: Arc::clone(&parked_changed),
        };
        for _ in 0..committers {
            tasks.spawn(committer.clone().run(stop.clone()));
        }
        Ok(Self {
            database,
            submissions,
            writers,
            looks: Arc::new(Readers::new(looking, options.readers, query_timeout)),
            readers: Arc::new(Readers::new(reading, options.readers, query_timeout)),
            outbox_changed,
            parked_changed,
            tasks: tasks.clone(),
            busy_timeout,
        })
    }
}
