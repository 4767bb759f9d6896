//! What people do to many deliveries at once. Each is a transaction of its own, so that commits go
//! on between any two of them, and whoever breaks off has done a part of it and may do it again.

use super::error::LedgerError;
use super::record::{ByHand, DeliveryFilter};
use super::{Ledger, ListOrder};
use crate::clock::Timestamp;
use crate::delivery::{DeliveryId, DeliveryStatus};

/// What is done to each delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Retry,
    Discard,
    /// Nothing: to know how many there are.
    Count,
}

/// How far one call came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    pub matched: u32,
    pub changed: Vec<DeliveryId>,
    /// Those whose status does not allow it, such as one that somebody else changed meanwhile.
    pub passed: Vec<(DeliveryId, DeliveryStatus)>,
    /// From where the next call goes on; `None` when there is nothing more.
    pub after: Option<i64>,
}

impl Ledger {
    /// Does it to the oldest that match, as many as the filter's limit. Oldest first: of one subject
    /// the earlier is parked again before the later, which then waits behind it.
    pub async fn by_filter(
        &self,
        filter: &DeliveryFilter,
        after: i64,
        deed: Deed,
        now: Timestamp,
    ) -> Result<Batch, LedgerError> {
        let filter = DeliveryFilter { order: ListOrder::OldestAfter(after), ..filter.clone() };
        let found = self.deliveries(&filter).await?;
        let full = u32::try_from(found.len()).is_ok_and(|found| found >= filter.limit);
        let mut batch = Batch {
            matched: u32::try_from(found.len()).unwrap_or(u32::MAX),
            after: found.last().filter(|_| full).map(|last| last.sequence),
            ..Batch::default()
        };
        for delivery in found {
            let id = delivery.head.id;
            let by_hand = match deed {
                Deed::Retry => self.retry(&id, now).await?,
                Deed::Discard => self.discard(&id).await?,
                Deed::Count => continue,
            };
            match by_hand {
                ByHand::Changed => batch.changed.push(id),
                ByHand::Refused(status) => batch.passed.push((id, status)),
                // Pruned meanwhile.
                ByHand::Unknown => {}
            }
        }
        Ok(batch)
    }
}
