//! `wharf:worker/publish`: an event becomes an effect, once it is granted and well formed.

use chrono::SecondsFormat;
use wasmtime::component::{HasData, Linker};

use super::{Refusals, next_id};
use crate::clock::Timestamp;
use crate::effect::{Effect, Publish};
use crate::grant;
use crate::manifest::Manifest;
use crate::name::EventKey;
use crate::runtime::invoke::Run;
use crate::runtime::limits::Effects;
use crate::runtime::text;
use crate::runtime::world::wharf::worker::publish::{self, NewEvent, PublishError};

pub fn link(linker: &mut Linker<Run>) -> wasmtime::Result<()> {
    publish::add_to_linker::<Run, Linked>(linker, |run| View {
        manifest: &run.loaded.manifest,
        key: run.call.decoded.key,
        now: run.call.now,
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
    now: Timestamp,
    effects: &'a mut Effects,
    refusals: &'a mut Refusals,
}

impl publish::Host for View<'_> {
    fn publish(&mut self, event: NewEvent) -> wasmtime::Result<Result<String, PublishError>> {
        let ty = match grant::publish(self.manifest, &event.ty) {
            Ok(ty) => ty,
            Err(why) => return Ok(Err(PublishError::Denied(self.refusals.denied(&why)))),
        };
        if let Err(what) = check(&event) {
            return Ok(Err(PublishError::Invalid(what)));
        }
        let id = next_id(self.manifest, self.key, self.effects);
        let NewEvent { subject, time, data, .. } = event;
        let time = time.unwrap_or_else(|| self.now.to_rfc3339_opts(SecondsFormat::AutoSi, true));
        let size = data.len() + subject.as_ref().map_or(0, String::len) + time.len();
        let publish = Publish { id: id.clone(), ty, subject, time, data };
        self.effects.record(Effect::Publish(publish), size)?;
        Ok(Ok(id))
    }
}

fn check(event: &NewEvent) -> Result<(), String> {
    if let Some(subject) = &event.subject
        && !(1..=255).contains(&subject.chars().count())
    {
        return Err("`subject` must have 1 to 255 characters".into());
    }
    if let Some(time) = &event.time {
        text::time(time).map_err(|error| format!("`time` {error}"))?;
    }
    text::json(&event.data).map_err(|error| format!("`data` {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_event(ty: &str, time: Option<&str>, data: &str) -> NewEvent {
        let time = time.map(str::to_owned);
        NewEvent { ty: ty.into(), subject: Some("s".into()), time, data: data.into() }
    }

    /// Publishes and gives each call's answer, with the effects and refusals that came of them.
    fn publish(
        events: Vec<NewEvent>,
    ) -> (Vec<Result<String, PublishError>>, Vec<Effect>, Refusals) {
        let text = "name = \"a\"\nversion = \"1\"\n[[on]]\nevent = \"*\"\n\
                    [grants]\npublish = [\"t\"]\n";
        let manifest = Manifest::parse(std::path::Path::new("component.toml"), text).unwrap();
        let (mut effects, mut refusals) = (Effects::new(&manifest.limits), Refusals::default());
        let mut view = View {
            manifest: &manifest,
            key: EventKey([7; 16]),
            now: chrono::DateTime::UNIX_EPOCH,
            effects: &mut effects,
            refusals: &mut refusals,
        };
        let answers = events.into_iter().map(|e| publish::Host::publish(&mut view, e).unwrap());
        let answers = answers.collect();
        (answers, effects.into_list(), refusals)
    }

    #[test]
    fn ids_follow_from_component_key_and_position() {
        let events = || vec![new_event("t", None, "{}"), new_event("t", None, "{}")];
        let (first, effects, _) = publish(events());
        let ids: Vec<_> = first.iter().map(|id| id.as_ref().unwrap()).collect();
        assert_ne!(ids[0], ids[1]);
        let (again, _, _) = publish(events());
        assert_eq!(ids, again.iter().map(|id| id.as_ref().unwrap()).collect::<Vec<_>>());
        let Effect::Publish(publish) = &effects[0] else { panic!("{effects:?}") };
        assert_eq!(
            (publish.time.as_str(), publish.id.as_str()),
            ("1970-01-01T00:00:00Z", &**ids[0])
        );
    }

    #[test]
    fn what_is_malformed_or_ungranted_leaves_no_effect() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        let (answers, effects, refusals) = publish(vec![
            new_event("t", Some("2026-01-01T00:00:00"), "{}"),
            new_event("t", None, "{"),
            new_event("t", None, &deep),
            NewEvent { subject: Some(String::new()), ..new_event("t", None, "{}") },
            new_event("other", None, "{}"),
        ]);
        assert!(effects.is_empty());
        let (denied, invalid) = answers.split_last().unwrap();
        assert!(invalid.iter().all(|a| matches!(a, Err(PublishError::Invalid(_)))), "{invalid:?}");
        assert!(matches!(denied, Err(PublishError::Denied(text)) if text.contains("`other`")));
        assert_eq!(refusals.denied.len(), 1);
    }
}
