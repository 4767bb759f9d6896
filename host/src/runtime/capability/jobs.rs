//! `wharf:worker/jobs`: work for a later time becomes an effect, once it is granted and its times
//! make sense.

use wasmtime::component::{HasData, Linker};

use super::{Refusals, next_id};
use crate::effect::{Cancel, Effect, Schedule};
use crate::manifest::Manifest;
use crate::name::{EventKey, JobName};
use crate::runtime::invoke::Run;
use crate::runtime::limits::Effects;
use crate::runtime::text;
use crate::runtime::world::wharf::worker::jobs::{self, Job, JobError};
use crate::{grant, schedule};

pub fn link(linker: &mut Linker<Run>) -> wasmtime::Result<()> {
    jobs::add_to_linker::<Run, Linked>(linker, |run| View {
        manifest: &run.loaded.manifest,
        key: run.call.decoded.key,
        effects: &mut run.effects,
        refusals: &mut run.refusals,
    })
}

struct Linked;

impl HasData for Linked {
    type Data<'a> = View<'a>;
}

struct View<'a> {
    manifest: &'a Manifest,
    key: EventKey,
    effects: &'a mut Effects,
    refusals: &'a mut Refusals,
}

impl jobs::Host for View<'_> {
    fn schedule(&mut self, job: Job) -> wasmtime::Result<Result<(), JobError>> {
        let name = match self.name(&job.name) {
            Ok(name) => name,
            Err(error) => return Ok(Err(error)),
        };
        let id = next_id(self.manifest, self.key, self.effects);
        let schedule = match schedule(id, name, job) {
            Ok(schedule) => schedule,
            Err(what) => return Ok(Err(JobError::Invalid(what))),
        };
        let rhythm = schedule.schedule.as_ref().map_or(0, String::len);
        let size = schedule.data.len() + schedule.name.as_str().len() + rhythm;
        self.effects.record(Effect::Schedule(schedule), size)?;
        Ok(Ok(()))
    }

    fn cancel(&mut self, name: String) -> wasmtime::Result<Result<(), JobError>> {
        let name = match self.name(&name) {
            Ok(name) => name,
            Err(error) => return Ok(Err(error)),
        };
        let size = name.as_str().len();
        self.effects.record(Effect::Cancel(Cancel { name }), size)?;
        Ok(Ok(()))
    }
}

impl View<'_> {
    fn name(&mut self, name: &str) -> Result<JobName, JobError> {
        let name = JobName::new(name)
            .map_err(|error| JobError::Invalid(text::cut(&error.to_string(), 500).to_owned()))?;
        match grant::job(self.manifest, &name) {
            Ok(()) => Ok(name),
            Err(why) => Err(JobError::Denied(self.refusals.denied(&why))),
        }
    }
}

/// A due time in the past is fine: the job fires at once.
fn schedule(id: String, name: JobName, job: Job) -> Result<Schedule, String> {
    let Job { due_time, schedule, repeats, data, .. } = job;
    let due = due_time.map(|time| text::time(&time)).transpose();
    let due = due.map_err(|error| format!("`due-time` {error}"))?;
    match &schedule {
        Some(rhythm) => {
            _ = schedule::parse(rhythm).map_err(|error| format!("`schedule`: {error}"))?
        }
        None if due.is_none() => {
            return Err("give `due-time`, `schedule` or both: the job would never fire".into());
        }
        None if repeats.is_some() => {
            return Err("`repeats` is for a job with a `schedule`; leave it out".into());
        }
        None => {}
    }
    if repeats == Some(0) {
        return Err("`repeats` is 0; give 1 or more, or none for no end".into());
    }
    text::json(&data).map_err(|error| format!("`data` {error}"))?;
    Ok(Schedule { id, name, due, schedule, repeats, data })
}
