//! The rules of the code's structure, checked on the source itself: a module uses only the layers
//! below it, and each large dependency stays where it belongs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lowest first. A module may use any module of an earlier line, and its own children.
const LAYERS: &[&[&str]] = &[
    &["name", "clock", "event", "delivery", "effect", "problem", "config", "manifest"],
    &["contract", "route", "grant", "retry"],
    &["telemetry", "backend", "ledger"],
    &["runtime"],
    &["catalog"],
    &["work"],
    &["dispatch", "due"],
    &["relay", "sweep"],
    &["ingress", "admin"],
    &["app"],
    &["cli"],
];

/// Where a crate may be named.
const PLACES: &[(&str, &[&str])] = &[
    ("wasmtime", &["runtime"]),
    ("wasmtime_wasi", &["runtime"]),
    ("axum", &["ingress", "admin", "backend/embedded", "app"]),
    ("reqwest", &["backend", "cli/client"]),
    ("sqlx", &["ledger", "backend/embedded"]),
];

/// Layers whose modules may use each other: the words, and the rules made of them.
const OPEN: usize = 2;

#[test]
fn a_module_uses_only_the_layers_below_it() {
    let layer_of: BTreeMap<_, _> = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(layer, modules)| modules.iter().map(move |module| (*module, layer)))
        .collect();
    let mut faults = Vec::new();
    for (place, text) in sources() {
        let Some(module) = place.split('/').next().filter(|module| layer_of.contains_key(module))
        else {
            assert!(["lib", "main"].contains(&place.as_str()), "`{place}` has no layer in tidy.rs");
            continue;
        };
        let layer = layer_of[module];
        for used in text.split("crate::").skip(1).map(first_word) {
            let Some(below) = layer_of.get(used) else { continue };
            let own = used == module || (*below == layer && layer < OPEN);
            if *below >= layer && !own {
                faults.push(format!("{place} uses crate::{used}, which is not below it"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn leaves_of_one_folder_do_not_use_each_other() {
    let leaves = ["ingress", "admin", "runtime/capability", "backend/embedded"];
    let shared = ["reply", "bulk"];
    for (place, text) in sources() {
        let Some((folder, leaf)) = place.rsplit_once('/') else { continue };
        if !leaves.contains(&folder) || folder == "backend/embedded" {
            continue;
        }
        let prefix = format!("crate::{}::", folder.replace('/', "::"));
        for used in text.split(prefix.as_str()).skip(1).map(first_word) {
            let fine =
                used.starts_with(char::is_uppercase) || used == leaf || shared.contains(&used);
            assert!(fine || used.is_empty(), "{place} uses its sibling {used}");
        }
    }
}

#[test]
fn large_dependencies_stay_where_they_belong() {
    for (place, text) in sources() {
        for (dependency, places) in PLACES {
            let uses = text
                .lines()
                .map(str::trim_start)
                .filter(|line| !line.starts_with("//"))
                .any(|line| line.contains(&format!("{dependency}::")));
            let allowed = places
                .iter()
                .any(|allowed| place == *allowed || place.starts_with(&format!("{allowed}/")));
            assert!(!uses || allowed, "{place} uses {dependency}");
        }
    }
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
            let tested = text.find("#[cfg(test)]\nmod").unwrap_or(text.len());
            found.push((place.to_string_lossy().into_owned(), text[..tested].to_owned()));
        }
    }
}
