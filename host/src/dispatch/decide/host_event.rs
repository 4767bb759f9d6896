//! The events that the host itself makes: a job fired, a binding ticked, a call came to its end.
//! No topic carries them; they enter the ledger as deliveries that are due now.

use serde_json::{Value, json};

use crate::clock::{Timestamp, rfc3339};
use crate::effect::Call;
use crate::event::Event;
use crate::manifest::BINDING_TICKED;
use crate::name::{BindingName, ContractName, EventType, derived_id};

pub const BINDING_SUCCEEDED: &str = "com.wharf.binding.succeeded.v1";
pub const BINDING_FAILED: &str = "com.wharf.binding.failed.v1";

/// More of a response than this is not told.
const RESPONSE: usize = 64 << 10;

/// One event of the host. `identity` is what its key is made of, `data` is JSON text.
pub fn of(
    ty: &str,
    identity: &[&[u8]],
    (contract, subject): (&ContractName, Option<&str>),
    now: Timestamp,
    data: String,
) -> Result<Event, String> {
    Ok(Event {
        id: derived_id(identity).to_string(),
        source: "wharf".to_owned(),
        ty: EventType::new(ty).map_err(|error| error.to_string())?,
        subject: subject.map(str::to_owned),
        time: rfc3339(now),
        data,
        contract: contract.clone(),
    })
}

/// A tick of an input binding. Every replica is ticked; the time is rounded to the period, so that
/// one of them acts.
pub fn tick(
    binding: &BindingName,
    period: Option<std::time::Duration>,
    contract: &ContractName,
    now: Timestamp,
) -> Result<Event, String> {
    let time = rfc3339(nearest(now, period));
    let data = json!({ "binding": binding, "time": time });
    let identity = [b"tick".as_slice(), binding.as_str().as_bytes(), time.as_bytes()];
    of(BINDING_TICKED, &identity, (contract, None), now, data.to_string())
}

/// The multiple of the period, counted from 1970, that is nearest; to the second without a period.
fn nearest(now: Timestamp, period: Option<std::time::Duration>) -> Timestamp {
    let period = period.map_or(1_000, |period| period.as_millis().max(1));
    let period = i64::try_from(period).unwrap_or(i64::MAX);
    let now = now.timestamp_millis();
    let nearest = now.saturating_add(period / 2).div_euclid(period).saturating_mul(period);
    Timestamp::from_timestamp_millis(nearest).unwrap_or_default()
}

/// What came of a call of an output binding. One key for each call: what is told once is not told
/// otherwise later.
pub fn result(call: &Call, outcome: Result<&[u8], &str>, now: Timestamp) -> Result<Event, String> {
    let mut data = json!({
        "effect_id": call.id, "binding": call.binding, "operation": call.operation,
    });
    let (ty, told) = match outcome {
        Ok(response) => (BINDING_SUCCEEDED, ("response", shown(response))),
        Err(error) => (BINDING_FAILED, ("error", Value::from(error))),
    };
    if let (Some(fields), (name, value)) = (data.as_object_mut(), told)
        && !value.is_null()
    {
        fields.insert(name.to_owned(), value);
    }
    let place = (&call.contract, call.subject.as_deref());
    of(ty, &[b"binding", call.id.as_bytes()], place, now, data.to_string())
}

/// JSON as such, other text as text.
fn shown(response: &[u8]) -> Value {
    let response = response.get(..RESPONSE).unwrap_or(response);
    if response.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(response)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(response).into_owned()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ticks_of_one_period_are_one_event() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (binding, contract) =
            (BindingName::new("cron").unwrap(), ContractName::new("c").unwrap());
        let id = |time: &str, period| tick(&binding, period, &contract, at(time)).unwrap().id;
        let five = Some(Duration::from_secs(300));
        let early = id("2026-01-01T00:04:58Z", five);
        assert_eq!(early, id("2026-01-01T00:05:03Z", five));
        assert_ne!(early, id("2026-01-01T00:10:01Z", five));
        assert_ne!(id("2026-01-01T00:00:01Z", None), id("2026-01-01T00:00:02Z", None));
    }
}
