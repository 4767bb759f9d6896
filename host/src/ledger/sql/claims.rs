//! Claims and what comes of them: each a short statement that moves a fence.

use std::collections::HashSet;

use super::group::{self, Leaving};
use super::row::{self, head_columns, micros, time};
use crate::clock::Timestamp;
use crate::delivery::DeliveryId;
use crate::failpoint::{Point, visit};
use crate::ledger::database::{Connection, Row, args};
use crate::ledger::error::LedgerError;
use crate::ledger::fault::Fault;
use crate::ledger::record::{ClaimedDelivery, ClaimedEffect, EffectResult, FinishedEffect};
use crate::ledger::rows::Rows;
use crate::name::ComponentId;

// Left to itself, SQLite picks the index of all rows of a component, millions of them done. Hence
// INDEXED BY; such a statement fails rather than scan. And PostgreSQL would turn NOT EXISTS into a
// join of all that wait: asked as a value, it costs one look at an index for each row. A column
// beside `|| ''` is one whose indexes PostgreSQL is not to take.

/// Which parked rows `d` may be claimed, apart from their time: of the components in `{rows}`, and of
/// an ordered subject only the lowest.
macro_rules! parked_in_turn {
    () => {
        "d.status = 'parked' AND d.component || '' {among}SELECT component FROM {rows} AS asked{end} \
         AND (d.ordered = 0 OR d.subject IS NULL OR ( \
             SELECT earlier.sequence FROM wharf_deliveries earlier \
             WHERE earlier.status = 'parked' AND earlier.ordered = 1 \
             AND earlier.component = d.component AND earlier.subject = d.subject \
             AND earlier.sequence < d.sequence LIMIT 1) IS NULL)"
    };
}
pub(super) use parked_in_turn;

/// Which waiting effects `o` may be claimed, apart from their time: a lane's lowest.
macro_rules! waiting_in_turn {
    () => {
        "o.status = 'waiting' AND ( \
             SELECT earlier.sequence FROM wharf_outbox earlier \
             WHERE earlier.status = 'waiting' AND earlier.lane = o.lane \
             AND earlier.sequence < o.sequence LIMIT 1) IS NULL"
    };
}
pub(super) use waiting_in_turn;

pub async fn claim_parked(
    connection: &mut Connection,
    now: Timestamp,
    lease_end: Timestamp,
    components: &[ComponentId],
    limit: u32,
) -> Result<Vec<ClaimedDelivery>, LedgerError> {
    let sql = concat!(
        "UPDATE wharf_deliveries SET claim = claim + 1, next_attempt_at = $2 \
         WHERE sequence {among}SELECT d.sequence \
             FROM wharf_deliveries d {index wharf_deliveries_due} \
             WHERE d.next_attempt_at <= $1 AND ",
        parked_in_turn!(),
        " ORDER BY d.next_attempt_at, d.sequence LIMIT $3 {skip}{end} \
         RETURNING sequence, claim, attempts, wire, arrival, ",
        head_columns!()
    );
    let components = Rows::new().text("component", components.iter().map(ComponentId::as_str));
    let args = args![micros(now), micros(lease_end), limit, components];
    let rows = connection.fetch_all(sql, args).await?;
    Ok(readable(&in_sequence(rows)?, claimed_delivery))
}

pub async fn claim_outbox(
    connection: &mut Connection,
    now: Timestamp,
    lease_end: Timestamp,
    limit: u32,
) -> Result<Vec<ClaimedEffect>, LedgerError> {
    let sql = concat!(
        "UPDATE wharf_outbox SET claim = claim + 1, next_attempt_at = $2 \
         WHERE sequence {among}SELECT o.sequence \
             FROM wharf_outbox o {index wharf_outbox_due} WHERE o.next_attempt_at <= $1 AND ",
        waiting_in_turn!(),
        " ORDER BY o.next_attempt_at, o.sequence LIMIT $3 {skip}{end} RETURNING *"
    );
    let args = args![micros(now), micros(lease_end), limit];
    let rows = connection.fetch_all(sql, args).await?;
    Ok(readable(&in_sequence(rows)?, claimed_effect))
}

/// RETURNING promises no order.
fn in_sequence(rows: Vec<Row>) -> Result<Vec<Row>, LedgerError> {
    let mut keyed = rows
        .into_iter()
        .map(|row| Ok((row.get::<i64>("sequence")?, row)))
        .collect::<Result<Vec<_>, LedgerError>>()?;
    keyed.sort_by_key(|(sequence, _)| *sequence);
    Ok(keyed.into_iter().map(|(_, row)| row).collect())
}

/// A row that cannot be read is left to its lease, so that it holds up no other. It is tried again
/// then: a newer version may read it, or a person mend it.
fn readable<T>(rows: &[Row], read: impl Fn(&Row) -> Result<T, LedgerError>) -> Vec<T> {
    let read = |row| read(row).inspect_err(|error| unreadable(row, error)).ok();
    rows.iter().filter_map(read).collect()
}

fn unreadable(row: &Row, error: &LedgerError) {
    let delivery = row::id(row).map_or_else(|_| "unreadable".to_owned(), |id| id.to_string());
    let sequence = row.get::<i64>("sequence").ok();
    tracing::error!(delivery, sequence, %error, "a claimed row waits until it can be read");
}

fn claimed_delivery(row: &Row) -> Result<ClaimedDelivery, LedgerError> {
    let head = row::head(row)?;
    let wire = row::wire(row)?
        .ok_or_else(|| LedgerError::Unreadable(format!("{} is parked without event", head.id)))?;
    let (claim, attempts) = (row.get("claim")?, row::count(row, "attempts")?);
    Ok(ClaimedDelivery { head, wire, claim, attempts })
}

fn claimed_effect(row: &Row) -> Result<ClaimedEffect, LedgerError> {
    Ok(ClaimedEffect {
        sequence: row.get("sequence")?,
        claim: row.get("claim")?,
        delivery: row::id(row)?,
        index: row::count(row, "effect_index")?,
        lane: row::lane(row)?,
        outgoing: row::outgoing(row)?,
        attempts: row::count(row, "attempts")?,
        since: time(row.get("since")?)?,
    })
}

/// Writes what became of claimed effects, within the caller's transaction. What reports a dead one
/// goes with it.
pub async fn finish(connection: &mut Connection, finished: &[FinishedEffect]) -> Result<(), Fault> {
    let gone = performed(connection, finished).await?;
    for effect in finished {
        match &effect.result {
            EffectResult::Performed { internal } => {
                if gone.contains(&effect.sequence) {
                    if !internal.is_empty() {
                        visit(Point::ResultLeft)?;
                    }
                    group::add_internal(connection, internal).await?;
                }
            }
            EffectResult::Again { at, attempts, error } => {
                again(connection, effect, *at, *attempts, error).await?;
            }
            EffectResult::Dead { error, outbox, internal } => {
                let Some((id, since)) = dead(connection, effect, error).await? else { continue };
                let leaving = |effect| Leaving { id: &id, since, effect };
                let leaving: Vec<_> = outbox.iter().map(leaving).collect();
                group::add_effects(connection, &leaving).await?;
                group::add_internal(connection, internal).await?;
            }
        }
    }
    Ok(())
}

/// Gives the sequences of those that were still ours.
async fn performed(
    connection: &mut Connection,
    finished: &[FinishedEffect],
) -> Result<HashSet<i64>, Fault> {
    let performed: Vec<_> = finished
        .iter()
        .filter(|effect| matches!(effect.result, EffectResult::Performed { .. }))
        .collect();
    if performed.is_empty() {
        return Ok(HashSet::new());
    }
    // By their sequences first: for pairs alone, PostgreSQL reads all that waits.
    let sql = "DELETE FROM wharf_outbox WHERE status || '' = 'waiting' \
               AND sequence {among}SELECT sequence FROM {rows} AS named{end} \
               AND (sequence, claim) IN (SELECT sequence, claim FROM {rows} AS gone) \
               RETURNING sequence";
    let rows = Rows::new()
        .integer("sequence", performed.iter().map(|effect| effect.sequence))
        .integer("claim", performed.iter().map(|effect| effect.claim));
    let gone = connection.fetch_all(sql, args![rows]).await?;
    gone.iter().map(|row| Ok(row.get("sequence")?)).collect()
}

async fn again(
    connection: &mut Connection,
    effect: &FinishedEffect,
    at: Timestamp,
    attempts: u32,
    error: &str,
) -> Result<(), Fault> {
    let sql = "UPDATE wharf_outbox SET claim = claim + 1, next_attempt_at = $3, attempts = $4, \
                   error = $5 \
               WHERE sequence = $1 AND claim = $2 AND status = 'waiting'";
    let args = args![effect.sequence, effect.claim, micros(at), attempts, error];
    connection.execute(sql, args).await?;
    Ok(())
}

/// Gives the delivery that it belongs to, and since when; `None` when the claim is no longer ours.
async fn dead(
    connection: &mut Connection,
    effect: &FinishedEffect,
    error: &str,
) -> Result<Option<(DeliveryId, Timestamp)>, LedgerError> {
    let sql = "UPDATE wharf_outbox SET claim = claim + 1, status = 'dead', error = $3 \
               WHERE sequence = $1 AND claim = $2 AND status = 'waiting' \
               RETURNING component, key, since";
    let args = args![effect.sequence, effect.claim, error];
    let dead = connection.fetch_optional(sql, args).await?;
    dead.map(|row| Ok((row::id(&row)?, time(row.get("since")?)?))).transpose()
}
