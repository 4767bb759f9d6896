//! Jobs, as daprd 1.18.1 and its scheduler keep them: what may be asked for, when a job is due, and
//! what becomes of it after each attempt.
//!
//! One difference: an attempt after a failed one counts from now, not from the instant that was
//! due, so that a job that waited long is not tried in a storm.

mod instant;

use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use self::instant::InstantError;
use super::{Embedded, MAX_BODY, NewJob, StoreError, StoredJob, Tick, remarshal};
use crate::backend::BackendError;
use crate::clock::{Timestamp, rfc3339};
use crate::effect::OutgoingJob;
use crate::name::JobName;
use crate::schedule;

/// A job as it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AskedJob {
    pub schedule: Option<String>,
    pub repeats: Option<u32>,
    pub due_time: Option<String>,
    pub ttl: Option<String>,
    /// JSON text, its numbers doubles.
    pub data: Option<String>,
    pub policy: FailurePolicy,
}

/// What a failed attempt leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailurePolicy {
    Drop,
    /// Without a number of retries, for ever. Without an interval, at once.
    Constant {
        interval: Option<Duration>,
        max_retries: Option<u32>,
    },
}

impl Default for FailurePolicy {
    /// The scheduler's, when none is given: four attempts, a second apart.
    fn default() -> Self {
        Self::Constant { interval: Some(Duration::from_secs(1)), max_retries: Some(3) }
    }
}

/// A job that exists, for people and tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduledJob {
    pub name: JobName,
    /// When it is delivered next, or tried again.
    pub next_due: Timestamp,
}

/// Why a job is not scheduled.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JobFault {
    #[error("{0}")]
    Name(String),
    #[error("job failed validation: {0}")]
    Invalid(String),
    #[error("job already exists: '{0}'")]
    Exists(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The most bytes of a name, with what the scheduler puts before it.
const LONGEST_KEY: usize = 512;

impl Embedded {
    /// All jobs, the next one first.
    pub async fn jobs(&self) -> Result<Vec<ScheduledJob>, StoreError> {
        let jobs = self.0.store.jobs().await?;
        let scheduled =
            |job: StoredJob| ScheduledJob { name: job.name, next_due: job.tick.attempt_at };
        Ok(jobs.into_iter().map(scheduled).collect())
    }

    pub(super) async fn schedule_job(
        &self,
        name: &str,
        asked: AskedJob,
        overwrite: bool,
    ) -> Result<(), JobFault> {
        let name = self.job_name(name)?;
        let plan = plan(&asked, self.0.clock.now()).map_err(JobFault::Invalid)?;
        if asked.data.is_none() {
            tracing::warn!(
                %name,
                "daprd cannot send a job without data to an app over HTTP; give it data: null"
            );
        }
        let key = self.job_key(name.as_str());
        let asked =
            serde_json::to_string(&asked).map_err(|error| JobFault::Invalid(error.to_string()))?;
        let job = NewJob { name, asked, expires: plan.expires, first: plan.first, overwrite };
        if !self.0.store.schedule(job).await? {
            return Err(JobFault::Exists(key));
        }
        Ok(())
    }

    /// The job as it was asked for.
    pub(super) async fn find_job(&self, name: &str) -> Result<Option<AskedJob>, JobFault> {
        let job = self.0.store.job(&self.job_name(name)?).await?;
        Ok(job.map(|job| asked(&job)))
    }

    pub(super) async fn cancel_job(&self, name: &str) -> Result<(), JobFault> {
        Ok(self.0.store.cancel(self.job_name(name)?).await?)
    }

    pub(super) async fn schedule_outgoing(&self, job: OutgoingJob) -> Result<(), BackendError> {
        let OutgoingJob { name, due, schedule, repeats, data } = job;
        let refuse = |why: &str| Err(BackendError::Refused(format!("job {name}: {why}")));
        if let Some(why) = name.refusal() {
            return Err(BackendError::Refused(why));
        }
        if data.len() > MAX_BODY {
            return refuse(&format!("{} bytes of data are too many", data.len()));
        }
        let Some(data) = remarshal(data.as_bytes()) else {
            return refuse("its data is no JSON");
        };
        let asked = AskedJob {
            schedule,
            repeats,
            due_time: due.map(rfc3339),
            ttl: None,
            data: Some(data.get().to_owned()),
            policy: FailurePolicy::Constant {
                interval: Some(Duration::from_secs(1)),
                max_retries: None,
            },
        };
        self.schedule_job(name.as_str(), asked, true).await.map_err(|fault| fault.of(&name))
    }

    pub(super) async fn cancel_outgoing(&self, name: &JobName) -> Result<(), BackendError> {
        self.cancel_job(name.as_str()).await.map_err(|fault| fault.of(name))
    }

    /// A name as the scheduler takes it.
    fn job_name(&self, name: &str) -> Result<JobName, JobFault> {
        let key = self.job_key(name);
        let refuse =
            |rule: &str| Err(JobFault::Name(format!("job name is invalid {key:?}: {rule}")));
        if key.len() > LONGEST_KEY {
            return refuse("must be at most 512 characters");
        }
        if name.contains(['/', '\\', '#', '?']) {
            return refuse("must not contain '/', '\\', '#' or '?'");
        }
        if matches!(name, "." | "..") {
            return refuse("must not be a path traversal sequence");
        }
        match JobName::new(name) {
            Ok(name) => Ok(name),
            Err(_) if name.contains(char::is_control) => {
                refuse("must not contain control characters")
            }
            Err(error) => Err(JobFault::Name(error.to_string())),
        }
    }

    /// What the scheduler calls an app's job.
    fn job_key(&self, name: &str) -> String {
        format!("app||default||{}||{name}", self.0.app_id)
    }
}

impl JobFault {
    fn of(self, name: &JobName) -> BackendError {
        match self {
            Self::Store(error) => error.into(),
            Self::Name(_) | Self::Invalid(_) | Self::Exists(_) => {
                BackendError::Refused(format!("job {name}: {self}"))
            }
        }
    }
}

/// What was asked for when the job was scheduled. The store holds only what was written here.
pub fn asked(job: &StoredJob) -> AskedJob {
    serde_json::from_str(&job.asked).unwrap_or_default()
}

/// When a job fires first, and after when no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Plan {
    first: Option<Tick>,
    expires: Option<Timestamp>,
}

/// Checks in the scheduler's order and words.
fn plan(asked: &AskedJob, now: Timestamp) -> Result<Plan, String> {
    let AskedJob { schedule, repeats, due_time, ttl, .. } = asked;
    if schedule.is_none() && repeats.is_some_and(|repeats| repeats > 1) {
        return Err("job must have a schedule to repeat".to_owned());
    }
    if *repeats == Some(0) {
        return Err("defined repeats must be greater than 0".to_owned());
    }
    if schedule.is_none() && ttl.is_some() {
        return Err("job must have a schedule to have a ttl".to_owned());
    }
    let schedule = schedule.as_deref().map(schedule::parse).transpose()?;
    let due = match due_time {
        Some(text) => Some(instant::parse(text, now).map_err(|error| error.to_string())?),
        None => None,
    };
    let expires = match ttl {
        Some(text) => Some(
            instant::parse(text, due.unwrap_or(now))
                .map_err(|_: InstantError| "ttl format not recognized".to_owned())?,
        ),
        None => None,
    };
    if due.zip(expires).is_some_and(|(due, expires)| due > expires) {
        return Err("ttl must be greater than due time".to_owned());
    }
    let first = match (due, schedule) {
        (Some(due), _) => Some(due),
        (None, Some(schedule)) => {
            Some(schedule.next_from(now).ok_or("the schedule never comes due")?)
        }
        (None, None) => None,
    };
    let first = first.filter(|first| expires.is_none_or(|expires| *first <= expires));
    Ok(Plan {
        first: first.map(|due| Tick { due, attempt_at: due, ticks: 0, attempts: 0 }),
        expires,
    })
}

/// What comes after a tick that was delivered, or given up. Instants that passed meanwhile are not
/// left out: each is a tick. `None` ends the job.
pub fn after_tick(asked: &AskedJob, expires: Option<Timestamp>, tick: Tick) -> Option<Tick> {
    let ticks = tick.ticks.saturating_add(1);
    if asked.repeats.is_some_and(|repeats| ticks >= repeats) {
        return None;
    }
    let schedule = schedule::parse(asked.schedule.as_deref()?).ok()?;
    let due = schedule.next_from(tick.due)?;
    let in_time = expires.is_none_or(|expires| due <= expires);
    in_time.then_some(Tick { due, attempt_at: due, ticks, attempts: 0 })
}

/// What comes after an attempt that failed.
pub fn after_failure(
    asked: &AskedJob,
    expires: Option<Timestamp>,
    tick: Tick,
    now: Timestamp,
) -> Option<Tick> {
    let attempts = tick.attempts.saturating_add(1);
    match &asked.policy {
        FailurePolicy::Constant { interval, max_retries }
            if max_retries.is_none_or(|most| attempts <= most) =>
        {
            let attempt_at = later(now, interval.unwrap_or_default());
            Some(Tick { attempt_at, attempts, ..tick })
        }
        FailurePolicy::Constant { .. } | FailurePolicy::Drop => after_tick(asked, expires, tick),
    }
}

/// At the latest the last instant that there is.
fn later(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
    now.checked_add_signed(wait).unwrap_or(Timestamp::MAX_UTC)
}

#[cfg(test)]
mod tests;
