//! What died is looked at, tried again or given up, one or many. A retry repeats nothing that was
//! committed, and what tells of a death never causes another.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use wharf_tests::built;
use wharf_tests::host::{Host, Setup, THING, event, thing};
use wharf_tests::moods::Mood;

const AUDIT_FAILED: &str = "com.todo.audit.failed.v1";

/// Counts what it commits, and tells of it on `echoes`.
fn tally(setup: Setup, name: &str, rest: &str) -> Setup {
    let manifest = format!(
        "name = \"{name}\"\nversion = \"1\"\n[[on]]\nevent = \"{THING}\"\n{rest}\n\
         [grants]\npublish = [\"com.things.said.v1\"]\nstate = [\"todo-statestore\"]\n\
         bindings = [\"notify-file\"]\ntables = {{ {name} = \"write\" }}\n\
         [sql.add]\nexecute = \"INSERT INTO {name} (id, n) VALUES ($1, 1) \
         ON CONFLICT (id) DO UPDATE SET n = {name}.n + 1\"\n"
    );
    let table = format!("CREATE TABLE {name} (id TEXT PRIMARY KEY, n INTEGER NOT NULL)");
    setup.guest(name, built::TALLY, &manifest).migration(name, &table)
}

async fn host() -> Host {
    tally(Setup::bare().things(), "tally", "").start().await
}

/// Delivers it; the ledger must have it.
async fn deliver(host: &Host, thing: Value) {
    let (_, answer) = host.deliver("things", thing.to_string()).await;
    assert_eq!(answer, json!({ "status": "SUCCESS" }));
    host.settle().await;
}

async fn listed(host: &Host, query: &str) -> Vec<Value> {
    let (status, listed) = host.admin(&format!("/deliveries?{query}")).await;
    assert_eq!(status, StatusCode::OK, "{listed}");
    listed.as_array().unwrap().clone()
}

/// Posts for the only delivery that a list has.
async fn by_hand(host: &Host, query: &str, deed: &str) -> StatusCode {
    let found = listed(host, query).await;
    let [delivery] = found.as_slice() else { panic!("{found:?}") };
    let id = delivery["delivery"].as_str().unwrap();
    let (status, _) = host.admin_post(&format!("/deliveries/{id}/{deed}")).await;
    host.settle().await;
    status
}

async fn counted(host: &Host) -> Vec<Vec<String>> {
    host.rows("SELECT id, n FROM tally ORDER BY id").await
}

#[tokio::test]
async fn a_retry_commits_once_whatever_is_tried_and_sent_again() {
    let host = host().await;
    let mut other = host.other_program().await;
    other.close("tally").await;
    let one = thing(1, "s", json!({ "store": "todo-statestore", "binding": "notify-file" }));
    deliver(&host, one.clone()).await;
    for seconds in [1, 2, 4] {
        host.advance(Duration::from_secs(seconds)).await;
    }
    let dead = listed(&host, "status=dead").await;
    assert_eq!(dead[0]["error"], "statement `add` failed: closed");
    assert!(host.messages("echoes").await.is_empty() && host.notifications().is_empty());

    // Someone mends the cause. Whoever tries it again, and however often, it is done once.
    other.reopen("tally").await;
    assert_eq!(by_hand(&host, "status=dead", "retry").await, StatusCode::OK);
    for _ in 0..2 {
        assert_eq!(by_hand(&host, "component=tally", "retry").await, StatusCode::CONFLICT);
        deliver(&host, one.clone()).await;
    }
    assert_eq!(counted(&host).await, [["thing-1", "1"]]);
    assert_eq!(host.messages("echoes").await.len(), 1);
    assert_eq!(host.notifications().len(), 1);
    assert_eq!(host.count("wharf_repeats_total{component=\"tally\"}").await, 2);
    host.stop().await;
}

#[tokio::test]
async fn a_second_death_is_told_like_the_first() {
    let host = tally(Setup::audit().things(), "tally", "").start().await;
    let mut other = host.other_program().await;
    other.close("tally").await;
    deliver(&host, thing(1, "s", json!({}))).await;
    let told = "SELECT attempts FROM audit_log WHERE type = 'com.todo.audit.failed.v1'";
    for deaths in 1..=3 {
        for seconds in [1, 2, 4] {
            host.advance(Duration::from_secs(seconds)).await;
        }
        assert_eq!(host.rows(told).await, vec![["4"]; deaths]);
        assert_eq!(by_hand(&host, "status=dead", "retry").await, StatusCode::OK);
    }
    host.stop().await;
}

#[tokio::test]
async fn what_dapr_refused_goes_out_later_with_the_same_id_and_nothing_else_again() {
    let host = tally(Setup::audit().things(), "tally", "").start().await;
    host.moods.set("echoes", Mood::Refuses);
    let data = json!({ "store": "todo-statestore", "binding": "notify-file" });
    deliver(&host, thing(1, "s", data)).await;
    let shown = host.shown("tally").await;
    let outbox = shown[0]["outbox"].as_array().unwrap();
    let [refused] = outbox.as_slice() else { panic!("{outbox:?}") };
    assert_eq!(
        (&refused["status"], &refused["target"]),
        (&json!("dead"), &json!("todo-pubsub/echoes"))
    );
    assert_eq!((&shown[0]["status"], host.notifications().len()), (&json!("done"), 1));
    let told = host.rows("SELECT error FROM audit_log WHERE error IS NOT NULL").await;
    assert_eq!(told, [["it does not want to"]]);
    let (_, health) = host.admin("/health").await;
    assert_eq!(health["ledger"]["outbox"]["dead"], 1);

    host.moods.clear();
    assert_eq!(by_hand(&host, "refused=true", "retry").await, StatusCode::OK);
    let echoes = host.messages("echoes").await;
    let [echo] = echoes.as_slice() else { panic!("{echoes:?}") };
    assert_eq!(echo["id"], refused["id"]);
    assert_eq!(counted(&host).await, [["thing-1", "1"]]);
    assert_eq!(host.notifications().len(), 1);
    assert_eq!(host.rows("SELECT * FROM wharf_outbox").await.len(), 0);
    host.stop().await;
}

#[tokio::test]
async fn a_call_that_was_given_up_is_made_with_the_same_key() {
    let host = host().await;
    host.moods.set("notify-file", Mood::Refuses);
    deliver(&host, thing(1, "s", json!({ "binding": "notify-file" }))).await;
    let key = host.shown("tally").await[0]["outbox"][0]["id"].clone();
    host.moods.clear();
    assert_eq!(by_hand(&host, "refused=true", "retry").await, StatusCode::OK);
    assert_eq!(host.notifications()[0]["idempotency-key"], key);
    assert_eq!(counted(&host).await, [["thing-1", "1"]]);
    host.stop().await;
}

/// Rejects whatever it gets.
fn refusing(setup: Setup, name: &str, wants: &str) -> Setup {
    let manifest = format!(
        "name = \"{name}\"\nversion = \"1\"\n[[on]]\n{wants}\n[grants]\ntables = {{ t = \"write\" }}\n\
         [sql.find]\nquery = \"SELECT n FROM t WHERE id = $1\"\n"
    );
    let setup = setup.guest(name, built::ASK, &manifest);
    setup.migration(name, "CREATE TABLE IF NOT EXISTS t (id TEXT, n INTEGER)")
}

#[tokio::test]
async fn a_report_never_causes_a_report() {
    let setup = refusing(Setup::bare().things(), "first", &format!("event = \"{THING}\""));
    let setup = refusing(setup, "second", &format!("event = \"{AUDIT_FAILED}\""));
    let host = setup.start().await;
    deliver(&host, thing(1, "s", 1)).await;
    // The first dies, and is told of; who is told dies too, and that is told nowhere.
    let states = host.rows("SELECT component, status, event_type FROM wharf_deliveries").await;
    assert_eq!(states, [["first", "dead", THING], ["second", "dead", AUDIT_FAILED]]);
    assert_eq!(host.messages("things-dlq").await.len(), 1);
    assert_eq!(host.rows("SELECT * FROM wharf_outbox").await.len(), 0);
    assert!(host.messages("task-events-dlq").await.is_empty());
    // But it is counted, and in health.
    let (_, health) = host.admin("/health").await;
    let second = json!({ "component": "second", "parked": 0, "dead": 1, "runs": true });
    assert!(health["ledger"]["components"].as_array().unwrap().contains(&second), "{health}");
    assert_eq!(host.count("wharf_deliveries{component=\"second\",status=\"dead\"}").await, 1);

    // Tried again, it dies again, and still nobody is told.
    assert_eq!(by_hand(&host, "component=second", "retry").await, StatusCode::OK);
    assert_eq!(host.rows("SELECT * FROM wharf_deliveries").await.len(), 2);
    host.stop().await;
}

/// Reports go out on a topic of their own.
const REPORTED: &str = r#"
name = "reported"
description = "Reports on a topic"
pubsub = "todo-pubsub"
retry = ["1s"]
dead_letter = "{topic}-dlq"
topic = [
    { name = "made", path = "/events/made", retention = "7d" },
    { name = "reports", path = "/events/reports", retention = "7d" },
]
event = [
    { type = "com.made.made.v1", topic = "made", consumers = ["audit"] },
    { type = "com.todo.audit.failed.v1", topic = "reports", consumers = ["audit"] },
]
"#;

#[tokio::test]
async fn a_report_that_dapr_refuses_is_counted_and_not_reported() {
    let host = Setup::audit().contract("reported", REPORTED).start().await;
    host.moods.set("reports", Mood::Refuses);
    assert_eq!(host.deliver("made", "not JSON").await.1, json!({ "status": "SUCCESS" }));
    host.settle().await;
    let outbox = host.rows("SELECT status, error FROM wharf_outbox").await;
    let refused = ["dead", "it does not want to"];
    assert_eq!(outbox, [refused], "the report, and nothing about it");
    assert_eq!(host.rows("SELECT component FROM wharf_deliveries").await, [["-"]]);
    assert_eq!(host.messages("made-dlq").await.len(), 1);
    let (_, health) = host.admin("/health").await;
    assert_eq!(health["ledger"]["outbox"]["dead"], 1);
    assert_eq!(host.count("wharf_outbox{status=\"dead\"}").await, 1);

    // Tried again by hand, it cannot be read again; now the report goes out, and is audited once.
    host.moods.clear();
    assert_eq!(by_hand(&host, "component=-", "retry").await, StatusCode::OK);
    assert_eq!(host.messages("reports").await.len(), 1);
    assert_eq!(host.rows("SELECT type FROM audit_log").await, [[AUDIT_FAILED]]);
    host.stop().await;
}

/// The letters of two deaths have one id and one place among the effects; their refusals have not.
#[tokio::test]
async fn each_dead_letter_that_dapr_refuses_is_told() {
    let host = Setup::audit().contract("reported", REPORTED).start().await;
    host.moods.set("made-dlq", Mood::Refuses);
    host.deliver("made", "not JSON").await;
    for deaths in 1..=3 {
        host.settle().await;
        let told =
            host.rows("SELECT type FROM audit_log WHERE error = 'it does not want to'").await;
        assert_eq!(told, vec![[AUDIT_FAILED]; deaths]);
        assert_eq!(by_hand(&host, "component=-", "retry").await, StatusCode::OK);
    }
    host.stop().await;
}

#[tokio::test]
async fn a_death_of_the_hosts_own_event_is_told_nowhere_but_its_refused_effect_is() {
    let setup = refusing(Setup::audit().things(), "first", "job = \"caps-*\"");
    let host = tally(setup, "tally", "[[on]]\njob = \"caps-*\"").start().await;
    host.moods.set("echoes", Mood::Refuses);
    assert_eq!(host.callback("/job/caps-1", &[], "{}").await.0, StatusCode::OK);
    host.settle().await;
    let states = host.rows("SELECT component, status FROM wharf_deliveries ORDER BY component");
    assert_eq!(states.await, [["audit", "done"], ["first", "dead"], ["tally", "done"]]);
    // The one row of the audit log is of the event that Dapr refused.
    let told = host.rows("SELECT type, error FROM audit_log").await;
    assert_eq!(told, [[AUDIT_FAILED, "it does not want to"]]);
    assert!(host.messages("things-dlq").await.is_empty());
    let (_, health) = host.admin("/health").await;
    assert!(health["ledger"]["components"].to_string().contains("\"first\""), "{health}");
    host.stop().await;
}

/// Events of two topics that are dead, for two reasons, at two times.
async fn five_dead() -> Host {
    let host = host().await;
    for (number, reason) in [(1, "no paper"), (2, "no ink"), (3, "no paper")] {
        deliver(&host, thing(number, "s", json!({ "reject": reason }))).await;
    }
    host.advance(Duration::from_secs(3600)).await;
    deliver(&host, thing(4, "other", json!({ "reject": "100% no_paper" }))).await;
    host.deliver("task-events", "not JSON").await;
    host.settle().await;
    host
}

async fn many(host: &Host, deed: &str, query: &str) -> Value {
    let (status, answer) = host.admin_post(&format!("/deliveries/{deed}?{query}")).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    host.settle().await;
    answer
}

#[tokio::test]
async fn many_are_found_by_what_is_known_of_them() {
    let host = five_dead().await;
    let old = "2026-01-01T00:00:00Z";
    for (query, found) in [
        ("all=true", 5),
        ("status=dead", 5),
        ("component=tally", 4),
        ("component=-", 1),
        ("topic=things", 4),
        ("topic=task-events", 1),
        ("type=com.things.made.v1", 4),
        ("error=no+paper", 2),
        ("error=0%25+no_", 1),
        ("error=no%25paper", 0),
        ("error=no_ink", 0),
        ("since=30m", 2),
        (&format!("until={old}"), 3),
        ("since=2026-01-01T00:30:00Z&component=tally", 1),
        ("refused=true", 0),
        ("all=true&limit=1", 1),
        ("error=no+paper&topic=task-events", 0),
    ] {
        for deed in ["retry", "discard"] {
            let answer = many(&host, deed, &format!("{query}&dry_run=true")).await;
            assert_eq!(
                (&answer["matched"], &answer["changed"]),
                (&json!(found), &json!(0)),
                "{query}"
            );
        }
        let query = query.replace("all=true", "status=dead");
        assert_eq!(listed(&host, &query).await.len(), found, "a list finds the same: {query}");
    }
    assert_eq!(listed(&host, "status=dead").await.len(), 5, "nothing was changed");
    host.stop().await;
}

#[tokio::test]
async fn many_are_tried_again_in_batches_oldest_first_and_each_once() {
    let host = five_dead().await;
    let mut after = json!(0);
    let mut answers = Vec::new();
    while !after.is_null() {
        let answer = many(&host, "retry", &format!("component=tally&limit=2&after={after}")).await;
        after = answer["after"].clone();
        answers.push((answer["matched"].clone(), answer["changed"].clone()));
    }
    // They are dead again, under the same sequence, and the last batch says that it is the last.
    assert_eq!(answers, [2, 2, 0].map(|many| (json!(many), json!(many))));
    let runs = "wharf_sandbox_duration_seconds_count{component=\"tally\"}";
    assert_eq!(host.count(runs).await, 8, "each ran once more");

    let answer = many(&host, "discard", "error=no+paper").await;
    assert_eq!((&answer["changed"], &answer["passed"]), (&json!(2), &json!([])));
    let answer = many(&host, "discard", "error=no+paper").await;
    assert_eq!(answer["matched"], 0, "a second time finds nothing");
    let states =
        host.rows("SELECT status, count(*) FROM wharf_deliveries GROUP BY 1 ORDER BY 1").await;
    assert_eq!(states, [["dead", "3"], ["discarded", "2"]]);
    host.stop().await;
}

#[tokio::test]
async fn one_subject_that_is_tried_again_keeps_its_order() {
    let host = host().await;
    let mut other = host.other_program().await;
    other.close("tally").await;
    for number in 1..=6 {
        deliver(&host, thing(number, "s", json!({}))).await;
    }
    for _ in 0..6 {
        for seconds in [1, 2, 4] {
            host.advance(Duration::from_secs(seconds)).await;
        }
    }
    assert_eq!(listed(&host, "status=dead").await.len(), 6);
    other.reopen("tally").await;
    assert_eq!(many(&host, "retry", "component=tally").await["changed"], 6);
    let echoes = host.messages("echoes").await;
    let told: Vec<_> = echoes.iter().map(|echo| echo["data"]["counted"].clone()).collect();
    assert_eq!(told, (1..=6).map(|n| json!(format!("thing-{n}"))).collect::<Vec<_>>());
    host.stop().await;
}

#[tokio::test]
async fn parked_ones_can_be_given_up_and_refused_effects_tried_by_filter() {
    let host = host().await;
    host.moods.set("echoes", Mood::Refuses);
    for number in 1..=3 {
        deliver(&host, thing(number, &format!("s-{number}"), json!({}))).await;
    }
    host.moods.clear();
    let query = "refused=true&error=does+not+want";
    assert_eq!(many(&host, "retry", query).await["changed"], 3);
    assert_eq!(host.messages("echoes").await.len(), 3);
    assert_eq!(many(&host, "retry", query).await["matched"], 0);

    host.other_program().await.close("tally").await;
    deliver(&host, thing(4, "s-4", json!({}))).await;
    assert_eq!(many(&host, "discard", "component=tally").await["matched"], 0, "dead ones only");
    assert_eq!(many(&host, "discard", "status=parked").await["changed"], 1);
    assert_eq!(listed(&host, "status=discarded").await.len(), 1);
    host.stop().await;
}

#[tokio::test]
async fn what_is_asked_wrongly_changes_nothing() {
    let host = Setup::audit().start().await;
    host.deliver("task-events", "not JSON").await;
    host.deliver("task-events", event("com.todo.task.created.v1", 1).to_string()).await;
    host.settle().await;
    for (path, status, says) in [
        ("/deliveries/retry", 400, "or all=true"),
        ("/deliveries/discard?limit=5", 400, "or all=true"),
        ("/deliveries/retry?status=parked", 400, "use status=dead"),
        ("/deliveries/discard?status=done", 400, "status=dead or status=parked"),
        ("/deliveries/retry?component=nobody", 404, "those that run: audit"),
        ("/deliveries/retry?colour=red", 400, "unknown field `colour`"),
        ("/deliveries/retry?since=yesterday", 400, "how long ago"),
        ("/deliveries/retry?topic=", 400, "topic"),
    ] {
        let (answered, body) = host.admin_post(path).await;
        let error = body["error"].as_str().unwrap_or_default();
        assert_eq!(answered.as_u16(), status, "{path}: {error}");
        assert!(error.contains(says), "{path}: {error}");
    }
    let (status, body) = host.admin("/deliveries?all=true").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    let (status, body) = host.admin("/deliveries?component=nobody").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
    assert!(listed(&host, "component=audit&status=parked").await.is_empty());
    assert_eq!(listed(&host, "status=dead").await.len(), 1);
    host.stop().await;
}
