//! What must not be lost: which deliveries are handled, with their effects in the same transaction,
//! and what is parked, dead, or waits to be performed.
//!
//! [`state_machine`] has the rules, `commit` writes deliveries in groups, `sql` has all SQL,
//! `database` what differs between SQLite and PostgreSQL.

pub mod by_filter;
mod commit;
mod database;
pub mod error;
mod fault;
mod limit;
mod postgres;
pub mod record;
pub mod release;
mod rows;
mod sql;
mod sqlite;
pub mod state_machine;
pub mod submission;

#[cfg(test)]
#[path = "ledger/tests/heard.rs"]
mod heard;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
#[cfg(test)]
#[path = "ledger/tests/file.rs"]
mod tests_of_a_file;
#[cfg(test)]
#[path = "ledger/tests.rs"]
mod tests_on_postgres;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Timestamp;
use crate::delivery::{DeliveryId, DeliveryStatus};
use crate::effect::{SqlRow, SqlValue, StateWrite};
use crate::failpoint::{Point, visit};
use crate::manifest::Database;
use crate::name::{ComponentId, Lane, StoreName};
use commit::{Committer, Intake, Queued};
use database::Connect;
use fault::Fault;
use sql::readers::Readers;
use sql::writer::Writers;
use sql::{by_hand, claims, group, look, matching, migrate, prune, query, recordings, releases};

pub use by_filter::{Batch, Deed};
pub use error::{LedgerError, MigrateError, SqlError};
pub use record::{
    ByHand, ClaimedDelivery, ClaimedEffect, ComponentCounts, Counts, DeliveryDetail,
    DeliveryFilter, DeliverySummary, EffectResult, EffectStatus, FinishedEffect, ListOrder,
    NextDue, OutboxRow, Pruned, Recording,
};
pub use release::{NewRelease, Release, Why};
pub use sql::migrate::{Fitting, Migration};
pub use submission::{Committed, NewDelivery, NewEffect, Outcome, Submission};

/// How many submissions wait for a committer before submitting waits too.
const QUEUE: usize = 1024;

/// A handle to the ledger, cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    database: Database,
    submissions: mpsc::Sender<Queued>,
    /// For whatever is no group: claims, results, and what people do.
    writers: Arc<Writers>,
    /// For the ledger's own questions: no guest's query holds them up.
    looks: Arc<Readers>,
    /// For components' queries.
    readers: Arc<Readers>,
    outbox_changed: Arc<Notify>,
    parked_changed: Arc<Notify>,
    tasks: TaskTracker,
    busy_timeout: Duration,
}

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
    fn connects(&self) -> Result<[Connect; 4], LedgerError> {
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

/// Beside the committers' connections to PostgreSQL: claims and results.
const OTHERS: usize = 2;

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

    /// Which database it is.
    pub fn database(&self) -> Database {
        self.database
    }

    /// Joins a group, and answers when it is durable. Once submitted it is written, even when this
    /// future is dropped.
    pub async fn commit(&self, submission: Submission) -> Result<Committed, LedgerError> {
        let (reply, answer) = oneshot::channel();
        let queued = Queued { submission, reply };
        self.submissions.send(queued).await.map_err(|_| LedgerError::Stopping)?;
        answer.await.map_err(|_| LedgerError::Stopping)?
    }

    /// What the ledger knows of a delivery; `None` when nothing.
    pub async fn status(&self, id: &DeliveryId) -> Result<Option<DeliveryStatus>, LedgerError> {
        let mut reader = self.looks.get().await?;
        let status = look::status(&mut reader, id).await?;
        reader.give_back();
        Ok(status)
    }

    /// Takes parked deliveries that are due, to run within the lease; in order of entry, and of an
    /// ordered subject only the lowest.
    pub async fn claim_parked(
        &self,
        now: Timestamp,
        lease: Duration,
        components: &[ComponentId],
        limit: u32,
    ) -> Result<Vec<ClaimedDelivery>, LedgerError> {
        visit(Point::ClaimDeliveries)?;
        let mut writer = self.writers.get().await?;
        let connection = writer.connection().await?;
        let claimed = claims::claim_parked(connection, now, now + lease, components, limit).await;
        let claimed = writer.checked(claimed)?;
        if !claimed.is_empty() {
            visit(Point::ClaimedDeliveries)?;
        }
        Ok(claimed)
    }

    /// Takes effects that are due, to perform within the lease; of a lane only the lowest.
    pub async fn claim_outbox(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<ClaimedEffect>, LedgerError> {
        visit(Point::ClaimEffects)?;
        let mut writer = self.writers.get().await?;
        let connection = writer.connection().await?;
        let claimed = claims::claim_outbox(connection, now, now + lease, limit).await;
        let claimed = writer.checked(claimed)?;
        if !claimed.is_empty() {
            visit(Point::ClaimedEffects)?;
        }
        Ok(claimed)
    }

    /// Writes what became of claimed effects, together. A result under an older claim is ignored.
    pub async fn finish_outbox(&self, finished: Vec<FinishedEffect>) -> Result<(), LedgerError> {
        let reports = finished.iter().any(|effect| {
            let (EffectResult::Performed { internal } | EffectResult::Dead { internal, .. }) =
                &effect.result
            else {
                return false;
            };
            !internal.is_empty()
        });
        let is_plain = |effect: &FinishedEffect| matches!(&effect.result, EffectResult::Performed { internal } if internal.is_empty());
        let plain = finished.iter().all(is_plain);
        let writers = Arc::clone(&self.writers);
        self.uncancelled(async move {
            let mut writer = writers.get().await?;
            if plain {
                // One statement, which is its own transaction: that saves two round trips.
                let done = claims::finish(writer.connection().await?, &finished).await;
                return writer.checked(done.map_err(LedgerError::from));
            }
            let result = claims::finish(writer.begin().await?, &finished).await;
            writer.end(result).await.map_err(LedgerError::from)
        })
        .await?;
        visit(Point::Finished)?;
        self.outbox_changed.notify_one();
        if reports {
            self.parked_changed.notify_one();
        }
        Ok(())
    }

    /// A dead delivery is parked again, due now, its attempts counted anew; of a done one the
    /// refused effects are.
    pub async fn retry(&self, id: &DeliveryId, now: Timestamp) -> Result<ByHand, LedgerError> {
        let (writers, id) = (Arc::clone(&self.writers), id.clone());
        let done = self
            .uncancelled(async move {
                let mut writer = writers.get().await?;
                let result = by_hand::retry(writer.begin().await?, &id, now).await;
                writer.end(result).await.map_err(LedgerError::from)
            })
            .await;
        self.parked_changed.notify_one();
        self.outbox_changed.notify_one();
        done
    }

    /// A parked or dead delivery is not wanted, or what Dapr refused of a done one. A run that is
    /// under way is thrown away.
    pub async fn discard(&self, id: &DeliveryId) -> Result<ByHand, LedgerError> {
        let (writers, id) = (Arc::clone(&self.writers), id.clone());
        let done = self
            .uncancelled(async move {
                let mut writer = writers.get().await?;
                let result = by_hand::discard(writer.begin().await?, &id).await;
                writer.end(result).await.map_err(LedgerError::from)
            })
            .await;
        self.parked_changed.notify_one();
        done
    }

    /// What a filter matches.
    pub async fn deliveries(
        &self,
        filter: &DeliveryFilter,
    ) -> Result<Vec<DeliverySummary>, LedgerError> {
        let mut reader = self.looks.get().await?;
        let deliveries = matching::deliveries(&mut reader, filter).await?;
        reader.give_back();
        Ok(deliveries)
    }

    pub async fn delivery(&self, id: &DeliveryId) -> Result<Option<DeliveryDetail>, LedgerError> {
        let mut reader = self.looks.get().await?;
        let delivery = look::delivery(&mut reader, id).await?;
        reader.give_back();
        Ok(delivery)
    }

    pub async fn counts(&self) -> Result<Counts, LedgerError> {
        let mut reader = self.looks.get().await?;
        let counts = look::counts(&mut reader).await?;
        reader.give_back();
        Ok(counts)
    }

    /// When the next claim would find something: parked deliveries of these components, effects of
    /// any. What only waits for its turn does not count.
    pub async fn next_due(&self, components: &[ComponentId]) -> Result<NextDue, LedgerError> {
        let mut reader = self.looks.get().await?;
        let due = look::next_due(&mut reader, components).await?;
        reader.give_back();
        Ok(due)
    }

    /// Lets go of some deliveries that are handled, came in before `before`, and have left no effect
    /// that waits or was refused; with their recordings. One host at a time.
    pub async fn prune(&self, now: Timestamp, before: Timestamp) -> Result<Pruned, LedgerError> {
        let writers = Arc::clone(&self.writers);
        self.uncancelled(async move {
            let mut writer = writers.get().await?;
            let result = prune::prune(writer.begin().await?, now, before).await;
            writer.end(result).await.map_err(LedgerError::from)
        })
        .await
    }

    /// Woken when effects were added, or a lane may have gone on. One waiter.
    pub fn outbox_changed(&self) -> Arc<Notify> {
        Arc::clone(&self.outbox_changed)
    }

    /// Woken when deliveries were parked, or a subject may have gone on. One waiter.
    pub fn parked_changed(&self) -> Arc<Notify> {
        Arc::clone(&self.parked_changed)
    }

    /// Whether it can be written, in about the busy timeout.
    pub async fn ping(&self) -> Result<(), LedgerError> {
        if self.submissions.is_closed() {
            return Err(LedgerError::Stopping);
        }
        let writers = Arc::clone(&self.writers);
        let probe = self.uncancelled(async move { writers.get().await?.probe().await });
        let late = |_| LedgerError::Unavailable("it is busy".into());
        tokio::time::timeout(self.busy_timeout * 2, probe).await.map_err(late)?
    }

    /// A component's read, on a connection that cannot write. `begun` is called when it has one.
    pub async fn query(
        &self,
        sql: &str,
        params: &[SqlValue],
        max_rows: usize,
        begun: impl FnOnce() + Send,
    ) -> Result<Vec<SqlRow>, SqlError> {
        let reader = self.readers.get().await?;
        begun();
        query::query(reader, sql, params, max_rows).await
    }

    /// The newest write of a key that is committed and not yet performed; `key` is as the store
    /// knows it.
    pub async fn pending_state(
        &self,
        store: &StoreName,
        key: &str,
    ) -> Result<Option<StateWrite>, LedgerError> {
        let mut reader = self.looks.get().await?;
        let write = look::pending_state(&mut reader, &Lane::of_state(store, key)).await?;
        reader.give_back();
        Ok(write)
    }

    /// Enters internal events; those that it already has are left as they are. On return they are
    /// durable.
    pub async fn enter(&self, deliveries: Vec<NewDelivery>) -> Result<(), LedgerError> {
        let writers = Arc::clone(&self.writers);
        self.uncancelled(async move {
            let mut writer = writers.get().await?;
            let connection = writer.begin().await?;
            let result = match visit(Point::Enter) {
                Ok(()) => group::add_internal(connection, &deliveries).await,
                Err(hit) => Err(hit.into()),
            };
            writer.end(result.map_err(Fault::from)).await.map_err(LedgerError::from)
        })
        .await?;
        visit(Point::Entered)?;
        self.parked_changed.notify_one();
        Ok(())
    }

    /// Keeps recordings, and of each component only the newest: so many successes, so many failures.
    pub async fn record(
        &self,
        recordings: Vec<Recording>,
        keep: (u32, u32),
    ) -> Result<(), LedgerError> {
        let writers = Arc::clone(&self.writers);
        self.uncancelled(async move {
            let mut writer = writers.get().await?;
            let result = recordings::add(writer.begin().await?, &recordings, keep).await;
            writer.end(result).await.map_err(LedgerError::from)
        })
        .await
    }

    /// The last recorded run of a delivery.
    pub async fn recording(&self, id: &DeliveryId) -> Result<Option<Recording>, LedgerError> {
        let mut reader = self.looks.get().await?;
        let recording = recordings::last(&mut reader, id).await?;
        reader.give_back();
        Ok(recording)
    }

    /// Whether a statement fits today's tables.
    pub async fn prepare(&self, sql: &str) -> Result<(), SqlError> {
        query::prepare(&self.readers, sql).await
    }

    /// Applies those that are not applied yet, all or none, and gives their names as `set/name`.
    pub async fn migrate(&self, migrations: &[Migration]) -> Result<Vec<String>, MigrateError> {
        self.migrate_fitting(migrations.to_vec(), Vec::new()).await
    }

    /// The same, and only if every statement fits the tables that come of it.
    pub async fn migrate_fitting(
        &self,
        migrations: Vec<Migration>,
        statements: Vec<Fitting>,
    ) -> Result<Vec<String>, MigrateError> {
        let (writers, readers) = (Arc::clone(&self.writers), Arc::clone(&self.readers));
        self.uncancelled(async move {
            let _paused = readers.pause().await?;
            let mut writer = writers.get().await?;
            migrate::migrate(&mut writer, &migrations, &statements).await
        })
        .await
    }

    /// Remembers that a version of a component runs, and says whether that is news.
    pub async fn record_release(&self, release: NewRelease) -> Result<bool, LedgerError> {
        let writers = Arc::clone(&self.writers);
        self.uncancelled(async move {
            let mut writer = writers.get().await?;
            let result = releases::record(writer.begin().await?, &release).await;
            writer.end(result).await.map_err(LedgerError::from)
        })
        .await
    }

    /// The versions of a component that ran, newest first.
    pub async fn releases(
        &self,
        component: &ComponentId,
        limit: u32,
    ) -> Result<Vec<Release>, LedgerError> {
        let mut reader = self.looks.get().await?;
        let releases = releases::releases(&mut reader, component, limit).await?;
        reader.give_back();
        Ok(releases)
    }

    /// A release's bundle; only the newest ten of a component are kept.
    pub async fn bundle(
        &self,
        component: &ComponentId,
        digest: &str,
    ) -> Result<Option<Vec<u8>>, LedgerError> {
        let mut reader = self.looks.get().await?;
        let bundle = releases::bundle(&mut reader, component, digest).await?;
        reader.give_back();
        Ok(bundle)
    }

    /// A transaction must come to its end even when nobody waits for it any more: the next one is
    /// on the same connection.
    async fn uncancelled<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<LedgerError> + Send + 'static,
    {
        let failed = |error: tokio::task::JoinError| LedgerError::Unavailable(error.to_string());
        self.tasks.spawn(work).await.map_err(failed)?
    }
}
