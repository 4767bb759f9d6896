//! Names in manifests that nothing active has: most likely spelt wrongly. They are told, and are no
//! reason to refuse: a contract may become active later.

use crate::contract::Contracts;
use crate::manifest::{HOST_TYPES, Manifest, Want};
use crate::problem::{Problem, nearest};

/// Event types that nobody publishes or takes, and stores and bindings that no contract names.
pub fn names(manifests: &[&Manifest], contracts: &Contracts) -> Vec<Problem> {
    let known = Known::of(manifests, contracts);
    manifests.iter().flat_map(|manifest| known.missing(manifest)).collect()
}

struct Known<'a> {
    contracts: &'a Contracts,
    manifests: &'a [&'a Manifest],
    types: Vec<&'a str>,
    state: Vec<&'a str>,
    secrets: Vec<&'a str>,
    bindings: Vec<&'a str>,
}

impl<'a> Known<'a> {
    fn of(manifests: &'a [&'a Manifest], contracts: &'a Contracts) -> Self {
        let events = contracts.iter().flat_map(|contract| &contract.events);
        let state = contracts.iter().flat_map(|contract| &contract.state_stores);
        let secrets = contracts.iter().flat_map(|contract| &contract.secret_stores);
        let bindings = contracts.iter().flat_map(|contract| &contract.bindings);
        Self {
            contracts,
            manifests,
            types: events.map(|entry| entry.ty.as_str()).collect(),
            state: state.map(|store| store.as_str()).collect(),
            secrets: secrets.map(|store| store.as_str()).collect(),
            bindings: bindings.map(|rules| rules.name.as_str()).collect(),
        }
    }

    fn missing(&self, manifest: &Manifest) -> Vec<Problem> {
        let grants = &manifest.grants;
        let wants = manifest.on.iter().filter_map(|want| match want {
            Want::Event(pattern) => Some(pattern.as_str()),
            Want::Job(_) | Want::Binding(_) => None,
        });
        let wants = wants
            .filter(|want| !self.is_published(want))
            .map(|want| ("event type", want, "wants", &self.types));
        let publishes = grants.publish.iter().map(|ty| ty.as_str());
        let publishes = publishes
            .filter(|ty| !self.is_taken(ty))
            .map(|ty| ("event type", ty, "is granted to publish", &self.types));
        let state = grants.state.iter().map(|store| store.as_str());
        let state = state
            .filter(|name| !self.state.contains(name))
            .map(|name| ("state store", name, "is granted", &self.state));
        let secrets = grants.secrets.keys().map(|store| store.as_str());
        let secrets = secrets
            .filter(|name| !self.secrets.contains(name))
            .map(|name| ("secret store", name, "is granted", &self.secrets));
        let bindings = grants.bindings.iter().map(|binding| binding.as_str());
        let bindings = bindings
            .filter(|name| !self.bindings.contains(name))
            .map(|name| ("binding", name, "is granted", &self.bindings));
        let missing = wants.chain(publishes).chain(state).chain(secrets).chain(bindings);
        missing
            .map(|(kind, name, how, known)| {
                let message = format!("no active contract has the {kind} `{name}` that it {how}");
                helped(Problem::in_file(&manifest.file, message), name, known)
            })
            .collect()
    }

    fn is_published(&self, want: &str) -> bool {
        let granted =
            |manifest: &&Manifest| manifest.grants.publish.iter().any(|ty| ty.as_str() == want);
        want.ends_with('*')
            || want.starts_with(HOST_TYPES)
            || self.contracts.knows(want)
            || self.manifests.iter().any(granted)
    }

    /// A component may take what another publishes, without a contract of it.
    fn is_taken(&self, ty: &str) -> bool {
        let wanted = |manifest: &&Manifest| {
            manifest.on.iter().any(|want| match want {
                Want::Event(pattern) => !pattern.as_str().ends_with('*') && pattern.matches(ty),
                Want::Job(_) | Want::Binding(_) => false,
            })
        };
        self.contracts.knows(ty) || self.manifests.iter().any(wanted)
    }
}

fn helped(problem: Problem, name: &str, known: &[&str]) -> Problem {
    match nearest(name, known.iter().copied()) {
        Some(nearest) => problem.help(format!("did you mean `{nearest}`?")),
        None => problem,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_spelt_wrongly_is_told_with_the_nearest_name() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/cloudevents");
        let contracts = Contracts::load(&[folder]).unwrap();
        let text = "name = \"a\"\nversion = \"1\"\n[[on]]\nevent = \"com.todo.task.creted.v1\"\n\
            [[on]]\nevent = \"com.other.made.v1\"\n[grants]\n\
            publish = [\"com.todo.task.updatd.v1\", \"com.other.made.v1\"]\n\
            state = [\"todo-statestor\"]\nsecrets = { todo-secret = [\"x\"] }\n\
            bindings = [\"notify-fil\", \"notify-http\"]\n";
        let manifest = Manifest::parse(Path::new("component.toml"), text).unwrap();
        let told: Vec<_> =
            names(&[&manifest], &contracts).iter().map(ToString::to_string).collect();
        for (told, says) in told.iter().zip([
            "`com.todo.task.created.v1`?",
            "`com.todo.task.updated.v1`?",
            "`todo-statestore`?",
            "`todo-secrets`?",
            "`notify-file`?",
        ]) {
            assert!(told.contains(says), "{told}");
        }
        assert_eq!(told.len(), 5, "{told:#?}");
    }
}
