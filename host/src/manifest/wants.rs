//! What a component is called for: types of events, and of two types those that name its jobs and
//! its bindings.

use serde::Deserialize;

use super::{BINDING_TICKED, JOB_FIRED, Manifest, Want};
use crate::event::Event;
use crate::name::{BindingName, JobName};

impl Manifest {
    /// Whether it wants the event: by its type, or because a job or binding of its own made it.
    pub fn wants(&self, event: &Event) -> bool {
        let ty = event.ty.as_str();
        let by_type = |want: &Want| matches!(want, Want::Event(pattern) if pattern.matches(ty));
        self.on.iter().any(by_type)
            || match ty {
                JOB_FIRED => self.wants_firing(event),
                BINDING_TICKED => self.wants_tick(event),
                _ => false,
            }
    }

    /// Whether it wants the firings of a job.
    pub fn wants_job(&self, name: &JobName) -> bool {
        self.on.iter().any(|want| matches!(want, Want::Job(job) if job.matches(name.as_str())))
    }

    /// Whether it wants the ticks of a binding.
    pub fn wants_binding(&self, name: &BindingName) -> bool {
        self.on.iter().any(|want| matches!(want, Want::Binding(binding) if binding == name))
    }

    fn wants_firing(&self, event: &Event) -> bool {
        #[derive(Deserialize)]
        struct Firing {
            name: JobName,
        }
        self.on.iter().any(|want| matches!(want, Want::Job(_)))
            && serde_json::from_str(&event.data).is_ok_and(|Firing { name }| self.wants_job(&name))
    }

    fn wants_tick(&self, event: &Event) -> bool {
        #[derive(Deserialize)]
        struct Tick {
            binding: BindingName,
        }
        self.on.iter().any(|want| matches!(want, Want::Binding(_)))
            && serde_json::from_str(&event.data)
                .is_ok_and(|Tick { binding }| self.wants_binding(&binding))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::name::{ContractName, EventType};

    fn wants(on: &str, ty: &str, data: &str) -> bool {
        let text = format!("name = \"a\"\nversion = \"1\"\n[[on]]\n{on}\n");
        let manifest = Manifest::parse(Path::new("component.toml"), &text).unwrap();
        manifest.wants(&Event {
            id: "1".into(),
            source: "wharf".into(),
            ty: EventType::new(ty).unwrap(),
            subject: None,
            time: "2026-01-01T00:00:00Z".into(),
            data: data.into(),
            contract: ContractName::new("cloudevents").unwrap(),
        })
    }

    #[test]
    fn a_firing_goes_to_who_wants_the_job_or_every_firing() {
        let firing = r#"{"name": "recurring-7", "data": {"name": "other"}}"#;
        for (on, wanted) in [
            ("job = \"recurring-*\"", true),
            ("job = \"recurring-7\"", true),
            ("job = \"*\"", true),
            ("job = \"recurring\"", false),
            ("job = \"other\"", false),
            ("binding = \"recurring-7\"", false),
            ("event = \"com.wharf.job.fired.v1\"", true),
            ("event = \"com.wharf.*\"", true),
            ("event = \"*\"", false),
        ] {
            assert_eq!(wants(on, JOB_FIRED, firing), wanted, "{on}");
        }
        assert!(!wants("job = \"*\"", "com.things.said.v1", firing), "only firings name jobs");
        for nameless in ["{}", "{", "[]", r#"{"name": 7}"#, r#"{"name": "a/b"}"#] {
            assert!(!wants("job = \"*\"", JOB_FIRED, nameless), "{nameless}");
        }
    }

    #[test]
    fn a_tick_goes_to_who_wants_the_binding() {
        let tick = r#"{"binding": "cron", "time": "2026-01-01T00:00:00Z"}"#;
        for (on, wanted) in [
            ("binding = \"cron\"", true),
            ("binding = \"cro\"", false),
            ("binding = \"cron2\"", false),
            ("job = \"*\"", false),
            ("event = \"com.wharf.binding.ticked.v1\"", true),
        ] {
            assert_eq!(wants(on, BINDING_TICKED, tick), wanted, "{on}");
        }
    }
}
