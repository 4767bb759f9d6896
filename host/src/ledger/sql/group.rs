//! The statements of a group commit: few, each for many rows. How rows travel is the database's; see
//! `rows`.
//!
//! Only a component's own statement can be a delivery's fault. When one of the ledger's fails,
//! no delivery is to blame, whatever the database says of it.

use std::collections::HashMap;

use super::row::{self, json, micros};
use crate::clock::Timestamp;
use crate::delivery::{DeliveryHead, DeliveryId, DeliveryStatus, LogLine};
use crate::event::WireEvent;
use crate::failpoint::{Point, visit};
use crate::ledger::database::{Connection, args};
use crate::ledger::error::LedgerError;
use crate::ledger::fault::Fault;
use crate::ledger::rows::Rows;
use crate::ledger::state_machine::{Delivery, Waiting};
use crate::ledger::submission::{NewDelivery, NewEffect};
use crate::name::{ComponentId, EventKey};

/// A delivery that just came in: what it becomes in its turn, and behind a parked one.
pub struct Newcomer<'a> {
    pub head: &'a DeliveryHead,
    pub free: Delivery,
    pub behind: Delivery,
}

/// Whether an earlier delivery of the same ordered subject is parked.
macro_rules! is_behind {
    () => {
        "ordered = 1 AND EXISTS ( \
             SELECT 1 FROM wharf_deliveries earlier {index wharf_deliveries_turn} \
             WHERE earlier.status = 'parked' AND earlier.ordered = 1 \
             AND earlier.component = new.component AND earlier.subject = new.subject)"
    };
}

/// In which order rows enter, so that two hosts lock them in the same.
fn entry(head: &DeliveryHead) -> (EventKey, &ComponentId) {
    (head.id.key, &head.id.component)
}

/// Enters the newcomers that the ledger does not have yet, and says as what. One that is missing
/// in the answer is a repeat.
pub async fn enter(
    connection: &mut Connection,
    newcomers: &mut [Newcomer<'_>],
) -> Result<HashMap<DeliveryId, Delivery>, LedgerError> {
    newcomers.sort_by_key(|newcomer| entry(newcomer.head));
    let free = || newcomers.iter().map(|newcomer| newcomer.free);
    let behind = || newcomers.iter().map(|newcomer| newcomer.behind);
    let heads: Vec<_> = newcomers.iter().map(|newcomer| newcomer.head).collect();
    let rows = self::heads(&heads)
        .text("status", free().map(|state| state.status.as_str()))
        .integer("claim", free().map(|state| state.claim))
        .integer("attempts", free().map(|state| state.attempts.into()))
        .optional_integer("due", free().map(|state| state.due.map(micros)))
        .text("behind_status", behind().map(|state| state.status.as_str()))
        .integer("behind_claim", behind().map(|state| state.claim))
        .integer("behind_attempts", behind().map(|state| state.attempts.into()))
        .optional_integer("behind_due", behind().map(|state| state.due.map(micros)));
    let sql = concat!(
        "INSERT INTO wharf_deliveries (component, key, status, claim, attempts, \
             next_attempt_at, subject, ordered, contract, pubsub, topic, digest, event_id, \
             event_type, received_at) \
         SELECT component, key, \
             CASE WHEN behind THEN behind_status ELSE status END, \
             CASE WHEN behind THEN behind_claim ELSE claim END, \
             CASE WHEN behind THEN behind_attempts ELSE attempts END, \
             CASE WHEN behind THEN behind_due ELSE due END, \
             subject, ordered, contract, pubsub, topic, {unhex digest}, event_id, \
             event_type, received_at \
         FROM (SELECT *, ",
        is_behind!(),
        " AS behind FROM {rows} AS new) AS placed \
         WHERE true ON CONFLICT (component, key) DO NOTHING \
         RETURNING component, key, status, claim, attempts, next_attempt_at"
    );
    let entered = connection.fetch_all(sql, args![rows]).await?;
    entered.iter().map(|row| Ok((row::id(row)?, row::delivery(row)?))).collect()
}

/// Enters the newcomers that are new and in their turn as done, with those columns of theirs that
/// [`done`] gives; of the others nothing is written. PostgreSQL's, part of a statement with more.
pub const ENTER_DONE: &str = concat!(
    "INSERT INTO wharf_deliveries (component, key, status, claim, attempts, \
         subject, ordered, contract, pubsub, topic, digest, event_id, event_type, received_at) \
     SELECT component, key, 'done', 0, attempts, subject, ordered, contract, pubsub, topic, \
         {unhex digest}, event_id, event_type, received_at \
     FROM {rows} AS new WHERE NOT (",
    is_behind!(),
    ") ON CONFLICT (component, key) DO NOTHING RETURNING component, key"
);

/// Newcomers that are done in their turn.
pub fn done<'a>(newcomers: &mut [(&'a DeliveryHead, u32)]) -> Rows<'a> {
    newcomers.sort_by_key(|(head, _)| entry(head));
    let heads: Vec<_> = newcomers.iter().map(|(head, _)| *head).collect();
    self::heads(&heads)
        .integer("attempts", newcomers.iter().map(|(_, attempts)| (*attempts).into()))
}

/// The columns of heads that decide nothing, and those of their id.
fn heads<'a>(heads: &[&'a DeliveryHead]) -> Rows<'a> {
    let all = || heads.iter();
    Rows::new()
        .text("component", all().map(|head| head.id.component.as_str()))
        .bytes("key", all().map(|head| head.id.key.0.as_slice()))
        .optional_text("subject", all().map(|head| head.subject.as_deref()))
        .integer("ordered", all().map(|head| head.ordered.into()))
        .optional_text("contract", all().map(|head| head.contract.as_ref().map(|it| it.as_str())))
        .optional_text("pubsub", all().map(|head| head.pubsub.as_ref().map(|it| it.as_str())))
        .optional_text("topic", all().map(|head| head.topic.as_ref().map(|it| it.as_str())))
        .text("digest", all().map(|head| head.digest.as_str()))
        .text("event_id", all().map(|head| head.event_id.as_str()))
        .text("event_type", all().map(|head| head.event_type.as_str()))
        .integer("received_at", all().map(|head| micros(head.received_at)))
}

/// What a parked or dead newcomer keeps, to be tried again or looked at.
pub struct Kept<'a> {
    pub id: &'a DeliveryId,
    pub wire: &'a WireEvent,
    pub error: &'a str,
    pub log: &'a [LogLine],
}

/// Adds what they keep to rows that were just entered.
pub async fn keep(connection: &mut Connection, kept: &[Kept<'_>]) -> Result<(), LedgerError> {
    let arrivals = kept.iter().map(|kept| json(&kept.wire.arrival));
    let arrivals = arrivals.collect::<Result<Vec<_>, _>>()?;
    let logs = kept.iter().map(|kept| json(&kept.log)).collect::<Result<Vec<_>, _>>()?;
    let rows = Rows::new()
        .text("component", kept.iter().map(|kept| kept.id.component.as_str()))
        .bytes("key", kept.iter().map(|kept| kept.id.key.0.as_slice()))
        .bytes("wire", kept.iter().map(|kept| kept.wire.bytes.as_ref()))
        .text("arrival", arrivals)
        .text("error", kept.iter().map(|kept| kept.error))
        .text("log", logs);
    let sql = "UPDATE wharf_deliveries SET wire = kept.wire, arrival = kept.arrival, \
                   error = kept.error, log = kept.log \
               FROM {rows} AS kept \
               WHERE wharf_deliveries.component = kept.component \
               AND wharf_deliveries.key = kept.key";
    connection.execute(sql, args![rows]).await?;
    Ok(())
}

/// Writes the result of a claimed run; `None` when the claim is no longer ours, else the subject that
/// the row has had its turn in, if it is ordered. A done row keeps no event, the others keep the one
/// they have.
pub async fn settle(
    connection: &mut Connection,
    head: &DeliveryHead,
    claim: i64,
    to: Delivery,
    error: Option<&str>,
    log: &[LogLine],
) -> Result<Option<Option<String>>, LedgerError> {
    let done = to.status == DeliveryStatus::Done;
    let log = if done { None } else { Some(json(&log)?) };
    // `|| ''`: PostgreSQL is not to take the index of all parked rows.
    let sql = "UPDATE wharf_deliveries SET status = $4, claim = $5, attempts = $6, \
                   next_attempt_at = $7, digest = {unhex $8}, error = $9, log = $10, \
                   wire = CASE WHEN $4 = 'done' THEN NULL ELSE wire END, \
                   arrival = CASE WHEN $4 = 'done' THEN NULL ELSE arrival END \
               WHERE component = $1 AND key = $2 AND status || '' = 'parked' AND claim = $3 \
               RETURNING CASE WHEN ordered = 1 THEN subject END AS subject";
    let args = args![
        head.id.component.as_str(),
        head.id.key.0.as_slice(),
        claim,
        to.status.as_str(),
        to.claim,
        to.attempts,
        to.due.map(micros),
        &head.digest,
        error,
        log.as_deref(),
    ];
    let settled = connection.fetch_optional(sql, args).await?;
    Ok(settled.map(|row| row.get("subject")).transpose()?)
}

/// Takes back newcomers whose own statements failed. They are few: one statement for each, since
/// for a list of pairs SQLite would read every row of the component.
pub async fn forget(connection: &mut Connection, ids: &[&DeliveryId]) -> Result<(), LedgerError> {
    let sql = "DELETE FROM wharf_deliveries WHERE component = $1 AND key = $2";
    for id in ids {
        connection.execute(sql, args![id.component.as_str(), id.key.0.as_slice()]).await?;
    }
    Ok(())
}

/// The statuses of deliveries that the ledger has.
pub async fn statuses(
    connection: &mut Connection,
    ids: &[&DeliveryId],
) -> Result<HashMap<DeliveryId, DeliveryStatus>, LedgerError> {
    let asked = Rows::new()
        .text("component", ids.iter().map(|id| id.component.as_str()))
        .bytes("key", ids.iter().map(|id| id.key.0.as_slice()));
    // CROSS JOIN: SQLite keeps to this order.
    let sql = "SELECT d.component, d.key, d.status \
               FROM {rows} AS asked CROSS JOIN wharf_deliveries d \
               WHERE d.component = asked.component AND d.key = asked.key";
    let rows = connection.fetch_all(sql, args![asked]).await?;
    rows.iter().map(|row| Ok((row::id(row)?, row::status(row)?))).collect()
}

/// From here until [`undo`] or [`release`], what is written can be taken back by itself.
pub async fn savepoint(connection: &mut Connection) -> Result<(), LedgerError> {
    connection.execute("SAVEPOINT delivery", args![]).await?;
    Ok(visit(Point::CommitSavepoint)?)
}

/// Fails as the delivery's own when its statement took the savepoint with it.
pub async fn undo(connection: &mut Connection) -> Result<(), Fault> {
    visit(Point::CommitRollback)?;
    connection.execute("ROLLBACK TO delivery", args![]).await?;
    visit(Point::CommitRolledBack)?;
    Ok(end(connection).await?)
}

pub async fn release(connection: &mut Connection) -> Result<(), LedgerError> {
    visit(Point::CommitRelease)?;
    end(connection).await
}

async fn end(connection: &mut Connection) -> Result<(), LedgerError> {
    connection.execute("RELEASE delivery", args![]).await?;
    Ok(visit(Point::CommitReleased)?)
}

/// An effect that leaves with a delivery.
pub struct Leaving<'a> {
    pub id: &'a DeliveryId,
    /// When the event that caused it came in.
    pub since: Timestamp,
    pub effect: &'a NewEffect,
}

/// Adds the rows that [`leaving`] gives, in their order.
pub const ADD_EFFECTS: &str = "INSERT INTO wharf_outbox (lane, component, key, effect_index, \
         kind, target, payload, status, next_attempt_at, since) \
     SELECT lane, component, key, effect_index, kind, target, payload, status, due, since \
     FROM {rows} AS new";

/// Adds effects to the outbox, in this order.
pub async fn add_effects(
    connection: &mut Connection,
    effects: &[Leaving<'_>],
) -> Result<(), LedgerError> {
    connection.execute(ADD_EFFECTS, args![leaving(effects)?]).await?;
    Ok(())
}

/// The rows of effects that leave.
pub fn leaving<'a>(effects: &[Leaving<'a>]) -> Result<Rows<'a>, LedgerError> {
    let columns = effects.iter().map(|leaving| row::effect_columns(&leaving.effect.outgoing));
    let mut columns = columns.collect::<Result<Vec<_>, _>>()?;
    let waiting = || effects.iter().map(|leaving| Waiting::enter(leaving.since));
    Ok(Rows::new()
        .text("lane", effects.iter().map(|leaving| leaving.effect.lane.as_str()))
        .text("component", effects.iter().map(|leaving| leaving.id.component.as_str()))
        .bytes("key", effects.iter().map(|leaving| leaving.id.key.0.as_slice()))
        .integer("effect_index", effects.iter().map(|leaving| leaving.effect.index.into()))
        .text("kind", columns.iter().map(|(kind, _, _)| *kind))
        .bytes("payload", columns.iter().map(|(_, _, payload)| *payload))
        .text("target", columns.iter_mut().map(|(_, target, _)| std::mem::take(target)))
        .text("status", waiting().map(|waiting| waiting.status.as_str()))
        .integer("due", waiting().map(|waiting| micros(waiting.due)))
        .integer("since", effects.iter().map(|leaving| micros(leaving.since))))
}

/// Enters internal events; those that the ledger has already are left as they are.
pub async fn add_internal<'a>(
    connection: &mut Connection,
    deliveries: impl IntoIterator<Item = &'a NewDelivery>,
) -> Result<(), LedgerError> {
    let deliveries: Vec<_> = deliveries.into_iter().collect();
    if deliveries.is_empty() {
        return Ok(());
    }
    let arrivals = deliveries.iter().map(|delivery| json(&delivery.wire.arrival));
    let arrivals = arrivals.collect::<Result<Vec<_>, _>>()?;
    let states = || deliveries.iter().map(|delivery| Delivery::internal(delivery.head.received_at));
    let heads: Vec<_> = deliveries.iter().map(|delivery| &delivery.head).collect();
    let rows = self::heads(&heads)
        .text("status", states().map(|state| state.status.as_str()))
        .integer("claim", states().map(|state| state.claim))
        .integer("attempts", states().map(|state| state.attempts.into()))
        .optional_integer("due", states().map(|state| state.due.map(micros)))
        .bytes("wire", deliveries.iter().map(|delivery| delivery.wire.bytes.as_ref()))
        .text("arrival", arrivals);
    let sql = "INSERT INTO wharf_deliveries (component, key, status, claim, attempts, \
                   next_attempt_at, subject, ordered, contract, pubsub, topic, digest, event_id, \
                   event_type, received_at, wire, arrival) \
               SELECT component, key, status, claim, attempts, due, subject, ordered, contract, \
                   pubsub, topic, {unhex digest}, event_id, event_type, received_at, wire, arrival \
               FROM {rows} AS new WHERE true ON CONFLICT (component, key) DO NOTHING";
    connection.execute(sql, args![rows]).await?;
    Ok(())
}
