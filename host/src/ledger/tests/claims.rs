//! Two hosts on one file: claims, leases, results that come late, and what people do by hand.

use std::sync::Arc;

use super::super::{
    ByHand, ClaimedEffect, Committed, ComponentCounts, DeliveryFilter, EffectResult,
    FinishedEffect, NextDue, Outcome,
};
use super::{
    Host, LEASE, after, audit, dead, done, insert, internal, of, parked, publish, recurring, start,
    submission, under,
};
use crate::delivery::DeliveryStatus;
use crate::effect::Outgoing;
use crate::event::WireEvent;

#[tokio::test]
async fn a_parked_delivery_is_claimed_when_it_is_due_by_one_host() {
    let one = Host::start().await;
    let two = one.second().await;
    let first = submission("1", parked(after(1)));
    one.ledger.commit(first.clone()).await.unwrap();
    assert!(one.claim_at(start()).await.is_empty(), "not due yet");
    let due = one.ledger.next_due(&[audit()]).await.unwrap();
    assert_eq!(due, NextDue { parked: Some(after(1)), outbox: None });
    assert_eq!(one.ledger.next_due(&[recurring()]).await, Ok(NextDue::default()), "not theirs");

    let claimed = one.claim_at(after(1)).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!((claimed[0].head.clone(), claimed[0].attempts), (first.head, 1));
    assert_eq!(claimed[0].wire, *first.wire);
    assert!(two.claim_at(after(1)).await.is_empty(), "one host has it");

    let again = under(&claimed[0], parked(after(3)));
    assert_eq!(one.ledger.commit(again).await, Ok(Committed::Parked { behind: false }));
    let claimed = two.claim_at(after(3)).await.remove(0);
    assert_eq!(claimed.attempts, 2);
    assert_eq!(two.ledger.commit(under(&claimed, dead())).await, Ok(Committed::Dead));
    assert!(one.claim_at(after(99)).await.is_empty());
}

#[tokio::test]
async fn a_result_that_comes_after_the_lease_is_thrown_away() {
    let one = Host::start().await.with_audit_log().await;
    let two = one.second().await;
    one.ledger.commit(submission("1", parked(start()))).await.unwrap();
    let slow = one.claim_at(start()).await.remove(0);
    let quick = two.claim_at(start() + LEASE).await.remove(0);
    let late = under(&slow, done(vec![insert("slow")]));
    assert_eq!(one.ledger.commit(late.clone()).await, Ok(Committed::Superseded));
    let result = under(&quick, done(vec![insert("quick")]));
    assert_eq!(two.ledger.commit(result.clone()).await, Ok(Committed::Done));
    assert_eq!(one.ledger.commit(late).await, Ok(Committed::Superseded));
    assert_eq!(two.ledger.commit(result).await, Ok(Committed::Superseded), "one result each");
    assert_eq!(one.audited().await, ["quick"]);
}

#[tokio::test]
async fn a_claim_ends_at_some_bytes() {
    const MIB: usize = 1 << 20;
    let host = Host::start().await;
    for event in ["1", "2", "3"] {
        let mut effect = publish(event, event);
        let Outgoing::Publish(out) = &mut effect.outgoing else { panic!("a publish") };
        out.payload = vec![0; 20 * MIB].into();
        let outcome = Outcome::Done { statements: vec![], outbox: vec![effect], internal: vec![] };
        host.ledger.commit(submission(event, outcome)).await.unwrap();
        let mut waits = of(event, submission(&format!("waits-{event}"), parked(start())));
        let bytes = vec![0; 20 * MIB].into();
        waits.wire = Arc::new(WireEvent { bytes, arrival: waits.wire.arrival.clone() });
        host.ledger.commit(waits).await.unwrap();
    }
    let effects = async || host.ledger.claim_outbox(after(1), LEASE, 100).await.unwrap();
    let lanes: Vec<_> = effects().await.iter().map(|effect| effect.lane.to_string()).collect();
    assert_eq!(lanes, ["1", "2"]);
    let lanes: Vec<_> = effects().await.iter().map(|effect| effect.lane.to_string()).collect();
    assert_eq!(lanes, ["3"]);
    assert_eq!(host.claim_at(after(1)).await.len(), 2);
    assert_eq!(host.claim_at(after(1)).await.len(), 1);
}

#[tokio::test]
async fn of_an_ordered_subject_only_the_lowest_is_claimed() {
    let host = Host::start().await;
    host.ledger.commit(of("s", submission("1", parked(after(5))))).await.unwrap();
    host.ledger.commit(of("s", submission("2", done(vec![])))).await.unwrap();
    host.ledger.commit(of("t", submission("3", parked(start())))).await.unwrap();
    let events = |claimed: &[super::ClaimedDelivery]| -> Vec<String> {
        claimed.iter().map(|claimed| claimed.head.event_id.clone()).collect()
    };
    assert_eq!(events(&host.claim_at(after(1)).await), ["3"]);
    // The one behind is due, but it is not its turn.
    let due = host.ledger.next_due(&[audit()]).await.unwrap();
    assert_eq!(due.parked, Some(after(5)));
    let first = host.claim_at(after(5)).await;
    assert_eq!(events(&first), ["1"]);
    assert!(host.claim_at(after(6)).await.is_empty(), "while the first one runs");
    host.ledger.commit(under(&first[0], done(vec![]))).await.unwrap();
    assert_eq!(events(&host.claim_at(after(6)).await), ["2"]);
}

#[tokio::test]
async fn retry_and_discard_say_what_they_cannot_do() {
    let host = Host::start().await.with_audit_log().await;
    let ledger = &host.ledger;
    let [done_, dead_, parked_] = [done(vec![]), dead(), parked(start())];
    let ids = [("1", done_), ("2", dead_), ("3", parked_)]
        .map(|(event, outcome)| submission(event, outcome));
    for submission in &ids {
        ledger.commit(submission.clone()).await.unwrap();
    }
    let [is_done, is_dead, is_parked] = ids.map(|submission| submission.head.id);
    let unknown = super::head("nothing", None).id;

    assert_eq!(ledger.retry(&unknown, start()).await, Ok(ByHand::Unknown));
    let refused = |status| Ok(ByHand::Refused(status));
    assert_eq!(ledger.retry(&is_done, start()).await, refused(DeliveryStatus::Done));
    assert_eq!(ledger.discard(&is_done).await, refused(DeliveryStatus::Done));
    assert_eq!(ledger.retry(&is_parked, start()).await, refused(DeliveryStatus::Parked));

    let counts = ledger.counts().await.unwrap().components;
    assert_eq!(counts, [ComponentCounts { component: audit(), parked: 1, dead: 1 }]);
    for status in DeliveryStatus::ALL {
        let filter = DeliveryFilter { status: Some(status), limit: 9, ..DeliveryFilter::default() };
        let listed = ledger.deliveries(&filter).await.unwrap();
        assert!(listed.iter().all(|row| row.status == status));
        assert_eq!(listed.len(), usize::from(status != DeliveryStatus::Discarded), "{status:?}");
        let component = Some(recurring());
        let others = ledger.deliveries(&DeliveryFilter { component, ..filter }).await;
        assert_eq!(others, Ok(Vec::new()));
    }

    let running = host.claim_at(start()).await.remove(0);
    assert_eq!(ledger.discard(&is_parked).await, Ok(ByHand::Changed));
    let late = ledger.commit(under(&running, done(vec![insert("late")]))).await;
    assert_eq!(late, Ok(Committed::Superseded));
    assert!(host.audited().await.is_empty());
    let repeat = ledger.commit(submission("3", done(vec![]))).await;
    assert_eq!(repeat, Ok(Committed::Repeat(DeliveryStatus::Discarded)));

    assert_eq!(ledger.retry(&is_dead, after(9)).await, Ok(ByHand::Changed));
    let again = host.claim_at(after(9)).await.remove(0);
    assert_eq!((again.head.id.clone(), again.attempts), (is_dead, 0));
    assert_eq!(ledger.commit(under(&again, done(vec![]))).await, Ok(Committed::Done));
}

async fn claim_effects(host: &Host, seconds: u64) -> Vec<ClaimedEffect> {
    host.ledger.claim_outbox(after(seconds), LEASE, 10).await.unwrap()
}

fn finished(effect: &ClaimedEffect, result: EffectResult) -> Vec<FinishedEffect> {
    vec![FinishedEffect { sequence: effect.sequence, claim: effect.claim, result }]
}

fn ids(effects: &[ClaimedEffect]) -> Vec<&str> {
    effects.iter().filter_map(|effect| effect.outgoing.id()).collect()
}

async fn host_with_effects() -> Host {
    let host = Host::start().await;
    let mut first = submission("1", dead());
    first.outcome = Outcome::Done {
        statements: Vec::new(),
        outbox: vec![publish("a", "a1"), publish("a", "a2"), publish("b", "b1")],
        internal: Vec::new(),
    };
    host.ledger.commit(first).await.unwrap();
    host
}

#[tokio::test]
async fn a_lane_is_performed_one_at_a_time_in_sequence() {
    let host = host_with_effects().await;
    let claimed = claim_effects(&host, 0).await;
    assert_eq!(ids(&claimed), ["a1", "b1"]);
    let expected = publish("a", "a1");
    assert_eq!(claimed[0].outgoing, expected.outgoing);
    assert_eq!(claimed[0].lane, expected.lane);
    assert!(claim_effects(&host, 1).await.is_empty(), "all of it is being performed");

    let later =
        EffectResult::Again { at: after(5), attempts: 1, error: "the broker is away".into() };
    host.ledger.finish_outbox(finished(&claimed[0], later)).await.unwrap();
    assert!(claim_effects(&host, 4).await.is_empty(), "its lane waits for it");
    assert_eq!(host.ledger.next_due(&[]).await.unwrap().outbox, Some(after(5)));
    let again = claim_effects(&host, 5).await;
    assert_eq!((ids(&again), again[0].attempts), (vec!["a1"], 1));
    host.ledger
        .finish_outbox(finished(&again[0], EffectResult::Performed { internal: Vec::new() }))
        .await
        .unwrap();
    assert_eq!(ids(&claim_effects(&host, 5).await), ["a2"]);
    let counts = host.ledger.counts().await.unwrap();
    assert_eq!((counts.outbox_waiting, counts.outbox_oldest), (2, Some(start())));
}

#[tokio::test]
async fn a_host_that_dies_while_it_performs_loses_nothing() {
    let host = host_with_effects().await;
    let dies = claim_effects(&host, 0).await;
    let second = host.second().await;
    let again = claim_effects(&second, 30).await;
    assert_eq!(ids(&again), ids(&dies), "with the same ids");
    host.ledger
        .finish_outbox(finished(&dies[0], EffectResult::Performed { internal: Vec::new() }))
        .await
        .unwrap();
    assert!(claim_effects(&host, 31).await.is_empty(), "a late result changes nothing");
    second
        .ledger
        .finish_outbox(finished(&again[0], EffectResult::Performed { internal: Vec::new() }))
        .await
        .unwrap();
    assert_eq!(ids(&claim_effects(&second, 31).await), ["a2"]);
}

#[tokio::test]
async fn a_dead_effect_lets_its_lane_go_on_and_is_reported_once() {
    let host = host_with_effects().await;
    let claimed = claim_effects(&host, 0).await;
    let dead = || EffectResult::Dead {
        error: "the topic is forbidden".into(),
        outbox: vec![publish("reports", "r1")],
        internal: vec![internal("report")],
    };
    host.ledger.finish_outbox(finished(&claimed[0], dead())).await.unwrap();
    host.ledger.finish_outbox(finished(&claimed[0], dead())).await.unwrap();
    let next = claim_effects(&host, 1).await;
    assert_eq!(ids(&next), ["a2", "r1"]);
    let report = (next[1].delivery.clone(), next[1].since);
    assert_eq!(report, (claimed[0].delivery.clone(), claimed[0].since), "of the same delivery");
    assert_eq!(host.claim_at(start()).await.len(), 1);
    let counts = host.ledger.counts().await.unwrap();
    assert_eq!((counts.outbox_waiting, counts.outbox_dead), (3, 1));
    let detail = host.ledger.delivery(&claimed[0].delivery).await.unwrap().unwrap();
    assert_eq!(detail.outbox[0].error.as_deref(), Some("the topic is forbidden"));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_holds_up_no_other() {
    let host = host_with_effects().await;
    for event in ["2", "3", "4"] {
        host.ledger.commit(submission(event, parked(start()))).await.unwrap();
    }
    let spoil = "UPDATE wharf_deliveries SET arrival = 'nonsense' WHERE event_id = '3'; \
                 UPDATE wharf_outbox SET target = 'nonsense' WHERE lane = 'a'";
    host.other_program(spoil).await;
    let claimed = host.claim_at(start()).await;
    let events: Vec<_> = claimed.iter().map(|claimed| claimed.head.event_id.as_str()).collect();
    assert_eq!(events, ["2", "4"]);
    assert_eq!(ids(&claim_effects(&host, 0).await), ["b1"]);
    let due = host.ledger.next_due(&[audit()]).await.unwrap();
    let lease_end = Some(start() + LEASE);
    assert_eq!(due, NextDue { parked: lease_end, outbox: lease_end }, "they wait like the others");
}
