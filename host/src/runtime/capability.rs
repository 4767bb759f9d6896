//! What a guest can reach: one file for each interface, each with a short-lived view that borrows
//! just what the interface may touch. An interface that is not linked here cannot be imported.

mod bindings;
mod config;
mod delivery;
mod import;
mod jobs;
mod logging;
mod publish;
mod secrets;
mod sql;
mod state;
mod stdio;

use wasmtime::component::Linker;

use super::invoke::Run;
use super::limits::Effects;
use super::{ReadError, Waiting};
use crate::manifest::Manifest;
use crate::name::{EventKey, derived_id};

pub use import::{grant, refusal, ungranted};
pub use stdio::wasi;

/// Calls that did not get what they asked for, and that the invocation must answer for.
#[derive(Debug, Default)]
pub struct Refusals {
    /// The texts of calls that were not granted.
    pub denied: Vec<String>,
    /// What the first read said that found the other side away.
    pub away: Option<String>,
    pub waiting: Waiting,
}

/// A guest may call in a loop; the first few refusals say enough.
const REFUSALS_KEPT: usize = 10;

impl Refusals {
    fn denied(&mut self, why: &crate::grant::Denied) -> String {
        let text = why.to_string();
        if self.denied.len() < REFUSALS_KEPT && !self.denied.contains(&text) {
            self.denied.push(text.clone());
        }
        text
    }

    /// What Dapr was asked for and did not give. A store that refuses can be mended without the
    /// event being lost, so that counts as away too.
    fn away(&mut self, error: ReadError) -> String {
        let (ReadError::Unavailable(text) | ReadError::Failed(text)) = error;
        self.away.get_or_insert_with(|| text.clone());
        text
    }
}

/// The id of the effect that is recorded next: the same in every run, since nothing of it depends
/// on time or chance.
fn next_id(manifest: &Manifest, key: EventKey, effects: &Effects) -> String {
    let index = effects.next_index().to_string();
    let component = manifest.name.as_str();
    derived_id(&[component.as_bytes(), &key.0, index.as_bytes()]).to_string()
}

pub fn link(linker: &mut Linker<Run>) -> wasmtime::Result<()> {
    publish::link(linker)?;
    state::link(linker)?;
    secrets::link(linker)?;
    jobs::link(linker)?;
    sql::link(linker)?;
    bindings::link(linker)?;
    delivery::link(linker)?;
    logging::link(linker)?;
    config::link(linker)
}
