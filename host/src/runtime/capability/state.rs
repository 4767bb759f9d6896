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
use crate::runtime::recording::{ReadCall, Recorder};
use crate::runtime::world::wharf::worker::state::{self, StateError};

pub fn link(linker: &mut Linker<Run>) -> wasmtime::Result<()> {
    state::add_to_linker::<Run, Linked>(linker, |run| View {
        manifest: &run.loaded.manifest,
        reads: &run.call.reads,
        effects: &mut run.effects,
        refusals: &mut run.refusals,
        recorder: &mut run.recorder,
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
    recorder: &'a mut Recorder,
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
        self.recorder.asked(|| ReadCall::State { store: store.clone(), key: key.clone() });
        // The wait for Dapr is the read itself: until it answers, the store is away.
        let waiting = self.refusals.waiting.begin();
        let value = self.reads.state(store, key, waiting.clone()).await;
        waiting.taken_up();
        self.recorder.value(&value);
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
