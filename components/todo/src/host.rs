//! The way to the host: performs what was decided, and turns its refusals into failures.

use std::time::SystemTime;

use chrono::{DateTime, Utc};

use crate::act::{Act, Job, When};
use crate::world::wasi::logging::logging::{Level, log};
use crate::world::wharf::worker::{bindings, jobs, publish, sql};
use crate::{Failure, Row, Value};

/// Tells the host what to do, in order. `jobs` is [`job`] or [`no_job`].
pub fn perform(acts: Vec<Act>, jobs: impl Fn(Job) -> Result<(), Failure>) -> Result<(), Failure> {
    acts.into_iter().try_for_each(|act| one(act, &jobs))
}

/// Schedules or cancels a job.
pub fn job(job: Job) -> Result<(), Failure> {
    match job {
        Job::Schedule { name, when, data } => schedule(name, when, data),
        Job::Cancel { name } => {
            jobs::cancel(&name).map_err(|error| rejected("cancel job", &name, error))
        }
    }
}

/// For a component that is granted no job.
pub fn no_job(_: Job) -> Result<(), Failure> {
    Err(Failure::Reject("this component has no jobs".into()))
}

/// Runs a `query` statement of the manifest.
pub fn read(statement: &str, params: &[Value]) -> Result<Vec<Row>, Failure> {
    sql::query(statement, params).map_err(|error| refused_sql("query", statement, error))
}

/// Calls a binding after the commit, and gives the effect's id.
pub fn invoke(binding: &str, operation: &str, data: &[u8]) -> Result<String, Failure> {
    bindings::invoke(binding, operation, data, &[])
        .map_err(|error| rejected("invoke", binding, error))
}

/// A value of the manifest's `[config]`.
pub fn config(key: &str) -> Option<String> {
    crate::world::wasi::config::store::get(key).ok().flatten()
}

/// Every value of the manifest's `[config]`.
pub fn configs() -> Vec<(String, String)> {
    crate::world::wasi::config::store::get_all().unwrap_or_default()
}

/// The time of this invocation.
#[expect(clippy::disallowed_methods, reason = "in a component this is the host's clock")]
pub fn now() -> DateTime<Utc> {
    SystemTime::now().into()
}

fn one(act: Act, jobs: impl Fn(Job) -> Result<(), Failure>) -> Result<(), Failure> {
    match act {
        Act::Execute { statement, params, expect } => sql::execute(statement, &params, expect)
            .map_err(|error| refused_sql("execute", statement, error)),
        Act::Publish { ty, subject, data } => {
            let event =
                publish::NewEvent { ty: ty.into(), subject: Some(subject), time: None, data };
            publish::publish(&event).map(drop).map_err(|error| rejected("publish", ty, error))
        }
        Act::Job(job) => jobs(job),
        Act::Warn(text) => {
            log(Level::Warn, "", &text);
            Ok(())
        }
    }
}

fn schedule(name: String, when: When, data: String) -> Result<(), Failure> {
    let (due_time, schedule) = match when {
        When::At(time) => (Some(time), None),
        When::Every(schedule) => (None, Some(schedule.to_owned())),
    };
    let job = jobs::Job { name, due_time, schedule, repeats: None, data };
    jobs::schedule(&job).map_err(|error| rejected("schedule job", &job.name, error))
}

/// The database may be back in a moment, or may like another order of rows; a statement that the
/// manifest does not have will not appear.
fn refused_sql(verb: &str, statement: &str, error: sql::SqlError) -> Failure {
    match error {
        sql::SqlError::Unavailable(text) | sql::SqlError::Failed(text) => {
            Failure::Retry(format!("cannot {verb} `{statement}`: {text}"))
        }
        sql::SqlError::Denied(text) | sql::SqlError::Invalid(text) => {
            Failure::Reject(format!("cannot {verb} `{statement}`: {text}"))
        }
    }
}

fn rejected(verb: &str, name: &str, error: impl Told) -> Failure {
    Failure::Reject(format!("cannot {verb} `{name}`: {}", error.text()))
}

/// What the host says of a call that it refuses.
trait Told {
    fn text(self) -> String;
}

impl Told for publish::PublishError {
    fn text(self) -> String {
        let (Self::Denied(text) | Self::Invalid(text)) = self;
        text
    }
}

impl Told for jobs::JobError {
    fn text(self) -> String {
        let (Self::Denied(text) | Self::Invalid(text)) = self;
        text
    }
}

impl Told for bindings::BindingError {
    fn text(self) -> String {
        let (Self::Denied(text) | Self::Invalid(text)) = self;
        text
    }
}
