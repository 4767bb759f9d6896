//! The dedup window: what is delivered again within it is a repeat; what is handled and older goes.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use wharf::app::{App, StartError};
use wharf::clock::ManualClock;
use wharf_tests::built;
use wharf_tests::host::{Host, Setup, THING, thing};
use wharf_tests::moods::Mood;

const DAY: Duration = Duration::from_hours(24);
const REPEATS: &str = "wharf_repeats_total{component=\"tally\"}";

/// A component that counts what it commits, and tells of it on `echoes`.
async fn host() -> Host {
    let manifest = format!(
        "name = \"tally\"\nversion = \"1\"\n[[on]]\nevent = \"{THING}\"\n\
         [grants]\npublish = [\"com.things.said.v1\"]\nstate = [\"todo-statestore\"]\n\
         bindings = [\"notify-file\"]\ntables = {{ tally = \"write\" }}\n\
         [sql.add]\nexecute = \"INSERT INTO tally (id, n) VALUES ($1, 1) \
         ON CONFLICT (id) DO UPDATE SET n = tally.n + 1\"\n"
    );
    let table = "CREATE TABLE tally (id TEXT PRIMARY KEY, n INTEGER NOT NULL)";
    let setup = Setup::bare().things().guest("tally", built::TALLY, &manifest);
    setup.migration("tally", table).start().await
}

async fn deliver(host: &Host, thing: &Value) {
    let (_, answer) = host.deliver("things", thing.to_string()).await;
    assert_eq!(answer, json!({ "status": "SUCCESS" }));
    host.settle().await;
}

async fn left(host: &Host) -> Vec<Vec<String>> {
    host.rows("SELECT event_id, status FROM wharf_deliveries ORDER BY sequence").await
}

#[tokio::test]
async fn a_repeat_is_known_for_the_window_and_what_is_not_over_stays() {
    let host = host().await;
    let handled = thing(1, "handled", json!({}));
    deliver(&host, &handled).await;
    deliver(&host, &thing(2, "dead", json!({ "reject": "no" }))).await;
    host.moods.set("echoes", Mood::IsAway);
    deliver(&host, &thing(3, "waits", json!({}))).await;
    host.moods.set("echoes", Mood::Refuses);
    deliver(&host, &thing(4, "refused", json!({}))).await;
    host.moods.set("echoes", Mood::IsAway);
    let mut other = host.other_program().await;
    other.close("tally").await;
    deliver(&host, &thing(5, "parked", json!({}))).await;
    other.reopen("tally").await;
    other
        .run("UPDATE wharf_deliveries SET next_attempt_at = 9000000000000000 WHERE status = 'parked'")
        .await;

    host.advance(8 * DAY).await;
    deliver(&host, &handled).await;
    assert_eq!(host.count(REPEATS).await, 1);
    assert_eq!(host.rows("SELECT n FROM tally WHERE id = 'thing-1'").await, [["1"]]);
    assert_eq!(host.count("wharf_pruned_total").await, 0);

    host.advance(Duration::from_secs(60)).await;
    host.until("it is pruned", async |host| host.count("wharf_pruned_total").await == 1).await;
    let expected =
        [["thing-2", "dead"], ["thing-3", "done"], ["thing-4", "done"], ["thing-5", "parked"]];
    assert_eq!(left(&host).await, expected);
    deliver(&host, &handled).await;
    assert_eq!(host.count(REPEATS).await, 1, "it is not known any more");
    assert_eq!(host.rows("SELECT n FROM tally WHERE id = 'thing-1'").await, [["2"]]);

    // What is over at last goes too, within a day.
    host.moods.clear();
    for query in ["status=dead", "status=parked", "refused=true"] {
        let (_, found) = host.admin(&format!("/deliveries?{query}")).await;
        let id = found[0]["delivery"].as_str().unwrap();
        let (status, answer) = host.admin_post(&format!("/deliveries/{id}/discard")).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    host.advance(DAY).await;
    host.until("they are pruned", async |host| host.count("wharf_pruned_total").await == 5).await;
    assert_eq!(left(&host).await, [["thing-1", "done"]]);
    host.stop().await;
}

#[tokio::test]
async fn a_window_that_is_shorter_than_a_topic_keeps_its_events_is_refused() {
    let mut setup = Setup::bare();
    setup.config.ledger.dedup_window = Some(6 * DAY);
    let clock = Arc::new(ManualClock::default());
    let (config, contracts) = (setup.config.clone(), setup.contracts.clone());
    let built = App::build(config, contracts, Vec::new(), clock).await;
    let Err(StartError::Problems(problems)) = built else { panic!("it is not refused") };
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    let told = problem.to_string();
    assert!(told.contains("[ledger] dedup_window is 518400 s"), "{told}");
    assert!(told.contains("give 691200 or more, or leave it out"), "{told}");
    assert!(!setup.config.ledger_file().exists(), "nothing was opened");
}
