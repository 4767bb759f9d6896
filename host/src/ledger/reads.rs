//! What is asked of the ledger: none of it writes, and none of it waits for a commit.

use super::sql::{look, matching, query, recordings, releases};
use super::{
    Counts, DeliveryDetail, DeliveryFilter, DeliverySummary, Ledger, LedgerError, NextDue,
    Recording, Release, SqlError,
};
use crate::delivery::{DeliveryId, DeliveryStatus};
use crate::effect::{SqlRow, SqlValue, StateWrite};
use crate::name::{ComponentId, Lane, StoreName};

impl Ledger {
    /// What the ledger knows of a delivery; `None` when nothing.
    pub async fn status(&self, id: &DeliveryId) -> Result<Option<DeliveryStatus>, LedgerError> {
        let mut reader = self.looks.get().await?;
        let status = look::status(&mut reader, id).await?;
        reader.give_back();
        Ok(status)
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

    /// The last recorded run of a delivery.
    pub async fn recording(&self, id: &DeliveryId) -> Result<Option<Recording>, LedgerError> {
        let mut reader = self.looks.get().await?;
        let recording = recordings::last(&mut reader, id).await?;
        reader.give_back();
        Ok(recording)
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

    /// Whether a statement fits today's tables.
    pub async fn prepare(&self, sql: &str) -> Result<(), SqlError> {
        query::prepare(&self.readers, sql).await
    }
}
