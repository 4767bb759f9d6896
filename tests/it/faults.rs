//! When the ledger cannot be written, nothing is acknowledged; when it can again, everything that
//! Dapr kept is handled, once.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wharf_tests::built;
use wharf_tests::host::{Host, Setup, THING, event, thing};
use wharf_tests::tally::Tally;

use crate::calls::{plain, publish, seen, some, suite, until_all_is_done};
use crate::errands::{self, Errand, Judged, judge};

const CREATED: &str = "com.todo.task.created.v1";

/// Lets Dapr send again what was not taken, until it has nothing left.
pub async fn until_all_is_taken(host: &Host) {
    host.until("everything is taken", async |host| {
        host.clock.advance(Duration::from_secs(1));
        host.embedded().waiting().await.unwrap() == 0
    })
    .await;
    host.settle().await;
}

#[tokio::test]
async fn a_locked_ledger_acknowledges_nothing_and_goes_on_by_itself() {
    let mut setup = Setup::audit();
    setup.config.ledger.busy_timeout = Duration::from_millis(100);
    let host = setup.start().await;
    let mut other = host.other_program().await;
    other.lock().await;

    let started = Instant::now();
    let (status, answer) = host.deliver("task-events", event(CREATED, 1).to_string()).await;
    assert_eq!((status.as_u16(), answer), (200, json!({ "status": "RETRY" })));
    let bulk = [event(CREATED, 2), json!("not even base64"), event(CREATED, 3)];
    assert_eq!(host.deliver_bulk("task-events", &bulk).await, ["RETRY"; 3]);
    assert!(started.elapsed() < Duration::from_secs(5), "the answer has a bound");
    for number in 4..=8 {
        host.publish("task-events", &event(CREATED, number)).await;
    }
    assert!(host.rows("SELECT * FROM audit_log").await.is_empty());
    assert_eq!(host.embedded().waiting().await.unwrap(), 5);

    other.unlock().await;
    until_all_is_taken(&host).await;
    let rows = host.rows("SELECT entity_id FROM audit_log ORDER BY entity_id").await;
    assert_eq!(rows, [["t-4"], ["t-5"], ["t-6"], ["t-7"], ["t-8"]]);
    assert_eq!(host.deliver_bulk("task-events", &[event(CREATED, 2)]).await, ["SUCCESS"]);
    assert_eq!(host.rows("SELECT count(*) FROM audit_log").await, [["6"]]);
    host.stop().await;
}

#[tokio::test]
async fn a_restart_finds_its_parked_deliveries() {
    let manifest = format!("name = \"fragile\"\nversion = \"1\"\n[[on]]\nevent = \"{THING}\"\n");
    let setup = Setup::audit().things().guest("fragile", built::TRAP, &manifest);
    let mut host = setup.start().await;
    for (number, data) in [(1, "panic"), (2, "fine")] {
        host.publish("things", &thing(number, "s", data)).await;
    }
    host.settle().await;
    for (attempts, wait) in [(1, 1), (2, 2), (3, 4)] {
        host = host.restart().await;
        host.settle().await;
        let shown = host.shown("fragile").await;
        let first = shown.iter().find(|delivery| delivery["event"]["id"] == "thing-1").unwrap();
        let expected: (Value, Value) = ("parked".into(), attempts.into());
        assert_eq!((first["status"].clone(), first["attempts"].clone()), expected);
        host.advance(Duration::from_secs(wait)).await;
    }
    let states: Vec<_> = host.shown("fragile").await.iter().map(|d| d["status"].clone()).collect();
    assert_eq!(states, ["done", "dead"], "newest first");
    let audited = host.rows("SELECT type FROM audit_log ORDER BY type").await;
    assert_eq!(audited, [[THING], [THING], ["com.todo.audit.failed.v1"]]);
    assert_eq!(host.messages("things-dlq").await.len(), 1);
    host.stop().await;
}

#[tokio::test]
async fn errands_go_on_after_each_lock_of_the_ledger() {
    const TIMES: u32 = 5;
    let mut setup = plain();
    setup.config.ledger.busy_timeout = Duration::from_millis(100);
    let host = setup.start().await;
    let mut other = host.other_program().await;
    for time in 0..TIMES {
        publish(&host, &some(time * 20..time * 20 + 10)).await;
        other.lock().await;
        publish(&host, &some(time * 20 + 10..time * 20 + 20)).await;
        let next = Errand { number: TIMES * 20 + time, subjects: 11 };
        let (_, answer) = host.deliver(errands::TOPIC, next.event().to_string()).await;
        assert_eq!(answer, json!({ "status": "RETRY" }));
        other.unlock().await;
        until_all_is_done(&host).await;
    }
    let sent = some(0..TIMES * 21);
    // What was not taken comes again.
    publish(&host, &some(TIMES * 20..TIMES * 21)).await;
    until_all_is_done(&host).await;
    let mut tally = Tally::new(suite("ledger"));
    tally.injected("another program holds a lock on it", TIMES as usize);
    judge(&mut tally, &sent, &seen(&host).await, Judged::AsSent);
    host.stop().await;
    tally.finish();
}

#[tokio::test]
async fn errands_go_on_after_each_stop_in_the_middle() {
    const TIMES: u32 = 10;
    let mut host = plain().start().await;
    for time in 0..TIMES {
        publish(&host, &some(time * 12..time * 12 + 12)).await;
        host.clock.advance(Duration::from_millis(100));
        host = host.restart().await;
    }
    until_all_is_done(&host).await;
    let mut tally = Tally::new(suite("stop"));
    tally.injected("stop as by Ctrl-C, with work in progress", TIMES as usize);
    judge(&mut tally, &some(0..TIMES * 12), &seen(&host).await, Judged::AsSent);
    host.stop().await;
    tally.finish();
}

#[tokio::test]
async fn errands_go_on_when_there_is_no_room_for_most_of_them() {
    let mut setup = plain().changed("errands", "[limits]", "[limits]\nconcurrency = 1");
    setup.config.ingress.max_events = 5;
    let host = setup.start().await;
    let sent = some(0..120);
    let first: Vec<_> = sent.iter().take(20).map(|errand| errand.event()).collect();
    let answers = host.deliver_bulk(errands::TOPIC, &first).await;
    assert!(answers.iter().any(|answer| answer == "RETRY"), "{answers:?}");
    publish(&host, &sent).await;
    until_all_is_done(&host).await;
    let mut tally = Tally::new(suite("overload"));
    let turned_away = host.count("wharf_ingress_turned_away_total{room=\"events\"}").await;
    tally.injected("no room for an event, which is answered RETRY", turned_away as usize);
    judge(&mut tally, &sent, &seen(&host).await, Judged::AsSent);
    host.stop().await;
    tally.finish();
}
