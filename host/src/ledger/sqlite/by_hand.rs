//! What people do to a delivery: try it again, or say that it is not wanted.

use sqlx::sqlite::SqliteConnection;

use super::{Fault, row};
use crate::clock::Timestamp;
use crate::delivery::{DeliveryId, DeliveryStatus};
use crate::ledger::record::ByHand;
use crate::ledger::state_machine::Delivery;

/// Within the caller's transaction. The rest of the row stays, so that it can run again.
pub async fn retry(
    connection: &mut SqliteConnection,
    id: &DeliveryId,
    now: Timestamp,
) -> Result<ByHand, Fault> {
    change(connection, id, |delivery| delivery.retry(now)).await
}

/// Within the caller's transaction. The event goes, the row stays to know a repeat by.
pub async fn discard(connection: &mut SqliteConnection, id: &DeliveryId) -> Result<ByHand, Fault> {
    change(connection, id, Delivery::discard).await
}

async fn change(
    connection: &mut SqliteConnection,
    id: &DeliveryId,
    to: impl FnOnce(Delivery) -> Result<Delivery, DeliveryStatus>,
) -> Result<ByHand, Fault> {
    let found = sqlx::query(
        "SELECT status, claim, attempts, next_attempt_at FROM wharf_deliveries \
         WHERE component = ?1 AND key = ?2",
    )
    .bind(id.component.as_str())
    .bind(id.key.0.as_slice())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(found) = found else { return Ok(ByHand::Unknown) };
    match to(row::delivery(&found)?) {
        Ok(changed) => write(connection, id, changed).await.map(|()| ByHand::Changed),
        Err(status) => Ok(ByHand::Refused(status)),
    }
}

async fn write(
    connection: &mut SqliteConnection,
    id: &DeliveryId,
    to: Delivery,
) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE wharf_deliveries SET status = ?3, claim = ?4, attempts = ?5, next_attempt_at = ?6, \
             wire = CASE WHEN ?3 = 'discarded' THEN NULL ELSE wire END, \
             arrival = CASE WHEN ?3 = 'discarded' THEN NULL ELSE arrival END \
         WHERE component = ?1 AND key = ?2",
    )
    .bind(id.component.as_str())
    .bind(id.key.0.as_slice())
    .bind(to.status.as_str())
    .bind(to.claim)
    .bind(to.attempts)
    .bind(to.due.map(row::micros))
    .execute(connection)
    .await?;
    Ok(())
}
