//! Claims and what comes of them: each a short statement that moves a fence.

use std::collections::HashSet;

use serde::Serialize;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::Fault;
use super::group::{self, Leaving};
use super::row::{self, head_columns, json, micros, time};
use crate::clock::Timestamp;
use crate::delivery::DeliveryId;
use crate::ledger::error::LedgerError;
use crate::ledger::record::{ClaimedDelivery, ClaimedEffect, EffectResult, FinishedEffect};
use crate::name::ComponentId;

// Left to itself, SQLite picks the index of all rows of a component, millions of them done. Hence
// INDEXED BY; such a statement fails rather than scan.

/// Which parked rows `d` may be claimed, apart from their time: of the components in `?1`, and of
/// an ordered subject only the lowest.
macro_rules! parked_in_turn {
    () => {
        "d.status = 'parked' AND d.component IN (SELECT value FROM json_each(?1)) \
         AND (d.ordered = 0 OR d.subject IS NULL OR NOT EXISTS ( \
             SELECT 1 FROM wharf_deliveries earlier \
             WHERE earlier.status = 'parked' AND earlier.ordered = 1 \
             AND earlier.component = d.component AND earlier.subject = d.subject \
             AND earlier.sequence < d.sequence))"
    };
}
pub(super) use parked_in_turn;

/// Which waiting effects `o` may be claimed, apart from their time: a lane's lowest.
macro_rules! waiting_in_turn {
    () => {
        "o.status = 'waiting' AND NOT EXISTS ( \
             SELECT 1 FROM wharf_outbox earlier \
             WHERE earlier.status = 'waiting' AND earlier.lane = o.lane \
             AND earlier.sequence < o.sequence)"
    };
}
pub(super) use waiting_in_turn;

pub async fn claim_parked(
    connection: &mut SqliteConnection,
    now: Timestamp,
    lease_end: Timestamp,
    components: &[ComponentId],
    limit: u32,
) -> Result<Vec<ClaimedDelivery>, LedgerError> {
    let rows = sqlx::query(concat!(
        "UPDATE wharf_deliveries SET claim = claim + 1, next_attempt_at = ?3 \
         WHERE sequence IN (SELECT d.sequence \
             FROM wharf_deliveries d INDEXED BY wharf_deliveries_due WHERE d.next_attempt_at <= ?2 AND ",
        parked_in_turn!(),
        " ORDER BY d.next_attempt_at, d.sequence LIMIT ?4) \
         RETURNING sequence, claim, attempts, wire, arrival, ",
        head_columns!()
    ))
    .bind(json(&components)?)
    .bind(micros(now))
    .bind(micros(lease_end))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    Ok(readable(&in_sequence(rows)?, claimed_delivery))
}

pub async fn claim_outbox(
    connection: &mut SqliteConnection,
    now: Timestamp,
    lease_end: Timestamp,
    limit: u32,
) -> Result<Vec<ClaimedEffect>, LedgerError> {
    let rows = sqlx::query(concat!(
        "UPDATE wharf_outbox SET claim = claim + 1, next_attempt_at = ?2 \
         WHERE sequence IN (SELECT o.sequence \
             FROM wharf_outbox o INDEXED BY wharf_outbox_due WHERE o.next_attempt_at <= ?1 AND ",
        waiting_in_turn!(),
        " ORDER BY o.next_attempt_at, o.sequence LIMIT ?3) RETURNING *"
    ))
    .bind(micros(now))
    .bind(micros(lease_end))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    Ok(readable(&in_sequence(rows)?, claimed_effect))
}

/// RETURNING promises no order.
fn in_sequence(rows: Vec<SqliteRow>) -> Result<Vec<SqliteRow>, LedgerError> {
    let mut keyed = rows
        .into_iter()
        .map(|row| Ok((row.try_get::<i64, _>("sequence")?, row)))
        .collect::<Result<Vec<_>, LedgerError>>()?;
    keyed.sort_by_key(|(sequence, _)| *sequence);
    Ok(keyed.into_iter().map(|(_, row)| row).collect())
}

/// A row that cannot be read is left to its lease, so that it holds up no other. It is tried again
/// then: a newer version may read it, or a person mend it.
fn readable<T>(rows: &[SqliteRow], read: impl Fn(&SqliteRow) -> Result<T, LedgerError>) -> Vec<T> {
    let read = |row| read(row).inspect_err(|error| unreadable(row, error)).ok();
    rows.iter().filter_map(read).collect()
}

fn unreadable(row: &SqliteRow, error: &LedgerError) {
    let delivery = row::id(row).map_or_else(|_| "unreadable".to_owned(), |id| id.to_string());
    let sequence = row.try_get::<i64, _>("sequence").ok();
    tracing::error!(delivery, sequence, %error, "a claimed row waits until it can be read");
}

fn claimed_delivery(row: &SqliteRow) -> Result<ClaimedDelivery, LedgerError> {
    let head = row::head(row)?;
    let wire = row::wire(row)?
        .ok_or_else(|| LedgerError::Unreadable(format!("{} is parked without event", head.id)))?;
    let (claim, attempts) = (row.try_get("claim")?, row::count(row, "attempts")?);
    Ok(ClaimedDelivery { head, wire, claim, attempts })
}

fn claimed_effect(row: &SqliteRow) -> Result<ClaimedEffect, LedgerError> {
    Ok(ClaimedEffect {
        sequence: row.try_get("sequence")?,
        claim: row.try_get("claim")?,
        delivery: row::id(row)?,
        index: row::count(row, "effect_index")?,
        lane: row::lane(row)?,
        outgoing: row::outgoing(row)?,
        attempts: row::count(row, "attempts")?,
        since: time(row.try_get("since")?)?,
    })
}

/// Writes what became of claimed effects, within the caller's transaction. What reports a dead one
/// goes with it.
pub async fn finish(
    connection: &mut SqliteConnection,
    finished: &[FinishedEffect],
) -> Result<(), Fault> {
    let gone = performed(connection, finished).await?;
    for effect in finished {
        match &effect.result {
            EffectResult::Performed { internal } => {
                if gone.contains(&effect.sequence) {
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
    connection: &mut SqliteConnection,
    finished: &[FinishedEffect],
) -> Result<HashSet<i64>, Fault> {
    #[derive(Serialize)]
    struct Fence(i64, i64);
    let performed: Vec<_> = finished
        .iter()
        .filter(|effect| matches!(effect.result, EffectResult::Performed { .. }))
        .map(|effect| Fence(effect.sequence, effect.claim))
        .collect();
    let gone = sqlx::query(
        "DELETE FROM wharf_outbox WHERE status = 'waiting' AND (sequence, claim) IN \
             (SELECT value->>0, value->>1 FROM json_each(?1)) RETURNING sequence",
    )
    .bind(json(&performed)?)
    .fetch_all(connection)
    .await?;
    gone.iter().map(|row| Ok(row.try_get("sequence")?)).collect()
}

async fn again(
    connection: &mut SqliteConnection,
    effect: &FinishedEffect,
    at: Timestamp,
    attempts: u32,
    error: &str,
) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE wharf_outbox SET claim = claim + 1, next_attempt_at = ?3, attempts = ?4, \
             error = ?5 \
         WHERE sequence = ?1 AND claim = ?2 AND status = 'waiting'",
    )
    .bind(effect.sequence)
    .bind(effect.claim)
    .bind(micros(at))
    .bind(attempts)
    .bind(error)
    .execute(connection)
    .await?;
    Ok(())
}

/// Gives the delivery that it belongs to, and since when; `None` when the claim is no longer ours.
async fn dead(
    connection: &mut SqliteConnection,
    effect: &FinishedEffect,
    error: &str,
) -> Result<Option<(DeliveryId, Timestamp)>, LedgerError> {
    let dead = sqlx::query(
        "UPDATE wharf_outbox SET claim = claim + 1, status = 'dead', error = ?3 \
         WHERE sequence = ?1 AND claim = ?2 AND status = 'waiting' \
         RETURNING component, key, since",
    )
    .bind(effect.sequence)
    .bind(effect.claim)
    .bind(error)
    .fetch_optional(connection)
    .await?;
    dead.map(|row| Ok((row::id(&row)?, time(row.try_get("since")?)?))).transpose()
}
