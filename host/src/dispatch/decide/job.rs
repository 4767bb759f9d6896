//! Jobs out and back. A job that this host schedules carries in its own data what its firing needs
//! to know, beside the guest's data, so that no table has to remember it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

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

/// A job's data, as Dapr keeps it. Its numbers become doubles there: the guest's data is a text that
/// holds JSON.
#[derive(Serialize, Deserialize)]
struct Carried {
    wharf: Origin,
    json: Box<str>,
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
        serde_json::from_str::<&RawValue>(&data).map_err(|error| error.to_string())?;
        let carried = Carried { wharf: origin, json: data.into() };
        let data = serde_json::to_string(&carried).map_err(|error| error.to_string())?;
        Ok(OutgoingJob { name, due, schedule, repeats, data })
    }
}

/// A job that fired, as an event.
#[derive(Debug)]
pub struct Firing {
    pub event: Event,
    pub trace: Option<Trace>,
    /// `None` for a job that is not this host's.
    pub scheduled_by: Option<ComponentId>,
}

/// What a firing is. `None` when no contract is active.
pub fn firing(
    contracts: &Contracts,
    name: &JobName,
    body: &[u8],
    now: Timestamp,
) -> Option<Result<Firing, String>> {
    Some(match serde_json::from_slice::<Carried>(body) {
        Ok(carried) => ours(name, &carried, now).map(|event| {
            let Cause { component, trace, .. } = carried.wharf.cause;
            Firing { event, trace, scheduled_by: Some(component) }
        }),
        Err(_) => foreign(contracts.of_job(name)?, name, body, now).map(|event| Firing {
            event,
            trace: None,
            scheduled_by: None,
        }),
    })
}

/// The effect's id tells one-shot jobs apart, the instant that it is for the firings of a repeating
/// one.
fn ours(name: &JobName, carried: &Carried, now: Timestamp) -> Result<Event, String> {
    let Carried { wharf: Origin { effect, cause, schedule, first }, json } = carried;
    let data: &RawValue = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let instant = match schedule {
        Some(schedule) => rfc3339(schedule::parse(schedule)?.instant_of(now, *first)),
        None => String::new(),
    };
    let identity = [b"job".as_slice(), effect.as_bytes(), instant.as_bytes()];
    let place = (&cause.contract, cause.subject.as_deref());
    host_event::of(JOB_FIRED, &identity, place, now, fired(name, data)?)
}

/// A job that someone else scheduled. Its firings are told apart by their seconds, which is weak:
/// one that Dapr sends again a second later is another one.
fn foreign(
    contract: &ContractName,
    name: &JobName,
    body: &[u8],
    now: Timestamp,
) -> Result<Event, String> {
    let text = || Value::from(String::from_utf8_lossy(body)).to_string();
    let data =
        serde_json::from_slice::<Value>(body).map_or_else(|_| text(), |data| data.to_string());
    let data = RawValue::from_string(data).map_err(|error| error.to_string())?;
    let second = now.timestamp().to_le_bytes();
    let identity = [b"foreign job".as_slice(), name.as_str().as_bytes(), &second];
    host_event::of(JOB_FIRED, &identity, (contract, None), now, fired(name, &data)?)
}

/// The guest's data as it stands: it may be JSON that no value holds, such as `1e999`.
fn fired(name: &JobName, data: &RawValue) -> Result<String, String> {
    #[derive(Serialize)]
    struct Fired<'a> {
        name: &'a JobName,
        data: &'a RawValue,
    }
    serde_json::to_string(&Fired { name, data }).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn scheduled(schedule: Option<&str>, due: Option<&str>, data: &str) -> OutgoingJob {
        let cause = Cause {
            component: ComponentId::new("a").unwrap(),
            contract: ContractName::new("c").unwrap(),
            subject: Some("s".into()),
            trace: None,
        };
        let job = Schedule {
            id: "effect-1".into(),
            name: JobName::new("j").unwrap(),
            due: due.map(at),
            schedule: schedule.map(str::to_owned),
            repeats: None,
            data: data.into(),
        };
        cause.job(job, at("2026-01-01T00:00:00Z")).unwrap()
    }

    fn fire(job: &OutgoingJob, now: &str) -> Event {
        let fired = firing(&Contracts::default(), &job.name, job.data.as_bytes(), at(now));
        fired.unwrap().unwrap().event
    }

    #[test]
    fn a_one_shot_job_is_one_event_whenever_it_fires() {
        let job = scheduled(None, Some("2026-01-01T00:00:10Z"), "{\"a\":1}");
        let first = fire(&job, "2026-01-01T00:00:10Z");
        assert_eq!(first.id, fire(&job, "2026-01-01T03:00:00Z").id);
        assert_eq!(first.data, r#"{"name":"j","data":{"a":1}}"#);
        assert_eq!((first.subject.as_deref(), first.contract.as_str()), (Some("s"), "c"));
    }

    #[test]
    fn each_instant_of_a_repeating_job_is_an_event_of_its_own() {
        let job = scheduled(Some("@every 1m"), None, "1");
        assert_eq!(job.due, Some(at("2026-01-01T00:01:00Z")), "so that its instants are known");
        let id = |now| fire(&job, now).id;
        assert_eq!(id("2026-01-01T00:01:00Z"), id("2026-01-01T00:01:40Z"), "late, or sent again");
        assert_eq!(id("2026-01-01T00:00:59Z"), id("2026-01-01T00:01:00Z"), "a little early");
        assert_ne!(id("2026-01-01T00:01:00Z"), id("2026-01-01T00:02:00Z"));

        let mixed = scheduled(Some("0 * * * * *"), Some("2026-01-01T00:00:40Z"), "1");
        let id = |now| fire(&mixed, now).id;
        assert_ne!(id("2026-01-01T00:00:40Z"), id("2026-01-01T00:01:00Z"), "the first is its own");
    }

    /// Dapr would make doubles of its numbers.
    #[test]
    fn data_is_a_text_to_dapr() {
        let job = scheduled(None, Some("2026-01-01T00:00:10Z"), "{\"id\":9007199254740993}");
        let sent: Value = serde_json::from_str(&job.data).unwrap();
        assert_eq!(sent["json"], "{\"id\":9007199254740993}");
        let kept: Value = serde_json::from_str(&sent.to_string()).unwrap();
        let fired = OutgoingJob { data: kept.to_string(), ..job };
        let event = fire(&fired, "2026-01-01T00:00:10Z");
        assert_eq!(event.data, r#"{"name":"j","data":{"id":9007199254740993}}"#);
    }

    #[test]
    fn data_that_no_value_holds_is_passed_on() {
        let job = scheduled(None, Some("2026-01-01T00:00:10Z"), "1e999");
        assert_eq!(fire(&job, "2026-01-01T00:00:10Z").data, r#"{"name":"j","data":1e999}"#);
    }
}
