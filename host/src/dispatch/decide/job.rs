//! Jobs out and back. A job that this host schedules carries in its own data what its firing needs
//! to know, beside the guest's data, so that no table has to remember it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::clock::{Timestamp, rfc3339};
use crate::contract::Contracts;
use crate::dispatch::decide::host_event;
use crate::effect::{OutgoingJob, Schedule};
use crate::event::{Event, Trace};
use crate::manifest::JOB_FIRED;
use crate::name::{ComponentId, ContractName, JobName};
use crate::schedule;

/// The event that made a component schedule a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cause {
    pub component: ComponentId,
    pub contract: ContractName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
}

/// A job's data, as Dapr keeps it.
#[derive(Serialize, Deserialize)]
struct Carried<'a> {
    wharf: Origin,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Serialize, Deserialize)]
struct Origin {
    effect: String,
    #[serde(flatten)]
    cause: Cause,
    /// Of a repeating job: its firings are told apart by their instants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schedule: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<Timestamp>,
}

impl Cause {
    /// The job as it goes to Dapr. `@every` gets a first instant, so that all are known.
    pub fn job(self, job: Schedule, now: Timestamp) -> Result<OutgoingJob, String> {
        let Schedule { id, name, due, schedule, repeats, data } = job;
        let due = match &schedule {
            Some(schedule) if due.is_none() => schedule::parse(schedule)?.first_of_every(now),
            _ => due,
        };
        let origin = Origin { effect: id, cause: self, schedule: schedule.clone(), first: due };
        let guests: &RawValue = serde_json::from_str(&data).map_err(|error| error.to_string())?;
        let carried = Carried { wharf: origin, data: guests };
        let data = serde_json::to_string(&carried).map_err(|error| error.to_string())?;
        Ok(OutgoingJob { name, due, schedule, repeats, data })
    }
}

/// The event that a firing is, and its trace. `None` when no contract is active.
pub fn firing(
    contracts: &Contracts,
    name: &JobName,
    body: &[u8],
    now: Timestamp,
) -> Option<Result<(Event, Option<Trace>), String>> {
    Some(match serde_json::from_slice::<Carried<'_>>(body) {
        Ok(carried) => ours(name, &carried, now).map(|event| (event, carried.wharf.cause.trace)),
        Err(_) => foreign(contracts.of_job(name)?, name, body, now).map(|event| (event, None)),
    })
}

/// The effect's id tells one-shot jobs apart, the scheduled instant nearest to now the firings of a
/// repeating one.
fn ours(name: &JobName, carried: &Carried<'_>, now: Timestamp) -> Result<Event, String> {
    let Carried { wharf: Origin { effect, cause, schedule, first }, data } = carried;
    let instant = match schedule {
        Some(schedule) => {
            let schedule = schedule::parse(schedule)?;
            rfc3339(schedule.nearest(now, first.unwrap_or(now)))
        }
        None => String::new(),
    };
    let data = json!({ "name": name, "data": data });
    let identity = [b"job".as_slice(), effect.as_bytes(), instant.as_bytes()];
    let place = (&cause.contract, cause.subject.as_deref());
    host_event::of(JOB_FIRED, &identity, place, now, &data)
}

/// A job that someone else scheduled. Its firings are told apart by their seconds, which is weak:
/// one that Dapr sends again a second later is another one.
fn foreign(
    contract: &ContractName,
    name: &JobName,
    body: &[u8],
    now: Timestamp,
) -> Result<Event, String> {
    let data = serde_json::from_slice(body)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(body).into_owned()));
    let second = now.timestamp().to_le_bytes();
    let identity = [b"foreign job".as_slice(), name.as_str().as_bytes(), &second];
    let data = json!({ "name": name, "data": data });
    host_event::of(JOB_FIRED, &identity, (contract, None), now, &data)
}
