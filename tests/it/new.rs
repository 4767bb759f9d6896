//! `wharf new`, to the end: what it makes builds, runs, and passes its test.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::process::Command;
use wharf_tests::built;
use wharf_tests::host::root;

use crate::program::{Place, until};

/// A workspace like this one, with nothing in it but `components/`.
fn workspace() -> Place {
    let place = Place::new();
    fs::remove_dir_all(place.path("components/audit")).unwrap();
    for file in ["Cargo.lock", "rust-toolchain.toml", ".cargo/config.toml"] {
        place.write(file, &fs::read_to_string(root().join(file)).unwrap());
    }
    let ours = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let lines = ours.lines().filter(|line| !line.starts_with("wharf = ")).map(|line| {
        match line.split_once(" = ") {
            Some(("members", _)) => "members = [\"components/*\"]",
            Some(("default-members", _)) => "",
            _ => line,
        }
    });
    place.write("Cargo.toml", &lines.collect::<Vec<_>>().join("\n"));
    crate::program::copy(&root().join("wit"), &place.path("wit"));
    place.with("CARGO_TARGET_DIR", target().display()).with("CARGO_NET_OFFLINE", true)
}

/// Where the guests were built: what they depend on is there already.
fn target() -> PathBuf {
    Path::new(built::AUDIT).ancestors().nth(3).unwrap().to_owned()
}

#[tokio::test]
async fn it_is_picked_up_and_passes_its_test() {
    let place = workspace();
    let running = place.start_building().await;
    let made = place.run(&["new", "greeter"]).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    for says in ["made components/greeter", "cargo test -p greeter", "wharf dev"] {
        assert!(made.stdout.contains(says), "no `{says}` in {}", made.stdout);
    }
    until("it runs", async || place.stderr().contains("greeter: rebuilt in ")).await;
    let place = place.with("DAPR_HTTP_PORT", running.dapr.port());
    let emitted = place.run(&["emit", "com.todo.task.created.v1"]).await;
    assert_eq!(emitted.code, Some(0), "{emitted:?}");
    let path = "/deliveries?component=greeter&status=done";
    let deliveries =
        async || -> Vec<Value> { serde_json::from_str(&running.admin(path).await).unwrap() };
    until("it has greeted", async || !deliveries().await.is_empty()).await;

    let taken = place.run(&["new", "greeter"]).await;
    taken.failed_with(&["components/greeter is there already", "choose another name"]);
    assert_eq!(running.signal("INT").await.code(), Some(0), "{}", place.stderr());

    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--offline", "-p", "greeter"]).current_dir(place.path("."));
    let tested = cargo.env("CARGO_TARGET_DIR", target()).output().await.unwrap();
    let told = String::from_utf8_lossy(&tested.stdout);
    assert!(
        told.contains("test result: ok. 2 passed"),
        "{told}{}",
        String::from_utf8_lossy(&tested.stderr)
    );
}

#[tokio::test]
async fn names_that_cannot_be_are_refused() {
    let place = workspace();
    place.run(&["new", "serde"]).await.failed_with(&["`serde`", "depends on", "choose another"]);
    place.run(&["new", "match"]).await.failed_with(&["`match` cannot be the name of a crate"]);
    let wrong = place.run(&["new", "Greeter"]).await;
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.stderr.contains("use 1 to 63 of a-z, 0-9 and -"), "{wrong:?}");
    assert!(fs::read_dir(place.path("components")).unwrap().next().is_none());
}

#[tokio::test]
async fn outside_a_workspace_it_brings_what_it_needs() {
    let place = Place::new();
    let made = place.run(&["new", "greeter"]).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(made.stdout.contains("(cd components/greeter && cargo test)"), "{made:?}");
    for file in ["wit/world.wit", "wit/deps/wasi-logging/logging.wit", ".cargo/config.toml"] {
        assert!(place.path("components/greeter").join(file).is_file(), "{file}");
    }
    let checked = place.run(&["check", "components/greeter"]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let lib = fs::read_to_string(place.path("components/greeter/src/lib.rs")).unwrap();
    assert!(lib.contains("path: \"wit\""), "{lib}");
}
