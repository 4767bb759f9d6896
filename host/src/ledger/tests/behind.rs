//! What waits behind an earlier one is put aside, and comes when its turn has come, whoever takes
//! the earlier one away.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures::future::join_all;

use super::super::{ByHand, ClaimedEffect, EffectResult, FinishedEffect, NewEffect, Outcome};
use super::{
    Host, LEASE, after, audit, done, of, on_postgres, parked, publish, recurring, start,
    submission, under,
};
use crate::delivery::DeliveryStatus;
use crate::effect::SqlValue;

/// A host whose outbox has these.
async fn with_outbox(outbox: Vec<NewEffect>) -> Host {
    let host = Host::start().await;
    let mut first = submission("first", done(Vec::new()));
    first.outcome = Outcome::Done { statements: Vec::new(), outbox, internal: Vec::new() };
    host.ledger.commit(first).await.unwrap();
    host
}

fn performed(effects: &[ClaimedEffect]) -> Vec<FinishedEffect> {
    let result = || EffectResult::Performed { internal: Vec::new() };
    let finished = |effect: &ClaimedEffect| FinishedEffect {
        sequence: effect.sequence,
        claim: effect.claim,
        result: result(),
    };
    effects.iter().map(finished).collect()
}

fn id(effect: &ClaimedEffect) -> String {
    effect.outgoing.id().unwrap().to_owned()
}

async fn aside(host: &Host, table: &str) -> i64 {
    let sql = format!("SELECT count(*) AS many FROM {table} WHERE behind = 1");
    let rows = host.ledger.query(&sql, &[], 1, || {}).await.unwrap();
    match rows[0][0].1 {
        SqlValue::Integer(many) => many,
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_long_lane_is_put_aside_and_hides_no_other() {
    let lane = (0..2000).map(|n| publish("long", &format!("long-{n}")));
    let host = with_outbox(lane.chain([publish("short", "short")]).collect()).await;
    let mut claimed = host.ledger.claim_outbox(start(), LEASE, 100).await.unwrap();
    assert_eq!(claimed.iter().map(id).collect::<Vec<_>>(), ["long-0", "short"]);
    assert_eq!(aside(&host, "wharf_outbox").await, 1999);
    assert_eq!(host.ledger.next_due(&[]).await.unwrap().outbox, Some(start() + LEASE));
    for n in 1..4 {
        host.ledger.finish_outbox(performed(&claimed)).await.unwrap();
        claimed = host.ledger.claim_outbox(start(), LEASE, 100).await.unwrap();
        assert_eq!(claimed.iter().map(id).collect::<Vec<_>>(), [format!("long-{n}")]);
    }
    assert_eq!(aside(&host, "wharf_outbox").await, 1996);
}

#[tokio::test]
async fn a_discarded_delivery_lets_the_next_of_its_subject_come() {
    let host = Host::start().await;
    let first = of("s", submission("1", parked(after(99))));
    host.ledger.commit(first.clone()).await.unwrap();
    for event in ["2", "3"] {
        host.ledger.commit(of("s", submission(event, done(Vec::new())))).await.unwrap();
    }
    assert!(host.claim_at(start()).await.is_empty());
    assert_eq!(aside(&host, "wharf_deliveries").await, 2);
    assert_eq!(host.ledger.discard(&first.head.id).await, Ok(ByHand::Changed));
    let claimed = host.claim_at(start()).await;
    assert_eq!(claimed.iter().map(|it| it.head.event_id.as_str()).collect::<Vec<_>>(), ["2"]);
}

/// A claim that comes while another host takes the earlier one away, not committed yet.
#[tokio::test]
async fn nobody_is_put_behind_one_that_is_going_away() {
    if !on_postgres() {
        return; // SQLite has one writer at a time.
    }
    let host = with_outbox(vec![publish("a", "a1"), publish("a", "a2")]).await;
    let one = host.ledger.claim_outbox(start(), LEASE, 1).await.unwrap();
    assert_eq!(one.iter().map(id).collect::<Vec<_>>(), ["a1"]);
    let sql = format!("BEGIN; DELETE FROM wharf_outbox WHERE sequence = {}", one[0].sequence);
    let mut other = host.other_program(&sql).await;
    assert!(host.ledger.claim_outbox(start(), LEASE, 9).await.unwrap().is_empty());
    assert_eq!(aside(&host, "wharf_outbox").await, 0);
    other.run("COMMIT").await;
    let two = host.ledger.claim_outbox(start(), LEASE, 9).await.unwrap();
    assert_eq!(two.iter().map(id).collect::<Vec<_>>(), ["a2"]);
}

/// Hosts that claim and finish side by side, each twice over.
#[tokio::test]
async fn hosts_that_work_side_by_side_leave_nobody_behind() {
    let effects = (0..400).map(|n| publish(&format!("lane-{}", n % 2), &format!("{n}")));
    let one = with_outbox(effects.collect()).await;
    let two = one.second().await;
    for n in 0..150 {
        let event = of(&format!("s-{}", n % 2), submission(&n.to_string(), parked(start())));
        one.ledger.commit(event).await.unwrap();
    }
    let seen: Mutex<BTreeMap<String, Vec<i64>>> = Mutex::default();
    let note =
        |lane: String, sequence| seen.lock().unwrap().entry(lane).or_default().push(sequence);
    let perform = async |host: &Host| {
        while one.ledger.counts().await.unwrap().outbox_waiting > 0 {
            // A host whose database is locked by another comes again.
            let claimed = host.ledger.claim_outbox(start(), LEASE, 2).await.unwrap_or_default();
            for effect in &claimed {
                note(effect.lane.as_str().to_owned(), effect.sequence);
            }
            while !claimed.is_empty()
                && host.ledger.finish_outbox(performed(&claimed)).await.is_err()
            {}
        }
    };
    let run = async |host: &Host| {
        let is_parked = async || {
            let filter = super::super::DeliveryFilter {
                status: Some(DeliveryStatus::Parked),
                limit: 1,
                ..Default::default()
            };
            !one.ledger.deliveries(&filter).await.unwrap().is_empty()
        };
        while is_parked().await {
            let of = [audit(), recurring()];
            let claimed = host.ledger.claim_parked(start(), LEASE, &of, 3).await;
            for delivery in claimed.unwrap_or_default() {
                let subject = delivery.head.subject.clone().unwrap();
                note(subject, delivery.head.event_id.parse().unwrap());
                while host.ledger.commit(under(&delivery, done(Vec::new()))).await.is_err() {}
            }
        }
    };
    let hosts = [&one, &two, &one, &two, &one, &two];
    let all = async { tokio::join!(join_all(hosts.map(&perform)), join_all(hosts.map(&run))) };
    let all = tokio::time::timeout(Duration::from_secs(120), all).await;
    assert!(all.is_ok(), "someone waits behind nobody");
    for (lane, sequences) in seen.into_inner().unwrap() {
        assert!(sequences.is_sorted(), "{lane}: {sequences:?}");
    }
}
