//! Random schedules: what two hosts, a broker that repeats, crashes, slow calls and people can do
//! in any order. After each step the promises must hold, and once everything settles nothing may be
//! lost. The same schedules run on SQLite, which must answer as the model does.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Event, Handed, LEASE, Model, ordered};
use crate::clock::{Clock as _, ManualClock, Timestamp};
use crate::delivery::{DeliveryHead, DeliveryId, DeliveryStatus};
use crate::effect::Outgoing;
use crate::event::{Arrival, WireEvent};
use crate::ledger::record::{EffectResult, EffectStatus, FinishedEffect};
use crate::ledger::state_machine::{Delivery, Performance, Verdict};
use crate::ledger::{
    ByHand, Committed, DeliveryFilter, Ledger, LedgerOptions, NewDelivery, NewEffect, Outcome,
    Submission,
};
use crate::name::{ComponentId, EventKey, Lane, Pubsub, Topic};

/// Those that a broker delivers; of each, the host makes an internal event too.
const EVENTS: Event = 5;
const LANES: usize = 2;

#[derive(Debug, Clone, Copy)]
enum Ending {
    Ok,
    Failed,
    Rejected,
    /// Its own SQL failed, or the ledger did: nothing is written.
    NotWritten,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// The broker delivers, for the first time or again.
    Deliver {
        host: usize,
        event: Event,
    },
    /// A run ends and is committed; the host may die before it can say so.
    End {
        host: usize,
        run: usize,
        ending: Ending,
        answered: bool,
    },
    Crash {
        host: usize,
    },
    ClaimParked {
        host: usize,
    },
    ClaimOutbox {
        host: usize,
    },
    /// The effect reaches Dapr.
    Perform {
        host: usize,
        effect: usize,
    },
    /// What the relay says of it; without a performance before it, that is a failure.
    Report {
        host: usize,
        effect: usize,
        ending: Ending,
    },
    Retry {
        event: Event,
    },
    Discard {
        event: Event,
    },
    Pass {
        seconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (host, event, pick) = (0..2usize, 0..EVENTS, 0..4usize);
    let any_event = 0..EVENTS * 2;
    let ending = prop_oneof![
        3 => Just(Ending::Ok),
        3 => Just(Ending::Failed),
        1 => Just(Ending::Rejected),
        1 => Just(Ending::NotWritten),
    ];
    prop_oneof![
        6 => (host.clone(), event).prop_map(|(host, event)| Step::Deliver { host, event }),
        8 => (host.clone(), pick.clone(), ending.clone(), prop::bool::weighted(0.8)).prop_map(
            |(host, run, ending, answered)| Step::End { host, run, ending, answered }),
        1 => host.clone().prop_map(|host| Step::Crash { host }),
        4 => host.clone().prop_map(|host| Step::ClaimParked { host }),
        4 => host.clone().prop_map(|host| Step::ClaimOutbox { host }),
        4 => (host.clone(), pick.clone())
            .prop_map(|(host, effect)| Step::Perform { host, effect }),
        4 => (host, pick, ending)
            .prop_map(|(host, effect, ending)| Step::Report { host, effect, ending }),
        1 => any_event.clone().prop_map(|event| Step::Retry { event }),
        1 => any_event.prop_map(|event| Step::Discard { event }),
        2 => (0..6u64).prop_map(|seconds| Step::Pass { seconds }),
        2 => Just(Step::Pass { seconds: LEASE.as_secs() }),
    ]
}

#[derive(Clone)]
struct Run {
    number: usize,
    event: Event,
    claim: Option<i64>,
    attempts: u32,
}

#[derive(Clone)]
struct Call {
    number: usize,
    sequence: i64,
    claim: i64,
    id: String,
    performed: bool,
}

#[derive(Default)]
struct Host {
    runs: Vec<Run>,
    calls: Vec<Call>,
}

struct Play {
    model: Model,
    /// SQLite, through two handles on one file; absent when only the rules are played.
    sqlite: Option<Vec<Ledger>>,
    now: Timestamp,
    hosts: [Host; 2],
    runs: usize,
    delivered: HashSet<Event>,
    acknowledged: HashSet<Event>,
    /// How often an event's effects were committed.
    committed: HashMap<Event, u32>,
    /// The run that has the row; any other comes too late.
    holder: HashMap<Event, usize>,
    /// Likewise the call, by the effect's sequence.
    caller: HashMap<i64, usize>,
    /// Brought back by a person: its place in the order is given up.
    by_hand: HashSet<Event>,
    promised: HashSet<String>,
    performed: HashSet<String>,
}

impl Play {
    fn new(sqlite: Option<Vec<Ledger>>) -> Self {
        Self {
            model: Model::default(),
            sqlite,
            now: ManualClock::default().now(),
            hosts: Default::default(),
            runs: 0,
            delivered: HashSet::new(),
            acknowledged: HashSet::new(),
            committed: HashMap::new(),
            holder: HashMap::new(),
            caller: HashMap::new(),
            by_hand: HashSet::new(),
            promised: HashSet::new(),
            performed: HashSet::new(),
        }
    }

    async fn run(&mut self, schedule: Vec<Step>) {
        for step in schedule {
            self.step(step).await;
            self.check().await;
        }
        self.settle().await;
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Deliver { host, event } => {
                self.delivered.insert(event);
                self.start(host, event, None, 0);
            }
            Step::End { host, run, ending, answered } => {
                if run < self.hosts[host].runs.len() {
                    let run = self.hosts[host].runs.remove(run);
                    self.end(host, run, ending, answered).await;
                }
            }
            Step::Crash { host } => self.hosts[host] = Host::default(),
            Step::ClaimParked { host } => self.claim_parked(host).await,
            Step::ClaimOutbox { host } => self.claim_outbox(host).await,
            Step::Perform { host, effect } => self.perform(host, effect),
            Step::Report { host, effect, ending } => {
                if effect < self.hosts[host].calls.len() {
                    let call = self.hosts[host].calls.remove(effect);
                    self.report(host, &call, ending).await;
                }
            }
            Step::Retry { event } => {
                let now = self.now;
                let changed = self.model.by_hand(event, |row| row.retry(now));
                if changed == ByHand::Changed {
                    self.by_hand.insert(event);
                }
                if let Some(ledger) = self.sqlite(0) {
                    assert_eq!(ledger.retry(&id(event), now).await, Ok(changed));
                }
            }
            Step::Discard { event } => {
                let changed = self.model.by_hand(event, Delivery::discard);
                if let Some(ledger) = self.sqlite(0) {
                    assert_eq!(ledger.discard(&id(event)).await, Ok(changed));
                }
            }
            Step::Pass { seconds } => self.now += Duration::from_secs(seconds),
        }
    }

    fn sqlite(&self, host: usize) -> Option<&Ledger> {
        self.sqlite.as_ref().map(|ledgers| &ledgers[host])
    }

    fn start(&mut self, host: usize, event: Event, claim: Option<i64>, attempts: u32) {
        self.runs += 1;
        let number = self.runs;
        if claim.is_some() {
            self.holder.insert(event, number);
        }
        self.hosts[host].runs.push(Run { number, event, claim, attempts });
    }

    async fn end(&mut self, host: usize, run: Run, ending: Ending, answered: bool) {
        let verdict = match ending {
            Ending::Ok => Verdict::Done,
            Ending::Failed => Verdict::Parked { due: self.now + Duration::from_secs(5) },
            Ending::Rejected => Verdict::Dead,
            Ending::NotWritten => return,
        };
        let handed = self.handed(&run, verdict);
        let answer = self.model.commit(&handed, self.now);
        if let Some(ledger) = self.sqlite(host) {
            assert_eq!(ledger.commit(submission(&handed, self.now)).await, Ok(answer.clone()));
        }
        let written = !matches!(answer, Committed::Repeat(_) | Committed::Superseded);
        if written && run.claim.is_some() {
            let holder = self.holder.remove(&run.event);
            assert_eq!(holder, Some(run.number), "a late result was taken");
        }
        if answer == Committed::Done {
            *self.committed.entry(run.event).or_default() += 1;
            let mut overtaken = self.model.ahead_of(run.event);
            overtaken.retain(|event| !self.by_hand.contains(event));
            assert!(overtaken.is_empty(), "{} overtook {overtaken:?}", run.event);
        }
        if matches!(answer, Committed::Done | Committed::Dead) {
            self.promised.extend(handed.effects.into_iter().map(|(id, _)| id));
        }
        if answered && run.claim.is_none() {
            self.acknowledged.insert(run.event);
        }
    }

    fn handed(&self, run: &Run, verdict: Verdict) -> Handed {
        let Run { event, claim, attempts, number } = *run;
        // What a dead delivery leaves is another effect each time, what a done one leaves is not.
        let effects = match verdict {
            Verdict::Done => {
                (0..2).map(|n| (format!("{event}/{n}"), (event + n) % LANES)).collect()
            }
            Verdict::Dead => vec![(format!("{event}/dead/{number}"), event % LANES)],
            Verdict::Parked { .. } => Vec::new(),
        };
        let reports = event < EVENTS && verdict == Verdict::Done;
        let internal = if reports { vec![event + EVENTS] } else { Vec::new() };
        Handed { event, claim, attempts: attempts + 1, verdict, effects, internal }
    }

    async fn claim_parked(&mut self, host: usize) {
        let claimed = self.model.claim_parked(self.now);
        if let Some(ledger) = self.sqlite(host) {
            let theirs = ledger.claim_parked(self.now, LEASE, &[component()], 100).await.unwrap();
            let theirs: Vec<_> = theirs
                .iter()
                .map(|c| (c.head.event_id.parse::<Event>().unwrap(), c.claim, c.attempts))
                .collect();
            assert_eq!(theirs, claimed);
        }
        for (event, claim, attempts) in claimed {
            self.start(host, event, Some(claim), attempts);
        }
    }

    async fn claim_outbox(&mut self, host: usize) {
        let claimed = self.model.claim_outbox(self.now);
        if let Some(ledger) = self.sqlite(host) {
            let theirs = ledger.claim_outbox(self.now, LEASE, 100).await.unwrap();
            let theirs: Vec<_> =
                theirs.into_iter().map(|c| (c.sequence, c.claim, c.outgoing.id)).collect();
            assert_eq!(theirs, claimed);
        }
        for (sequence, claim, id) in claimed {
            self.runs += 1;
            let number = self.runs;
            self.caller.insert(sequence, number);
            self.hosts[host].calls.push(Call { number, sequence, claim, id, performed: false });
        }
    }

    fn perform(&mut self, host: usize, effect: usize) {
        let Some(call) = self.hosts[host].calls.get_mut(effect) else { return };
        call.performed = true;
        assert!(self.promised.contains(&call.id), "{} was not committed", call.id);
        if self.performed.insert(call.id.clone()) && self.model.outbox.contains_key(&call.sequence)
        {
            assert!(!self.model.lane_ahead_of(call.sequence), "{} overtook its lane", call.id);
        }
    }

    async fn report(&mut self, host: usize, call: &Call, ending: Ending) {
        let Call { sequence, claim, number, .. } = *call;
        let due = self.now + Duration::from_secs(3);
        let (performance, result) = match ending {
            Ending::Ok if call.performed => (Performance::Performed, EffectResult::Performed),
            Ending::Rejected => (
                Performance::Dead,
                EffectResult::Dead { error: "refused".into(), outbox: vec![], internal: vec![] },
            ),
            Ending::Ok | Ending::Failed => (
                Performance::Again { due, attempts: 1 },
                EffectResult::Again { at: due, attempts: 1, error: "away".into() },
            ),
            Ending::NotWritten => return,
        };
        if self.model.finish(sequence, claim, performance) {
            let caller = self.caller.remove(&sequence);
            assert_eq!(caller, Some(number), "a late report was taken");
        }
        if let Some(ledger) = self.sqlite(host) {
            let finished = FinishedEffect { sequence, claim, result };
            assert_eq!(ledger.finish_outbox(vec![finished]).await, Ok(()));
        }
    }

    /// The promises that hold at every moment.
    async fn check(&self) {
        for (event, times) in &self.committed {
            assert!(*times <= 1, "the effects of {event} were committed {times} times");
        }
        for event in &self.acknowledged {
            assert!(self.model.rows.contains_key(event), "{event} was acknowledged and is gone");
        }
        let waiting = self.model.outbox.values().map(|row| &row.id).collect::<HashSet<_>>();
        for id in self.promised.iter().filter(|id| !waiting.contains(id)) {
            assert!(self.performed.contains(id), "{id} is gone and was never performed");
        }
        if let Some(ledger) = self.sqlite(0) {
            self.same_rows(ledger).await;
        }
    }

    async fn same_rows(&self, ledger: &Ledger) {
        let filter = DeliveryFilter { limit: 100, ..DeliveryFilter::default() };
        let theirs = ledger.deliveries(&filter).await.unwrap();
        let theirs: Vec<_> = theirs
            .into_iter()
            .rev()
            .map(|row| (row.head.event_id, row.status, row.attempts, row.due))
            .collect();
        let mut rows: Vec<_> = self.model.rows.iter().collect();
        rows.sort_by_key(|(_, row)| row.sequence);
        let ours: Vec<_> = rows
            .into_iter()
            .map(|(event, row)| {
                (event.to_string(), row.state.status, row.state.attempts, row.state.due)
            })
            .collect();
        assert_eq!(theirs, ours);
        let dead = self.model.outbox.values().filter(|r| r.state.status == EffectStatus::Dead);
        let counts = ledger.counts().await.unwrap();
        let all = counts.outbox_waiting + counts.outbox_dead;
        assert_eq!(
            (all, counts.outbox_dead),
            (self.model.outbox.len() as u64, dead.count() as u64)
        );
    }

    /// Hosts work, nothing fails any more: everything delivered comes to its end.
    async fn settle(&mut self) {
        self.hosts = Default::default();
        for _round in 0..EVENTS * 8 {
            self.now += LEASE;
            let unanswered: Vec<_> =
                self.delivered.difference(&self.acknowledged).copied().collect();
            for event in unanswered {
                self.start(0, event, None, 0);
            }
            self.claim_parked(1).await;
            for host in [0, 1] {
                for run in std::mem::take(&mut self.hosts[host].runs) {
                    self.end(host, run, Ending::Ok, true).await;
                }
            }
            self.claim_outbox(0).await;
            while !self.hosts[0].calls.is_empty() {
                self.perform(0, 0);
                let call = self.hosts[0].calls.remove(0);
                self.report(0, &call, Ending::Ok).await;
            }
            self.check().await;
        }
        for event in &self.delivered {
            let status = self.model.rows[event].state.status;
            assert_ne!(status, DeliveryStatus::Parked, "{event} never comes to its end");
        }
        let waits = |row: &&super::OutboxRow| row.state.status == EffectStatus::Waiting;
        assert_eq!(self.model.outbox.values().filter(waits).count(), 0, "effects wait for ever");
    }
}

fn component() -> ComponentId {
    ComponentId::new("audit").unwrap()
}

fn id(event: Event) -> DeliveryId {
    DeliveryId { component: component(), key: EventKey::of(&[&event.to_le_bytes()]) }
}

fn head(event: Event, arrived: Timestamp) -> DeliveryHead {
    DeliveryHead {
        id: id(event),
        subject: ordered(event).then(|| "s".to_owned()),
        ordered: ordered(event),
        contract: None,
        pubsub: None,
        topic: None,
        digest: String::new(),
        event_id: event.to_string(),
        event_type: "t".into(),
        received_at: arrived,
    }
}

fn wire() -> Arc<WireEvent> {
    Arc::new(WireEvent { bytes: Bytes::from_static(b"{}"), arrival: Arrival::default() })
}

fn submission(handed: &Handed, arrived: Timestamp) -> Submission {
    let outbox = handed.effects.iter().zip(0..).map(|((id, lane), index)| NewEffect {
        lane: Lane::new(lane.to_string()).unwrap(),
        index,
        outgoing: Outgoing {
            pubsub: Pubsub::new("p").unwrap(),
            topic: Topic::new("t").unwrap(),
            id: id.clone(),
            content_type: "application/json".into(),
            payload: Bytes::new(),
            partition_key: None,
        },
    });
    let outbox = outbox.collect();
    let internal =
        handed.internal.iter().map(|e| NewDelivery { head: head(*e, arrived), wire: wire() });
    let internal = internal.collect();
    let error = "it failed".to_owned();
    let outcome = match handed.verdict {
        Verdict::Done => Outcome::Done { statements: Vec::new(), outbox, internal },
        Verdict::Parked { due } => Outcome::Parked { due, error },
        Verdict::Dead => Outcome::Dead { error, outbox, internal },
    };
    Submission {
        head: head(handed.event, arrived),
        wire: wire(),
        claim: handed.claim,
        attempts: handed.attempts,
        log: Vec::new(),
        outcome,
    }
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(2000)
    })]

    #[test]
    fn the_rules_keep_the_promises(schedule in prop::collection::vec(step(), 1..80)) {
        block_on(Play::new(None).run(schedule));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::with_cases(48)
    })]

    #[test]
    fn sqlite_follows_the_rules(schedule in prop::collection::vec(step(), 1..60)) {
        block_on(async {
            let folder = TempDir::new().unwrap();
            let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
            let mut ledgers = Vec::new();
            for _ in 0..2 {
                let options = LedgerOptions::at(folder.path().join("ledger.db"));
                ledgers.push(Ledger::open(options, &tasks, stop.clone()).await.unwrap());
            }
            Play::new(Some(ledgers)).run(schedule).await;
        });
    }
}
