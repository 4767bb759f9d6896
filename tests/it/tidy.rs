//! The rules of the code's structure, checked on the source itself: a module uses only the layers
//! below it, and each large dependency stays where it belongs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lowest first. A module may use any module of an earlier line, and its own children.
const LAYERS: &[&[&str]] = &[
    &["name", "clock", "event", "delivery", "effect", "problem", "config", "manifest", "failpoint"],
    &["contract", "route", "grant", "retry", "schedule", "sidecar"],
    &["telemetry", "backend", "ledger"],
    &["runtime"],
    &["catalog"],
    &["work", "places", "recorder"],
    &["dispatch", "due"],
    &["relay", "sweep", "prune"],
    &["ingress", "admin"],
    &["app"],
    &["cli"],
];

/// Where a crate may be named.
const PLACES: &[(&str, &[&str])] = &[
    ("wasmtime", &["runtime"]),
    ("wasmtime_wasi", &["runtime"]),
    ("axum", &["ingress", "admin", "backend/embedded", "app"]),
    ("hyper", &["app"]),
    ("hyper_util", &["app"]),
    ("reqwest", &["backend", "cli/client"]),
    ("sqlx", &["ledger", "backend/embedded"]),
];

/// Layers whose modules may use each other: the words, and the rules made of them.
const OPEN: usize = 2;

/// Folders whose leaves do not use each other. Tests look at all of them.
const LEAVES: &[&str] =
    &["ingress", "admin", "runtime/capability", "backend/dapr", "backend/embedded"];

/// What would break a rule and may: the place, what it uses, and why.
type Exception = (&'static str, &'static str, &'static str);

const UPWARD: &[Exception] = &[];

const SIDEWAYS: &[Exception] = &[
    (
        "ingress/events",
        "ingress/bulk",
        "daprd posts single events and bulks to one path; what is there is told apart by its body",
    ),
    ("ingress/events", "ingress/bindings", "a binding may have any path that is no topic's"),
];

/// Leaves that the others of their folder have in common, and why.
const SHARED: &[(&str, &str)] = &[
    ("admin/reply", "every endpoint's errors have one form"),
    ("ingress/attributes", "a record's headers are read the same singly and in bulk"),
    ("ingress/raw", "records come raw singly and in bulk"),
    ("ingress/body", "every body is read within a time and a size"),
    ("ingress/reply", "every callback is answered in daprd's words"),
    ("backend/dapr/call", "every call is one request with a deadline"),
    ("backend/dapr/fault", "every error of Dapr's is judged by the same table"),
    ("backend/embedded/store", "all of it is kept in one file"),
    ("backend/embedded/remarshal", "what goes in and what comes out is written as daprd would"),
];

#[test]
fn a_module_uses_only_the_layers_below_it() {
    let faults = layer_faults(&sources());
    assert_eq!(without(UPWARD, &faults), [""; 0]);
}

#[test]
fn leaves_of_one_folder_do_not_use_each_other() {
    let faults = sibling_faults(&sources());
    assert_eq!(without(SIDEWAYS, &faults), [""; 0]);
}

#[test]
fn large_dependencies_stay_where_they_belong() {
    assert_eq!(dependency_faults(&sources()), [""; 0]);
}

/// What is not seen is not found at fault: each way to name a module, once.
#[test]
fn the_rules_find_what_breaks_them() {
    let found = |place: &str, text: &str| {
        let neighbours = ["ingress", "ingress/bulk", "ingress/events", "ledger/row"];
        let mut sources: Vec<_> =
            neighbours.map(|place| (place.to_owned(), String::new())).to_vec();
        sources.push((place.to_owned(), without_tests(text).to_owned()));
        let faults = [layer_faults(&sources), sibling_faults(&sources)].concat();
        let faults = faults.into_iter().map(|(place, used)| format!("{place} {used}"));
        faults.chain(dependency_faults(&sources)).collect::<Vec<_>>()
    };
    for (place, text, fault) in [
        ("ledger/row", "use crate::dispatch::Dispatch;", "ledger/row dispatch"),
        ("ledger/row", "use crate::{clock, dispatch::Dispatch};", "ledger/row dispatch"),
        ("ledger/row", "use crate::{\n    name::{A, B},\n    work,\n};", "ledger/row work"),
        ("ledger/row", "fn f() { super::super::relay::run() }", "ledger/row relay"),
        ("ledger", "#[cfg(test)]\nmod model;\nuse crate::sweep;", "ledger sweep"),
        ("ingress/events", "use super::bulk;", "ingress/events ingress/bulk"),
        ("ingress/events", "use super::{Ingress, bulk::Bulk};", "ingress/events ingress/bulk"),
        ("ingress/events/one", "use super::super::bulk;", "ingress/events/one ingress/bulk"),
        ("ingress/events", "use crate::ingress::{Ingress, bulk};", "ingress/events ingress/bulk"),
        ("ledger/row", "use axum::Router;", "ledger/row uses axum"),
        ("ledger/row", "use {axum as web};", "ledger/row uses axum"),
    ] {
        assert_eq!(found(place, text), [fault], "{place}: {text}");
    }
    for (place, text) in [
        ("ingress/events", "use super::{Ingress, hex};\nuse crate::dispatch::Dispatch;"),
        ("ingress/events", "use self::one::{One, Two as Three};\nuse super::events::one;"),
        ("ledger/row", "// use crate::dispatch;\npub(super) fn f() {}"),
        ("ledger/row", "#[cfg(test)]\nmod tests {\n    use crate::dispatch;\n}"),
        ("ledger/row", "fn f(taxum: u8) -> relaxum::T {}"),
    ] {
        assert_eq!(found(place, text), [""; 0], "{place}: {text}");
    }
}

/// Each use of a module that is not below the place's own, as the place and the module.
fn layer_faults(sources: &[(String, String)]) -> Vec<(String, String)> {
    let layer_of: BTreeMap<_, _> = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(layer, modules)| modules.iter().map(move |module| (*module, layer)))
        .collect();
    let mut faults = Vec::new();
    for (place, text) in sources {
        let Some(module) = place.split('/').next().filter(|module| layer_of.contains_key(module))
        else {
            assert!(["lib", "main"].contains(&place.as_str()), "`{place}` has no layer in tidy.rs");
            continue;
        };
        let layer = layer_of[module];
        for path in paths(place, text) {
            let Some((used, below)) =
                path.first().and_then(|used| layer_of.get_key_value(used.as_str()))
            else {
                continue;
            };
            let own = *used == module || (*below == layer && layer < OPEN);
            if *below >= layer && !own {
                faults.push((place.clone(), (*used).to_owned()));
            }
        }
    }
    faults
}

/// Each use of a leaf by a sibling, or by what is below the sibling.
fn sibling_faults(sources: &[(String, String)]) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    for (place, text) in sources {
        let inside = LEAVES
            .iter()
            .find_map(|folder| Some((folder, place.strip_prefix(folder)?.strip_prefix('/')?)));
        let Some((folder, rest)) = inside else { continue };
        let leaf = rest.split('/').next().unwrap_or(rest);
        if leaf == "tests" {
            continue;
        }
        let depth = folder.split('/').count();
        for path in paths(place, text) {
            let Some(used) = path.get(depth).filter(|used| *used != leaf) else { continue };
            let sibling = format!("{folder}/{used}");
            let is_shared = SHARED.iter().any(|(shared, _)| *shared == sibling);
            if !is_shared
                && path[..=depth].join("/") == sibling
                && sources.iter().any(|(place, _)| *place == sibling)
            {
                faults.push((place.clone(), sibling));
            }
        }
    }
    faults
}

fn dependency_faults(sources: &[(String, String)]) -> Vec<String> {
    let mut faults = Vec::new();
    for (place, text) in sources {
        for (dependency, places) in PLACES {
            let words = words(text);
            let is_named =
                |pair: &[&str]| pair[0] == *dependency && ["::", ";", "as"].contains(&pair[1]);
            let allowed = places
                .iter()
                .any(|allowed| place == *allowed || place.starts_with(&format!("{allowed}/")));
            if !allowed && words.windows(2).any(is_named) {
                faults.push(format!("{place} uses {dependency}"));
            }
        }
    }
    faults
}

/// The faults that no exception is made for; an exception that is not needed is a fault too.
fn without(exceptions: &[Exception], faults: &[(String, String)]) -> Vec<String> {
    let is = |exception: &Exception, fault: &(String, String)| {
        exception.0 == fault.0 && exception.1 == fault.1
    };
    let idle = exceptions
        .iter()
        .filter(|exception| !faults.iter().any(|fault| is(exception, fault)))
        .map(|(place, used, _)| format!("{place} does not use {used}: drop the exception"));
    let real = faults
        .iter()
        .filter(|fault| !exceptions.iter().any(|exception| is(exception, fault)))
        .map(|(place, used)| format!("{place} uses {used}"));
    idle.chain(real).collect()
}

/// Every path from `crate`, `self` or `super`, its groups taken apart, each from the crate's root.
fn paths(place: &str, text: &str) -> Vec<Vec<String>> {
    let words = words(text);
    let mut found = Vec::new();
    for (index, pair) in words.windows(2).enumerate() {
        let begins = index == 0 || words[index - 1] != "::";
        if begins && ["crate", "self", "super"].contains(&pair[0]) && pair[1] == "::" {
            let module = place.split('/').map(str::to_owned).collect();
            follow(&words, index, module, &mut found);
        }
    }
    found
}

/// Follows one path, or one branch of a group; gives the position behind it.
fn follow(
    words: &[&str],
    mut at: usize,
    mut path: Vec<String>,
    found: &mut Vec<Vec<String>>,
) -> usize {
    while let Some(word) = words.get(at) {
        match *word {
            "crate" => path.clear(),
            "super" => drop(path.pop()),
            "self" => {}
            "{" => {
                at += 1;
                while words.get(at).is_some_and(|word| *word != "}") {
                    at = follow(words, at, path.clone(), found).max(at + 1);
                    while words.get(at).is_some_and(|word| !["}", ","].contains(word)) {
                        at += 1;
                    }
                    at += usize::from(words.get(at) == Some(&","));
                }
                return at + 1;
            }
            name => path.push(name.to_owned()),
        }
        at += 1;
        if words.get(at) != Some(&"::") {
            break;
        }
        at += 1;
    }
    found.push(path);
    at
}

/// Names, `::` and single signs; comments are left out.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = match first_word(rest).len() {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                length => length,
            };
            let (word, after) = rest.split_at(length);
            words.push(word);
            rest = after.trim_start();
        }
    }
    words
}

#[test]
fn no_kafka_client_is_ever_linked() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let names = lock.lines().filter_map(|line| line.strip_prefix("name = "));
    let kafka: Vec<_> = names.filter(|name| name.to_lowercase().contains("kafka")).collect();
    assert!(kafka.is_empty(), "brokers are Dapr's business: {kafka:?}");
}

#[test]
fn every_file_says_why_it_exists() {
    for (place, text) in sources() {
        assert!(text.starts_with("//! "), "{place} does not begin with `//! `");
    }
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Unit tests stand at the end; other modules for tests are declared like any other.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

/// Each source file of the host, named by its path below `src/`, without its unit tests.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let src = root().join("host/src");
    collect(&src, &src, &mut found);
    assert!(found.len() > 20, "the sources are not where this test looks");
    found
}

fn collect(src: &Path, folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(src, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let place = path.strip_prefix(src).unwrap().with_extension("");
            let text = fs::read_to_string(&path).unwrap();
            let text = without_tests(&text).to_owned();
            found.push((place.to_string_lossy().into_owned(), text));
        }
    }
}
