//! Effects of every kind, what comes of them, and what people do to those that were refused.

use bytes::Bytes;

use super::{Host, LEASE, after, internal, publish, submission};
use crate::delivery::DeliveryStatus;
use crate::effect::{Call, Cancel, Outgoing, OutgoingJob, StateChange, StateWrite};
use crate::ledger::{
    ByHand, ClaimedEffect, EffectResult, FinishedEffect, NewEffect, Outcome, Recording,
};
use crate::name::{BindingName, ContractName, JobName, StoreName};

fn store() -> StoreName {
    StoreName::new("s").unwrap()
}

fn write(key: &str, value: Option<&'static [u8]>) -> Outgoing {
    let change = match value {
        Some(value) => StateChange::Set { value: Bytes::from_static(value), ttl_seconds: Some(9) },
        None => StateChange::Delete,
    };
    Outgoing::State(StateWrite { store: store(), key: key.into(), change })
}

fn call() -> Outgoing {
    Outgoing::Invoke(Call {
        id: "call-1".into(),
        binding: BindingName::new("mail").unwrap(),
        operation: "create".into(),
        data: Bytes::from_static(b"\xff\0"),
        metadata: vec![("to".into(), "ann".into())],
        contract: ContractName::new("cloudevents").unwrap(),
        subject: Some("t-1".into()),
        trace: None,
    })
}

fn job() -> JobName {
    JobName::new("job").unwrap()
}

async fn host_with(effects: Vec<Outgoing>) -> Host {
    let host = Host::start().await;
    commit(&host, "1", effects).await;
    host
}

async fn commit(host: &Host, event: &str, effects: Vec<Outgoing>) {
    let effect =
        |(index, outgoing): (u32, Outgoing)| NewEffect { lane: outgoing.lane(), index, outgoing };
    let outbox = (0..).zip(effects).map(effect).collect();
    let outcome = Outcome::Done { statements: Vec::new(), outbox, internal: Vec::new() };
    host.ledger.commit(submission(event, outcome)).await.unwrap();
}

async fn claim(host: &Host, seconds: u64) -> Vec<ClaimedEffect> {
    host.ledger.claim_outbox(after(seconds), LEASE, 10).await.unwrap()
}

async fn finish(host: &Host, effect: &ClaimedEffect, result: EffectResult) {
    let finished = FinishedEffect { sequence: effect.sequence, claim: effect.claim, result };
    host.ledger.finish_outbox(vec![finished]).await.unwrap();
}

fn refused() -> EffectResult {
    let error = "no such topic".to_owned();
    EffectResult::Dead { error, outbox: Vec::new(), internal: Vec::new() }
}

#[tokio::test]
async fn every_kind_comes_out_as_it_went_in() {
    let schedule = Outgoing::Schedule(OutgoingJob {
        name: JobName::new("other").unwrap(),
        due: Some(after(60)),
        schedule: Some("@every 24h".into()),
        repeats: Some(3),
        data: "{\"a\":1}".into(),
    });
    let effects = vec![
        write("k", Some(b"\0\xff")),
        schedule,
        Outgoing::Cancel(Cancel { name: job() }),
        call(),
    ];
    let host = host_with(effects.clone()).await;
    let claimed: Vec<_> = claim(&host, 0).await.into_iter().map(|effect| effect.outgoing).collect();
    assert_eq!(claimed, effects);
    let shown = host.ledger.delivery(&submission("1", dead()).head.id).await.unwrap().unwrap();
    let shown: Vec<_> = shown.outbox.iter().map(|row| (row.kind, row.target.as_str())).collect();
    assert_eq!(
        shown,
        [("state", "s/k"), ("schedule", "other"), ("cancel", "job"), ("invoke", "mail")]
    );
}

fn dead() -> Outcome {
    Outcome::Dead { error: String::new(), outbox: Vec::new(), internal: Vec::new() }
}

#[tokio::test]
async fn the_newest_write_that_waits_is_seen_until_it_is_performed() {
    let host = host_with(vec![write("k", Some(b"1")), write("other", Some(b"x"))]).await;
    commit(&host, "2", vec![write("k", Some(b"2"))]).await;
    let seen = async || host.ledger.pending_state(&store(), "k").await.unwrap();
    let change =
        |value| StateChange::Set { value: Bytes::from_static(value), ttl_seconds: Some(9) };
    assert_eq!(seen().await.unwrap().change, change(b"2"));
    let first = claim(&host, 0).await;
    assert_eq!(first.len(), 2, "one of each key");
    finish(&host, &first[0], EffectResult::Performed { internal: Vec::new() }).await;
    assert_eq!(seen().await.unwrap().change, change(b"2"));
    commit(&host, "3", vec![write("k", None)]).await;
    assert_eq!(seen().await.unwrap().change, StateChange::Delete);
    for _ in 0..2 {
        let next = claim(&host, 0).await;
        finish(&host, &next[0], EffectResult::Performed { internal: Vec::new() }).await;
    }
    assert_eq!(seen().await, None);
}

#[tokio::test]
async fn of_many_writes_that_wait_the_last_is_seen() {
    let value = |n: u32| Bytes::from(format!("{n}"));
    let set = |n: u32| StateChange::Set { value: value(n), ttl_seconds: None };
    let write = |n: u32, key: &str| {
        Outgoing::State(StateWrite { store: store(), key: key.into(), change: set(n) })
    };
    let host = Host::start().await;
    let seen = async || host.ledger.pending_state(&store(), "k").await.unwrap().unwrap().change;
    for round in 0..3 {
        // Other keys between them, in one delivery.
        let writes =
            (0..60).map(|n| write(round * 100 + n, if n % 3 == 0 { "k" } else { "other" }));
        commit(&host, &format!("e{round}"), writes.collect()).await;
        assert_eq!(seen().await, set(round * 100 + 57));
        let first = claim(&host, 0).await;
        assert_eq!(seen().await, set(round * 100 + 57), "while the first is performed");
        finish(&host, &first[0], EffectResult::Performed { internal: Vec::new() }).await;
        finish(&host, &first[1], refused()).await;
        assert_eq!(seen().await, set(round * 100 + 57));
    }
    let mut last = Vec::new();
    for _ in 0..200 {
        let next = claim(&host, 0).await;
        let Some(effect) = next.iter().find(|effect| effect.outgoing.target() == "s/k") else {
            break;
        };
        last.push(effect.outgoing.clone());
        for effect in &next {
            finish(&host, effect, EffectResult::Performed { internal: Vec::new() }).await;
        }
    }
    assert_eq!(last.last(), Some(&write(257, "k")), "and performed last");
    assert_eq!(host.ledger.pending_state(&store(), "k").await, Ok(None));
}

#[tokio::test]
async fn a_result_is_told_with_the_mark_that_it_is_performed_and_not_by_a_late_host() {
    let host = host_with(vec![call()]).await;
    let stalled = claim(&host, 0).await;
    let second = claim(&host, 60).await;
    let told = |event| EffectResult::Performed { internal: vec![internal(event)] };
    finish(&host, &stalled[0], told("late")).await;
    assert!(host.claim_at(after(61)).await.is_empty(), "its claim is not its own any more");
    finish(&host, &second[0], told("result")).await;
    let claimed = host.claim_at(after(61)).await;
    assert_eq!(claimed.iter().map(|c| c.head.event_id.as_str()).collect::<Vec<_>>(), ["result"]);
    assert!(claim(&host, 200).await.is_empty());
}

#[tokio::test]
async fn refused_effects_are_performed_again_by_hand_with_the_same_id() {
    let host = Host::start().await;
    let outbox = vec![publish("a", "a1")];
    let outcome = Outcome::Done { statements: Vec::new(), outbox, internal: Vec::new() };
    let submission = submission("1", outcome);
    let id = submission.head.id.clone();
    host.ledger.commit(submission).await.unwrap();
    let nothing = host.ledger.retry(&id, after(0)).await.unwrap();
    assert_eq!(nothing, ByHand::Refused(DeliveryStatus::Done), "nothing was refused yet");
    finish(&host, &claim(&host, 0).await[0], refused()).await;
    assert!(claim(&host, 0).await.is_empty());
    assert_eq!(host.ledger.retry(&id, after(5)).await, Ok(ByHand::Changed));
    assert!(claim(&host, 4).await.is_empty(), "it is due when it was asked for");
    let again = claim(&host, 5).await;
    assert_eq!((again[0].outgoing.id(), again[0].attempts), (Some("a1"), 0));
    finish(&host, &again[0], refused()).await;
    assert_eq!(host.ledger.discard(&id).await, Ok(ByHand::Changed));
    let shown = host.ledger.delivery(&id).await.unwrap().unwrap();
    assert_eq!((shown.summary.status, shown.outbox.len()), (DeliveryStatus::Done, 0));
    assert_eq!(host.ledger.counts().await.unwrap().outbox_dead, 0);
}

#[tokio::test]
async fn what_enters_twice_is_there_once() {
    let host = Host::start().await;
    for _ in 0..2 {
        host.ledger.enter(vec![internal("job-1")]).await.unwrap();
    }
    assert_eq!(host.claim_at(after(0)).await.len(), 1);
}

#[tokio::test]
async fn only_the_newest_recordings_are_kept_failures_apart() {
    let host = Host::start().await;
    let recording = |event: &str, failed| Recording {
        id: submission(event, dead()).head.id,
        attempt: 1,
        failed,
        digest: "d1".into(),
        at: after(1),
        fuel: 7,
        micros: 9,
        body: format!("\"{event}\""),
    };
    host.ledger.record(vec![recording("f1", true)], (2, 1)).await.unwrap();
    for event in ["1", "2", "3"] {
        host.ledger.record(vec![recording(event, false)], (2, 1)).await.unwrap();
    }
    let kept = async |event: &str| {
        host.ledger.recording(&submission(event, dead()).head.id).await.unwrap()
    };
    assert_eq!(kept("1").await, None);
    assert_eq!(kept("2").await, Some(recording("2", false)));
    assert!(kept("f1").await.is_some(), "successes push out no failure");
    host.ledger.record(vec![recording("f2", true), recording("f3", true)], (2, 1)).await.unwrap();
    assert!(kept("f1").await.is_none() && kept("f2").await.is_none());
    assert!(kept("f3").await.is_some() && kept("3").await.is_some());
}
