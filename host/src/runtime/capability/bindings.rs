//! `wharf:worker/bindings`: a call of an output binding becomes an effect, once it is granted and
//! well formed. Its result comes back as an event.

use wasmtime::component::{HasData, Linker};

use super::{Refusals, next_id};
use crate::effect::{Effect, Invoke, MAX_BINDING_DATA};
use crate::grant;
use crate::manifest::Manifest;
use crate::name::EventKey;
use crate::runtime::invoke::Run;
use crate::runtime::limits::Effects;
use crate::runtime::world::wharf::worker::bindings::{self, BindingError};

pub fn link(linker: &mut Linker<Run>) -> wasmtime::Result<()> {
    bindings::add_to_linker::<Run, Linked>(linker, |run| View {
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

impl bindings::Host for View<'_> {
    fn invoke(
        &mut self,
        binding: String,
        operation: String,
        data: Vec<u8>,
        metadata: Vec<(String, String)>,
    ) -> wasmtime::Result<Result<String, BindingError>> {
        let binding = match grant::binding(self.manifest, &binding) {
            Ok(binding) => binding,
            Err(why) => return Ok(Err(BindingError::Denied(self.refusals.denied(&why)))),
        };
        if let Err(what) = check(&operation, &data, &metadata) {
            return Ok(Err(BindingError::Invalid(what)));
        }
        let id = next_id(self.manifest, self.key, self.effects);
        let entry = |(name, value): &(String, String)| {
            name.len() + value.len() + size_of::<(String, String)>()
        };
        let size = data.len() + operation.len() + metadata.iter().map(entry).sum::<usize>();
        let invoke = Invoke { id: id.clone(), binding, operation, data: data.into(), metadata };
        self.effects.record(Effect::Invoke(invoke), size)?;
        Ok(Ok(id))
    }
}

/// The host's own entry: what the call can be told by when it is repeated.
const RESERVED: &str = "idempotency-key";

fn check(operation: &str, data: &[u8], metadata: &[(String, String)]) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !(1..=64).contains(&operation.len()) || !operation.chars().all(legal) {
        return Err("an operation must have 1 to 64 letters, digits, - or _".into());
    }
    if data.len() > MAX_BINDING_DATA {
        let size = data.len();
        return Err(format!("the data has {size} bytes, and the most is {MAX_BINDING_DATA}"));
    }
    for (name, _) in metadata {
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err("a name in `metadata` is empty or holds control characters".into());
        }
        if name.eq_ignore_ascii_case(RESERVED) {
            return Err(format!("`{name}` in `metadata` is set by the host; leave it out"));
        }
    }
    Ok(())
}
