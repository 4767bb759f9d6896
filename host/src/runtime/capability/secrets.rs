//! `wharf:worker/secrets`: secrets of a Dapr secret store, read now. That one was read is
//! recorded, and never what it is.

use std::sync::Arc;

use wasmtime::component::{HasData, Linker};

use super::Refusals;
use crate::grant;
use crate::manifest::Manifest;
use crate::runtime::Reads;
use crate::runtime::invoke::Run;
use crate::runtime::recording::{ReadCall, Recorder};
use crate::runtime::world::wharf::worker::secrets::{self, SecretError};

pub fn link(linker: &mut Linker<Run>) -> wasmtime::Result<()> {
    secrets::add_to_linker::<Run, Linked>(linker, |run| View {
        manifest: &run.loaded.manifest,
        reads: &run.call.reads,
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
    refusals: &'a mut Refusals,
    recorder: &'a mut Recorder,
}

impl secrets::Host for View<'_> {
    async fn get(
        &mut self,
        store: String,
        key: String,
    ) -> wasmtime::Result<Result<Vec<(String, String)>, SecretError>> {
        let store = match grant::secret(self.manifest, &store, &key) {
            Ok(store) => store,
            Err(why) => return Ok(Err(SecretError::Denied(self.refusals.denied(&why)))),
        };
        self.recorder.asked(|| ReadCall::Secret { store: store.clone(), name: key.clone() });
        // The wait for Dapr is the read itself: until it answers, the store is away.
        let waiting = self.refusals.waiting.begin();
        let entries = self.reads.secret(store.clone(), key.clone(), waiting.clone()).await;
        waiting.taken_up();
        self.recorder.secret(&entries);
        Ok(match entries {
            Ok(Some(entries)) => Ok(entries),
            Ok(None) => Err(SecretError::Missing(format!("store `{store}` has no secret `{key}`"))),
            Err(error) => Err(SecretError::Unavailable(self.refusals.away(error))),
        })
    }
}
