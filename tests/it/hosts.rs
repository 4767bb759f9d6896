//! Several hosts on one ledger, as replicas are: whatever comes to more than one of them at once is
//! done once, and what is parked or waits to be performed keeps its order, whoever takes it.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::{join, join_all};
use wharf_tests::dice::Dice;
use wharf_tests::faults::Faults;
use wharf_tests::host::Host;
use wharf_tests::tally::Tally;

use crate::calls::{self, database, plain, some, suite};
use crate::errands::{self, Errand, Judged, Seen, judge};

async fn hosts(number: usize) -> Vec<Host> {
    let mut hosts = vec![plain().start().await];
    while hosts.len() < number {
        let another = hosts[0].another().await;
        hosts.push(another);
    }
    hosts
}

/// Delivers events as one bulk, those that are to come again until they are taken.
async fn deliver_until_taken(host: &Host, errands: &[Errand]) {
    let mut left = errands.to_vec();
    while !left.is_empty() {
        let events: Vec<_> = left.iter().map(|errand| errand.event()).collect();
        let answers = host.deliver_bulk(errands::TOPIC, &events).await;
        let again = left.into_iter().zip(answers).filter(|(_, answer)| answer != "SUCCESS");
        left = again.map(|(errand, _)| errand).collect();
    }
}

async fn until_all_is_done(hosts: &[Host]) {
    const LEFT: &str = "SELECT 1 FROM wharf_outbox WHERE status = 'waiting' UNION ALL \
        SELECT 1 FROM wharf_deliveries WHERE status = 'parked'";
    hosts[0]
        .until("everything is done", async |first| {
            for host in hosts {
                host.app.work().ended().await;
            }
            first.clock.advance(Duration::from_millis(250));
            first.embedded().waiting().await.unwrap() == 0
                && first.jobs().await.is_empty()
                && first.rows(LEFT).await.is_empty()
        })
        .await;
    for host in hosts {
        host.settle().await;
    }
}

/// Effects of all hosts go through the first one's Dapr.
async fn end(hosts: Vec<Host>, sent: &BTreeSet<Errand>, judged: Judged, fault: &str, times: usize) {
    until_all_is_done(&hosts).await;
    let mut tally = Tally::new(suite(&format!("{} hosts", hosts.len())));
    tally.injected(fault, times);
    judge(&mut tally, sent, &calls::seen(&hosts[0]).await, judged);
    for host in hosts {
        host.stop().await;
    }
    tally.finish();
}

#[tokio::test]
async fn events_that_come_to_every_host_at_once_are_decided_once() {
    for number in [2, 3] {
        let hosts = hosts(number).await;
        let sent = some(0..240);
        let all: Vec<_> = sent.iter().copied().collect();
        let mut bulks = 0;
        for from in (0..all.len()).step_by(40) {
            // Each overlaps with the one before, and with those of the other hosts.
            let of = |at: usize| &all[from.saturating_sub(15 * at)..(from + 60).min(all.len())];
            let delivering = hosts.iter().enumerate();
            let delivering = delivering.map(|(at, host)| deliver_until_taken(host, of(at)));
            bulks += join_all(delivering).await.len();
            hosts[0].clock.advance(Duration::from_millis(50));
        }
        let fault = "the same events in bulks, to every host at once";
        end(hosts, &sent, Judged::AcrossHosts, fault, bulks).await;
    }
}

#[tokio::test]
async fn subjects_and_lanes_keep_their_order_across_hosts() {
    let hosts = hosts(3).await;
    let sent = some(0..80);
    for (at, errand) in sent.iter().enumerate() {
        let host = &hosts[at % hosts.len()];
        deliver_until_taken(host, &[*errand]).await;
        // What is parked becomes due in between, and any host takes it.
        hosts[0].clock.advance(Duration::from_millis(20));
    }
    let fault = "a subject's events come to one host after the other";
    end(hosts, &sent, Judged::AsSent, fault, sent.len()).await;
}

/// Status, attempts and claim of the errand.
const CLAIM: &str = "SELECT status || ' ' || CAST(attempts AS TEXT) || ' ' || CAST(claim AS TEXT) \
    FROM wharf_deliveries WHERE component = 'errands' AND event_type = 'com.errands.run.v1'";

#[tokio::test]
async fn a_late_result_is_thrown_away() {
    let faults = Faults::new(Vec::new(), Dice::of(1));
    let mut setup = calls::errands(&faults);
    // The first host may take its time to stop.
    setup.config.drain = Duration::from_secs(120);
    let lease = setup.config.ledger.lease;
    let first = setup.start().await;
    let errand = Errand { number: 3, subjects: 11 };
    // There before the handler is held, which has ten seconds.
    let second = first.another().await;
    second.settle().await;
    deliver_until_taken(&first, &[errand]).await;
    faults.hold(&errand.subject());
    first.clock.advance(Duration::from_millis(100));
    first.until("its second attempt runs", async |_| faults.waiting() == 1).await;
    assert_eq!(first.rows(CLAIM).await, [["parked 1 1"]]);

    // The lease lasts: nobody else takes it.
    second.settle().await;
    first.clock.advance(lease - Duration::from_secs(1));
    second.settle().await;
    assert_eq!(second.rows(CLAIM).await, [["parked 1 1"]]);
    assert_eq!(faults.waiting(), 1);

    // A host that is told to stop claims no more; what it runs is still running.
    let (ledger, data) = (database(&first), first.data().to_owned());
    let clock = first.clock.clone();
    let late = async {
        clock.advance(Duration::from_secs(2));
        second
            .until("the other host is done with it", async |host| {
                host.rows(CLAIM).await.concat().concat().starts_with("done 2")
            })
            .await;
        second.settle().await;
        let done = second.rows(CLAIM).await;
        faults.free();
        done
    };
    let (done, ()) = join(late, first.stop()).await;
    assert_eq!(second.rows(CLAIM).await, done);
    second.settle().await;

    let mut tally = Tally::new(suite("2 hosts"));
    tally.injected("a lease ends while its holder runs", 1);
    let seen = Seen::of(&ledger, &[data]).await;
    judge(&mut tally, &BTreeSet::from([errand]), &seen, Judged::AcrossHosts);
    second.stop().await;
    tally.finish();
}
