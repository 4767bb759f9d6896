//! `wharf:worker/state`: values of a state store, under keys of the component's own. `get` reads
//! now, and sees what the same handler wrote; `set` and `delete` become effects.

use std::sync::Arc;

use wasmtime::component::{HasData, Linker};

use super::Refusals;
use crate::effect::{Effect, MAX_STATE_VALUE, StateChange, StateWrite, state_key};
use crate::grant;
use crate::manifest::Manifest;
use crate::name::StoreName;
use crate::runtime::Reads;
use crate::runtime::invoke::Run;
use crate::runtime::limits::Effects;
use crate::runtime::recording::{ReadCall, Transcript};
use crate::runtime::world::wharf::worker::state::{self, StateError};

pub fn link(linker: &mut Linker<Run>) -> wasmtime::Result<()> {
    state::add_to_linker::<Run, Linked>(linker, |run| View {
        manifest: &run.loaded.manifest,
        reads: &run.call.reads,
        effects: &mut run.effects,
        refusals: &mut run.refusals,
        transcript: &mut run.transcript,
    })
}

struct Linked;

impl HasData for Linked {
    type Data<'a> = View<'a>;
}

struct View<'a> {
    manifest: &'a Manifest,
    reads: &'a Arc<dyn Reads>,
    effects: &'a mut Effects,
    refusals: &'a mut Refusals,
    transcript: &'a mut Transcript,
}

impl state::Host for View<'_> {
    async fn get(
        &mut self,
        store: String,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, StateError>> {
        let (store, key) = match self.place(&store, &key) {
            Ok(place) => place,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(change) = self.written(&store, &key) {
            return Ok(Ok(match change {
                StateChange::Set { value, .. } => Some(value.to_vec()),
                StateChange::Delete => None,
            }));
        }
        self.transcript.asked(|| ReadCall::State { store: store.clone(), key: key.clone() });
        // The wait for Dapr is the read itself: until it answers, the store is away.
        let waiting = self.refusals.waiting.begin();
        let value = self.reads.state(store, key, waiting.clone()).await;
        waiting.taken_up();
        self.transcript.value(&value);
        Ok(match value {
            Ok(value) => Ok(value.map(Vec::from)),
            Err(error) => Err(StateError::Unavailable(self.refusals.away(error))),
        })
    }

    fn set(
        &mut self,
        store: String,
        key: String,
        value: Vec<u8>,
        ttl_seconds: Option<u32>,
    ) -> wasmtime::Result<Result<(), StateError>> {
        let (store, key) = match self.place(&store, &key) {
            Ok(place) => place,
            Err(error) => return Ok(Err(error)),
        };
        if let Err(what) = check(&value, ttl_seconds) {
            return Ok(Err(StateError::Invalid(what)));
        }
        let change = StateChange::Set { value: value.into(), ttl_seconds };
        self.record(StateWrite { store, key, change })
    }

    fn delete(&mut self, store: String, key: String) -> wasmtime::Result<Result<(), StateError>> {
        match self.place(&store, &key) {
            Ok((store, key)) => self.record(StateWrite { store, key, change: StateChange::Delete }),
            Err(error) => Ok(Err(error)),
        }
    }
}

impl View<'_> {
    /// The store, and the key as it knows it.
    fn place(&mut self, store: &str, key: &str) -> Result<(StoreName, String), StateError> {
        let store = grant::state(self.manifest, store)
            .map_err(|why| StateError::Denied(self.refusals.denied(&why)))?;
        if !(1..=255).contains(&key.chars().count()) {
            return Err(StateError::Invalid("a key must have 1 to 255 characters".into()));
        }
        // Dapr puts it between an application's id and the key.
        if key.contains("||") {
            return Err(StateError::Invalid(format!("the key `{key}` holds `||`; use another")));
        }
        Ok((store, state_key(&self.manifest.name, key)))
    }

    /// The last that the same handler did to a key.
    fn written(&self, store: &StoreName, key: &str) -> Option<&StateChange> {
        self.effects.list().iter().rev().find_map(|effect| match effect {
            Effect::State(write) if write.store == *store && write.key == key => {
                Some(&write.change)
            }
            Effect::State(_)
            | Effect::Publish(_)
            | Effect::Execute(_)
            | Effect::Schedule(_)
            | Effect::Cancel(_)
            | Effect::Invoke(_) => None,
        })
    }

    fn record(&mut self, write: StateWrite) -> wasmtime::Result<Result<(), StateError>> {
        let value = match &write.change {
            StateChange::Set { value, .. } => value.len(),
            StateChange::Delete => 0,
        };
        let size = value + write.key.len();
        self.effects.record(Effect::State(write), size)?;
        Ok(Ok(()))
    }
}

fn check(value: &[u8], ttl_seconds: Option<u32>) -> Result<(), String> {
    if value.len() > MAX_STATE_VALUE {
        let size = value.len();
        return Err(format!("the value has {size} bytes, and the most is {MAX_STATE_VALUE}"));
    }
    if ttl_seconds == Some(0) {
        return Err("`ttl-seconds` is 0; give 1 or more, or none to keep the value".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::FutureExt as _;
    use futures::future::BoxFuture;

    use super::*;
    use crate::effect::{Secret, SqlRow, SqlValue};
    use crate::runtime::{ReadAnswer, ReadError, Waiting};

    /// A store that has one answer for every key.
    #[derive(Clone)]
    struct Store(Result<Option<Bytes>, ReadError>);

    impl Reads for Store {
        fn query(
            &self,
            _: Arc<str>,
            _: Vec<SqlValue>,
            _: Waiting,
        ) -> BoxFuture<'_, Result<Vec<SqlRow>, ReadError>> {
            Box::pin(futures::future::pending())
        }

        fn state(
            &self,
            _: StoreName,
            key: String,
            _: Waiting,
        ) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
            assert!(key.starts_with("a/"), "{key}");
            Box::pin(async { self.0.clone() })
        }

        fn secret(
            &self,
            _: StoreName,
            _: String,
            _: Waiting,
        ) -> BoxFuture<'_, Result<Option<Secret>, ReadError>> {
            Box::pin(futures::future::pending())
        }
    }

    /// What a run has, without a run.
    struct Fixture {
        manifest: Manifest,
        reads: Arc<dyn Reads>,
        effects: Effects,
        refusals: Refusals,
        transcript: Transcript,
    }

    fn store(answer: Result<Option<&'static str>, ReadError>) -> Fixture {
        let text = "name = \"a\"\nversion = \"1\"\n[[on]]\nevent = \"*\"\n\
                    [grants]\nstate = [\"s\", \"other\"]\n";
        let manifest = Manifest::parse(std::path::Path::new("component.toml"), text).unwrap();
        Fixture {
            reads: Arc::new(Store(answer.map(|value| value.map(Bytes::from)))),
            effects: Effects::new(&manifest.limits),
            refusals: Refusals::default(),
            transcript: Transcript::new(true),
            manifest,
        }
    }

    impl Fixture {
        fn view(&mut self) -> View<'_> {
            View {
                manifest: &self.manifest,
                reads: &self.reads,
                effects: &mut self.effects,
                refusals: &mut self.refusals,
                transcript: &mut self.transcript,
            }
        }

        fn get(&mut self, store: &str, key: &str) -> Result<Option<Vec<u8>>, StateError> {
            let mut view = self.view();
            let got = state::Host::get(&mut view, store.into(), key.into()).now_or_never();
            got.unwrap().unwrap()
        }

        fn set(&mut self, key: &str, value: &[u8], ttl: Option<u32>) -> Result<(), StateError> {
            state::Host::set(&mut self.view(), "s".into(), key.into(), value.into(), ttl).unwrap()
        }

        fn delete(&mut self, store: &str, key: &str) -> Result<(), StateError> {
            state::Host::delete(&mut self.view(), store.into(), key.into()).unwrap()
        }
    }

    #[test]
    fn writes_are_effects_on_keys_of_the_component() {
        let mut store = store(Ok(None));
        store.set("k", b"v", Some(5)).unwrap();
        store.delete("other", "k").unwrap();
        let name = |name| StoreName::new(name).unwrap();
        let set = StateChange::Set { value: Bytes::from_static(b"v"), ttl_seconds: Some(5) };
        let expected = [
            Effect::State(StateWrite { store: name("s"), key: "a/k".into(), change: set }),
            Effect::State(StateWrite {
                store: name("other"),
                key: "a/k".into(),
                change: StateChange::Delete,
            }),
        ];
        assert_eq!(store.effects.list(), expected);
    }

    #[test]
    fn a_handler_sees_what_it_wrote_last() {
        let mut store = store(Ok(Some("kept")));
        let kept = Ok(Some(b"kept".to_vec()));
        assert_eq!(store.get("s", "k").map_err(drop), kept);
        store.set("k", b"1", None).unwrap();
        store.set("k", b"2", None).unwrap();
        assert_eq!(store.get("s", "k").map_err(drop), Ok(Some(b"2".to_vec())));
        assert_eq!(store.get("s", "other").map_err(drop), kept);
        assert_eq!(store.get("other", "k").map_err(drop), kept);
        store.delete("s", "k").unwrap();
        assert_eq!(store.get("s", "k").map_err(drop), Ok(None));
        let (reads, _, _) = store.transcript.into_reads();
        assert_eq!(reads.len(), 3, "its own writes are no reads: {reads:?}");
        assert_eq!(reads[0].answer, ReadAnswer::Value(Bytes::from_static(b"kept")));
    }

    #[test]
    fn a_store_that_is_away_or_refuses_is_unavailable() {
        for error in [ReadError::Unavailable("away".into()), ReadError::Failed("away".into())] {
            let mut store = store(Err(error));
            assert!(
                matches!(store.get("s", "k"), Err(StateError::Unavailable(text)) if text == "away")
            );
            assert!(
                store.refusals.away.is_some() && store.refusals.waiting.for_so_long().is_none()
            );
        }
    }

    #[test]
    fn what_is_malformed_or_ungranted_leaves_no_effect() {
        let mut store = store(Ok(None));
        let longest = "ä".repeat(255);
        assert!(store.get("s", &longest).is_ok());
        for key in ["", "a||b", &"ä".repeat(256)] {
            assert!(matches!(store.get("s", key), Err(StateError::Invalid(_))), "{key}");
            assert!(matches!(store.set(key, b"", None), Err(StateError::Invalid(_))), "{key}");
            assert!(matches!(store.delete("s", key), Err(StateError::Invalid(_))), "{key}");
        }
        let large = vec![0; MAX_STATE_VALUE + 1];
        let Err(StateError::Invalid(text)) = store.set("k", &large, None) else { panic!("large") };
        assert_eq!(text, "the value has 3000001 bytes, and the most is 3000000");
        assert!(matches!(store.set("k", b"", Some(0)), Err(StateError::Invalid(_))));
        assert!(store.refusals.denied.is_empty());
        for denied in [store.get("z", "k").map(drop), store.delete("z", "k")] {
            assert!(matches!(denied, Err(StateError::Denied(text)) if text.contains("store `z`")));
        }
        assert_eq!(store.refusals.denied.len(), 1);
        assert!(store.effects.list().is_empty());
        assert!(store.set("k", &large[1..], Some(1)).is_ok());
    }

    #[test]
    fn values_count_against_the_limit() {
        let mut store = store(Ok(None));
        let value = vec![0; MAX_STATE_VALUE];
        for _ in 0..5 {
            store.set("k", &value, None).unwrap();
        }
        let mut view = store.view();
        assert!(state::Host::set(&mut view, "s".into(), "k".into(), value, None).is_err());
    }
}
