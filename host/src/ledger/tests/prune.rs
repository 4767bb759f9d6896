//! What is handled and old goes, in batches; whatever is left to do or to decide stays.

use std::time::Duration;

use super::super::{
    ByHand, Committed, DeliveryFilter, EffectResult, FinishedEffect, Outcome, Pruned, Recording,
};
use super::{Host, LEASE, after, dead, done, on_postgres, parked, publish, start, submission};
use crate::clock::Timestamp;

const DAY: Duration = Duration::from_hours(24);

async fn prune(host: &Host, now: Timestamp) -> Pruned {
    host.ledger.prune(now, now - 8 * DAY).await.unwrap()
}

/// How many go until nothing does.
async fn all(host: &Host, now: Timestamp) -> u64 {
    let mut gone = 0;
    while let Pruned::Batch(batch) = prune(host, now).await {
        gone += batch;
    }
    gone
}

async fn left(host: &Host) -> Vec<String> {
    let filter = DeliveryFilter { limit: 9, ..DeliveryFilter::default() };
    let rows = host.ledger.deliveries(&filter).await.unwrap();
    rows.into_iter().rev().map(|row| row.head.event_id).collect()
}

fn with_effect(lane: &str) -> Outcome {
    let outbox = vec![publish(lane, lane)];
    Outcome::Done { statements: Vec::new(), outbox, internal: Vec::new() }
}

#[tokio::test]
async fn what_is_left_to_do_or_to_decide_stays_until_it_is() {
    let host = Host::start().await;
    for (event, outcome) in [
        ("done", done(vec![])),
        ("waits", with_effect("waits")),
        ("refused", with_effect("refused")),
        ("parked", parked(start())),
        ("dead", dead()),
        ("unwanted", dead()),
    ] {
        host.ledger.commit(submission(event, outcome)).await.unwrap();
    }
    let id = |event| submission(event, dead()).head.id;
    assert_eq!(host.ledger.discard(&id("unwanted")).await, Ok(ByHand::Changed));
    let effects = host.ledger.claim_outbox(start(), LEASE, 9).await.unwrap();
    let result = |event: &str, result| {
        let effect = effects.iter().find(|effect| effect.lane.as_str() == event).unwrap();
        vec![FinishedEffect { sequence: effect.sequence, claim: effect.claim, result }]
    };
    let refused =
        EffectResult::Dead { error: "no".into(), outbox: Vec::new(), internal: Vec::new() };
    host.ledger.finish_outbox(result("refused", refused)).await.unwrap();

    assert_eq!(all(&host, start() + 8 * DAY).await, 0, "the window has two ends");
    let old = start() + 8 * DAY + Duration::from_micros(1);
    let again = submission("done", done(vec![]));
    assert!(matches!(host.ledger.commit(again.clone()).await, Ok(Committed::Repeat(_))));
    assert_eq!(all(&host, old).await, 2);
    assert_eq!(left(&host).await, ["waits", "refused", "parked", "dead"]);
    assert_eq!(host.ledger.commit(again).await, Ok(Committed::Done), "it is not known any more");

    // They end, and go with the next round.
    let performed = EffectResult::Performed { internal: Vec::new() };
    host.ledger.finish_outbox(result("waits", performed)).await.unwrap();
    for event in ["refused", "parked", "dead"] {
        assert_eq!(host.ledger.discard(&id(event)).await, Ok(ByHand::Changed), "{event}");
    }
    assert_eq!(prune(&host, old).await, Pruned::Batch(1), "what came again");
    assert_eq!(prune(&host, old).await, Pruned::Nothing, "the walk has passed them");
    assert_eq!(all(&host, old + DAY).await, 4);
    assert_eq!(left(&host).await, [""; 0]);
}

#[tokio::test]
async fn it_goes_in_batches_over_gaps_and_stops_at_what_is_young() {
    let host = Host::start().await;
    let of = |from: u32, to: u32, received_at: Timestamp| {
        (from..to).map(move |number| {
            let mut one = submission(&number.to_string(), done(vec![]));
            one.head.received_at = received_at;
            one
        })
    };
    let enter = async |all: Vec<_>| {
        let commits = all.into_iter().map(|one| host.ledger.commit(one));
        assert!(futures::future::join_all(commits).await.into_iter().all(|one| one.is_ok()));
    };
    enter(of(0, 1100, start()).collect()).await;
    // As if many repeats had used up sequences.
    let gap = if on_postgres() {
        "SELECT setval(pg_get_serial_sequence('wharf_deliveries', 'sequence'), 700000)"
    } else {
        "UPDATE sqlite_sequence SET seq = 700000 WHERE name = 'wharf_deliveries'"
    };
    host.other_program(gap).await;
    enter(of(1100, 1110, start()).collect()).await;
    enter(of(1110, 1112, start() + DAY).collect()).await;
    // A clock that is behind.
    enter(of(1112, 1113, start()).collect()).await;

    let now = start() + 8 * DAY + Duration::from_secs(1);
    for gone in [500, 500] {
        assert_eq!(prune(&host, now).await, Pruned::Batch(gone));
    }
    assert_eq!(all(&host, now).await, 100 + 10 + 1);
    assert_eq!(left(&host).await, ["1110", "1111"]);
    // Of these it passed both, and finds them when it sets out again.
    assert_eq!(all(&host, now + 2 * DAY).await, 2);
}

#[tokio::test]
async fn a_recording_goes_with_its_delivery() {
    let host = Host::start().await;
    let recording = |event: &str| Recording {
        id: submission(event, dead()).head.id,
        attempt: 1,
        failed: false,
        digest: "d1".into(),
        at: start(),
        fuel: 7,
        micros: 9,
        body: "{}".into(),
    };
    for (event, outcome) in [("done", done(vec![])), ("dead", dead())] {
        host.ledger.commit(submission(event, outcome)).await.unwrap();
        host.ledger.record(vec![recording(event)], (9, 9)).await.unwrap();
    }
    assert_eq!(all(&host, start() + 9 * DAY).await, 1);
    assert_eq!(host.ledger.recording(&recording("done").id).await, Ok(None));
    assert_eq!(host.ledger.recording(&recording("dead").id).await, Ok(Some(recording("dead"))));
}

/// SQLite has one writer in any case.
#[tokio::test]
async fn while_one_host_prunes_the_others_do_not() {
    if !on_postgres() {
        return;
    }
    let host = Host::start().await;
    host.ledger.commit(submission("1", done(vec![]))).await.unwrap();
    let mut other = host.other_program("BEGIN; SELECT * FROM wharf_pruning FOR UPDATE").await;
    assert_eq!(prune(&host, after(0) + 9 * DAY).await, Pruned::Elsewhere);
    other.run("ROLLBACK").await;
    assert_eq!(prune(&host, after(0) + 9 * DAY).await, Pruned::Batch(1));
}
