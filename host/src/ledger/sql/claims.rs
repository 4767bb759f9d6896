//! Claims and what comes of them: each a short statement that moves a fence.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::group::{self, Leaving};
use super::row::{self, head_columns, micros, time};
use crate::clock::Timestamp;
use crate::delivery::DeliveryId;
use crate::failpoint::{Point, visit};
use crate::ledger::database::{Arg, Connection, Row, args};
use crate::ledger::error::LedgerError;
use crate::ledger::fault::Fault;
use crate::ledger::record::{ClaimedDelivery, ClaimedEffect, EffectResult, FinishedEffect};
use crate::ledger::rows::Rows;
use crate::name::ComponentId;

// Left to itself, SQLite picks the index of all rows of a component, millions of them done. Hence
// INDEXED BY; such a statement fails rather than scan. PostgreSQL has no such word, and the outbox is
// empty most of the time: to a planner that has seen that, to read an index whole costs no more than
// to look something up in it, and the plan is kept. So only one index can serve each question. Rows
// are compared whole: `(lane, sequence) < (…)` is a look into the index that begins so, where
// `sequence <` alone would fit the primary key as well; and `lane >= … AND lane <= …` keeps the order
// by lane and sequence, where `=` would leave that of the primary key. `{among}` asks for rows as a value, where a
// join could be turned round. A column beside `|| ''` is one whose indexes are not to be taken.

/// Walks along what is due, as the text in the middle says: each row `place` with the one `earlier`
/// that it must wait for, if any. What is in turn is claimed. What is not is marked as `behind`, so
/// that no walk meets it again, until [`free_deliveries`] or [`free_effects`] finds that its turn has
/// come. What is claimed ends at some bytes, for it is in memory at once: `before` is how much is
/// claimed before a row. The earlier row is locked meanwhile: whoever takes it away finds the mark afterwards. All
/// locks are asked for before the first row is written, since PostgreSQL passes by what the same
/// statement has written; hence the order of the last condition.
macro_rules! walk {
    ($table:literal, $status:literal, $walked:literal, $returning:expr) => {
        concat!(
            "WITH walked AS MATERIALIZED (",
            $walked,
            " LIMIT $3 {skip}), counted AS MATERIALIZED (SELECT place, earlier, \
                 sum(CASE WHEN earlier IS NULL THEN bytes ELSE 0 END) \
                     OVER (ROWS UNBOUNDED PRECEDING) - bytes AS before FROM walked), \
             taken AS MATERIALIZED (SELECT place, earlier FROM counted \
                 WHERE earlier IS NOT NULL OR before < $4), \
             held AS MATERIALIZED (SELECT h.sequence FROM ",
            $table,
            " h WHERE h.sequence {among}SELECT earlier FROM taken{end} \
                 AND h.status || '' = '",
            $status,
            "' {share}) UPDATE ",
            $table,
            " SET claim = claim + CASE WHEN earlier IS NULL THEN 1 ELSE 0 END, \
                 next_attempt_at = CASE WHEN earlier IS NULL THEN $2 ELSE next_attempt_at END, \
                 behind = CASE WHEN earlier IS NULL THEN 0 ELSE 1 END \
             FROM taken WHERE sequence = place \
             AND sequence {among}SELECT place FROM taken{end} \
             AND (coalesce(earlier, 0) {among}SELECT sequence FROM held{end} \
                 OR earlier IS NULL) RETURNING ",
            $returning
        )
    };
}

/// About as many bytes as one claim takes. One row may be larger.
const MOST_BYTES: i64 = 32 << 20;

/// How long a claim goes on behind rows that it could only mark. It holds a connection, SQLite's only
/// one.
const WALKING: Duration = Duration::from_millis(100);

/// Only of the components asked for, and of an ordered subject only the lowest.
pub async fn claim_parked(
    connection: &mut Connection,
    now: Timestamp,
    lease_end: Timestamp,
    components: &[ComponentId],
    limit: u32,
) -> Result<Vec<ClaimedDelivery>, LedgerError> {
    let sql = walk!(
        "wharf_deliveries",
        "parked",
        "SELECT d.sequence AS place, coalesce(octet_length(d.wire), 0) AS bytes, \
             CASE WHEN d.ordered = 1 AND d.subject IS NOT NULL THEN ( \
                 SELECT e.sequence FROM wharf_deliveries e \
                 WHERE e.status = 'parked' AND e.ordered = 1 \
                 AND e.component = d.component AND e.subject = d.subject \
                 AND (e.component, e.subject, e.sequence) < (d.component, d.subject, d.sequence) \
                 LIMIT 1) END AS earlier \
         FROM wharf_deliveries d {index wharf_deliveries_due} \
         WHERE d.status = 'parked' AND d.behind = 0 AND d.next_attempt_at <= $1 \
         AND d.component || '' {among}SELECT component FROM {rows} AS asked{end} \
         ORDER BY d.next_attempt_at, d.sequence",
        concat!(
            "sequence, claim, attempts, behind, CASE WHEN behind = 0 THEN wire END AS wire, \
             CASE WHEN behind = 0 THEN arrival END AS arrival, ",
            head_columns!()
        )
    );
    let args = |limit: u32| {
        let components = Rows::new().text("component", components.iter().map(ComponentId::as_str));
        args![micros(now), micros(lease_end), limit, MOST_BYTES, components]
    };
    let rows = claim(connection, sql, args, limit).await?;
    Ok(readable(&in_sequence(rows)?, claimed_delivery))
}

/// Of a lane only the lowest.
pub async fn claim_outbox(
    connection: &mut Connection,
    now: Timestamp,
    lease_end: Timestamp,
    limit: u32,
) -> Result<Vec<ClaimedEffect>, LedgerError> {
    let sql = walk!(
        "wharf_outbox",
        "waiting",
        "SELECT o.sequence AS place, octet_length(o.payload) + octet_length(o.target) AS bytes, ( \
             SELECT e.sequence FROM wharf_outbox e \
             WHERE e.status = 'waiting' AND e.lane = o.lane \
             AND (e.lane, e.sequence) < (o.lane, o.sequence) LIMIT 1) AS earlier \
         FROM wharf_outbox o {index wharf_outbox_due} \
         WHERE o.status = 'waiting' AND o.behind = 0 AND o.next_attempt_at <= $1 \
         ORDER BY o.next_attempt_at, o.sequence",
        "sequence, claim, component, key, effect_index, lane, kind, target, \
         CASE WHEN behind = 0 THEN payload END AS payload, attempts, since, behind"
    );
    let args = |limit: u32| args![micros(now), micros(lease_end), limit, MOST_BYTES];
    let rows = claim(connection, sql, args, limit).await?;
    Ok(readable(&in_sequence(rows)?, claimed_effect))
}

async fn claim<'a>(
    connection: &mut Connection,
    sql: &str,
    args: impl Fn(u32) -> Vec<Arg<'a>>,
    limit: u32,
) -> Result<Vec<Row>, LedgerError> {
    let begun = Instant::now();
    loop {
        let walked = connection.fetch_all(sql, args(limit)).await?;
        let was_something = !walked.is_empty();
        let mut claimed = Vec::with_capacity(walked.len());
        for row in walked {
            if !row::flag(&row, "behind")? {
                claimed.push(row);
            }
        }
        if !claimed.is_empty() || !was_something || begun.elapsed() > WALKING {
            return Ok(claimed);
        }
    }
}

/// Of each subject that lost a parked delivery, the first that is put aside is so no longer. After
/// that statement, and in its transaction: what was marked meanwhile is seen then. Locked, so that
/// it is not one that leaves at the same moment. Whose turn it is not is marked again by the next
/// walk.
pub async fn free_deliveries(
    connection: &mut Connection,
    subjects: &[(ComponentId, String)],
) -> Result<(), LedgerError> {
    let mut subjects: Vec<_> = subjects.iter().collect();
    subjects.sort();
    subjects.dedup();
    let left = Rows::new()
        .text("component", subjects.iter().map(|(component, _)| component.as_str()))
        .text("subject", subjects.iter().map(|(_, subject)| subject.as_str()));
    let sql = "UPDATE wharf_deliveries SET behind = 0 WHERE behind = 1 AND sequence {among} \
               SELECT (SELECT d.sequence FROM wharf_deliveries d {index wharf_deliveries_behind} \
                   WHERE d.status = 'parked' AND d.behind = 1 \
                   AND d.component = gone.component \
                   AND d.subject >= gone.subject AND d.subject <= gone.subject \
                   ORDER BY d.component, d.subject, d.sequence LIMIT 1 {lock}) \
               FROM {rows} AS gone{end}";
    connection.execute(sql, args![left]).await?;
    Ok(())
}

/// The same of lanes that lost a waiting effect.
async fn free_effects(
    connection: &mut Connection,
    mut lanes: Vec<String>,
) -> Result<(), LedgerError> {
    // In one order, so that two hosts do not wait for each other crosswise.
    lanes.sort();
    lanes.dedup();
    let sql = "UPDATE wharf_outbox SET behind = 0 WHERE behind = 1 AND sequence {among} \
               SELECT (SELECT o.sequence FROM wharf_outbox o {index wharf_outbox_behind} \
                   WHERE o.status = 'waiting' AND o.behind = 1 \
                   AND o.lane >= gone.lane AND o.lane <= gone.lane \
                   ORDER BY o.lane, o.sequence LIMIT 1 {lock}) FROM {rows} AS gone{end}";
    connection.execute(sql, args![Rows::new().text("lane", lanes)]).await?;
    Ok(())
}

/// Frees whatever is put aside behind nobody: what a person took away, or a host of a version that
/// did not free. One look into an index for each lane and subject that has something put aside.
pub async fn free_stranded(connection: &mut Connection) -> Result<(), LedgerError> {
    let sql = "WITH RECURSIVE lanes (lane) AS ( \
                   SELECT min(o.lane) FROM wharf_outbox o {index wharf_outbox_behind} \
                   WHERE o.status = 'waiting' AND o.behind = 1 \
                   UNION ALL \
                   SELECT (SELECT min(o.lane) FROM wharf_outbox o {index wharf_outbox_behind} \
                       WHERE o.status = 'waiting' AND o.behind = 1 AND o.lane > lanes.lane) \
                   FROM lanes WHERE lanes.lane IS NOT NULL) \
               SELECT lane FROM lanes WHERE ( \
                   SELECT e.behind FROM wharf_outbox e {index wharf_outbox_lane} \
                   WHERE e.status = 'waiting' \
                   AND e.lane >= lanes.lane AND e.lane <= lanes.lane \
                   ORDER BY e.lane, e.sequence LIMIT 1) = 1";
    let rows = connection.fetch_all(sql, args![]).await?;
    let lanes = rows.iter().map(|row| row.get("lane")).collect::<Result<Vec<String>, _>>()?;
    if !lanes.is_empty() {
        tracing::warn!(lanes = lanes.len(), "effects waited behind nobody; they go on");
        free_effects(connection, lanes).await?;
    }
    let sql = "WITH RECURSIVE firsts (place) AS ( \
                   SELECT (SELECT d.sequence FROM wharf_deliveries d \
                       {index wharf_deliveries_behind} \
                       WHERE d.status = 'parked' AND d.behind = 1 \
                       ORDER BY d.component, d.subject, d.sequence LIMIT 1) \
                   UNION ALL \
                   SELECT (SELECT d.sequence FROM wharf_deliveries d \
                       {index wharf_deliveries_behind} \
                       WHERE d.status = 'parked' AND d.behind = 1 \
                       AND (d.component, d.subject, d.sequence) \
                           > (f.component, f.subject, 9223372036854775807) \
                       ORDER BY d.component, d.subject, d.sequence LIMIT 1) \
                   FROM firsts CROSS JOIN wharf_deliveries f WHERE f.sequence = firsts.place) \
               SELECT f.component, f.subject FROM firsts CROSS JOIN wharf_deliveries f \
               WHERE f.sequence = firsts.place AND ( \
                   SELECT e.behind FROM wharf_deliveries e {index wharf_deliveries_turn} \
                   WHERE e.status = 'parked' AND e.ordered = 1 \
                   AND e.component = f.component \
                   AND e.subject >= f.subject AND e.subject <= f.subject \
                   ORDER BY e.component, e.subject, e.sequence LIMIT 1) = 1";
    let rows = connection.fetch_all(sql, args![]).await?;
    let mut subjects = Vec::with_capacity(rows.len());
    for row in &rows {
        subjects.push((row::component(row)?, row.get::<String>("subject")?));
    }
    if !subjects.is_empty() {
        tracing::warn!(subjects = subjects.len(), "deliveries waited behind nobody; they go on");
        free_deliveries(connection, &subjects).await?;
    }
    Ok(())
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
    let (gone, mut lanes) = performed(connection, finished).await?;
    for effect in finished {
        match &effect.result {
            EffectResult::Performed { internal } => {
                if gone.contains(&effect.sequence) && !internal.is_empty() {
                    visit(Point::ResultLeft)?;
                    group::add_internal(connection, internal).await?;
                    visit(Point::ResultEntered)?;
                }
            }
            EffectResult::Again { at, attempts, error } => {
                again(connection, effect, *at, *attempts, error).await?;
                visit(Point::EffectAgain)?;
            }
            EffectResult::Dead { error, outbox, internal } => {
                let Some((id, since, lane)) = dead(connection, effect, error).await? else {
                    continue;
                };
                visit(Point::EffectDead)?;
                lanes.push(lane);
                let leaving = |effect| Leaving { id: &id, since, effect };
                let leaving: Vec<_> = outbox.iter().map(leaving).collect();
                group::add_effects(connection, &leaving).await?;
                group::add_internal(connection, internal).await?;
                visit(Point::ReportEntered)?;
            }
        }
    }
    if !lanes.is_empty() {
        free_effects(connection, lanes).await?;
        visit(Point::EffectsFreed)?;
    }
    Ok(())
}

/// Gives the sequences of those that were still ours, and their lanes.
async fn performed(
    connection: &mut Connection,
    finished: &[FinishedEffect],
) -> Result<(HashSet<i64>, Vec<String>), Fault> {
    let performed: Vec<_> = finished
        .iter()
        .filter(|effect| matches!(effect.result, EffectResult::Performed { .. }))
        .collect();
    if performed.is_empty() {
        return Ok((HashSet::new(), Vec::new()));
    }
    // By their sequences first: for pairs alone, PostgreSQL reads all that waits.
    let sql = "DELETE FROM wharf_outbox WHERE status || '' = 'waiting' \
               AND sequence {among}SELECT sequence FROM {rows} AS named{end} \
               AND (sequence, claim) IN (SELECT sequence, claim FROM {rows} AS gone) \
               RETURNING sequence, lane";
    let rows = Rows::new()
        .integer("sequence", performed.iter().map(|effect| effect.sequence))
        .integer("claim", performed.iter().map(|effect| effect.claim));
    let gone = connection.fetch_all(sql, args![rows]).await?;
    visit(Point::EffectsGone)?;
    gone.iter().map(|row| Ok((row.get::<i64>("sequence")?, row.get("lane")?))).collect()
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

/// Gives the delivery that it belongs to, since when, and its lane; `None` when the claim is no
/// longer ours.
async fn dead(
    connection: &mut Connection,
    effect: &FinishedEffect,
    error: &str,
) -> Result<Option<(DeliveryId, Timestamp, String)>, LedgerError> {
    let sql = "UPDATE wharf_outbox SET claim = claim + 1, status = 'dead', error = $3 \
               WHERE sequence = $1 AND claim = $2 AND status = 'waiting' \
               RETURNING component, key, since, lane";
    let args = args![effect.sequence, effect.claim, error];
    let dead = connection.fetch_optional(sql, args).await?;
    dead.map(|row| Ok((row::id(&row)?, time(row.get("since")?)?, row.get("lane")?))).transpose()
}
