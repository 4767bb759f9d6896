//! Random schedules: what two hosts, a broker that repeats, crashes, slow calls and people can do
//! in any order. After each step the promises must hold, and once everything settles nothing may be
//! lost. The same schedules run on SQLite, which must answer as the model does.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use proptest::prelude::*;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Event, Handed, LEASE, Model, ordered};
use crate::clock::{Clock as _, ManualClock, Timestamp};
use crate::delivery::{DeliveryHead, DeliveryId, DeliveryStatus};
use crate::effect::{Execute, Many, Outgoing, OutgoingEvent, SqlValue};
use crate::event::{Arrival, WireEvent};
use crate::ledger::record::{EffectResult, EffectStatus, FinishedEffect};
use crate::ledger::state_machine::{Performance, Turn, Verdict};
use crate::ledger::{
    Committed, DeliveryFilter, Ledger, LedgerOptions, Migration, NewDelivery, NewEffect, Outcome,
    Submission,
};
use crate::name::{ComponentId, EventKey, Lane, Pubsub, Topic};

/// Those that a broker delivers; of each, the host makes an internal event too.
const EVENTS: Event = 5;
const LANES: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Ok,
    Failed,
    Rejected,
    /// Its own SQL fails at its second statement.
    WrongStatement,
    /// Its own SQL touches another number of rows than it says.
    WrongCount,
    /// The ledger could not: nothing is written.
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
    /// All runs of a host end at the same moment.
    EndAll {
        host: usize,
        endings: [Ending; 4],
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
    let run_ending = prop_oneof![
        8 => ending.clone(),
        1 => Just(Ending::WrongStatement),
        1 => Just(Ending::WrongCount),
    ];
    let run_endings = prop::array::uniform4(run_ending.clone());
    let answered = prop::bool::weighted(0.8);
    prop_oneof![
        6 => (host.clone(), event).prop_map(|(host, event)| Step::Deliver { host, event }),
        6 => (host.clone(), pick.clone(), run_ending, answered).prop_map(
            |(host, run, ending, answered)| Step::End { host, run, ending, answered }),
        3 => (host.clone(), run_endings, answered).prop_map(
            |(host, endings, answered)| Step::EndAll { host, endings, answered }),
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

/// A run that is over, and what it hands in.
struct Ended {
    run: Run,
    ending: Ending,
    handed: Handed,
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
    /// The runs whose own statements were committed.
    written: BTreeSet<usize>,
    /// The run that has the row; any other comes too late.
    holder: HashMap<Event, usize>,
    /// Likewise the call, by the effect's sequence.
    caller: HashMap<i64, usize>,
    /// Brought back by a person: its place in the order is given up.
    by_hand: HashSet<Event>,
    promised: HashSet<String>,
    /// Effects that a person discarded.
    given_up: HashSet<String>,
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
            written: BTreeSet::new(),
            holder: HashMap::new(),
            caller: HashMap::new(),
            by_hand: HashSet::new(),
            promised: HashSet::new(),
            given_up: HashSet::new(),
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
                    self.end(host, vec![(run, ending)], answered).await;
                }
            }
            Step::EndAll { host, endings, answered } => {
                let runs = std::mem::take(&mut self.hosts[host].runs);
                let ended = runs.into_iter().zip(endings.into_iter().cycle()).collect();
                self.end(host, ended, answered).await;
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
                let was_dead = self.is_dead(event);
                let (changed, gone) = self.model.retry(event, now);
                if was_dead {
                    self.by_hand.insert(event);
                }
                self.given_up.extend(gone);
                if let Some(ledger) = self.sqlite(0) {
                    assert_eq!(ledger.retry(&id(event), now).await, Ok(changed));
                }
            }
            Step::Discard { event } => {
                let (changed, gone) = self.model.discard(event);
                self.given_up.extend(gone);
                if let Some(ledger) = self.sqlite(0) {
                    assert_eq!(ledger.discard(&id(event)).await, Ok(changed));
                }
            }
            Step::Pass { seconds } => self.now += Duration::from_secs(seconds),
        }
    }

    fn is_dead(&self, event: Event) -> bool {
        let row = self.model.rows.get(&event);
        row.is_some_and(|row| row.state.status == DeliveryStatus::Dead)
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

    /// Hands in at once what several runs came to.
    async fn end(&mut self, host: usize, runs: Vec<(Run, Ending)>, answered: bool) {
        let ended = runs.into_iter().filter_map(|(run, ending)| {
            let verdict = match ending {
                Ending::Ok | Ending::WrongStatement | Ending::WrongCount => Verdict::Done,
                Ending::Failed => Verdict::Parked { due: self.now + Duration::from_secs(5) },
                Ending::Rejected => Verdict::Dead,
                Ending::NotWritten => return None,
            };
            let handed = self.handed(&run, verdict);
            Some(Ended { run, ending, handed })
        });
        let ended = as_written(ended.collect());
        let submissions: Vec<_> = ended.iter().map(|ended| submission(ended, self.now)).collect();
        let answers: Vec<_> = ended.into_iter().map(|ended| self.ended(ended, answered)).collect();
        if let Some(ledger) = self.sqlite(host) {
            let theirs = join_all(submissions.into_iter().map(|s| ledger.commit(s))).await;
            assert_eq!(theirs, answers.into_iter().map(Ok).collect::<Vec<_>>());
        }
    }

    fn ended(&mut self, ended: Ended, answered: bool) -> Committed {
        let Ended { run, ending, handed } = ended;
        let answer = match self.statements_fail(&run, ending) {
            Some(failed) => return failed,
            None => self.model.commit(&handed, self.now),
        };
        let written = !matches!(answer, Committed::Repeat(_) | Committed::Superseded);
        if written && run.claim.is_some() {
            let holder = self.holder.remove(&run.event);
            assert_eq!(holder, Some(run.number), "a late result was taken");
        }
        if answer == Committed::Done {
            self.written.insert(run.number);
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
        answer
    }

    /// The answer to a run whose statements go wrong; `None` when they do not, or never run.
    fn statements_fail(&self, run: &Run, ending: Ending) -> Option<Committed> {
        let runs = match (self.model.rows.get(&run.event), run.claim) {
            (None, None) => self.model.turn(run.event) == Turn::Free,
            (Some(row), Some(claim)) => row.state.accepts(claim),
            (Some(_), None) | (None, Some(_)) => false,
        };
        let statement = "insert".to_owned();
        match ending {
            Ending::WrongStatement if runs => {
                let error = "UNIQUE constraint failed: written.run".into();
                Some(Committed::StatementFailed { statement, error })
            }
            Ending::WrongCount if runs => {
                Some(Committed::Unexpected { statement, expected: 2, touched: 1 })
            }
            Ending::Ok
            | Ending::Failed
            | Ending::Rejected
            | Ending::NotWritten
            | Ending::WrongStatement
            | Ending::WrongCount => None,
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
            let theirs: BTreeSet<_> = theirs
                .iter()
                .map(|c| (c.head.event_id.parse::<Event>().unwrap(), c.claim, c.attempts))
                .collect();
            // Within a group, SQLite enters what does not share a subject in another order.
            assert_eq!(theirs, claimed.iter().copied().collect());
        }
        for (event, claim, attempts) in claimed {
            self.start(host, event, Some(claim), attempts);
        }
    }

    async fn claim_outbox(&mut self, host: usize) {
        let claimed = self.model.claim_outbox(self.now);
        if let Some(ledger) = self.sqlite(host) {
            let theirs = ledger.claim_outbox(self.now, LEASE, 100).await.unwrap();
            let theirs: Vec<_> = theirs
                .into_iter()
                .map(|c| (c.sequence, c.claim, published(c.outgoing).id))
                .collect();
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
            assert!(!self.model.overtakes(call.sequence), "{} overtook its lane", call.id);
        }
    }

    async fn report(&mut self, host: usize, call: &Call, ending: Ending) {
        let Call { sequence, claim, number, .. } = *call;
        let due = self.now + Duration::from_secs(3);
        let (performance, result) = match ending {
            Ending::Ok if call.performed => {
                (Performance::Performed, EffectResult::Performed { internal: Vec::new() })
            }
            Ending::Rejected => (
                Performance::Dead,
                EffectResult::Dead { error: "refused".into(), outbox: vec![], internal: vec![] },
            ),
            Ending::Ok | Ending::Failed => (
                Performance::Again { due, attempts: 1 },
                EffectResult::Again { at: due, attempts: 1, error: "away".into() },
            ),
            Ending::NotWritten | Ending::WrongStatement | Ending::WrongCount => return,
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
            let ended = self.performed.contains(id) || self.given_up.contains(id);
            assert!(ended, "{id} is gone and was never performed");
        }
        if let Some(ledger) = self.sqlite(0) {
            self.same_rows(ledger).await;
        }
    }

    async fn same_rows(&self, ledger: &Ledger) {
        let filter = DeliveryFilter { limit: 100, ..DeliveryFilter::default() };
        let theirs = ledger.deliveries(&filter).await.unwrap();
        let mut theirs: Vec<_> = theirs
            .into_iter()
            .rev()
            .map(|row| {
                let event = row.head.event_id.parse::<Event>().unwrap();
                (event, row.status, row.attempts, row.due)
            })
            .collect();
        let mut rows: Vec<_> = self.model.rows.iter().collect();
        rows.sort_by_key(|(_, row)| row.sequence);
        let mut ours: Vec<_> = rows
            .into_iter()
            .map(|(event, row)| (*event, row.state.status, row.state.attempts, row.state.due))
            .collect();
        // Those of the subject first, in their order; of the others, order means nothing.
        for rows in [&mut theirs, &mut ours] {
            rows.sort_by_key(|(event, ..)| (!ordered(*event)).then_some(*event));
        }
        assert_eq!(theirs, ours);
        let written =
            ledger.query("SELECT run FROM written ORDER BY run", &[], 10_000, || {}).await;
        let written: Vec<_> = written.unwrap().into_iter().map(|row| row[0].1.clone()).collect();
        let ours: Vec<_> = self.written.iter().map(|run| number(*run)).collect();
        assert_eq!(written, ours, "the components' own rows");
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
                let runs = std::mem::take(&mut self.hosts[host].runs).into_iter();
                self.end(host, runs.map(|run| (run, Ending::Ok)).collect(), true).await;
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

/// In the order in which one committer writes what it gets at once: groups in which each key and
/// each subject is there once, and in each what just came in before what was claimed.
fn as_written(mut ended: Vec<Ended>) -> Vec<Ended> {
    let mut written = Vec::new();
    while !ended.is_empty() {
        let (mut events, mut subject_taken) = (HashSet::new(), false);
        let (mut group, mut later) = (Vec::new(), Vec::new());
        for ended in ended {
            let first = events.insert(ended.run.event);
            let turn = !ordered(ended.run.event) || !std::mem::replace(&mut subject_taken, true);
            if first && turn { group.push(ended) } else { later.push(ended) }
        }
        group.sort_by_key(|ended: &Ended| {
            let came_in = ended.run.claim.is_none();
            (!came_in, came_in.then(|| id(ended.run.event).key))
        });
        written.append(&mut group);
        ended = later;
    }
    written
}

/// A run that is done leaves its number, some with others in one statement, some with a count.
fn statements(run: &Run, ending: Ending) -> Vec<Execute> {
    let text = "INSERT INTO written (run) VALUES (?), (?)".into();
    let many = Arc::new(Many::Values { texts: vec![(2, text)], order: vec![0] });
    let insert = |expect| Execute {
        statement: "insert".into(),
        sql: "INSERT INTO written (run) VALUES ($1)".into(),
        many: (run.number.is_multiple_of(2)).then(|| Arc::clone(&many)),
        params: vec![number(run.number)],
        expect,
    };
    let expect = (run.number.is_multiple_of(3)).then_some(1);
    match ending {
        Ending::Ok => vec![insert(expect)],
        Ending::WrongStatement => vec![insert(expect), insert(expect)],
        Ending::WrongCount => vec![insert(Some(2))],
        Ending::Failed | Ending::Rejected | Ending::NotWritten => Vec::new(),
    }
}

fn number(run: usize) -> SqlValue {
    SqlValue::Integer(run.try_into().unwrap())
}

fn submission(ended: &Ended, arrived: Timestamp) -> Submission {
    let Ended { run, ending, handed } = ended;
    let outbox = handed.effects.iter().zip(0..).map(|((id, lane), index)| NewEffect {
        lane: Lane::new(lane.to_string()).unwrap(),
        index,
        outgoing: Outgoing::Publish(OutgoingEvent {
            pubsub: Pubsub::new("p").unwrap(),
            topic: Topic::new("t").unwrap(),
            id: id.clone(),
            content_type: "application/json".into(),
            payload: Bytes::new(),
            partition_key: None,
        }),
    });
    let outbox = outbox.collect();
    let internal =
        handed.internal.iter().map(|e| NewDelivery { head: head(*e, arrived), wire: wire() });
    let internal = internal.collect();
    let error = "it failed".to_owned();
    let outcome = match handed.verdict {
        Verdict::Done => Outcome::Done { statements: statements(run, *ending), outbox, internal },
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
            let sql = "CREATE TABLE written (run INTEGER PRIMARY KEY)".into();
            let table = Migration { set: "audit".into(), name: "1".into(), sql };
            ledgers[0].migrate(&[table]).await.unwrap();
            Play::new(Some(ledgers)).run(schedule).await;
        });
    }
}

fn published(outgoing: Outgoing) -> OutgoingEvent {
    match outgoing {
        Outgoing::Publish(event) => event,
        other => panic!("only publishes are played: {other:?}"),
    }
}
