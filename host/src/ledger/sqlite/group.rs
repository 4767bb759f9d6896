//! The statements of a group commit: few, each for many rows. Rows travel as one JSON array.
//!
//! Only a component's own statement can be a delivery's fault. When one of the ledger's fails,
//! no delivery is to blame, whatever SQLite says of it.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use super::row::{self, json, micros};
use super::{Fault, value};
use crate::clock::Timestamp;
use crate::delivery::{DeliveryHead, DeliveryId, DeliveryStatus, LogLine};
use crate::effect::Execute;
use crate::event::WireEvent;
use crate::ledger::error::LedgerError;
use crate::ledger::state_machine::{Delivery, Waiting};
use crate::ledger::submission::{NewDelivery, NewEffect};
use crate::name::hex;

/// A delivery that just came in: what it becomes in its turn, and behind a parked one.
pub struct Newcomer<'a> {
    pub head: &'a DeliveryHead,
    pub free: Delivery,
    pub behind: Delivery,
}

/// Enters the newcomers that the ledger does not have yet, and says as what. One that is missing
/// in the answer is a repeat. Sorted, so that two hosts lock in the same order.
pub async fn enter(
    connection: &mut SqliteConnection,
    newcomers: &mut [Newcomer<'_>],
) -> Result<HashMap<DeliveryId, Delivery>, LedgerError> {
    newcomers.sort_by_key(|newcomer| (newcomer.head.id.key, newcomer.head.id.component.clone()));
    let rows: Vec<_> = newcomers.iter().map(NewRow::of).collect();
    let entered = sqlx::query(
        "INSERT INTO wharf_deliveries (component, key, status, claim, attempts, next_attempt_at, \
             subject, ordered, contract, pubsub, topic, digest, event_id, event_type, received_at) \
         SELECT component, key, \
             CASE WHEN behind THEN v->>'$.behind[0]' ELSE v->>'$.free[0]' END, \
             CASE WHEN behind THEN v->>'$.behind[1]' ELSE v->>'$.free[1]' END, \
             CASE WHEN behind THEN v->>'$.behind[2]' ELSE v->>'$.free[2]' END, \
             CASE WHEN behind THEN v->>'$.behind[3]' ELSE v->>'$.free[3]' END, \
             subject, v->>'ordered', v->>'contract', v->>'pubsub', v->>'topic', v->>'digest', \
             v->>'event_id', v->>'event_type', v->>'received_at' \
         FROM (SELECT value AS v, value->>'component' AS component, \
                   unhex(value->>'key') AS key, value->>'subject' AS subject, \
                   value->>'ordered' AND EXISTS ( \
                       SELECT 1 FROM wharf_deliveries earlier \
                       WHERE earlier.status = 'parked' AND earlier.ordered = 1 \
                       AND earlier.component = value->>'component' \
                       AND earlier.subject = value->>'subject') AS behind \
               FROM json_each(?1)) \
         WHERE true ON CONFLICT (component, key) DO NOTHING \
         RETURNING component, key, status, claim, attempts, next_attempt_at",
    )
    .bind(json(&rows)?)
    .fetch_all(connection)
    .await?;
    entered.iter().map(|row| Ok((row::id(row)?, row::delivery(row)?))).collect()
}

#[derive(Serialize)]
struct NewRow<'a> {
    component: &'a str,
    key: String,
    free: (&'static str, i64, u32, Option<i64>),
    behind: (&'static str, i64, u32, Option<i64>),
    #[serde(flatten)]
    rest: HeadRow<'a>,
}

/// The columns of a head that decide nothing.
#[derive(Serialize)]
struct HeadRow<'a> {
    subject: Option<&'a str>,
    ordered: bool,
    contract: Option<&'a str>,
    pubsub: Option<&'a str>,
    topic: Option<&'a str>,
    digest: &'a str,
    event_id: &'a str,
    event_type: &'a str,
    received_at: i64,
}

impl<'a> NewRow<'a> {
    fn of(newcomer: &Newcomer<'a>) -> Self {
        Self {
            component: newcomer.head.id.component.as_str(),
            key: newcomer.head.id.key.to_string(),
            free: columns(newcomer.free),
            behind: columns(newcomer.behind),
            rest: HeadRow::of(newcomer.head),
        }
    }
}

impl<'a> HeadRow<'a> {
    fn of(head: &'a DeliveryHead) -> Self {
        Self {
            subject: head.subject.as_deref(),
            ordered: head.ordered,
            contract: head.contract.as_ref().map(|name| name.as_str()),
            pubsub: head.pubsub.as_ref().map(|name| name.as_str()),
            topic: head.topic.as_ref().map(|name| name.as_str()),
            digest: &head.digest,
            event_id: &head.event_id,
            event_type: &head.event_type,
            received_at: micros(head.received_at),
        }
    }
}

fn columns(delivery: Delivery) -> (&'static str, i64, u32, Option<i64>) {
    let Delivery { status, claim, attempts, due } = delivery;
    (status.as_str(), claim, attempts, due.map(micros))
}

/// What a parked or dead newcomer keeps, to be tried again or looked at.
pub struct Kept<'a> {
    pub id: &'a DeliveryId,
    pub wire: &'a WireEvent,
    pub error: &'a str,
    pub log: &'a [LogLine],
}

/// Adds what they keep to rows that were just entered.
pub async fn keep(connection: &mut SqliteConnection, kept: &[Kept<'_>]) -> Result<(), LedgerError> {
    #[derive(Serialize)]
    struct KeptRow<'a> {
        component: &'a str,
        key: String,
        wire: String,
        arrival: String,
        error: &'a str,
        log: String,
    }
    let rows = kept
        .iter()
        .map(|kept| {
            Ok(KeptRow {
                component: kept.id.component.as_str(),
                key: kept.id.key.to_string(),
                wire: hex(&kept.wire.bytes),
                arrival: json(&kept.wire.arrival)?,
                error: kept.error,
                log: json(&kept.log)?,
            })
        })
        .collect::<Result<Vec<_>, LedgerError>>()?;
    sqlx::query(
        "UPDATE wharf_deliveries SET wire = unhex(value->>'wire'), arrival = value->>'arrival', \
             error = value->>'error', log = value->>'log' \
         FROM json_each(?1) \
         WHERE component = value->>'component' AND wharf_deliveries.key = unhex(value->>'key')",
    )
    .bind(json(&rows)?)
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes the result of a claimed run; `false` when the claim is no longer ours. A done row keeps
/// no event, the others keep the one they have.
pub async fn settle(
    connection: &mut SqliteConnection,
    head: &DeliveryHead,
    claim: i64,
    to: Delivery,
    error: Option<&str>,
    log: &[LogLine],
) -> Result<bool, LedgerError> {
    let done = to.status == DeliveryStatus::Done;
    let log = if done { None } else { Some(json(&log)?) };
    let settled = sqlx::query(
        "UPDATE wharf_deliveries SET status = ?4, claim = ?5, attempts = ?6, \
             next_attempt_at = ?7, digest = ?8, error = ?9, log = ?10, \
             wire = CASE WHEN ?11 THEN NULL ELSE wire END, \
             arrival = CASE WHEN ?11 THEN NULL ELSE arrival END \
         WHERE component = ?1 AND key = ?2 AND status = 'parked' AND claim = ?3",
    )
    .bind(head.id.component.as_str())
    .bind(head.id.key.0.as_slice())
    .bind(claim)
    .bind(to.status.as_str())
    .bind(to.claim)
    .bind(to.attempts)
    .bind(to.due.map(micros))
    .bind(head.digest.as_str())
    .bind(error)
    .bind(log)
    .bind(done)
    .execute(connection)
    .await?;
    Ok(settled.rows_affected() == 1)
}

/// Takes back newcomers whose own statements failed. They are few: one statement for each, since
/// for a list of pairs SQLite would read every row of the component.
pub async fn forget(
    connection: &mut SqliteConnection,
    ids: &[&DeliveryId],
) -> Result<(), LedgerError> {
    for id in ids {
        sqlx::query("DELETE FROM wharf_deliveries WHERE component = ?1 AND key = ?2")
            .bind(id.component.as_str())
            .bind(id.key.0.as_slice())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// The statuses of deliveries that the ledger has.
pub async fn statuses(
    connection: &mut SqliteConnection,
    ids: &[&DeliveryId],
) -> Result<HashMap<DeliveryId, DeliveryStatus>, LedgerError> {
    let rows = sqlx::query(
        "SELECT d.component, d.key, d.status FROM json_each(?1) asked CROSS JOIN wharf_deliveries d \
         ON d.component = asked.value->>0 AND d.key = unhex(asked.value->>1)",
    )
    .bind(json(&pairs(ids))?)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Ok((row::id(row)?, row::status(row)?))).collect()
}

fn pairs<'a>(ids: &[&'a DeliveryId]) -> Vec<(&'a str, String)> {
    ids.iter().map(|id| (id.component.as_str(), id.key.to_string())).collect()
}

/// Runs one of a component's statements; gives the number of rows that it touched.
pub async fn execute(connection: &mut SqliteConnection, execute: &Execute) -> Result<u64, Fault> {
    let query = sqlx::query(AssertSqlSafe(execute.sql.clone()));
    let query = value::bind(query, &execute.params)
        .map_err(|error| Fault::Own { statement: None, error })
        .map_err(|fault| fault.of(&execute.statement))?;
    let done = query.execute(connection).await;
    done.map(|done| done.rows_affected()).map_err(|error| Fault::from(error).of(&execute.statement))
}

/// Runs the same statement for several deliveries at once. `order` says which parameter of a row
/// stands at each of its places.
pub async fn execute_many(
    connection: &mut SqliteConnection,
    sql: &Arc<str>,
    order: &[usize],
    rows: &[&Execute],
) -> Result<(), Fault> {
    let name = rows.first().map_or("", |execute| execute.statement.as_str());
    let params = rows.iter().flat_map(|row| order.iter().filter_map(|at| row.params.get(*at)));
    let query = value::bind(sqlx::query(AssertSqlSafe(Arc::clone(sql))), params)
        .map_err(|error| Fault::Own { statement: Some(name.to_owned()), error })?;
    let done = query.execute(connection).await;
    done.map(|_| ()).map_err(|error| Fault::from(error).of(name))
}

/// From here until [`undo`] or [`release`], what is written can be taken back by itself.
pub async fn savepoint(connection: &mut SqliteConnection) -> Result<(), LedgerError> {
    sqlx::query("SAVEPOINT delivery").execute(connection).await?;
    Ok(())
}

/// Fails as the delivery's own when its statement took the savepoint with it.
pub async fn undo(connection: &mut SqliteConnection) -> Result<(), Fault> {
    sqlx::query("ROLLBACK TO delivery").execute(&mut *connection).await?;
    Ok(release(connection).await?)
}

pub async fn release(connection: &mut SqliteConnection) -> Result<(), LedgerError> {
    sqlx::query("RELEASE delivery").execute(connection).await?;
    Ok(())
}

/// An effect that leaves with a delivery.
pub struct Leaving<'a> {
    pub id: &'a DeliveryId,
    /// When the event that caused it came in.
    pub since: Timestamp,
    pub effect: &'a NewEffect,
}

/// Adds effects to the outbox, in this order.
pub async fn add_effects(
    connection: &mut SqliteConnection,
    effects: &[Leaving<'_>],
) -> Result<(), LedgerError> {
    #[derive(Serialize)]
    struct EffectRow<'a> {
        lane: &'a str,
        component: &'a str,
        key: String,
        index: u32,
        kind: &'static str,
        target: String,
        payload: String,
        status: &'static str,
        due: i64,
        since: i64,
    }
    let rows = effects
        .iter()
        .map(|Leaving { id, since, effect }| {
            let waiting = Waiting::enter(*since);
            let (kind, target, payload) = row::effect_columns(&effect.outgoing)?;
            Ok(EffectRow {
                lane: effect.lane.as_str(),
                component: id.component.as_str(),
                key: id.key.to_string(),
                index: effect.index,
                kind,
                target,
                payload: hex(payload),
                status: waiting.status.as_str(),
                due: micros(waiting.due),
                since: micros(*since),
            })
        })
        .collect::<Result<Vec<_>, LedgerError>>()?;
    sqlx::query(
        "INSERT INTO wharf_outbox (lane, component, key, effect_index, kind, target, payload, \
             status, next_attempt_at, since) \
         SELECT value->>'lane', value->>'component', unhex(value->>'key'), value->>'index', \
             value->>'kind', value->>'target', unhex(value->>'payload'), \
             value->>'status', value->>'due', value->>'since' \
         FROM json_each(?1)",
    )
    .bind(json(&rows)?)
    .execute(connection)
    .await?;
    Ok(())
}

/// Enters internal events; those that the ledger has already are left as they are.
pub async fn add_internal<'a>(
    connection: &mut SqliteConnection,
    deliveries: impl IntoIterator<Item = &'a NewDelivery>,
) -> Result<(), LedgerError> {
    #[derive(Serialize)]
    struct InternalRow<'a> {
        component: &'a str,
        key: String,
        state: (&'static str, i64, u32, Option<i64>),
        #[serde(flatten)]
        rest: HeadRow<'a>,
        wire: String,
        arrival: String,
    }
    let rows = deliveries
        .into_iter()
        .map(|delivery| {
            Ok(InternalRow {
                component: delivery.head.id.component.as_str(),
                key: delivery.head.id.key.to_string(),
                state: columns(Delivery::internal(delivery.head.received_at)),
                rest: HeadRow::of(&delivery.head),
                wire: hex(&delivery.wire.bytes),
                arrival: json(&delivery.wire.arrival)?,
            })
        })
        .collect::<Result<Vec<_>, LedgerError>>()?;
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO wharf_deliveries (component, key, status, claim, attempts, next_attempt_at, \
             subject, ordered, contract, pubsub, topic, digest, event_id, event_type, received_at, \
             wire, arrival) \
         SELECT value->>'component', unhex(value->>'key'), value->>'$.state[0]', \
             value->>'$.state[1]', value->>'$.state[2]', value->>'$.state[3]', value->>'subject', \
             value->>'ordered', value->>'contract', value->>'pubsub', value->>'topic', \
             value->>'digest', value->>'event_id', value->>'event_type', value->>'received_at', \
             unhex(value->>'wire'), value->>'arrival' \
         FROM json_each(?1) WHERE true ON CONFLICT (component, key) DO NOTHING",
    )
    .bind(json(&rows)?)
    .execute(connection)
    .await?;
    Ok(())
}
