//! What is committed goes out: each lane in sequence, lanes beside each other, whatever Dapr's mood.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wharf_tests::built;
use wharf_tests::host::{Host, Setup, THING, thing};
use wharf_tests::moods::Mood;

/// Publishes what it gets on `echoes`, in the subject's lane.
fn echo() -> Setup {
    let manifest = format!(
        "name = \"echo\"\nversion = \"1\"\n[[on]]\nevent = \"{THING}\"\n\
         [grants]\npublish = [\"com.todo.echo.v1\"]\n"
    );
    Setup::bare().things().guest("echo", built::ECHO_PUBLISH, &manifest)
}

/// Events of these subjects, their data counted from 1.
async fn deliver(host: &Host, subjects: &[&str]) {
    let things = (1..).zip(subjects).map(|(number, subject)| thing(number, subject, number));
    let things: Vec<_> = things.collect();
    let statuses = host.deliver_bulk("things", &things).await;
    assert_eq!(statuses, vec!["SUCCESS"; subjects.len()]);
}

/// The data that went out, in order; of one subject, or of all.
async fn echoed(host: &Host, subject: Option<&str>) -> Vec<Value> {
    let echoes = host.messages("echoes").await;
    let of = echoes.iter().filter(|echo| subject.is_none_or(|subject| echo["subject"] == subject));
    of.map(|echo| echo["data"].clone()).collect()
}

/// No call of Dapr had two events of one lane.
fn each_lane_once_in_a_call(host: &Host) {
    for call in host.moods.published().calls {
        let mut lanes = HashSet::new();
        let lane = |event: &wharf::effect::OutgoingEvent| {
            (event.topic.to_string(), event.partition_key.clone())
        };
        assert!(call.iter().all(|event| lanes.insert(lane(event))), "{call:?}");
    }
}

#[tokio::test]
async fn a_call_has_one_event_of_each_lane_and_a_lane_keeps_its_order() {
    let host = echo().start().await;
    host.moods.set("echoes", Mood::IsAway);
    deliver(&host, &["a", "b", "a", "c", "a", "b"]).await;
    host.settle().await;
    assert!(host.messages("echoes").await.is_empty());
    host.moods.clear();
    let before = host.moods.published().calls.len();
    host.advance(Duration::from_secs(60)).await;
    assert_eq!(echoed(&host, Some("a")).await, [1, 3, 5]);
    assert_eq!(echoed(&host, Some("b")).await, [2, 6]);
    assert_eq!(echoed(&host, Some("c")).await, [4]);
    each_lane_once_in_a_call(&host);
    let calls = host.moods.published().calls.split_off(before);
    let sizes: Vec<_> = calls.iter().map(Vec::len).collect();
    assert_eq!(sizes, [3, 2, 1], "what may go out together does");
    host.stop().await;
}

#[tokio::test]
async fn a_lane_that_fails_waits_ever_longer_and_holds_up_no_other() {
    let host = echo().start().await;
    host.moods.set("\"subject\":\"a\"", Mood::IsAway);
    deliver(&host, &["a", "b", "a", "c"]).await;
    host.settle().await;
    let mut others = echoed(&host, None).await;
    others.sort_by_key(Value::as_u64);
    assert_eq!(others, [2, 4]);

    // The next try of the first comes later each time; the second of its lane is not tried at all.
    let mut waits = Vec::new();
    for attempts in 1..=9_u32 {
        let tried = host.rows(
            "SELECT attempts, CASE WHEN error IS NULL THEN 1 ELSE 0 END \
             FROM wharf_outbox ORDER BY sequence",
        );
        assert_eq!(tried.await, [[attempts.to_string().as_str(), "0"], ["0", "1"]]);
        let due = host.app.ledger.next_due(&[]).await.unwrap().outbox.unwrap();
        let wait = (due - wharf::clock::Clock::now(&host.clock)).to_std().unwrap();
        waits.push(wait);
        host.advance(wait).await;
    }
    for (attempts, wait) in waits.iter().enumerate() {
        let middle = 500 << attempts.min(7);
        let middle = Duration::from_millis(middle).min(Duration::from_secs(60));
        assert!(*wait >= middle / 2 && *wait <= middle * 3 / 2, "{attempts}: {waits:?}");
    }
    host.moods.clear();
    host.advance(Duration::from_secs(90)).await;
    assert_eq!(echoed(&host, Some("a")).await, [1, 3]);
    let errors = "event_publish_errors_total{topic=\"echoes\",error_type=\"unavailable\"}";
    assert_eq!(host.count(errors).await, 10);
    host.stop().await;
}

#[tokio::test]
async fn what_is_refused_for_good_leaves_its_lane_and_is_told_once() {
    let host = echo().start().await;
    host.moods.set("\"data\":1,", Mood::Refuses);
    host.moods.set("\"data\":1}", Mood::Refuses);
    deliver(&host, &["a", "a", "a"]).await;
    host.settle().await;
    assert_eq!(echoed(&host, Some("a")).await, [2, 3]);
    let left = host.rows("SELECT status, attempts, error FROM wharf_outbox").await;
    assert_eq!(left, [["dead", "0", "it does not want to"]]);
    host.advance(Duration::from_secs(3600)).await;
    let refused = "event_publish_errors_total{topic=\"echoes\",error_type=\"refused\"}";
    assert_eq!(host.count(refused).await, 1, "it is not tried again by itself");
    host.stop().await;
}

#[tokio::test]
async fn a_topic_that_does_not_answer_holds_up_no_other() {
    let manifest = format!(
        "name = \"ask\"\nversion = \"1\"\n[[on]]\nevent = \"{THING}\"\n\
         [grants]\ntables = {{ t = \"write\" }}\n\
         [sql.find]\nquery = \"SELECT n FROM t WHERE id = $1\"\n"
    );
    let table = "CREATE TABLE t (id TEXT, n INTEGER)";
    let setup = echo().guest("ask", built::ASK, &manifest).migration("ask", table);
    let host = setup.start().await;
    host.moods.set("things-dlq", Mood::Hangs);
    // Each echo goes out beside a dead letter.
    for number in 1..=3 {
        host.deliver("things", thing(number, &format!("s-{number}"), number).to_string()).await;
    }
    host.until("the echoes are out", async |host| echoed(host, None).await.len() == 3).await;
    host.until("they are written down", async |host| {
        let lanes = host.rows("SELECT count(*) FROM wharf_outbox").await;
        lanes == [["3"]]
    })
    .await;
    assert!(host.messages("things-dlq").await.is_empty());
    host.moods.clear();
    host.settle().await;
    assert_eq!(host.messages("things-dlq").await.len(), 3);
    host.stop().await;
}

#[tokio::test]
async fn batches_overlap_within_a_bound() {
    let mut setup = echo();
    setup.config.relay.batch = 2;
    let host = setup.start().await;
    host.moods.set("echoes", Mood::Hangs);
    let subjects: Vec<_> = (0..30).map(|n| format!("s-{}", n % 20)).collect();
    let subjects: Vec<_> = subjects.iter().map(String::as_str).collect();
    deliver(&host, &subjects).await;
    let most = wharf::relay::BATCHES;
    host.until("batches are under way", async |host| host.moods.published().now == most).await;
    let waiting = host.rows("SELECT count(*) FROM wharf_outbox WHERE claim > 0").await;
    assert_eq!(waiting, [[(2 * most).to_string()]], "no more are claimed than can be under way");
    host.moods.clear();
    host.settle().await;
    assert_eq!(host.messages("echoes").await.len(), 30);
    assert_eq!(host.moods.published().most, most);
    each_lane_once_in_a_call(&host);
    for subject in 0..10 {
        let expected = [subject + 1, subject + 21];
        assert_eq!(echoed(&host, Some(&format!("s-{subject}"))).await, expected);
    }
    host.stop().await;
}

#[tokio::test]
async fn a_call_that_is_not_answered_ends_and_comes_again() {
    let mut setup = echo();
    setup.config.relay.lease = Duration::from_secs(3);
    let host = setup.start().await;
    host.moods.set("echoes", Mood::Hangs);
    deliver(&host, &["a"]).await;
    host.settle().await;
    let left = host.rows("SELECT attempts, error FROM wharf_outbox").await;
    assert_eq!(left, [["1", "no answer came within 2s"]]);
    host.moods.clear();
    host.advance(Duration::from_secs(1)).await;
    assert_eq!(echoed(&host, None).await, [1]);
    let calls = host.moods.published().calls;
    let ids: HashSet<_> = calls.iter().flatten().map(|event| event.id.clone()).collect();
    assert_eq!((calls.len(), ids.len()), (2, 1), "the id stays the same");
    host.stop().await;
}

#[tokio::test]
async fn how_far_behind_it_is_can_be_seen() {
    let host = echo().start().await;
    host.moods.set("echoes", Mood::IsAway);
    deliver(&host, &["a", "b"]).await;
    host.settle().await;
    host.advance(Duration::from_secs(30)).await;
    let outbox = host.admin("/health").await.1["ledger"]["outbox"].clone();
    let oldest = "2026-01-01T00:00:00Z";
    let expected = json!({ "waiting": 2, "dead": 0, "oldest": oldest, "lag_seconds": 30.0 });
    assert_eq!(outbox, expected);
    assert_eq!(host.count("wharf_outbox_lag_seconds").await, 30);
    assert_eq!(host.count("wharf_outbox{status=\"waiting\"}").await, 2);
    host.moods.clear();
    host.advance(Duration::from_secs(90)).await;
    assert_eq!(host.count("wharf_outbox_lag_seconds").await, 0);
    host.stop().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_an_answer_that_never_comes() {
    let mut setup = echo();
    setup.config.drain = Duration::from_millis(300);
    let host = setup.start().await;
    host.moods.set("echoes", Mood::Hangs);
    deliver(&host, &["a"]).await;
    host.until("it is under way", async |host| host.moods.published().now == 1).await;
    let id = host.moods.published().calls[0][0].id.clone();
    let started = Instant::now();
    let host = host.restart().await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());

    // The lease ends, and it goes out under its id.
    host.advance(Duration::from_secs(31)).await;
    let echoes = host.messages("echoes").await;
    assert_eq!(echoes.iter().map(|echo| &echo["id"]).collect::<Vec<_>>(), [&json!(id)]);
    host.stop().await;
}
