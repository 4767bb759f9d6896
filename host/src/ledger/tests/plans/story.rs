//! A host's life, short: whatever the ledger can be asked, once.

use std::time::Duration;

use super::super::super::{
    Committed, Deed, DeliveryFilter, EffectResult, FinishedEffect, ListOrder, NewRelease, Outcome,
    Pruned, Recording, Submission, Why,
};
use super::super::many::row;
use super::super::{
    Host, LEASE, after, audit, dead, done, insert, internal, of, parked, publish, start,
    submission, under,
};
use crate::delivery::{DeliveryId, DeliveryStatus};
use crate::effect::Execute;
use crate::name::StoreName;

pub async fn tell(host: &Host) {
    let audit_log = "CREATE TABLE audit_log (event_id TEXT PRIMARY KEY, note TEXT)";
    host.other_program(audit_log).await;
    commits(host).await;
    claims(host).await;
    effects(host).await;
    people(host).await;
    others(host).await;
    let later = start() + Duration::from_hours(24 * 30);
    host.ledger.free_stranded().await.unwrap();
    assert!(matches!(host.ledger.prune(later, later).await, Ok(Pruned::Batch(1..))));
    host.ledger.ping().await.unwrap();
}

fn id(event: &str) -> DeliveryId {
    submission(event, dead()).head.id
}

async fn commit(host: &Host, submission: Submission) -> Committed {
    host.ledger.commit(submission).await.unwrap()
}

fn with_effects(events: &[&str]) -> Outcome {
    let outbox = events.iter().map(|event| publish(event, event)).collect();
    Outcome::Done { statements: Vec::new(), outbox, internal: vec![internal("internal")] }
}

async fn commits(host: &Host) {
    let done_one = submission("done", done(vec![insert("done")]));
    assert_eq!(commit(host, done_one.clone()).await, Committed::Done);
    assert!(matches!(commit(host, done_one).await, Committed::Repeat(_)));
    let outbox = vec![publish("at once", "at once")];
    let at_once = Outcome::Done { statements: vec![row("at once")], outbox, internal: vec![] };
    commit(host, submission("at once", at_once)).await;
    commit(host, submission("effects", with_effects(&["performed", "again", "refused"]))).await;
    commit(host, of("s", submission("parked", parked(start())))).await;
    assert_eq!(
        commit(host, of("s", submission("behind", done(vec![])))).await,
        Committed::Parked { behind: true }
    );
    commit(host, submission("dead", dead())).await;
    let expects = Execute { expect: Some(2), ..insert("expects") };
    let taken_back = commit(host, submission("expects", done(vec![expects]))).await;
    assert!(matches!(taken_back, Committed::Unexpected { .. }));
}

async fn claims(host: &Host) {
    host.ledger.next_due(&[audit()]).await.unwrap();
    let claimed = host.claim_at(after(1)).await;
    assert_eq!(claimed.len(), 2, "of the subject only the first");
    for one in &claimed {
        commit(host, under(one, done(vec![]))).await;
    }
}

async fn effects(host: &Host) {
    let claimed = host.ledger.claim_outbox(after(1), LEASE, 9).await.unwrap();
    let result = |lane: &str| match lane {
        "performed" => EffectResult::Performed { internal: vec![internal("result")] },
        "again" => EffectResult::Again { at: after(9), attempts: 1, error: "away".into() },
        _ => EffectResult::Dead {
            error: "refused".into(),
            outbox: vec![publish("report", "report")],
            internal: Vec::new(),
        },
    };
    let finished = claimed.iter().map(|effect| FinishedEffect {
        sequence: effect.sequence,
        claim: effect.claim,
        result: result(effect.lane.as_str()),
    });
    host.ledger.finish_outbox(finished.collect()).await.unwrap();
    let store = StoreName::new("s").unwrap();
    assert_eq!(host.ledger.pending_state(&store, "k").await, Ok(None));
}

async fn people(host: &Host) {
    let ledger = &host.ledger;
    ledger.counts().await.unwrap();
    ledger.status(&id("done")).await.unwrap();
    ledger.delivery(&id("effects")).await.unwrap();
    for refused in [false, true] {
        for status in [None, Some(DeliveryStatus::Dead)] {
            for order in [ListOrder::NewestFirst, ListOrder::OldestAfter(0)] {
                let filter = DeliveryFilter {
                    status,
                    refused,
                    order,
                    limit: 9,
                    ..DeliveryFilter::default()
                };
                ledger.deliveries(&filter).await.unwrap();
            }
        }
    }
    let filter = DeliveryFilter { limit: 9, ..DeliveryFilter::default() };
    ledger.by_filter(&filter, 0, Deed::Count, start()).await.unwrap();
    ledger.retry(&id("effects"), start()).await.unwrap();
    ledger.retry(&id("dead"), start()).await.unwrap();
    ledger.discard(&id("dead")).await.unwrap();
}

async fn others(host: &Host) {
    let ledger = &host.ledger;
    let recording = Recording {
        id: id("done"),
        attempt: 1,
        failed: false,
        digest: "d".into(),
        at: start(),
        fuel: 1,
        micros: 1,
        body: "{}".into(),
    };
    ledger.record(vec![recording], (9, 9)).await.unwrap();
    ledger.recording(&id("done")).await.unwrap();
    let release = NewRelease {
        component: audit(),
        digest: "d".into(),
        version: "1".into(),
        bundle: vec![1],
        at: start(),
        why: Why::Start,
    };
    ledger.record_release(release).await.unwrap();
    ledger.releases(&audit(), 9).await.unwrap();
    ledger.bundle(&audit(), "d").await.unwrap();
}
