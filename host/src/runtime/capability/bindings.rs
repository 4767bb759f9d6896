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

#[cfg(test)]
mod tests {
    use super::*;

    /// One call's arguments.
    type Arguments = (&'static str, String, Vec<u8>, Vec<(String, String)>);

    fn mail() -> Arguments {
        ("smtp", "create".into(), b"hello".to_vec(), vec![("to".into(), "someone".into())])
    }

    /// Calls, and gives each call's answer, with the effects and refusals that came of them.
    fn invoke(calls: Vec<Arguments>) -> (Vec<Result<String, BindingError>>, Vec<Effect>, Refusals) {
        let text = "name = \"a\"\nversion = \"1\"\n[[on]]\nevent = \"*\"\n\
                    [grants]\nbindings = [\"smtp\"]\n";
        let manifest = Manifest::parse(std::path::Path::new("component.toml"), text).unwrap();
        let (mut effects, mut refusals) = (Effects::new(&manifest.limits), Refusals::default());
        let mut view = View {
            manifest: &manifest,
            key: EventKey([7; 16]),
            effects: &mut effects,
            refusals: &mut refusals,
        };
        let call = |(binding, operation, data, metadata): Arguments| {
            bindings::Host::invoke(&mut view, binding.into(), operation, data, metadata).unwrap()
        };
        let answers = calls.into_iter().map(call).collect();
        (answers, effects.into_list(), refusals)
    }

    #[test]
    fn a_call_is_an_effect_whose_id_the_guest_knows() {
        let (answers, effects, _) = invoke(vec![mail(), mail()]);
        let [Effect::Invoke(first), Effect::Invoke(second)] = &effects[..] else {
            panic!("{effects:?}")
        };
        let ids: Vec<_> = answers.iter().map(|answer| answer.as_ref().unwrap()).collect();
        assert_eq!(ids, [&first.id, &second.id]);
        assert_ne!(first.id, second.id);
        assert_eq!((first.binding.as_str(), first.operation.as_str()), ("smtp", "create"));
        assert_eq!(&first.data[..], b"hello");
        assert_eq!(first.metadata, [("to".into(), "someone".into())]);
        assert_eq!(invoke(vec![mail(), mail()]).1, effects);
        for operation in ["x", "setItem", "a_b-c9", &"o".repeat(64)] {
            let (_, _, data, metadata) = mail();
            let (answers, ..) = invoke(vec![("smtp", operation.into(), data, metadata)]);
            assert!(answers[0].is_ok(), "{operation}");
        }
    }

    #[test]
    fn what_is_malformed_or_ungranted_leaves_no_effect() {
        let (_, operation, data, metadata) = mail();
        let named = |name: &str| {
            ("smtp", operation.clone(), data.clone(), vec![(name.to_owned(), "x".to_owned())])
        };
        let called =
            |operation: &str| ("smtp", operation.to_owned(), data.clone(), metadata.clone());
        let large = vec![0; MAX_BINDING_DATA + 1];
        for (call, says) in [
            (called(""), "1 to 64"),
            (called("a b"), "1 to 64"),
            (called("a/b"), "1 to 64"),
            (called(&"o".repeat(65)), "1 to 64"),
            (named(""), "`metadata` is empty"),
            (named("a\nb"), "control characters"),
            (named("Idempotency-Key"), "set by the host"),
            (("smtp", operation.clone(), large, vec![]), "3000001 bytes, and the most is 3000000"),
        ] {
            let (answers, effects, refusals) = invoke(vec![call]);
            let [Err(BindingError::Invalid(text))] = &answers[..] else { panic!("{answers:?}") };
            assert!(text.contains(says), "{text}");
            assert_eq!((effects.len(), refusals.denied.len()), (0, 0));
        }
        let (answers, effects, refusals) = invoke(vec![("http", operation, data, metadata)]);
        assert!(matches!(&answers[..], [Err(BindingError::Denied(why))] if why.contains("`http`")));
        assert_eq!((effects.len(), refusals.denied.len()), (0, 1));
    }
}
