//! Pruning: a walk along the sequence, the order of entry and so nearly that of age, from a mark
//! that is kept beside it. No index by age is needed, and no step begins where deleted rows are
//! still to be cleaned away: in PostgreSQL it would step over them again and again.
//!
//! What the walk passes and must leave may go later: a dead delivery that a person retried, one
//! whose effect was performed at last. Hence it sets out from the beginning once a day.

use std::time::Duration;

use super::row::{self, micros, time};
use crate::clock::Timestamp;
use crate::delivery::DeliveryId;
use crate::ledger::database::{Connection, args};
use crate::ledger::error::LedgerError;
use crate::ledger::fault::Fault;
use crate::ledger::record::Pruned;
use crate::ledger::rows::Rows;

/// Rows that one step looks at, few enough that commits hardly notice.
const BATCH: u32 = 500;
/// Sequences that one step looks at. Many may be missing: repeats use some up.
const SPAN: i64 = 100_000;
/// After so long the walk sets out from the beginning again.
const ROUND: Duration = Duration::from_hours(24);

/// How far it has come.
struct Walk {
    mark: i64,
    begun: Timestamp,
}

/// What is next on the way: at most a batch, within a span.
#[derive(Default)]
struct Ahead {
    many: i64,
    last: Option<i64>,
    /// The last that is older than the window.
    old: Option<i64>,
}

/// One step, within the caller's transaction.
pub async fn prune(
    connection: &mut Connection,
    now: Timestamp,
    before: Timestamp,
) -> Result<Pruned, Fault> {
    let Some(walk) = walk(connection).await? else { return Ok(Pruned::Elsewhere) };
    let ahead = ahead(connection, walk.mark, before).await?;
    let full = ahead.many == i64::from(BATCH);
    let top = if full { i64::MAX } else { top(connection).await? };
    let Some(reached) = reached(walk.mark, full, &ahead, top) else {
        let again = walk.mark > 0 && walk.begun + ROUND <= now;
        return if again {
            keep(connection, &Walk { mark: 0, begun: now }).await?;
            Ok(Pruned::Batch(0))
        } else {
            Ok(Pruned::Nothing)
        };
    };
    let gone = delete(connection, walk.mark, reached, before).await?;
    if !gone.is_empty() {
        forget_recordings(connection, &gone).await?;
    }
    let begun = if walk.mark == 0 { now } else { walk.begun };
    keep(connection, &Walk { mark: reached, begun }).await?;
    Ok(Pruned::Batch(gone.len() as u64))
}

/// Where the step ends; `None` when nothing ahead is old enough.
fn reached(mark: i64, full: bool, ahead: &Ahead, top: i64) -> Option<i64> {
    let end = mark.saturating_add(SPAN);
    let all_old = ahead.old == ahead.last;
    if !full && end < top && all_old { Some(end) } else { ahead.old }
}

/// `None` while another host prunes.
async fn walk(connection: &mut Connection) -> Result<Option<Walk>, LedgerError> {
    let sql = "SELECT mark, begun_at FROM wharf_pruning {skip}";
    let found = connection.fetch_optional(sql, args![]).await?;
    found
        .map(|row| Ok(Walk { mark: row.get("mark")?, begun: time(row.get("begun_at")?)? }))
        .transpose()
}

async fn keep(connection: &mut Connection, walk: &Walk) -> Result<(), LedgerError> {
    let sql = "UPDATE wharf_pruning SET mark = $1, begun_at = $2";
    connection.execute(sql, args![walk.mark, micros(walk.begun)]).await?;
    Ok(())
}

async fn ahead(
    connection: &mut Connection,
    mark: i64,
    before: Timestamp,
) -> Result<Ahead, LedgerError> {
    let sql = "SELECT count(*) AS many, max(sequence) AS last, \
                   max(CASE WHEN received_at < $3 THEN sequence END) AS old \
               FROM (SELECT sequence, received_at FROM wharf_deliveries \
                     WHERE sequence > $1 AND sequence <= $2 ORDER BY sequence LIMIT $4) AS ahead";
    let args = args![mark, mark.saturating_add(SPAN), micros(before), BATCH];
    let Some(row) = connection.fetch_optional(sql, args).await? else {
        return Ok(Ahead::default());
    };
    Ok(Ahead { many: row.get("many")?, last: row.get("last")?, old: row.get("old")? })
}

/// The newest sequence; 0 when there is none.
async fn top(connection: &mut Connection) -> Result<i64, LedgerError> {
    let sql = "SELECT max(sequence) AS top FROM wharf_deliveries";
    let row = connection.fetch_optional(sql, args![]).await?;
    Ok(row.map(|row| row.get::<Option<i64>>("top")).transpose()?.flatten().unwrap_or_default())
}

/// The rule is [`Delivery::may_go`](crate::ledger::state_machine::Delivery::may_go)'s. Asked as a
/// value, whether an effect is left costs one look at its index for each row; PostgreSQL would turn
/// NOT EXISTS into a join of the whole outbox.
async fn delete(
    connection: &mut Connection,
    mark: i64,
    reached: i64,
    before: Timestamp,
) -> Result<Vec<DeliveryId>, LedgerError> {
    let sql = "DELETE FROM wharf_deliveries \
               WHERE sequence > $1 AND sequence <= $2 AND received_at < $3 \
               AND status IN ('done', 'discarded') \
               AND (SELECT o.sequence FROM wharf_outbox o \
                    WHERE o.component = wharf_deliveries.component \
                    AND o.key = wharf_deliveries.key LIMIT 1) IS NULL \
               RETURNING component, key";
    let gone = connection.fetch_all(sql, args![mark, reached, micros(before)]).await?;
    gone.iter().map(row::id).collect()
}

/// A recording goes with its delivery.
async fn forget_recordings(
    connection: &mut Connection,
    gone: &[DeliveryId],
) -> Result<(), LedgerError> {
    // CROSS JOIN: SQLite keeps to this order.
    let sql = "DELETE FROM wharf_recordings WHERE sequence {among}SELECT r.sequence \
                   FROM {rows} AS gone CROSS JOIN wharf_recordings r \
                   WHERE r.component = gone.component AND r.key = gone.key{end}";
    let rows = Rows::new()
        .text("component", gone.iter().map(|id| id.component.as_str()))
        .bytes("key", gone.iter().map(|id| id.key.0.as_slice()));
    connection.execute(sql, args![rows]).await?;
    Ok(())
}
