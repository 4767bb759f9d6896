//! `wharf dev` while sources change: what is built again, what is said of it, and what runs on.

use std::fs;

use serde_json::{Value, json};
use tokio::process::Command;
use wharf_tests::built;

use crate::program::{Place, Running, copy, until};

const TYPE: &str = "com.todo.task.created.v1";
const TINY: &str = "components/tiny/component.toml";
const SOURCE: &str = "components/tiny/src/lib.rs";

/// A component that is built by copying `next.wasm`.
fn manifest(name: &str) -> String {
    format!(
        "name = \"{name}\"\nversion = \"1\"\n[build]\ncommand = \"cp ../../next.wasm {name}.wasm\"\n\
         output = \"{name}.wasm\"\n[[on]]\nevent = \"{TYPE}\"\n\
         [grants]\npublish = [\"com.todo.echo.v1\"]\n"
    )
}

/// A folder with one component, `tiny`.
fn place() -> Place {
    let place = Place::new();
    fs::remove_dir_all(place.path("components/audit")).unwrap();
    place.write(TINY, &manifest("tiny"));
    place.write(SOURCE, "// first");
    fs::copy(built::ECHO_PUBLISH, place.path("next.wasm")).unwrap();
    place
}

async fn said(place: &Place, text: &str) {
    until(&format!("`{text}` is said"), async || place.stderr().contains(text)).await;
}

async fn shown(running: &Running, name: &str) -> Value {
    let all: Value = serde_json::from_str(&running.admin("/components").await).unwrap();
    let found = all.as_array().unwrap().iter().find(|component| component["name"] == name);
    found.cloned().unwrap_or(Value::Null)
}

#[tokio::test]
async fn a_changed_source_is_built_and_swapped_in() {
    let place = place();
    let running = place.start_building().await;
    let (process, before) = (running.process(), shown(&running, "tiny").await);
    fs::copy(built::SURROUNDINGS, place.path("next.wasm")).unwrap();
    place.write(SOURCE, "// second");
    said(&place, "swapped to").await;
    let after = shown(&running, "tiny").await;
    assert_ne!(after["digest"], before["digest"]);
    let short = |shown: &Value| shown["digest"].as_str().unwrap()[..8].to_owned();
    said(&place, &format!("swapped to {}… (was {}…)", short(&after), short(&before))).await;
    assert!(place.stderr().contains("tiny: rebuilt in "), "{}", place.stderr());
    assert_eq!(running.process(), process);

    // What the build writes beside its sources brings no further build: `tiny` is looked at again
    // before a new component whose name comes later.
    place.write("components/zebra/component.toml", &manifest("zebra"));
    said(&place, "zebra: rebuilt in ").await;
    assert_eq!(place.stderr().matches("building tiny").count(), 2, "{}", place.stderr());
    assert_eq!(running.signal("INT").await.code(), Some(0), "{}", place.stderr());
}

#[tokio::test]
async fn what_does_not_build_or_load_leaves_the_old_one_running_and_says_why() {
    let place = place();
    let running = place.start_building().await;
    let digest = shown(&running, "tiny").await["digest"].clone();
    let good = fs::read_to_string(place.path(TINY)).unwrap();
    let copy = "cp ../../next.wasm tiny.wasm";
    let runs_on = format!("{}… runs on", &digest.as_str().unwrap()[..8]);
    for (from, to, says, what) in [
        (copy, "echo no luck; false", "no luck", "does not build"),
        ("version", "vorsion", "did you mean `version`?", "refused"),
        (copy, "echo no wasm > tiny.wasm", "not a WebAssembly component", "refused"),
        ("[grants]", "[sql.s]\nquery = \"SELECT * FROM t\"\n[grants]", "table `t`", "refused"),
    ] {
        let told = place.stderr().len();
        place.write(TINY, &good.replace(from, to));
        let last = format!("tiny: {what}, {runs_on}");
        let is_told = async || place.stderr()[told..].contains(&last);
        until(&format!("`{last}` is said of {to}"), is_told).await;
        assert!(place.stderr()[told..].contains(says), "{}", &place.stderr()[told..]);
        let now = shown(&running, "tiny").await;
        assert_eq!((&now["digest"], &now["status"]), (&digest, &json!("running")), "{to}");
        let reason = now["refused"]["reason"].as_str().unwrap();
        assert!(reason.contains(says), "{reason}");
    }
    let admin = format!("http://{}", running.admin);
    let listed = place.run(&["components", "--admin", &admin]).await;
    assert_eq!(listed.code, Some(1), "{listed:?}");
    assert!(listed.stdout.contains("NAME") && listed.stdout.contains("refused at "), "{listed:?}");
    let one = place.run(&["components", "tiny", "--admin", &admin]).await;
    assert!(one.stdout.contains("table `t`") && one.stdout.contains("releases"), "{one:?}");

    place.write(TINY, &good);
    said(&place, "the same as before").await;
    let listed = place.run(&["components", "--json", "--admin", &admin]).await;
    assert_eq!((listed.code, &listed.json()[0]["refused"]), (Some(0), &Value::Null));
    assert_eq!(running.signal("INT").await.code(), Some(0), "{}", place.stderr());
}

#[tokio::test]
async fn folders_come_and_go() {
    let place = place();
    let running = place.start_building().await;
    place.write("components/second/component.toml", &manifest("second"));
    said(&place, "second: rebuilt in ").await;
    until("it runs", async || shown(&running, "second").await["status"] == "running").await;

    fs::rename(place.path("components/tiny"), place.path("elsewhere")).unwrap();
    said(&place, "the next start is without it").await;
    let gone = shown(&running, "tiny").await;
    assert_eq!((&gone["status"], &gone["offered"]), (&json!("running"), &json!("gone")));
    let admin = format!("http://{}", running.admin);
    let listed = place.run(&["components", "--admin", &admin]).await;
    assert_eq!(listed.code, Some(1), "{listed:?}");
    assert!(listed.stdout.contains("its folder is gone"), "{listed:?}");

    fs::rename(place.path("elsewhere"), place.path("components/tiny")).unwrap();
    until("it is back", async || shown(&running, "tiny").await["offered"] == "running").await;
    assert_eq!(running.signal("INT").await.code(), Some(0), "{}", place.stderr());
}

#[tokio::test]
async fn a_name_belongs_to_one_folder_until_that_gives_it_up() {
    let place = place();
    let running = place.start_building().await;
    copy(&place.path("components/tiny"), &place.path("components/tiny2"));
    said(&place, "component `tiny` is also offered by components/tiny").await;
    said(&place, "tiny2: refused").await;
    let second = shown(&running, "tiny2").await;
    assert_eq!((&second["status"], &second["offered"]), (&json!("not running"), &json!("refused")));
    let first = shown(&running, "tiny").await;
    assert_eq!((&first["offered"], &first["refused"]), (&json!("running"), &Value::Null));
    rebuilt(&place, |place| place.write(SOURCE, "// second")).await;
    said(&place, "tiny: rebuilt in ").await;
    assert_eq!(place.stderr().matches("tiny2: refused").count(), 1, "{}", place.stderr());

    let told = place.stderr().len();
    fs::remove_dir_all(place.path("components/tiny")).unwrap();
    let takes_over = async || place.stderr()[told..].contains("tiny: rebuilt in ");
    until("the other folder has the name", takes_over).await;
    assert_eq!(shown(&running, "tiny").await["offered"], "running");
    assert_eq!(shown(&running, "tiny2").await, Value::Null);
    assert_eq!(running.signal("INT").await.code(), Some(0), "{}", place.stderr());
}

#[tokio::test]
async fn what_was_refused_is_offered_again_when_another_brings_what_it_needs() {
    let place = place();
    let running = place.start_building().await;
    let table = "tables = { notes = \"write\" }\n";
    let reads = format!("{table}[sql.read]\nquery = \"SELECT a FROM notes\"\n");
    // A folder arrives whole, so that it brings a single look.
    let aside = Place::new();
    let arrive = |name: &str| {
        let from = aside.path("components").join(name);
        fs::rename(from, place.path("components").join(name)).unwrap();
    };
    still(&aside, "aaa", "", &reads);
    arrive("aaa");
    said(&place, "aaa: refused").await;
    assert_eq!(shown(&running, "aaa").await["status"], "not running");
    still(&aside, "bbb", "", table);
    let migration = "CREATE TABLE notes (a TEXT)";
    aside.write("components/bbb/migrations/sqlite/1.sql", migration);
    arrive("bbb");
    said(&place, "aaa: read again, runs as ").await;
    let stderr = place.stderr();
    for (said, times) in [("aaa: refused", 1), ("building aaa", 1), ("bbb: rebuilt in ", 1)] {
        assert_eq!(stderr.matches(said).count(), times, "{said}: {stderr}");
    }
    assert_eq!(shown(&running, "aaa").await["status"], "running");
    assert_eq!(running.signal("INT").await.code(), Some(0), "{}", place.stderr());
}

#[tokio::test]
async fn what_all_share_is_a_change_of_all_and_contracts_need_a_restart() {
    let place = place().own_contracts();
    let running = place.start_building().await;
    place.write("components/shared/src/lib.rs", "// a crate");
    until("all are built", async || place.stderr().matches("building tiny").count() == 2).await;
    place.edit("contracts/cloudevents/contract.toml", "retry = ", "# slower\nretry = ");
    said(&place, "the contracts changed; a restart applies them").await;
    assert_eq!(running.signal("TERM").await.code(), Some(0), "{}", place.stderr());
}

/// A component that is built already, by a command that writes nothing: what a build writes brings
/// one more look, which would see what is not watched as well.
fn still(place: &Place, name: &str, before: &str, more: &str) {
    let copy = format!("cp ../../next.wasm {name}.wasm");
    let manifest = manifest(name).replace(&copy, "true");
    place.component(name, built::ECHO_PUBLISH, &format!("{before}{manifest}{more}"));
}

/// Makes a change, and waits until `tiny` is built because of it.
async fn rebuilt(place: &Place, change: impl FnOnce(&Place)) {
    let told = place.stderr().len();
    change(place);
    let is_built = async || place.stderr()[told..].contains("built tiny");
    until("tiny is built again", is_built).await;
}

#[tokio::test]
async fn cargos_configuration_counts() {
    let place = place();
    still(&place, "tiny", "", "");
    place.write(".cargo/config.toml", "# first");
    let running = place.start_building().await;
    rebuilt(&place, |place| place.write(".cargo/config.toml", "# second")).await;
    rebuilt(&place, |place| fs::remove_dir_all(place.path(".cargo")).unwrap()).await;
    rebuilt(&place, |place| place.write(".cargo/config.toml", "# third")).await;
    rebuilt(&place, |place| place.write(".cargo/config.toml", "# fourth")).await;
    assert_eq!(running.signal("INT").await.code(), Some(0), "{}", place.stderr());
}

#[tokio::test]
async fn folders_that_are_made_again_are_watched_again() {
    let place = place().own_contracts();
    still(&place, "tiny", "", "");
    let running = place.start_building().await;
    for (folder, told) in
        [("components", "the next start is without it"), ("contracts", "the contracts changed")]
    {
        fs::rename(place.path(folder), place.path("elsewhere")).unwrap();
        said(&place, told).await;
        fs::rename(place.path("elsewhere"), place.path(folder)).unwrap();
    }
    until("it is back", async || shown(&running, "tiny").await["offered"] == "running").await;
    rebuilt(&place, |place| place.write(SOURCE, "// second")).await;
    rebuilt(&place, |place| place.write("wit/world.wit", "// first")).await;
    rebuilt(&place, |place| place.write("wit/world.wit", "// second")).await;
    assert_eq!(running.signal("INT").await.code(), Some(0), "{}", place.stderr());
}

#[tokio::test]
async fn another_components_migrations_and_crates_count_where_they_are_shared() {
    let place = place();
    let table = "tables = { notes = \"write\" }\n";
    still(&place, "tiny", "migrations = [\"../other/migrations\"]\n", table);
    still(&place, "other", "", table);
    place.write(
        "components/tiny/Cargo.toml",
        "[dependencies]\nfar = { path = \"../../far/away\" }\n",
    );
    place.write("far/away/src/lib.rs", "// first");
    place.write("components/other/migrations/sqlite/1.sql", "CREATE TABLE notes (a TEXT)");
    let running = place.start_building().await;
    let second = "ALTER TABLE notes ADD COLUMN b TEXT";
    rebuilt(&place, |place| place.write("components/other/migrations/sqlite/2.sql", second)).await;
    rebuilt(&place, |place| place.write("far/away/src/lib.rs", "// second")).await;
    rebuilt(&place, |place| place.write("far/away/src/lib.rs", "// third")).await;
    assert_eq!(running.signal("INT").await.code(), Some(0), "{}", place.stderr());
}

#[tokio::test]
async fn a_stop_ends_a_build_with_all_that_it_started() {
    let place = place();
    let running = place.start_building().await;
    let slow = "sleep 1000 & echo $! > ../../sleeper; wait";
    place.edit(TINY, "cp ../../next.wasm tiny.wasm", slow);
    until("it is building", async || place.path("sleeper").metadata().is_ok_and(|f| f.len() > 0))
        .await;
    let sleeper = fs::read_to_string(place.path("sleeper")).unwrap();
    assert_eq!(running.signal("INT").await.code(), Some(0), "{}", place.stderr());
    until("the build's processes are gone", async || !is_alive(sleeper.trim()).await).await;
}

#[tokio::test]
async fn a_build_is_over_when_its_command_is() {
    let place = place();
    let running = place.start_building().await;
    let leaves = "sleep 1000 & echo $! > ../../sleeper; cp ../../next.wasm tiny.wasm";
    place.edit(TINY, "cp ../../next.wasm tiny.wasm", leaves);
    said(&place, "tiny: rebuilt in ").await;
    let sleeper = fs::read_to_string(place.path("sleeper")).unwrap();
    assert!(is_alive(sleeper.trim()).await, "it holds the output open");
    let ended = Command::new("kill").arg(sleeper.trim()).status().await.unwrap();
    assert!(ended.success());
    assert_eq!(running.signal("INT").await.code(), Some(0), "{}", place.stderr());
}

/// A process that has ended and that nobody has waited for yet counts as gone.
async fn is_alive(process: &str) -> bool {
    let state = Command::new("ps").args(["-o", "stat=", "-p", process]).output().await.unwrap();
    let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
    !state.is_empty() && !state.starts_with('Z')
}

#[tokio::test]
async fn no_host_to_ask() {
    // Nothing listens on port 1.
    let place = Place::new().with("WHARF_ADMIN__ADDRESS", "127.0.0.1:1");
    let away = place.run(&["components"]).await;
    away.failed_with(&["no host answers at http://127.0.0.1:1", "`wharf dev`", "--admin URL"]);
}
