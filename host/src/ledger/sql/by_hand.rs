//! What people do to a delivery: try it again, or say that it is not wanted.

use super::{claims, row};
use crate::clock::Timestamp;
use crate::delivery::{DeliveryId, DeliveryStatus};
use crate::ledger::database::{Connection, args};
use crate::ledger::fault::Fault;
use crate::ledger::record::{ByHand, EffectStatus};
use crate::ledger::state_machine::{Delivery, Waiting};

/// Within the caller's transaction. A dead delivery's row stays as it is, so that it can run again.
/// Of any other, the effects that Dapr refused are performed again, with the same ids.
pub async fn retry(
    connection: &mut Connection,
    id: &DeliveryId,
    now: Timestamp,
) -> Result<ByHand, Fault> {
    let of_delivery = change(connection, id, |delivery| delivery.retry(now)).await?;
    match of_delivery {
        // What told of its death is told again, if it dies again.
        ByHand::Changed => discard_effects(connection, id).await.map(|_| of_delivery),
        ByHand::Refused(_) if retry_effects(connection, id, now).await? > 0 => Ok(ByHand::Changed),
        ByHand::Unknown | ByHand::Refused(_) => Ok(of_delivery),
    }
}

/// Within the caller's transaction. The event goes, the row stays to know a repeat by. The effects
/// go that Dapr refused.
pub async fn discard(connection: &mut Connection, id: &DeliveryId) -> Result<ByHand, Fault> {
    let of_delivery = change(connection, id, Delivery::discard).await?;
    match (of_delivery, discard_effects(connection, id).await?) {
        (ByHand::Refused(_), 1..) => Ok(ByHand::Changed),
        (ByHand::Changed | ByHand::Unknown | ByHand::Refused(_), _) => Ok(of_delivery),
    }
}

async fn retry_effects(
    connection: &mut Connection,
    id: &DeliveryId,
    now: Timestamp,
) -> Result<u64, Fault> {
    let dead = Waiting { status: EffectStatus::Dead, claim: 0, attempts: 0, due: now };
    let Some(again) = dead.retry(now) else { return Ok(0) };
    let sql = "UPDATE wharf_outbox SET status = $3, claim = claim + $4, attempts = $5, \
                   next_attempt_at = $6 \
               WHERE component = $1 AND key = $2 AND status = 'dead'";
    let args = args![
        id.component.as_str(),
        id.key.0.as_slice(),
        again.status.as_str(),
        again.claim,
        again.attempts,
        row::micros(again.due),
    ];
    Ok(connection.execute(sql, args).await?)
}

async fn discard_effects(connection: &mut Connection, id: &DeliveryId) -> Result<u64, Fault> {
    let sql = "DELETE FROM wharf_outbox WHERE component = $1 AND key = $2 AND status = 'dead'";
    Ok(connection.execute(sql, args![id.component.as_str(), id.key.0.as_slice()]).await?)
}

async fn change(
    connection: &mut Connection,
    id: &DeliveryId,
    to: impl FnOnce(Delivery) -> Result<Delivery, DeliveryStatus>,
) -> Result<ByHand, Fault> {
    let sql = "SELECT status, claim, attempts, next_attempt_at, subject, ordered \
               FROM wharf_deliveries WHERE component = $1 AND key = $2 {lock}";
    let args = args![id.component.as_str(), id.key.0.as_slice()];
    let found = connection.fetch_optional(sql, args).await?;
    let Some(found) = found else { return Ok(ByHand::Unknown) };
    let was = row::delivery(&found)?;
    let changed = match to(was) {
        Ok(changed) => changed,
        Err(status) => return Ok(ByHand::Refused(status)),
    };
    write(connection, id, changed).await?;
    let subject = found.get::<Option<String>>("subject")?;
    if let Some(subject) = subject.filter(|_| was.status == DeliveryStatus::Parked)
        && row::flag(&found, "ordered")?
    {
        let left = std::iter::once((&id.component, subject.as_str()));
        claims::free_deliveries(connection, left).await?;
    }
    Ok(ByHand::Changed)
}

async fn write(connection: &mut Connection, id: &DeliveryId, to: Delivery) -> Result<(), Fault> {
    let sql = "UPDATE wharf_deliveries SET status = $3, claim = $4, attempts = $5, \
                   next_attempt_at = $6, \
                   error = CASE WHEN $3 = 'parked' THEN NULL ELSE error END, \
                   wire = CASE WHEN $3 = 'discarded' THEN NULL ELSE wire END, \
                   arrival = CASE WHEN $3 = 'discarded' THEN NULL ELSE arrival END \
               WHERE component = $1 AND key = $2";
    let args = args![
        id.component.as_str(),
        id.key.0.as_slice(),
        to.status.as_str(),
        to.claim,
        to.attempts,
        to.due.map(row::micros),
    ];
    connection.execute(sql, args).await?;
    Ok(())
}
