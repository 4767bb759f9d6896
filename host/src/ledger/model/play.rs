//! Random schedules: what two hosts, a broker that repeats, crashes, slow calls, pruning and people
//! can do in any order. After each step the promises must hold, and once everything settles nothing
//! may be lost. The same schedules run on SQLite and PostgreSQL, which must answer as the model does.

mod calls;
mod database;
mod promises;
mod runs;
mod schedule;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;

use super::{Event, LEASE, Model, WINDOW};
use crate::clock::{Clock as _, ManualClock, Timestamp};
use crate::delivery::DeliveryStatus;
use crate::ledger::{Ledger, Pruned};
use calls::Call;
use database::Beside;
use runs::{Ending, Run};
use schedule::{Step, step};

/// Those that a broker delivers; of each, the host makes an internal event too, and a call of a
/// binding, which succeeds or fails.
const EVENTS: Event = 5;
const LANES: usize = 2;

/// How long the broker keeps an event, and delivers it again.
const RETENTION: Duration = Duration::from_secs(300);
/// By then a run of what the broker delivered has ended, or its host has.
const MARGIN: Duration = Duration::from_secs(100);

#[derive(Default)]
struct Host {
    runs: Vec<Run>,
    calls: Vec<Call>,
}

struct Play {
    model: Model,
    /// A database, through two handles; absent when only the rules are played.
    beside: Option<Beside>,
    now: Timestamp,
    hosts: [Host; 2],
    runs: usize,
    /// By the broker, and when for the first time.
    delivered: BTreeMap<Event, Timestamp>,
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
    /// The results that reports brought, and how often.
    results: HashMap<Event, u32>,
    pruned: HashSet<Event>,
}

impl Play {
    fn new(beside: Option<Beside>) -> Self {
        Self {
            model: Model::default(),
            beside,
            now: ManualClock::default().now(),
            hosts: Default::default(),
            runs: 0,
            delivered: BTreeMap::new(),
            acknowledged: HashSet::new(),
            committed: HashMap::new(),
            written: BTreeSet::new(),
            holder: HashMap::new(),
            caller: HashMap::new(),
            by_hand: HashSet::new(),
            promised: HashSet::new(),
            given_up: HashSet::new(),
            performed: HashSet::new(),
            results: HashMap::new(),
            pruned: HashSet::new(),
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
            Step::Deliver { host, event } => self.deliver(host, event),
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
            Step::Retry { event } => self.retry(event).await,
            Step::Discard { event } => self.discard(event).await,
            Step::Prune { host } => self.prune(host).await,
            Step::Pass { seconds } => self.now += Duration::from_secs(seconds),
        }
    }

    async fn retry(&mut self, event: Event) {
        let now = self.now;
        let row = self.model.rows.get(&event);
        if row.is_some_and(|row| row.state.status == DeliveryStatus::Dead) {
            self.by_hand.insert(event);
        }
        let (changed, gone) = self.model.retry(event, now);
        self.given_up.extend(gone);
        if let Some(ledger) = self.ledger(0) {
            assert_eq!(ledger.retry(&database::id(event), now).await, Ok(changed));
        }
    }

    async fn discard(&mut self, event: Event) {
        let (changed, gone) = self.model.discard(event);
        self.given_up.extend(gone);
        if let Some(ledger) = self.ledger(0) {
            assert_eq!(ledger.discard(&database::id(event)).await, Ok(changed));
        }
    }

    async fn prune(&mut self, host: usize) {
        let before: HashMap<_, _> =
            self.model.rows.iter().map(|(event, row)| (*event, (row.state, row.arrived))).collect();
        let (pruned, gone) = self.model.prune(self.now);
        if let Some(ledger) = self.ledger(host) {
            assert_eq!(ledger.prune(self.now, self.now - WINDOW).await, Ok(pruned));
        }
        for event in gone {
            let (state, arrived) = before[&event];
            assert!(state.due.is_none(), "{event} was parked");
            assert_ne!(state.status, DeliveryStatus::Dead, "nobody decided on {event}");
            assert!(arrived + WINDOW < self.now, "{event} is young");
            let left = self.model.outbox.values().any(|row| row.event == event);
            assert!(!left, "an effect of {event} is left");
            self.pruned.insert(event);
        }
    }

    fn ledger(&self, host: usize) -> Option<&Ledger> {
        self.beside.as_ref().map(|beside| &beside.ledgers[host])
    }

    /// Hosts work, nothing fails any more: everything delivered comes to its end, and what may go
    /// goes.
    async fn settle(&mut self) {
        self.hosts = Default::default();
        for _round in 0..EVENTS * 8 {
            let delivered: Vec<_> = self.delivered.keys().copied().collect();
            for event in delivered {
                if !self.acknowledged.contains(&event) {
                    self.deliver(0, event);
                }
            }
            self.now += LEASE;
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
        self.check_ends();
        self.now += super::ROUND + WINDOW;
        for _step in 0..4 {
            self.prune(0).await;
        }
        assert_eq!(self.model.prune(self.now).0, Pruned::Nothing);
        let kept = |row: &super::Row| row.state.status == DeliveryStatus::Dead;
        let refused = |event| self.model.outbox.values().any(|row| row.event == event);
        for (event, row) in &self.model.rows {
            assert!(kept(row) || refused(*event), "{event} never goes");
        }
        self.check().await;
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
            let beside = Some(Beside::on_sqlite().await);
            Play::new(beside).run(schedule).await;
        });
    }
}

wharf_test_postgres::tests_with_postgres! {
    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            max_shrink_iters: 100,
            ..ProptestConfig::with_cases(24)
        })]

        #[test]
        fn postgres_follows_the_rules(schedule in prop::collection::vec(step(), 1..60)) {
            block_on(async {
                let beside = Some(Beside::on_postgres().await);
                Play::new(beside).run(schedule).await;
            });
        }
    }
}
