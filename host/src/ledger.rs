//! What must not be lost: which deliveries are handled, with their effects in the same transaction,
//! and what is parked, dead, or waits to be performed.
//!
//! `open` opens it, what is written is here, what is asked in `reads`. [`state_machine`] has the
//! rules, `commit` writes deliveries in groups, `sql` has all SQL, `database` what differs between SQLite and PostgreSQL.

pub mod by_filter;
mod commit;
mod database;
pub mod error;
mod fault;
mod limit;
mod open;
mod postgres;
mod reads;
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
wharf_test_postgres::tests_with_postgres! {
    #[cfg(test)]
    #[path = "ledger/tests/server.rs"]
    mod tests_of_a_server;
    #[cfg(test)]
    #[path = "ledger/tests/values.rs"]
    mod tests_of_its_values;
    #[cfg(test)]
    #[path = "ledger/tests.rs"]
    mod tests_on_postgres;
}

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::clock::Timestamp;
use crate::delivery::DeliveryId;
use crate::failpoint::{Point, visit};
use crate::manifest::Database;
use crate::name::ComponentId;
use commit::Queued;
use fault::Fault;
use sql::readers::Readers;
use sql::writer::{Writers, transact};
use sql::{by_hand, claims, group, migrate, prune, recordings, releases};

pub use by_filter::{Batch, Deed};
pub use error::{LedgerError, MigrateError, SqlError};
pub use open::{LedgerOptions, Place};
pub use record::{
    ByHand, ClaimedDelivery, ClaimedEffect, ComponentCounts, Counts, DeliveryDetail,
    DeliveryFilter, DeliverySummary, EffectResult, EffectStatus, FinishedEffect, ListOrder,
    NextDue, OutboxRow, Pruned, Recording,
};
pub use release::{NewRelease, Release, Why};
pub use sql::migrate::{Fitting, Migration};
pub use submission::{Committed, NewDelivery, NewEffect, Outcome, Submission};

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

impl Ledger {
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
        let writers = Arc::clone(&self.writers);
        self.uncancelled(async move {
            let mut writer = writers.get().await?;
            transact!(writer, |connection| claims::finish(connection, &finished).await)
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
                transact!(writer, |connection| by_hand::retry(connection, &id, now).await)
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
                transact!(writer, |connection| by_hand::discard(connection, &id).await)
            })
            .await;
        self.parked_changed.notify_one();
        done
    }

    /// Lets go of some deliveries that are handled, came in before `before`, and have left no effect
    /// that waits or was refused; with their recordings. One host at a time.
    pub async fn prune(&self, now: Timestamp, before: Timestamp) -> Result<Pruned, LedgerError> {
        let writers = Arc::clone(&self.writers);
        self.uncancelled(async move {
            let mut writer = writers.get().await?;
            transact!(writer, |connection| prune::prune(connection, now, before).await)
        })
        .await
    }

    /// Sets free what is put aside behind nobody. The rules leave nothing so; a person may, or a host
    /// of an older version.
    pub async fn free_stranded(&self) -> Result<(), LedgerError> {
        let writers = Arc::clone(&self.writers);
        self.uncancelled(async move {
            let mut writer = writers.get().await?;
            transact!(writer, |connection| claims::free_stranded(connection)
                .await
                .map_err(Fault::from))
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

    /// Enters internal events; those that it already has are left as they are. On return they are
    /// durable.
    pub async fn enter(&self, deliveries: Vec<NewDelivery>) -> Result<(), LedgerError> {
        let writers = Arc::clone(&self.writers);
        self.uncancelled(async move {
            let mut writer = writers.get().await?;
            transact!(writer, |connection| match visit(Point::Enter) {
                Ok(()) => group::add_internal(connection, &deliveries).await.map_err(Fault::from),
                Err(hit) => Err(hit.into()),
            })
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
            transact!(writer, |connection| { recordings::add(connection, &recordings, keep).await })
        })
        .await
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
            transact!(writer, |connection| releases::record(connection, &release).await)
        })
        .await
    }

    /// Does it to its end even when nobody waits for it any more: of a transaction, since the next
    /// one is on the same connection.
    pub async fn uncancelled<T, E>(
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
