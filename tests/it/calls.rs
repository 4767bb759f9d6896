//! Between a host and its Dapr anything may get lost, come twice, or come late, in both directions.
//! Whatever does: every effect comes out, always with its id, in order, and nothing else does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use wharf_tests::built;
use wharf_tests::dice::Dice;
use wharf_tests::faults::{Fault, Faults, Way};
use wharf_tests::host::{Host, Setup, on_postgres};
use wharf_tests::tally::Tally;

use crate::errands::{self, Database, Errand, Judged, Seen, judge};

/// Errands with the audit component, whose log hides nothing that happens twice.
pub fn plain() -> Setup {
    let mut setup = Setup::audit()
        .changed("audit", "ON CONFLICT DO NOTHING", "")
        .changed("audit", "time = \"1s\"", "time = \"10s\"")
        .contract("errands", errands::CONTRACT)
        .guest("errands", built::ERRANDS, errands::MANIFEST)
        .migration("errands", errands::TABLES);
    setup.config.dapr.notify_url = Some(errands::NOBODY.into());
    setup
}

/// The same, behind faults.
pub fn errands(faults: &Arc<Faults>) -> Setup {
    let mut setup = plain();
    setup.faults = Some(Arc::clone(faults));
    setup
}

pub fn some(numbers: std::ops::Range<u32>) -> BTreeSet<Errand> {
    numbers.map(|number| Errand { number, subjects: 11 }).collect()
}

pub async fn publish(host: &Host, errands: &BTreeSet<Errand>) {
    for errand in errands {
        host.publish(errands::TOPIC, &errand.event()).await;
    }
}

/// Lets time pass, never while something is going on, until nothing is left.
pub async fn until_all_is_done(host: &Host) {
    until_all_is_done_in_steps(host, Duration::from_millis(250)).await;
}

/// The same, so much time in each step.
pub async fn until_all_is_done_in_steps(host: &Host, step: Duration) {
    host.until("everything is done", async |host| {
        host.app.work().ended().await;
        host.clock.advance(step);
        // A job that could not be delivered waits for its next attempt.
        host.embedded().waiting().await.unwrap() == 0
            && host.jobs().await.is_empty()
            && host.rows("SELECT 1 FROM wharf_outbox WHERE status = 'waiting'").await.is_empty()
            && host.rows("SELECT 1 FROM wharf_deliveries WHERE status = 'parked'").await.is_empty()
    })
    .await;
    host.settle().await;
}

/// Where the ledger of a host in this process is.
pub fn database(host: &Host) -> Database {
    match host.ledger_url() {
        Some(url) => Database::Postgres(url.to_owned()),
        None => Database::Sqlite(host.ledger_file()),
    }
}

pub async fn seen(host: &Host) -> Seen {
    Seen::of(&database(host), &[host.data().to_owned()]).await
}

/// The name of a suite of one host.
pub fn suite(of: &str) -> String {
    format!("{of}, {}", if on_postgres() { "PostgreSQL" } else { "SQLite" })
}

async fn goes_well_in_spite_of(kinds: Vec<(Way, Fault)>, number: u32, dice: &mut Dice) {
    let faults = Faults::new(kinds, dice.split());
    let host = errands(&faults).start().await;
    let sent = some(0..number);
    publish(&host, &sent).await;
    until_all_is_done(&host).await;
    let mut tally = Tally::new(suite("Dapr"));
    for ((way, fault), times) in faults.injected() {
        tally.injected(told(way, fault), times);
    }
    judge(&mut tally, &sent, &seen(&host).await, Judged::AsSent);
    host.stop().await;
    tally.finish();
}

fn told(way: Way, fault: Fault) -> String {
    let way = match way {
        Way::Call => "call of Dapr",
        Way::Callback => "callback of Dapr",
    };
    let fault = match fault {
        Fault::Lost => "is lost",
        Fault::AnswerLost => "is performed, its answer lost",
        Fault::Repeated => "comes twice",
        Fault::Delayed => "comes late",
    };
    format!("{way} {fault}")
}

#[tokio::test]
async fn each_fault_alone_changes_nothing() {
    let mut dice = Dice::thrown("Dapr, each fault alone");
    for way in [Way::Call, Way::Callback] {
        for fault in Fault::ALL {
            goes_well_in_spite_of(vec![(way, fault)], 120, &mut dice).await;
        }
    }
}

#[tokio::test]
async fn all_faults_together_change_nothing() {
    let mut dice = Dice::thrown("Dapr, all faults together");
    let every = |way| Fault::ALL.into_iter().map(move |fault| (way, fault));
    let all = every(Way::Call).chain(every(Way::Callback)).collect();
    goes_well_in_spite_of(all, 400, &mut dice).await;
}

#[tokio::test]
async fn a_call_that_does_not_end_holds_up_no_other() {
    let faults = Faults::new(Vec::new(), Dice::of(1));
    let held = Errand { number: 5, subjects: 11 };
    assert!(held.calls());
    faults.hold(&held.id());
    let host = errands(&faults).start().await;
    let sent = some(0..60);
    publish(&host, &sent).await;
    // Only its own row is left in the end; its event, its job and its state are out.
    let left = "SELECT kind FROM wharf_outbox WHERE status = 'waiting' \
        UNION ALL SELECT event_id FROM wharf_deliveries WHERE status = 'parked'";
    host.until("all others are done", async |host| {
        host.clock.advance(Duration::from_millis(1));
        host.rows(left).await == [["invoke"]] && host.embedded().waiting().await.unwrap() == 0
    })
    .await;
    let called = seen(&host).await.calls.into_iter().map(|call| call.attempt.0);
    let expected = sent.iter().filter(|one| one.calls() && one.succeeds().is_some());
    let expected: BTreeSet<_> = expected.filter(|one| **one != held).map(|one| one.id()).collect();
    assert_eq!(called.collect::<BTreeSet<_>>(), expected);

    faults.free();
    until_all_is_done(&host).await;
    let mut tally = Tally::new(suite("Dapr"));
    tally.injected("call of a binding does not end", 1);
    judge(&mut tally, &sent, &seen(&host).await, Judged::AsSent);
    host.stop().await;
    tally.finish();
}

/// Running a bulk overlaps its commits: what is through is durable while another of it still runs.
#[tokio::test]
async fn a_read_that_does_not_end_holds_up_no_other_of_its_bulk() {
    const DONE: &str = "SELECT event_id FROM wharf_deliveries \
        WHERE component = 'errands' AND event_type = 'com.errands.run.v1' AND status = 'done' \
        ORDER BY event_id";
    let faults = Faults::new(Vec::new(), Dice::of(1));
    let host = errands(&faults).start().await;
    let bulk = [1, 2, 4, 5, 6].map(|number| Errand { number, subjects: 11 });
    let [slow, others @ ..] = bulk;
    faults.hold(&slow.subject());
    let events = bulk.map(|errand| errand.event());
    let mut answers = Box::pin(host.deliver_bulk(errands::TOPIC, &events));
    let through = host.until("the others are committed", async |host| {
        host.rows(DONE).await.len() == others.len() && faults.waiting() == 1
    });
    tokio::select! {
        answers = &mut answers => panic!("{answers:?} while one still runs"),
        () = through => {}
    }
    assert_eq!(host.rows(DONE).await, others.map(|errand| [errand.id()]));
    faults.free();
    assert_eq!(answers.await, ["SUCCESS"; 5]);
    host.settle().await;
    assert_eq!(host.rows(DONE).await, bulk.map(|errand| [errand.id()]));
    host.stop().await;
}
