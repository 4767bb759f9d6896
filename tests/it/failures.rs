//! A component that fails costs its own deliveries and nothing else: they come again on the
//! contract's schedule, then they are dead, and every place that should tell of it does.

use std::time::Duration;

use serde_json::{Value, json};
use wharf_tests::built;
use wharf_tests::host::{Host, Setup, THING, on_postgres, thing};

/// A manifest for events of the contract `things`.
fn manifest(name: &str, rest: &str) -> String {
    format!("name = \"{name}\"\nversion = \"1\"\n{rest}\n[[on]]\nevent = \"{THING}\"\n")
}

fn guest(setup: Setup, name: &str, wasm: &str, rest: &str) -> Setup {
    setup.guest(name, wasm, &manifest(name, rest))
}

/// State of each delivery of a component, in order of entry.
async fn states(host: &Host, component: &str) -> Vec<String> {
    let deliveries = host.deliveries().await;
    let states = deliveries.iter().filter_map(|row| row[0].strip_prefix(component));
    states.map(|state| state.trim().to_owned()).collect()
}

#[tokio::test]
async fn a_guest_that_traps_on_one_event_of_many() {
    let setup = guest(Setup::audit().things(), "fragile", built::TRAP, "");
    let host = setup.start().await;
    let data = |number| if number == 3 { "panic" } else { "fine" };
    let bulk: Vec<_> = (1..=5).map(|n| thing(n, &format!("s-{n}"), data(n))).collect();
    assert_eq!(host.deliver_bulk("things", &bulk).await, ["SUCCESS"; 5]);
    host.settle().await;

    let mut others = states(&host, "fragile").await;
    others.sort();
    assert_eq!(others, ["done 1", "done 1", "done 1", "done 1", "parked 1"]);
    assert_eq!(states(&host, "audit").await, ["done 1"; 5]);

    // It comes again after 1 s, 2 s and 4 s, and not before.
    for (attempts, seconds) in [(1, 1), (2, 2), (3, 4)] {
        let wait = Duration::from_secs(seconds);
        host.advance(wait - Duration::from_millis(1)).await;
        assert_eq!(failed(&host).await, json!(["parked", attempts]));
        assert!(host.messages("things-dlq").await.is_empty());
        host.advance(Duration::from_millis(1)).await;
    }
    assert_eq!(failed(&host).await, json!(["dead", 4]));
    host.advance(Duration::from_secs(3600)).await;
    assert_eq!(failed(&host).await, json!(["dead", 4]));

    let reason = told_of(&host).await;
    assert!(reason.contains("the handler trapped: panicked at"), "{reason}");
    assert!(reason.contains("cannot digest thing-3"), "{reason}");
    let labels = format!("{{consumer=\"fragile\",event_type=\"{THING}\"}}");
    assert_eq!(host.count(&format!("event_processing_errors_total{labels}")).await, 4);
    let consumed = format!(
        "events_consumed_total{{topic=\"things\",consumer=\"fragile\",event_type=\"{THING}\"}}"
    );
    assert_eq!(host.count(&consumed).await, 4);

    // Whatever dapr sends again now changes nothing.
    assert_eq!(host.deliver_bulk("things", &bulk).await, ["SUCCESS"; 5]);
    host.settle().await;
    assert_eq!(host.rows("SELECT count(*) FROM audit_log").await, [["6"]]);
    assert_eq!(host.messages("things-dlq").await.len(), 1);
    host.stop().await;
}

/// Status and attempts of the one delivery that did not go well.
async fn failed(host: &Host) -> Value {
    let shown = host.shown("fragile").await;
    let failed: Vec<_> = shown.iter().filter(|delivery| delivery["status"] != "done").collect();
    let [failed] = failed[..] else { panic!("{failed:?}") };
    json!([failed["status"], failed["attempts"]])
}

/// The delivery, its dead letter and its audit row say the same, once; gives the reason.
async fn told_of(host: &Host) -> String {
    let dead = host.admin("/deliveries?component=fragile&status=dead").await.1;
    let [dead] = dead.as_array().unwrap().as_slice() else { panic!("{dead}") };
    let reason = dead["error"].as_str().unwrap().to_owned();
    let letters = host.messages("things-dlq").await;
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((&letter["id"], &letter["subject"]), (&json!("thing-3"), &json!("s-3")));
    assert_eq!(letter["data"], "panic");
    assert_eq!(letter["wharfreason"], reason.as_str());
    assert_eq!(
        (&letter["wharfattempts"], &letter["wharfcomponent"]),
        (&json!(4), &json!("fragile"))
    );
    assert_eq!(letter["wharftime"], "2026-01-01T00:00:07.000000Z");
    let audited = host
        .rows("SELECT error, attempts FROM audit_log WHERE type = 'com.todo.audit.failed.v1'")
        .await;
    assert_eq!(audited, [[&reason, "4"]]);
    reason
}

#[tokio::test]
async fn a_rejected_event_is_dead_at_once() {
    let sql = "[grants]\ntables = { counts = \"write\" }\n\
        [sql.find]\nquery = \"SELECT n FROM counts WHERE id = $1\"\n\
        [sql.set]\nexecute = \"UPDATE counts SET n = $2 WHERE id = $1\"\n";
    let host = guest(Setup::audit().things(), "ask", built::ASK, sql)
        .migration("ask", "CREATE TABLE counts (id TEXT PRIMARY KEY, n INTEGER NOT NULL)")
        .start()
        .await;
    let (_, answer) = host.deliver("things", thing(1, "nowhere", 1).to_string()).await;
    assert_eq!(answer, json!({ "status": "SUCCESS" }));
    host.settle().await;
    let deliveries = host.deliveries().await;
    let rejected = ["ask dead 1", "rejected: there is no such row"].map(str::to_owned);
    assert!(deliveries.contains(&rejected.to_vec()), "{deliveries:?}");
    assert_eq!(host.messages("things-dlq").await[0]["wharfattempts"], 1);
    host.stop().await;
}

#[tokio::test]
async fn each_misbehaviour_ends_its_own_delivery_and_is_named() {
    let echoes = "[grants]\npublish = [\"com.todo.echo.v1\"]";
    let guests = [
        ("spin", built::SPIN, "[limits]\ntime = \"50ms\"\nfuel = 1_000_000_000_000", "50ms"),
        ("thirsty", built::SPIN, "[limits]\ntime = \"10s\"\nfuel = 100_000", "fuel of 100000"),
        ("grab-memory", built::GRAB_MEMORY, "[limits]\nmemory = \"4MiB\"", "4194304 bytes"),
        (
            "flood-effects",
            built::FLOOD_EFFECTS,
            "[grants]\npublish = [\"com.todo.flood.v1\"]\n[limits]\neffects = 70",
            "more than 70 effects",
        ),
        (
            "garbage",
            built::GARBAGE,
            "[grants]\npublish = [\"com.todo.granted.v1\"]\ntables = { t = \"write\" }\n\
             [sql.insert]\nexecute = \"INSERT INTO t (a) VALUES ($1)\"",
            "ää",
        ),
        (
            "ungranted",
            built::UNGRANTED,
            "[grants]\npublish = [\"com.todo.granted.v1\"]\n[sql.s]\nquery = \"SELECT 1\"",
            "event type `com.todo.secret.v1` is not granted to `ungranted`; add it under [grants] publish",
        ),
    ];
    let mut setup = guest(Setup::audit().things(), "echo", built::ECHO_PUBLISH, echoes);
    for (name, wasm, rest, _) in guests {
        setup = guest(setup, name, wasm, rest);
    }
    let host = setup.migration("garbage", "CREATE TABLE t (a TEXT)").start().await;
    let (_, answer) = host.deliver("things", thing(1, "s-1", "monstrous").to_string()).await;
    assert_eq!(answer, json!({ "status": "SUCCESS" }));
    host.settle().await;

    for (name, _, _, says) in guests {
        let shown = host.shown(name).await;
        let [delivery] = shown.as_slice() else { panic!("{name}: {shown:?}") };
        assert_eq!((&delivery["status"], &delivery["attempts"]), (&json!("parked"), &json!(1)));
        let error = delivery["error"].as_str().unwrap();
        assert!(error.contains(says), "{name}: {error}");
        assert!(error.len() < 5_000, "{name}: an error has a bound");
        assert_eq!(delivery["received"]["id"], "thing-1", "{name}");
        assert_eq!(delivery["outbox"], json!([]), "{name}");
    }
    assert_eq!(states(&host, "audit").await, ["done 1"]);
    assert_eq!(states(&host, "echo").await, ["done 1"]);
    // What the flood published before its end went nowhere.
    let published = host.messages("echoes").await;
    let types: Vec<_> = published.iter().map(|event| event["type"].clone()).collect();
    assert_eq!(types, ["com.todo.echo.v1"]);
    host.stop().await;
}

#[tokio::test]
async fn what_a_guest_wrote_is_shown_with_its_delivery() {
    let host = guest(Setup::bare().things(), "fragile", built::TRAP, "").start().await;
    host.deliver("things", thing(1, "s-1", "panic").to_string()).await;
    host.settle().await;
    let shown = host.shown("fragile").await;
    let log = shown[0]["log"].as_array().unwrap();
    assert_eq!(log[0], json!({ "level": "stdout", "text": "looking at thing-1" }));
    assert!(log.iter().any(|line| line["text"].as_str().unwrap().contains("cannot digest")));
    host.stop().await;
}

#[tokio::test]
async fn effects_are_published_once_after_the_commit() {
    let grant = "[grants]\npublish = [\"com.todo.echo.v1\"]";
    let start =
        async || guest(Setup::bare().things(), "echo", built::ECHO_PUBLISH, grant).start().await;
    let one = thing(1, "s-1", json!({ "n": 1 })).to_string();
    let host = start().await;
    // Without its commit, nothing is published.
    let mut other = host.other_program().await;
    other.lock().await;
    assert_eq!(host.deliver("things", one.clone()).await.1, json!({ "status": "RETRY" }));
    assert!(host.messages("echoes").await.is_empty());
    other.unlock().await;
    let trace = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    for _ in 0..3 {
        let (_, answer) = host.callback("/events/things", &[trace], one.clone()).await;
        assert_eq!(answer, json!({ "status": "SUCCESS" }));
        host.settle().await;
    }
    let published = host.messages("echoes").await;
    let [echo] = published.as_slice() else { panic!("{published:?}") };
    assert_eq!((&echo["source"], &echo["subject"]), (&json!("wharf/echo"), &json!("s-1")));
    assert_eq!(echo["data"], json!({ "n": 1 }));
    let parent = echo["traceparent"].as_str().unwrap();
    assert!(parent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{parent}");
    let published = "events_published_total{topic=\"echoes\",event_type=\"com.todo.echo.v1\"}";
    assert_eq!(host.count(published).await, 1);
    assert_eq!(host.rows("SELECT * FROM wharf_outbox").await.len(), 0);

    // The id comes from the component, the event and the effect's place, and from nothing else.
    let elsewhere = start().await;
    elsewhere.clock.advance(Duration::from_secs(60));
    elsewhere.deliver("things", one).await;
    elsewhere.deliver("things", thing(2, "s-1", 2).to_string()).await;
    elsewhere.settle().await;
    let ids: Vec<_> = elsewhere.messages("echoes").await.iter().map(|e| e["id"].clone()).collect();
    assert_eq!(ids[0], echo["id"]);
    assert_ne!(ids[1], echo["id"]);
    assert_eq!(echo["id"].as_str().unwrap().as_bytes()[14], b'4', "version 4: {}", echo["id"]);
    host.stop().await;
    elsewhere.stop().await;
}

/// A guest that reads a count, adds 1, and writes it back if `guard` holds.
async fn counting(guard: &str) -> Host {
    let sql = format!(
        "order = \"none\"\n[grants]\ntables = {{ counts = \"write\" }}\n\
         [sql.find]\nquery = \"SELECT n FROM counts WHERE id = $1\"\n\
         [sql.set]\nexecute = \"UPDATE counts SET n = $2 WHERE id = $1 AND {guard}\"\n"
    );
    let table = "CREATE TABLE counts (id TEXT PRIMARY KEY, n INTEGER NOT NULL CHECK (n < 10))";
    let host = guest(Setup::bare().things(), "ask", built::ASK, &sql);
    let host = host.migration("ask", table).start().await;
    let mut other = host.other_program().await;
    other.run("INSERT INTO counts VALUES ('a', 0), ('b', 0), ('full', 9)").await;
    host
}

/// Each database has its own words.
fn is_check(error: &str) -> bool {
    error.contains("CHECK constraint failed") || error.contains("violates check constraint")
}

#[tokio::test]
async fn a_stale_read_runs_again_until_it_fits() {
    let host = counting("n = $2 - 1").await;
    let three: Vec<_> = (1..=3).map(|number| thing(number, "a", 1)).collect();
    assert_eq!(host.deliver_bulk("things", &three).await, ["SUCCESS"; 3]);
    host.settle().await;
    assert_eq!(states(&host, "ask").await, ["done 1"; 3]);
    assert_eq!(host.rows("SELECT n FROM counts WHERE id = 'a'").await, [["3"]]);
    host.stop().await;
}

#[tokio::test]
async fn an_expectation_that_never_holds_is_a_failure() {
    let host = counting("n = -1").await;
    host.deliver("things", thing(1, "a", 1).to_string()).await;
    host.settle().await;
    let error = "statement `set` touched 0 rows instead of 1, also on fresh reads";
    assert_eq!(host.deliveries().await, [["ask parked 1", error]]);
    // Once by itself, and three times on fresh reads.
    assert_eq!(host.count("wharf_sandbox_duration_seconds_count{component=\"ask\"}").await, 4);
    host.stop().await;
}

#[tokio::test]
async fn a_statement_that_fails_costs_its_own_delivery_only() {
    let host = counting("true").await;
    let things = [thing(1, "a", 1), thing(2, "full", 1), thing(3, "b", 1)];
    assert_eq!(host.deliver_bulk("things", &things).await, ["SUCCESS"; 3]);
    host.settle().await;
    let mut deliveries = host.deliveries().await;
    deliveries.sort();
    assert_eq!(deliveries[..2], [["ask done 1", ""], ["ask done 1", ""]]);
    let [state, error] = deliveries[2].as_slice() else { panic!("{deliveries:?}") };
    assert_eq!(state, "ask parked 1");
    assert!(error.starts_with("statement `set` failed: ") && is_check(error), "{error}");
    assert_eq!(host.rows("SELECT n FROM counts ORDER BY id").await, [["1"], ["1"], ["9"]]);

    // Someone makes room, and its next try succeeds.
    host.other_program().await.run("UPDATE counts SET n = 0 WHERE id = 'full'").await;
    host.advance(Duration::from_secs(1)).await;
    assert_eq!(host.rows("SELECT n FROM counts WHERE id = 'full'").await, [["1"]]);
    assert!(host.messages("things-dlq").await.is_empty());
    host.stop().await;
}

#[tokio::test]
async fn a_table_that_another_program_holds_uses_up_no_attempt() {
    if !on_postgres() {
        return; // In SQLite whoever writes holds all tables.
    }
    let host = counting("true").await;
    let mut other = host.other_program().await;
    other.run("BEGIN; LOCK TABLE counts IN SHARE MODE").await;
    for _ in 0..2 {
        let things = [thing(1, "a", 1), thing(2, "b", 1)];
        assert_eq!(host.deliver_bulk("things", &things).await, ["SUCCESS"; 2]);
        assert_eq!(states(&host, "ask").await, ["parked 0", "parked 0"]);
    }
    other.run("ROLLBACK").await;
    host.advance(Duration::from_secs(2)).await;
    assert_eq!(states(&host, "ask").await, ["done 1", "done 1"]);
    assert_eq!(host.rows("SELECT n FROM counts ORDER BY id").await, [["1"], ["1"], ["9"]]);
    host.stop().await;
}

#[tokio::test]
async fn every_way_to_die_ends_as_a_dead_letter() {
    let setup = guest(Setup::audit().things(), "fragile", built::TRAP, "");
    let host = setup.start().await;
    for (number, data) in [(1, "panic"), (2, "exit"), (3, "recurse"), (4, "fine")] {
        let subject = format!("s-{number}");
        let (_, answer) = host.deliver("things", thing(number, &subject, data).to_string()).await;
        assert_eq!(answer, json!({ "status": "SUCCESS" }), "{data}");
    }
    for seconds in [1, 2, 4] {
        host.advance(Duration::from_secs(seconds)).await;
    }
    assert_eq!(states(&host, "fragile").await, ["dead 4", "dead 4", "dead 4", "done 1"]);
    let reasons = host.rows("SELECT error FROM audit_log WHERE error IS NOT NULL ORDER BY rowid");
    let reasons = reasons.await;
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert_eq!(host.messages("things-dlq").await.len(), 3);
    host.stop().await;
}
