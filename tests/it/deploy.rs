//! What is shipped for deployment says what the code does.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use wharf::config::{BackendKind, Config};
use wharf_tests::host::root;

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

/// The keys of a configuration, as `section.key`.
fn keys(config: &Config) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for (name, value) in serde_json::to_value(config).unwrap().as_object().unwrap() {
        match value {
            Value::Object(section) => {
                keys.extend(section.keys().map(|key| format!("{name}.{key}")))
            }
            _ => _ = keys.insert(name.clone()),
        }
    }
    keys
}

#[test]
fn the_configuration_file_has_every_setting_with_its_default() {
    let text = read("deploy/wharf.toml");
    let config: Config = toml::from_str(&text).unwrap();
    let defaults = Config { backend: BackendKind::Dapr, ..Config::default() };
    assert_eq!(config, defaults);
    let mut section = String::new();
    let mut named = BTreeSet::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = format!("{}.", name.trim_end_matches(']'));
        } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ") {
            assert!(named.insert(format!("{section}{key}")), "{section}{key} is there twice");
        }
    }
    assert_eq!(named, keys(&defaults));
}

/// What is commented out can be used as it stands.
#[test]
fn what_has_no_default_is_shown_in_a_form_that_works() {
    let lines = read("deploy/wharf.toml");
    let all: Vec<_> = lines
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|line| line.contains(" = ")).unwrap_or(line))
        .collect();
    let config: Config = toml::from_str(&all.join("\n")).unwrap();
    assert_eq!(keys(&config).len(), keys(&Config::default()).len());
    assert!(config.ledger.url.is_some() && config.ledger.dedup_window.is_some(), "{config:?}");
}

#[test]
fn the_image_has_every_component() {
    let folders = fs::read_dir(root().join("components")).unwrap().map(|one| one.unwrap().path());
    let shipped = folders.filter(|folder| folder.join("component.toml").is_file());
    let mut names: Vec<_> =
        shipped.map(|folder| folder.file_name().unwrap().display().to_string()).collect();
    names.sort();
    let file = read("deploy/Dockerfile");
    let built: Vec<_> = names.iter().map(|name| format!("-p {name}")).collect();
    assert!(file.contains(&built.join(" ")), "not all of {names:?} are built in deploy/Dockerfile");
    let copied = format!("for name in {}; do", names.join(" "));
    assert!(file.contains(&copied), "not all of {names:?} are copied in deploy/Dockerfile");
}
