//! Looking: none of it writes, none of it waits for a commit.

use std::collections::BTreeMap;

use super::row::{self, head_columns, time};
use crate::clock::Timestamp;
use crate::delivery::{DeliveryId, DeliveryStatus};
use crate::effect::{Outgoing, StateWrite};
use crate::ledger::database::{Connection, Row, args};
use crate::ledger::error::LedgerError;
use crate::ledger::record::{
    ComponentCounts, Counts, DeliveryDetail, DeliverySummary, EffectStatus, NextDue, OutboxRow,
};
use crate::ledger::rows::Rows;
use crate::name::{ComponentId, Lane};

pub async fn status(
    connection: &mut Connection,
    id: &DeliveryId,
) -> Result<Option<DeliveryStatus>, LedgerError> {
    let sql = "SELECT status FROM wharf_deliveries WHERE component = $1 AND key = $2";
    let args = args![id.component.as_str(), id.key.0.as_slice()];
    let found = connection.fetch_optional(sql, args).await?;
    found.as_ref().map(row::status).transpose()
}

pub async fn delivery(
    connection: &mut Connection,
    id: &DeliveryId,
) -> Result<Option<DeliveryDetail>, LedgerError> {
    let sql = concat!(
        "SELECT sequence, status, claim, attempts, next_attempt_at, error, log, wire, arrival, ",
        head_columns!(),
        " FROM wharf_deliveries WHERE component = $1 AND key = $2"
    );
    let args = args![id.component.as_str(), id.key.0.as_slice()];
    let found = connection.fetch_optional(sql, args).await?;
    let Some(row) = found else { return Ok(None) };
    let (log, wire) = (row::log(&row)?, row::wire(&row)?);
    let outbox = outbox(connection, id).await?;
    Ok(Some(DeliveryDetail { summary: summary(&row)?, log, wire, outbox }))
}

pub fn summary(row: &Row) -> Result<DeliverySummary, LedgerError> {
    let delivery = row::delivery(row)?;
    Ok(DeliverySummary {
        sequence: row.get("sequence")?,
        head: row::head(row)?,
        status: delivery.status,
        attempts: delivery.attempts,
        due: delivery.due,
        error: row.get("error")?,
    })
}

async fn outbox(
    connection: &mut Connection,
    id: &DeliveryId,
) -> Result<Vec<OutboxRow>, LedgerError> {
    let sql = "SELECT sequence, effect_index, lane, status, kind, target, payload, attempts, error \
               FROM wharf_outbox WHERE component = $1 AND key = $2";
    let args = args![id.component.as_str(), id.key.0.as_slice()];
    let rows = connection.fetch_all(sql, args).await?;
    let mut rows = rows.iter().map(outbox_row).collect::<Result<Vec<_>, _>>()?;
    rows.sort_by_key(|row| row.sequence);
    Ok(rows)
}

fn outbox_row(row: &Row) -> Result<OutboxRow, LedgerError> {
    let outgoing = row::outgoing(row)?;
    let status = match row.get::<&str>("status")? {
        "waiting" => EffectStatus::Waiting,
        "dead" => EffectStatus::Dead,
        other => return Err(LedgerError::Unreadable(format!("outbox status `{other}`"))),
    };
    Ok(OutboxRow {
        sequence: row.get("sequence")?,
        index: row::count(row, "effect_index")?,
        lane: row::lane(row)?,
        status,
        kind: outgoing.kind(),
        target: outgoing.target(),
        id: outgoing.id().map(str::to_owned),
        attempts: row::count(row, "attempts")?,
        error: row.get("error")?,
    })
}

/// The newest write of a state key that waits in its lane.
pub async fn pending_state(
    connection: &mut Connection,
    lane: &Lane,
) -> Result<Option<StateWrite>, LedgerError> {
    // The last at or before the lane's end, if it is of the lane: see claims.rs.
    let sql = "SELECT kind, target, payload FROM ( \
                   SELECT lane, kind, target, payload FROM wharf_outbox {index wharf_outbox_lane} \
                   WHERE status = 'waiting' AND (lane, sequence) <= ($1, $2) \
                   ORDER BY lane DESC, sequence DESC LIMIT 1) AS newest \
               WHERE lane = $1";
    let found = connection.fetch_optional(sql, args![lane.as_str(), i64::MAX]).await?;
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

pub async fn counts(connection: &mut Connection) -> Result<Counts, LedgerError> {
    let sql = "SELECT component, status, count(*) AS many \
               FROM wharf_deliveries {index wharf_deliveries_failed} \
               WHERE status IN ('parked', 'dead', 'discarded') GROUP BY component, status";
    let rows = connection.fetch_all(sql, args![]).await?;
    // The oldest of all is one that is in turn, or near the first of those.
    let sql = "SELECT (SELECT count(*) FROM wharf_outbox {index wharf_outbox_lane} \
                    WHERE status = 'waiting') AS waiting, \
                   (SELECT count(*) FROM wharf_outbox {index wharf_outbox_dead} \
                    WHERE status = 'dead') AS dead, \
                   (SELECT min(since) FROM (SELECT since FROM wharf_outbox {index wharf_outbox_due} \
                        WHERE status = 'waiting' AND behind = 0 \
                        ORDER BY next_attempt_at, sequence LIMIT 1000) AS first) AS oldest";
    let outbox = connection.fetch_optional(sql, args![]).await?;
    let outbox = outbox.ok_or_else(|| LedgerError::Unreadable("it counts nothing".into()))?;
    let oldest: Option<i64> = outbox.get("oldest")?;
    Ok(Counts {
        components: by_component(&rows)?,
        outbox_waiting: counted(&outbox, "waiting")?,
        outbox_dead: counted(&outbox, "dead")?,
        outbox_oldest: oldest.map(time).transpose()?,
    })
}

fn counted(row: &Row, column: &str) -> Result<u64, LedgerError> {
    Ok(u64::try_from(row.get::<i64>(column)?).unwrap_or_default())
}

fn by_component(rows: &[Row]) -> Result<Vec<ComponentCounts>, LedgerError> {
    let mut counts: BTreeMap<ComponentId, (u64, u64)> = BTreeMap::new();
    for row in rows {
        let (parked, dead) = counts.entry(row::component(row)?).or_default();
        match row::status(row)? {
            DeliveryStatus::Parked => *parked = counted(row, "many")?,
            DeliveryStatus::Dead => *dead = counted(row, "many")?,
            DeliveryStatus::Done | DeliveryStatus::Discarded => {}
        }
    }
    let counts = counts.into_iter();
    Ok(counts
        .map(|(component, (parked, dead))| ComponentCounts { component, parked, dead })
        .collect())
}

pub async fn next_due(
    connection: &mut Connection,
    components: &[ComponentId],
) -> Result<NextDue, LedgerError> {
    // Not of what is marked as behind: a claim marks whatever is due and not in turn.
    let sql = "SELECT (SELECT d.next_attempt_at FROM wharf_deliveries d \
                    {index wharf_deliveries_due} WHERE d.status = 'parked' AND d.behind = 0 \
                    AND d.component || '' {among}SELECT component FROM {rows} AS asked{end} \
                    ORDER BY d.next_attempt_at, d.sequence LIMIT 1) AS parked, \
                   (SELECT o.next_attempt_at FROM wharf_outbox o {index wharf_outbox_due} \
                    WHERE o.status = 'waiting' AND o.behind = 0 \
                    ORDER BY o.next_attempt_at, o.sequence LIMIT 1) AS outbox";
    let rows = Rows::new().text("component", components.iter().map(ComponentId::as_str));
    let row = connection.fetch_optional(sql, args![rows]).await?;
    let row = row.ok_or_else(|| LedgerError::Unreadable("it has no next time".into()))?;
    let at = |column: &str| -> Result<Option<Timestamp>, LedgerError> {
        row.get::<Option<i64>>(column)?.map(time).transpose()
    };
    Ok(NextDue { parked: at("parked")?, outbox: at("outbox")? })
}
