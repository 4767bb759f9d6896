//! Rows to values and back. Every column is checked on the way out: a row that another version
//! wrote is said to be unreadable, not guessed at.

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Timestamp;
use crate::delivery::{DeliveryHead, DeliveryId, DeliveryStatus, LogLine};
use crate::effect::{Outgoing, OutgoingEvent};
use crate::event::WireEvent;
use crate::ledger::database::Row;
use crate::ledger::error::LedgerError;
use crate::ledger::state_machine::Delivery;
use crate::name::{ComponentId, EventKey, Lane};

/// The columns that [`head`] reads.
macro_rules! head_columns {
    () => {
        "component, key, subject, ordered, contract, pubsub, topic, {hex digest} AS digest, event_id, \
         event_type, received_at"
    };
}
pub(super) use head_columns;

pub fn head(row: &Row) -> Result<DeliveryHead, LedgerError> {
    Ok(DeliveryHead {
        id: id(row)?,
        subject: row.get("subject")?,
        ordered: flag(row, "ordered")?,
        contract: optional_name(row, "contract")?,
        pubsub: optional_name(row, "pubsub")?,
        topic: optional_name(row, "topic")?,
        digest: row.get("digest")?,
        event_id: row.get("event_id")?,
        event_type: row.get("event_type")?,
        received_at: time(row.get("received_at")?)?,
    })
}

pub fn id(row: &Row) -> Result<DeliveryId, LedgerError> {
    let key: &[u8] = row.get("key")?;
    let key = key.try_into().map_err(|_| unreadable("key", "not 16 bytes"))?;
    Ok(DeliveryId { component: component(row)?, key: EventKey(key) })
}

pub fn component(row: &Row) -> Result<ComponentId, LedgerError> {
    ComponentId::new(row.get::<&str>("component")?).map_err(|e| unreadable("component", e))
}

pub fn status(row: &Row) -> Result<DeliveryStatus, LedgerError> {
    row.get::<&str>("status")?.parse().map_err(|error| unreadable("status", error))
}

/// The columns that decide.
pub fn delivery(row: &Row) -> Result<Delivery, LedgerError> {
    Ok(Delivery {
        status: status(row)?,
        claim: row.get("claim")?,
        attempts: count(row, "attempts")?,
        due: row.get::<Option<i64>>("next_attempt_at")?.map(time).transpose()?,
    })
}

/// `None` where the row keeps no event.
pub fn wire(row: &Row) -> Result<Option<WireEvent>, LedgerError> {
    let (bytes, arrival): (Option<Vec<u8>>, Option<&str>) = (row.get("wire")?, row.get("arrival")?);
    let (Some(bytes), Some(arrival)) = (bytes, arrival) else { return Ok(None) };
    let arrival = serde_json::from_str(arrival).map_err(|error| unreadable("arrival", error))?;
    Ok(Some(WireEvent { bytes: bytes.into(), arrival }))
}

pub fn log(row: &Row) -> Result<Vec<LogLine>, LedgerError> {
    match row.get::<Option<&str>>("log")? {
        Some(text) => serde_json::from_str(text).map_err(|error| unreadable("log", error)),
        None => Ok(Vec::new()),
    }
}

pub fn lane(row: &Row) -> Result<Lane, LedgerError> {
    Lane::new(row.get::<&str>("lane")?).map_err(|error| unreadable("lane", error))
}

pub fn count(row: &Row, column: &str) -> Result<u32, LedgerError> {
    u32::try_from(row.get::<i64>(column)?).map_err(|error| unreadable(column, error))
}

/// Kept as a number, which both databases have.
pub fn flag(row: &Row, column: &str) -> Result<bool, LedgerError> {
    Ok(row.get::<i16>(column)? != 0)
}

/// An effect's columns: what kind it is, where it goes, and a publish's payload. Everything but
/// that payload is in `target`, as JSON.
pub fn effect_columns(outgoing: &Outgoing) -> Result<(&'static str, String, &[u8]), LedgerError> {
    let (target, payload): (String, &[u8]) = match outgoing {
        Outgoing::Publish(event) => (json(event)?, &event.payload),
        Outgoing::State(write) => (json(write)?, &[]),
        Outgoing::Schedule(job) => (json(job)?, &[]),
        Outgoing::Cancel(cancel) => (json(cancel)?, &[]),
        Outgoing::Invoke(call) => (json(call)?, &[]),
    };
    Ok((outgoing.kind(), target, payload))
}

/// The way back of [`effect_columns`].
pub fn outgoing(row: &Row) -> Result<Outgoing, LedgerError> {
    let target: &str = row.get("target")?;
    Ok(match row.get::<&str>("kind")? {
        "publish" => {
            let payload: Vec<u8> = row.get("payload")?;
            let event: OutgoingEvent = target_of(target)?;
            Outgoing::Publish(OutgoingEvent { payload: payload.into(), ..event })
        }
        "state" => Outgoing::State(target_of(target)?),
        "schedule" => Outgoing::Schedule(target_of(target)?),
        "cancel" => Outgoing::Cancel(target_of(target)?),
        "invoke" => Outgoing::Invoke(target_of(target)?),
        other => return Err(unreadable("kind", other)),
    })
}

fn target_of<T: DeserializeOwned>(target: &str) -> Result<T, LedgerError> {
    serde_json::from_str(target).map_err(|error| unreadable("target", error))
}

pub fn micros(time: Timestamp) -> i64 {
    time.timestamp_micros()
}

pub fn time(micros: i64) -> Result<Timestamp, LedgerError> {
    Timestamp::from_timestamp_micros(micros).ok_or_else(|| unreadable("a time", micros))
}

/// Many rows as one parameter.
pub fn json(rows: &impl Serialize) -> Result<String, LedgerError> {
    serde_json::to_string(rows).map_err(|error| LedgerError::Unavailable(error.to_string()))
}

fn optional_name<T>(row: &Row, column: &str) -> Result<Option<T>, LedgerError>
where
    T: std::str::FromStr<Err = crate::name::NameError>,
{
    row.get::<Option<&str>>(column)?
        .map(str::parse)
        .transpose()
        .map_err(|error| unreadable(column, error))
}

fn unreadable(column: &str, error: impl Display) -> LedgerError {
    LedgerError::Unreadable(format!("{column}: {error}"))
}
