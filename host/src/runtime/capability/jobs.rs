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
        // The error shows the name; what is too long to be one stays so when it is cut.
        let name = JobName::new(text::cut(name, 2000))
            .map_err(|error| JobError::Invalid(error.to_string()))?;
        if let Some(why) = name.refusal() {
            return Err(JobError::Invalid(why));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A one-shot job; the rest is said where it differs.
    fn job(name: &str) -> Job {
        Job {
            name: name.into(),
            due_time: Some("2026-01-01T00:00:00+02:00".into()),
            schedule: None,
            repeats: None,
            data: "{}".into(),
        }
    }

    /// Calls with a view; gives what came of it, with the effects and refusals.
    fn with<T>(call: impl FnOnce(&mut View<'_>) -> T) -> (T, Vec<Effect>, Refusals) {
        let text = "name = \"a\"\nversion = \"1\"\n[[on]]\nevent = \"*\"\n\
                    [grants]\njobs = [\"daily-*\"]\n";
        let manifest = Manifest::parse(std::path::Path::new("component.toml"), text).unwrap();
        let (mut effects, mut refusals) = (Effects::new(&manifest.limits), Refusals::default());
        let mut view = View {
            manifest: &manifest,
            key: EventKey([7; 16]),
            effects: &mut effects,
            refusals: &mut refusals,
        };
        let came = call(&mut view);
        (came, effects.into_list(), refusals)
    }

    fn schedule_all(jobs: Vec<Job>) -> (Vec<Result<(), JobError>>, Vec<Effect>, Refusals) {
        with(|view| jobs.into_iter().map(|job| jobs::Host::schedule(view, job).unwrap()).collect())
    }

    #[test]
    fn jobs_are_effects_with_ids_of_their_own() {
        let repeating = Job {
            due_time: None,
            schedule: Some("@every 90s".into()),
            repeats: Some(3),
            data: "[1]".into(),
            ..job("daily-2")
        };
        let (answers, effects, _) = schedule_all(vec![job("daily-1"), repeating.clone()]);
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        let [Effect::Schedule(once), Effect::Schedule(often)] = &effects[..] else {
            panic!("{effects:?}")
        };
        assert_eq!(once.due, Some("2025-12-31T22:00:00Z".parse().unwrap()));
        assert_eq!((once.schedule.as_deref(), once.repeats), (None, None));
        assert_eq!((often.due, often.repeats, often.data.as_str()), (None, Some(3), "[1]"));
        assert_ne!(once.id, often.id);
        let (_, again, _) = schedule_all(vec![job("daily-1"), repeating]);
        assert_eq!(again, effects);
    }

    #[test]
    fn cancelling_needs_the_same_grant() {
        let cancel = |name: &str| with(|view| jobs::Host::cancel(view, name.into()).unwrap());
        let (_, effects, _) = cancel("daily-1");
        assert_eq!(effects, [Effect::Cancel(Cancel { name: JobName::new("daily-1").unwrap() })]);
        let (answer, effects, refusals) = cancel("weekly-1");
        assert!(matches!(answer, Err(JobError::Denied(text)) if text.contains("job `weekly-1`")));
        assert_eq!((effects.len(), refusals.denied.len()), (0, 1));
        let (answer, ..) = cancel("daily-/");
        assert!(matches!(answer, Err(JobError::Invalid(_))));
    }

    #[test]
    fn what_is_malformed_leaves_no_effect() {
        let rhythm = |schedule: &str, repeats| Job {
            due_time: None,
            schedule: Some(schedule.into()),
            repeats,
            ..job("daily-1")
        };
        for (job, says) in [
            (job(""), "not a job name"),
            (job(&"daily".repeat(1 << 20)), "not a job name"),
            (job("daily-1%"), "holds `%`"),
            (job("daily-1|2"), "holds `|`"),
            (job("daily-1 "), "ends with a space"),
            (job(".."), "gets lost"),
            (job(&format!("daily-{}", "é".repeat(200))), "377 bytes"),
            (job("daily-1/2"), "not a job name"),
            (Job { due_time: None, ..job("daily-1") }, "would never fire"),
            (Job { due_time: Some("2026-01-01T00:00:00".into()), ..job("daily-1") }, "`due-time`"),
            (Job { repeats: Some(2), ..job("daily-1") }, "`repeats` is for"),
            (rhythm("@every 1s", Some(0)), "`repeats` is 0"),
            (rhythm("* * * * *", None), "six cron fields"),
            (rhythm("0 0 0 * * 7", None), "Sunday is 0 or SUN"),
            (rhythm("0 0 0 30 2 *", None), "never comes"),
            (Job { data: "{".into(), ..job("daily-1") }, "`data` is not JSON"),
            (Job { data: "[".repeat(101) + &"]".repeat(101), ..job("daily-1") }, "`data`"),
        ] {
            let (answers, effects, refusals) = schedule_all(vec![job]);
            let [Err(JobError::Invalid(text))] = &answers[..] else { panic!("{answers:?}") };
            assert!(text.contains(says) && text.len() < 2500, "{text}");
            assert_eq!((effects.len(), refusals.denied.len()), (0, 0));
        }
    }
}
