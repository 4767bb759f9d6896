//! Another version takes over while events flow; one that is not fit changes nothing.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wharf::catalog::load::{self, Offer};
use wharf::catalog::swap::{Report, Swapped};
use wharf::clock::{Clock as _, ManualClock};
use wharf::contract::Contracts;
use wharf::ledger::{Ledger, LedgerOptions, Why};
use wharf::name::ComponentId;
use wharf::problem::Problem;
use wharf::runtime::{Sandbox, SandboxConfig};
use wharf_tests::built;
use wharf_tests::host::{Host, Setup, THING, thing, with_time};

/// A component that takes each thing; `version` is all that tells two of them apart.
fn manifest(version: u32, more: &str) -> String {
    format!(
        "name = \"echo\"\nversion = \"{version}\"\norder = \"none\"\n[[on]]\nevent = \"{THING}\"\n{more}"
    )
}

const PUBLISH: &str = "[grants]\npublish = [\"com.todo.echo.v1\"]\n";

/// A table to be written, which the guest does not use; `columns` is what its statement gives.
fn with_table(columns: &str) -> String {
    format!(
        "[grants]\npublish = [\"com.todo.echo.v1\"]\ntables = {{ notes = \"write\" }}\n\
         [sql.note]\nexecute = \"INSERT INTO notes VALUES ({columns})\"\n"
    )
}

fn setup(more: &str) -> Setup {
    Setup::bare().things().guest("echo", built::ECHO_PUBLISH, &manifest(1, more))
}

/// Where a test makes the versions that it offers.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn offer(&self, wasm: impl AsRef<Path>, manifest: &str, migrations: &[(&str, &str)]) -> Offer {
        let folder = self.0.path().join("echo");
        _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("component.toml"), with_time(manifest)).unwrap();
        for database in ["sqlite", "postgres"] {
            let folder = folder.join("migrations").join(database);
            fs::create_dir_all(&folder).unwrap();
            for (name, sql) in migrations {
                fs::write(folder.join(name), sql).unwrap();
            }
        }
        load::read(&folder, wasm.as_ref()).unwrap()
    }

    fn echo(&self, manifest: &str) -> Offer {
        self.offer(built::ECHO_PUBLISH, manifest, &[])
    }
}

async fn swap(host: &Host, offer: Offer) -> Result<Swapped, Vec<Problem>> {
    host.app.swapper.swap(offer, Why::Build).await
}

async fn swapped(host: &Host, offer: Offer) -> Report {
    match swap(host, offer).await {
        Ok(Swapped::New(report)) => report,
        other => panic!("{other:?}"),
    }
}

async fn shown(host: &Host) -> Value {
    let (status, component) = host.admin("/components/echo").await;
    assert_eq!(status.as_u16(), 200, "{component}");
    component
}

/// Whose versions handled the events, in order of entry.
async fn digests(host: &Host) -> Vec<String> {
    let rows = host.rows("SELECT lower(hex(digest)) FROM wharf_deliveries ORDER BY sequence").await;
    rows.into_iter().flatten().collect()
}

#[tokio::test]
async fn under_load_nothing_is_lost_and_nothing_fails() {
    const SIZE: u32 = 10;
    let (host, bench) = (setup(PUBLISH).start().await, Bench::new());
    let process = shown(&host).await["digest"].clone();
    let (sent, over) = (Cell::new(0), Cell::new(false));
    let load = async {
        while !over.get() {
            let numbers = sent.get()..sent.get() + SIZE;
            sent.set(numbers.end);
            let events: Vec<_> = numbers.map(|n| thing(n, &format!("s{n}"), n)).collect();
            let answers = host.deliver_bulk("things", &events).await;
            assert!(answers.iter().all(|answer| answer == "SUCCESS"), "{answers:?}");
        }
    };
    let swaps = async {
        for version in 2..7 {
            let handled = digests(&host).await.len() + 40;
            let goes_on = async |host: &Host| digests(host).await.len() >= handled;
            host.until("the load goes on", goes_on).await;
            swapped(&host, bench.echo(&manifest(version, PUBLISH))).await;
        }
        over.set(true);
    };
    tokio::join!(load, swaps);
    host.settle().await;

    let states = host.rows("SELECT status, attempts, count(*) FROM wharf_deliveries GROUP BY 1, 2");
    assert_eq!(states.await, [["done", "1", &sent.get().to_string()]]);
    let mut echoed: Vec<_> =
        host.messages("echoes").await.iter().map(|e| e["data"].as_u64()).collect();
    echoed.sort();
    assert_eq!(echoed, (0..u64::from(sent.get())).map(Some).collect::<Vec<_>>());
    let by_digest = host.rows("SELECT DISTINCT lower(hex(digest)) FROM wharf_deliveries").await;
    assert!(by_digest.len() > 3, "each version had its part: {by_digest:?}");

    host.deliver("things", thing(1_000_000, "s", 1).to_string()).await;
    host.settle().await;
    let now = shown(&host).await;
    assert_ne!(now["digest"], process);
    assert_eq!(digests(&host).await.last().map(String::as_str), now["digest"].as_str());
    let releases: Vec<_> = now["releases"].as_array().unwrap().iter().collect();
    let told: Vec<_> = releases.iter().map(|r| (&r["version"], &r["why"])).collect();
    assert_eq!(told[0], (&json!("6"), &json!("build")));
    assert_eq!(told[5], (&json!("1"), &json!("start")));
    assert_eq!((told.len(), &releases[0]["digest"]), (6, &now["digest"]));
    host.stop().await;
}

#[tokio::test]
async fn what_began_ends_on_the_version_that_it_began_with() {
    // The guest that never returns is stopped after its time.
    let never = manifest(1, "[limits]\ntime = \"10s\"\nfuel = 100_000_000_000\n");
    let host = Setup::bare().things().guest("echo", built::SPIN, &never).start().await;
    let name = ComponentId::new("echo").unwrap();
    let (old, ended) = {
        let catalog = host.app.registry.snapshot();
        let old = catalog.component(&name).unwrap();
        (old.digest().to_owned(), old.ended())
    };
    let running = host.deliver("things", thing(1, "s", 1).to_string());
    let swapping = async {
        host.until("it runs", async |host| shown(host).await["in_flight"] == 1).await;
        let report = swapped(&host, Bench::new().echo(&manifest(2, PUBLISH))).await;
        assert!(!ended.is_cancelled(), "the old version is at work");
        assert_eq!(report.from.as_ref(), Some(&old));
        host.deliver("things", thing(2, "s2", 2).to_string()).await;
        assert!(!ended.is_cancelled(), "the next event did not wait for it");
        report.to
    };
    let (_, new) = tokio::join!(running, swapping);
    host.settle().await;
    host.until("the old version is done", async |_| ended.is_cancelled()).await;
    let states = host
        .rows("SELECT event_id, status, lower(hex(digest)) FROM wharf_deliveries ORDER BY 1")
        .await;
    assert_eq!(states, [["thing-1", "parked", &old], ["thing-2", "done", &new]]);

    // Its second attempt runs what is there now.
    host.advance(std::time::Duration::from_secs(1)).await;
    let states = host
        .rows("SELECT event_id, status, lower(hex(digest)) FROM wharf_deliveries ORDER BY 1")
        .await;
    assert_eq!(states, [["thing-1", "done", &new], ["thing-2", "done", &new]]);
    host.stop().await;
}

/// Wasm, manifest, migrations, and what is said of them.
type Case = (PathBuf, String, &'static [(&'static str, &'static str)], &'static str);

const TWICE: &str = "CREATE TABLE notes (a TEXT);\nCREATE TABLE notes (a TEXT);";

#[tokio::test]
async fn what_is_not_fit_changes_nothing_and_says_why() {
    let (host, bench) = (setup(PUBLISH).start().await, Bench::new());
    let running = shown(&host).await["digest"].clone();
    let file = |name: &str, bytes: &[u8]| {
        let path = bench.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let echo = Path::new(built::ECHO_PUBLISH).to_owned();
    // A component in WebAssembly's own format that exports nothing.
    let empty = file("empty.wasm", b"\0asm\x0d\0\x01\0");
    let cases: [Case; 7] = [
        (file("no.wasm", b"not wasm"), manifest(2, PUBLISH), &[], "not a WebAssembly component"),
        (empty, manifest(2, PUBLISH), &[], "does not fit the world"),
        (built::CAPABILITIES.into(), manifest(2, PUBLISH), &[], "grants nothing for"),
        (
            echo.clone(),
            manifest(2, "[sql.s]\nquery = \"SELECT * FROM wharf_deliveries\"\n"),
            &[],
            "the host's own",
        ),
        (
            echo.clone(),
            manifest(2, &with_table("$1")),
            &[],
            "[sql.note] of `echo` does not fit the tables",
        ),
        (echo.clone(), manifest(2, &with_table("$1")), &[("1.sql", TWICE)], "already exists"),
        (
            echo,
            manifest(2, &with_table("$1, $2")),
            &[("1.sql", "CREATE TABLE notes (a TEXT)")],
            "[sql.note] of `echo` does not fit the tables",
        ),
    ];
    for (number, (wasm, manifest, migrations, says)) in cases.into_iter().enumerate() {
        let problems = swap(&host, bench.offer(wasm, &manifest, migrations)).await.unwrap_err();
        let problems: String = problems.iter().map(ToString::to_string).collect();
        assert!(problems.contains(says), "`{problems}` does not say `{says}`");
        let now = shown(&host).await;
        assert_eq!((&now["status"], &now["offered"]), (&json!("running"), &json!("refused")));
        assert_eq!((&now["digest"], &now["version"]), (&running, &json!("1")), "{says}");
        let reason = now["refused"]["reason"].as_str().unwrap();
        assert!(reason.contains(says), "{reason}");
        assert_eq!(now["refused"]["at"], "2026-01-01T00:00:00Z");
        assert_eq!(now["releases"].as_array().unwrap().len(), 1, "{says}");
        let table = host.app.ledger.prepare("SELECT 1 FROM notes").await;
        assert!(table.is_err(), "nothing of a migration is left: {says}");

        let number = u32::try_from(number).unwrap();
        host.deliver("things", thing(number, "s", number).to_string()).await;
        host.settle().await;
        assert_eq!(host.messages("echoes").await.len(), number as usize + 1, "it runs on: {says}");
    }
    assert!(digests(&host).await.iter().all(|digest| running == digest.as_str()));

    let good = bench.offer(
        built::ECHO_PUBLISH,
        &manifest(2, &with_table("$1")),
        &[("1.sql", "CREATE TABLE notes (a TEXT)")],
    );
    assert_eq!(swapped(&host, good).await.applied, ["echo/1.sql"]);
    let now = shown(&host).await;
    assert_eq!((&now["refused"], &now["offered"]), (&Value::Null, &json!("running")));
    host.stop().await;
}

#[tokio::test]
async fn a_migration_must_leave_the_running_version_its_statements() {
    let first = "CREATE TABLE notes (a TEXT); CREATE TABLE marks (b TEXT)";
    // Once `notes` has a `b` too, it is not clear whose it is.
    let note = |b: &str| {
        format!(
            "[grants]\npublish = [\"com.todo.echo.v1\"]\n\
             tables = {{ notes = \"write\", marks = \"write\" }}\n[sql.note]\nexecute = \"\
             INSERT INTO notes (a) SELECT $1 WHERE NOT EXISTS (SELECT {b} FROM notes, marks)\"\n"
        )
    };
    let host = setup(&note("b")).migration("echo", first).start().await;
    let bench = Bench::new();
    let more = ("2.sql", "ALTER TABLE notes ADD COLUMN b TEXT");
    let first = ("0001_tables.sql", first);
    let offer = bench.offer(built::ECHO_PUBLISH, &manifest(2, &note("marks.b")), &[first, more]);
    let problems = swap(&host, offer).await.unwrap_err();
    let said = problems[0].to_string();
    assert!(said.contains("[sql.note] of the running `echo` does not fit the tables"), "{said}");
    assert!(host.app.ledger.prepare("SELECT b FROM notes").await.is_err(), "it is taken back");
    host.stop().await;
}

/// A component of a start: its folder and name, the rest of its manifest, and its migrations.
type Start<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// Gives what is said when the start is refused; and whether the table and a release are there.
async fn start(offers: &[Start<'_>]) -> (Result<(), String>, [bool; 2]) {
    let folder = TempDir::new().unwrap();
    let read = |(name, rest, migrations): &Start<'_>| {
        let folder = folder.path().join(name);
        fs::create_dir_all(folder.join("migrations/sqlite")).unwrap();
        let manifest = manifest(1, rest).replace("echo\"", &format!("{name}\""));
        fs::write(folder.join("component.toml"), manifest).unwrap();
        for (name, sql) in *migrations {
            fs::write(folder.join("migrations/sqlite").join(name), sql).unwrap();
        }
        load::read(&folder, Path::new(built::ECHO_PUBLISH)).unwrap()
    };
    let offers: Vec<_> = offers.iter().map(read).collect();
    let names: Vec<_> = offers.iter().map(|offer| offer.manifest.name.clone()).collect();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let options = LedgerOptions::at(folder.path().join("ledger.db"));
    let ledger = Ledger::open(options, &tasks, stop.clone()).await.unwrap();
    let cache = Some(Path::new(built::AUDIT).with_file_name("compiled"));
    let sandbox = Sandbox::new(SandboxConfig { cache, ..SandboxConfig::default() }).unwrap();
    let at = ManualClock::default().now();
    let loaded = load::load(Contracts::default(), offers, &sandbox, &ledger, at).await;
    let said = loaded.map(|_| ()).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    });
    let has_table = ledger.prepare("SELECT * FROM notes").await.is_ok();
    let mut has_release = false;
    for name in &names {
        has_release |= !ledger.releases(name, 1).await.unwrap().is_empty();
    }
    stop.cancel();
    (said, [has_table, has_release])
}

const NOTES: (&str, &str) = ("1.sql", "CREATE TABLE notes (a TEXT)");
const WIDER: (&str, &str) = ("2.sql", "ALTER TABLE notes ADD COLUMN b TEXT");

#[tokio::test]
async fn a_start_takes_what_fits_together_whatever_its_folders_are_called() {
    let reads = "[grants]\npublish = [\"com.todo.echo.v1\"]\ntables = { notes = \"read\" }\n\
                 [sql.read]\nquery = \"SELECT a FROM notes\"\n";
    let makes = with_table("$1");
    for [reader, maker] in [["aaa", "bbb"], ["bbb", "aaa"]] {
        let mut offers = [(reader, reads, &[][..]), (maker, &makes, &[NOTES][..])];
        offers.sort_by_key(|(name, _, _)| *name);
        assert_eq!(start(&offers).await, (Ok(()), [true, true]), "{reader} reads");
    }
}

#[tokio::test]
async fn a_start_refuses_what_a_swap_would_and_changes_nothing_then() {
    let (one, two) = (with_table("$1"), with_table("$1, $2"));
    for [narrow, wide] in [["aaa", "bbb"], ["bbb", "aaa"]] {
        let mut offers = [(narrow, &*one, &[][..]), (wide, &*two, &[NOTES, WIDER][..])];
        offers.sort_by_key(|(name, _, _)| *name);
        let (said, left) = start(&offers).await;
        let said = said.unwrap_err();
        let statement = format!("{narrow}/component.toml: [sql.note] of `{narrow}` does not fit");
        assert!(said.contains(&statement), "{said}");
        assert_eq!(left, [false, false], "tables, releases");
    }
    let broken = [("aaa", &*one, &[NOTES][..]), ("bbb", &*one, &[("1.sql", TWICE)][..])];
    let (said, left) = start(&broken).await;
    let said = said.unwrap_err();
    assert!(said.contains("bbb/component.toml: migration `bbb/1.sql` failed"), "{said}");
    assert_eq!(left, [false, false], "tables, releases");
}

#[tokio::test]
async fn grants_that_reach_further_are_told() {
    let (host, bench) = (setup(PUBLISH).start().await, Bench::new());
    let wider = "[grants]\npublish = [\"com.todo.echo.v1\", \"com.todo.flood.v1\"]\n\
                 tables = { notes = \"read\" }\n";
    let report = swapped(&host, bench.echo(&manifest(2, wider))).await;
    assert_eq!(report.wider, ["publish com.todo.flood.v1", "tables notes (read)"]);
    let narrower = swapped(&host, bench.echo(&manifest(3, PUBLISH))).await;
    assert!(narrower.wider.is_empty(), "{narrower:?}");
    assert_eq!(narrower.from, Some(report.to));
    host.stop().await;
}

#[tokio::test]
async fn ticks_that_begin_only_at_the_next_start_are_told() {
    let (host, bench) = (setup(PUBLISH).start().await, Bench::new());
    let ticked = |version| {
        let wants = "[[on]]\nbinding = \"reminder-cron\"\n[[on]]\nbinding = \"reminder-cron\"\n";
        bench.echo(&manifest(version, &format!("{wants}{PUBLISH}")))
    };
    let report = swapped(&host, ticked(2)).await;
    let says = "ticks of `reminder-cron` begin at the next start: Dapr asks once";
    assert_eq!(report.later, [says]);
    assert_eq!(serde_json::to_value(&report).unwrap()["later"][0], says);
    let again = swapped(&host, ticked(3)).await;
    assert!(again.later.is_empty(), "it is wanted already: {again:?}");
    host.stop().await;
}

#[tokio::test]
async fn what_runs_already_is_no_news_and_a_start_again_neither() {
    let (host, bench) = (setup(PUBLISH).start().await, Bench::new());
    assert_eq!(swap(&host, bench.echo(&manifest(1, PUBLISH))).await.unwrap(), Swapped::Same);
    let host = host.restart().await;
    let releases = shown(&host).await["releases"].clone();
    assert_eq!(releases.as_array().unwrap().len(), 1, "{releases}");

    let digest = releases[0]["digest"].as_str().unwrap();
    let name = ComponentId::new("echo").unwrap();
    let bundle = host.app.ledger.bundle(&name, digest).await.unwrap().unwrap();
    let kept = wharf::catalog::bundle::unpack(&bundle, "kept").unwrap();
    assert_eq!(kept.digest, digest, "what was kept is what ran");
    host.stop().await;
}

#[tokio::test]
async fn a_component_that_is_new_takes_the_next_event() {
    let host = Setup::bare().things().start().await;
    let (status, error) = host.admin("/components/echo").await;
    assert_eq!(status.as_u16(), 404);
    assert!(error["error"].as_str().unwrap().contains("see GET /components"), "{error}");
    let bench = Bench::new();
    let broken = bench.echo(&manifest(1, "[sql.s]\nquery = \"SELECT a FROM nothing\"\n"));
    assert!(swap(&host, broken).await.is_err());
    assert_eq!(shown(&host).await["status"], "not running");

    let report = swapped(&host, bench.echo(&manifest(1, PUBLISH))).await;
    assert_eq!((report.from, report.wider), (None, Vec::new()));
    host.deliver("things", thing(1, "s", 1).to_string()).await;
    host.settle().await;
    assert_eq!(host.messages("echoes").await.len(), 1);
    assert_eq!(shown(&host).await["status"], "running");
    host.stop().await;
}
