//! What a contract names, and no file of the folder brings: daprd starts without it, subscribes no
//! topic of it, and answers each call of it with an error.

use super::{Resources, folder};
use crate::contract::{BindingRules, Contract};
use crate::problem::Problem;

/// Nothing of a folder without components: it is for another folder's daprd, such as one of
/// subscriptions.
pub fn check(resources: &Resources<'_>) -> Vec<Problem> {
    let Some(first) = resources.components().next() else { return Vec::new() };
    let folder = folder(first.file);
    let mut told: Vec<String> = Vec::new();
    for contract in resources.host.contracts.iter() {
        for what in lacking(contract, resources) {
            let text = format!("there is no {what}, which contract `{}` names", contract.name);
            // Two contracts may share one; the first will do.
            if !told.iter().any(|other| other.starts_with(&format!("there is no {what},"))) {
                told.push(text);
            }
        }
    }
    let help = "add it; or, where the daprd reads another folder, too (--resources-path), see that it is \
                there";
    let problem = |text| Problem::in_file(folder, text).warning().help(help);
    told.into_iter().map(problem).collect()
}

fn lacking(contract: &Contract, resources: &Resources<'_>) -> Vec<String> {
    let has = |category: &str, name: &str| {
        let mut all = resources.components().filter(|one| one.category() == category);
        all.any(|one| one.name().is_some_and(|(own, _)| own == name))
    };
    let pubsub = [("pubsub", "pubsub", contract.pubsub.as_str())].into_iter();
    let state = contract.state_stores.iter().map(|store| ("state", "state store", store.as_str()));
    // In Kubernetes Dapr makes this one by itself.
    let secrets = contract.secret_stores.iter().filter(|store| store.as_str() != "kubernetes");
    let secrets = secrets.map(|store| ("secretstores", "secret store", store.as_str()));
    let (ticking, called): (Vec<&BindingRules>, Vec<_>) =
        contract.bindings.iter().partition(|binding| binding.period.is_some());
    let ticking = ticking.into_iter().map(|one| ("bindings", "binding", one.name.as_str()));
    let all = pubsub.chain(state).chain(secrets).chain(ticking);
    let mut lacking: Vec<_> = all
        .filter(|(category, _, name)| !has(category, name))
        .map(|(_, what, name)| format!("{what} `{name}`"))
        .collect();
    // Those that are called are often one for each place where the host runs.
    if !called.is_empty() && !called.iter().any(|one| has("bindings", one.name.as_str())) {
        let names: Vec<_> = called.iter().map(|one| format!("`{}`", one.name)).collect();
        lacking.push(format!("binding {}", names.join(" or ")));
    }
    lacking
}
