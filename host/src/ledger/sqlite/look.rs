//! Looking: none of it writes, none of it waits for a commit.

use std::collections::BTreeMap;

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::claims::{parked_in_turn, waiting_in_turn};
use super::row::{self, json, time};
use crate::clock::Timestamp;
use crate::delivery::{DeliveryId, DeliveryStatus};
use crate::effect::{Outgoing, StateWrite};
use crate::ledger::error::LedgerError;
use crate::ledger::record::{
    ComponentCounts, Counts, DeliveryDetail, DeliverySummary, EffectStatus, NextDue, OutboxRow,
};
use crate::name::{ComponentId, Lane};

pub async fn status(
    connection: &mut SqliteConnection,
    id: &DeliveryId,
) -> Result<Option<DeliveryStatus>, LedgerError> {
    let found =
        sqlx::query("SELECT status FROM wharf_deliveries WHERE component = ?1 AND key = ?2")
            .bind(id.component.as_str())
            .bind(id.key.0.as_slice())
            .fetch_optional(connection)
            .await?;
    found.as_ref().map(row::status).transpose()
}

pub async fn delivery(
    connection: &mut SqliteConnection,
    id: &DeliveryId,
) -> Result<Option<DeliveryDetail>, LedgerError> {
    let found = sqlx::query("SELECT * FROM wharf_deliveries WHERE component = ?1 AND key = ?2")
        .bind(id.component.as_str())
        .bind(id.key.0.as_slice())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = found else { return Ok(None) };
    let (log, wire) = (row::log(&row)?, row::wire(&row)?);
    let outbox = outbox(connection, id).await?;
    Ok(Some(DeliveryDetail { summary: summary(&row)?, log, wire, outbox }))
}

pub fn summary(row: &SqliteRow) -> Result<DeliverySummary, LedgerError> {
    let delivery = row::delivery(row)?;
    Ok(DeliverySummary {
        sequence: row.try_get("sequence")?,
        head: row::head(row)?,
        status: delivery.status,
        attempts: delivery.attempts,
        due: delivery.due,
        error: row.try_get("error")?,
    })
}

async fn outbox(
    connection: &mut SqliteConnection,
    id: &DeliveryId,
) -> Result<Vec<OutboxRow>, LedgerError> {
    let rows = sqlx::query(
        "SELECT sequence, effect_index, lane, status, kind, target, payload, attempts, error \
         FROM wharf_outbox \
         WHERE component = ?1 AND key = ?2 ORDER BY sequence",
    )
    .bind(id.component.as_str())
    .bind(id.key.0.as_slice())
    .fetch_all(connection)
    .await?;
    rows.iter().map(outbox_row).collect()
}

fn outbox_row(row: &SqliteRow) -> Result<OutboxRow, LedgerError> {
    let outgoing = row::outgoing(row)?;
    let status = match row.try_get("status")? {
        "waiting" => EffectStatus::Waiting,
        "dead" => EffectStatus::Dead,
        other => return Err(LedgerError::Unreadable(format!("outbox status `{other}`"))),
    };
    Ok(OutboxRow {
        sequence: row.try_get("sequence")?,
        index: row::count(row, "effect_index")?,
        lane: row::lane(row)?,
        status,
        kind: outgoing.kind(),
        target: outgoing.target(),
        id: outgoing.id().map(str::to_owned),
        attempts: row::count(row, "attempts")?,
        error: row.try_get("error")?,
    })
}

/// The newest write of a state key that waits in its lane.
pub async fn pending_state(
    connection: &mut SqliteConnection,
    lane: &Lane,
) -> Result<Option<StateWrite>, LedgerError> {
    let found = sqlx::query(
        "SELECT kind, target, payload FROM wharf_outbox INDEXED BY wharf_outbox_lane \
         WHERE status = 'waiting' AND lane = ?1 ORDER BY sequence DESC LIMIT 1",
    )
    .bind(lane.as_str())
    .fetch_optional(connection)
    .await?;
    match found.as_ref().map(row::outgoing).transpose()? {
        Some(Outgoing::State(write)) => Ok(Some(write)),
        Some(
            Outgoing::Publish(_)
            | Outgoing::Schedule(_)
            | Outgoing::Cancel(_)
            | Outgoing::Invoke(_),
        )
        | None => Ok(None),
    }
}

pub async fn counts(connection: &mut SqliteConnection) -> Result<Counts, LedgerError> {
    let rows = sqlx::query(
        "SELECT component, status, count(*) AS many \
         FROM wharf_deliveries INDEXED BY wharf_deliveries_failed \
         WHERE status IN ('parked', 'dead', 'discarded') GROUP BY component, status",
    )
    .fetch_all(&mut *connection)
    .await?;
    let outbox = sqlx::query(
        "SELECT (SELECT count(*) FROM wharf_outbox WHERE status = 'waiting') AS waiting, \
             (SELECT count(*) FROM wharf_outbox WHERE status = 'dead') AS dead, \
             (SELECT since FROM wharf_outbox WHERE status = 'waiting' ORDER BY sequence LIMIT 1) \
             AS oldest",
    )
    .fetch_one(connection)
    .await?;
    let oldest: Option<i64> = outbox.try_get("oldest")?;
    Ok(Counts {
        components: by_component(&rows)?,
        outbox_waiting: outbox.try_get("waiting")?,
        outbox_dead: outbox.try_get("dead")?,
        outbox_oldest: oldest.map(time).transpose()?,
    })
}

fn by_component(rows: &[SqliteRow]) -> Result<Vec<ComponentCounts>, LedgerError> {
    let mut counts: BTreeMap<ComponentId, (u64, u64)> = BTreeMap::new();
    for row in rows {
        let (parked, dead) = counts.entry(row::component(row)?).or_default();
        match row::status(row)? {
            DeliveryStatus::Parked => *parked = row.try_get("many")?,
            DeliveryStatus::Dead => *dead = row.try_get("many")?,
            DeliveryStatus::Done | DeliveryStatus::Discarded => {}
        }
    }
    let counts = counts.into_iter();
    Ok(counts
        .map(|(component, (parked, dead))| ComponentCounts { component, parked, dead })
        .collect())
}

pub async fn next_due(
    connection: &mut SqliteConnection,
    components: &[ComponentId],
) -> Result<NextDue, LedgerError> {
    let row = sqlx::query(concat!(
        "SELECT (SELECT d.next_attempt_at FROM wharf_deliveries d \
         INDEXED BY wharf_deliveries_due WHERE ",
        parked_in_turn!(),
        " ORDER BY d.next_attempt_at, d.sequence LIMIT 1) AS parked, \
         (SELECT o.next_attempt_at FROM wharf_outbox o INDEXED BY wharf_outbox_due WHERE ",
        waiting_in_turn!(),
        " ORDER BY o.next_attempt_at, o.sequence LIMIT 1) AS outbox"
    ))
    .bind(json(&components)?)
    .fetch_one(connection)
    .await?;
    let at = |column: &str| -> Result<Option<Timestamp>, LedgerError> {
        row.try_get::<Option<i64>, _>(column)?.map(time).transpose()
    };
    Ok(NextDue { parked: at("parked")?, outbox: at("outbox")? })
}
