//! Random schedules: what two hosts, a broker that repeats, crashes, slow calls, pruning and people
//! can do in any order. After each step the promises must hold, and once everything settles nothing
//! may be lost. The same schedules run on SQLite and PostgreSQL, which must answer as the model does.

mod calls;
mod cases;
mod database;
mod promises;
mod runs;
mod schedule;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use super::by_hand::Filter;
use super::{Component, Id, Kind, LEASE, Model, WINDOW};
use crate::clock::{Clock as _, ManualClock, Timestamp};
use crate::delivery::DeliveryStatus;
use crate::ledger::{Batch, ByHand, Deed, Ledger, Pruned};
use calls::Call;
use database::Beside;
use runs::{Ending, Run};
use schedule::{BOTH, Step};

/// Those that a broker delivers, to both components. Of each come others: see [`Kind`].
const EVENTS: usize = 6;
/// Of what handlers publish; then come dead letters, reports, and calls.
const LANES: usize = 2;
const LETTERS: usize = 2;
const REPORTS: usize = 3;
const CALLS: usize = 4;

/// How long the broker keeps an event, and delivers it again.
const RETENTION: Duration = Duration::from_secs(300);
/// By then a run of what the broker delivered has ended, or its host has.
const MARGIN: Duration = Duration::from_secs(100);

/// So often the whole database is read; what it answers is compared each time.
const LOOK: usize = 4;

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
    delivered: BTreeMap<usize, Timestamp>,
    /// When a job or a tick came for the first time.
    fired: BTreeMap<usize, Timestamp>,
    acknowledged: HashSet<Id>,
    /// How often a delivery's effects were committed.
    committed: HashMap<Id, u32>,
    /// The runs whose own statements were committed.
    written: BTreeSet<usize>,
    /// The run that has the row; any other comes too late.
    holder: HashMap<Id, usize>,
    /// Likewise the call, by the effect's sequence.
    caller: HashMap<i64, usize>,
    /// Brought back by a person: its place in the order is given up.
    by_hand: HashSet<Id>,
    /// What was committed to be performed, by sequence: the effect's id.
    promised: BTreeMap<i64, String>,
    /// Effects that a person discarded.
    given_up: HashSet<i64>,
    performed: HashSet<i64>,
    /// What died, and under which claim; its place is its number.
    deaths: Vec<String>,
    reported: HashSet<String>,
    /// The internal events that something left, and how often.
    results: HashMap<Id, u32>,
    pruned: HashSet<Id>,
    /// Somebody set nobody free: that is looked for, once in a while.
    stranded: bool,
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
            fired: BTreeMap::new(),
            acknowledged: HashSet::new(),
            committed: HashMap::new(),
            written: BTreeSet::new(),
            holder: HashMap::new(),
            caller: HashMap::new(),
            by_hand: HashSet::new(),
            promised: BTreeMap::new(),
            given_up: HashSet::new(),
            performed: HashSet::new(),
            deaths: Vec::new(),
            reported: HashSet::new(),
            results: HashMap::new(),
            pruned: HashSet::new(),
            stranded: false,
        }
    }

    /// Gives what was met on the way.
    async fn run(mut self, schedule: Vec<Step>) -> BTreeSet<&'static str> {
        for (number, step) in schedule.into_iter().enumerate() {
            self.step(step).await;
            self.check();
            if number % LOOK == 0 {
                self.same().await;
            }
        }
        self.same().await;
        self.settle().await;
        self.model.met
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Deliver { host, number } => self.deliver(host, number),
            Step::Enter { host, number } => self.enter(host, number).await,
            Step::End { host, run, ending, answered } => {
                let runs = &mut self.hosts[host].runs;
                if let Some(run) = run.checked_rem(runs.len()) {
                    let run = runs.remove(run);
                    self.end(host, vec![(run, ending)], answered, false).await;
                }
            }
            Step::EndAll { host, endings, answered, held } => {
                let runs = std::mem::take(&mut self.hosts[host].runs);
                let ended = runs.into_iter().zip(endings.into_iter().cycle()).collect();
                self.end(host, ended, answered, held).await;
            }
            Step::Crash { host } => self.hosts[host] = Host::default(),
            Step::ClaimParked { host, of, limit } => self.claim_parked(host, of, limit).await,
            Step::ClaimOutbox { host, limit } => self.claim_outbox(host, limit).await,
            Step::Perform { host, effect } => self.perform(host, effect),
            Step::Report { host, effect, ending } => {
                let calls = &mut self.hosts[host].calls;
                if let Some(effect) = effect.checked_rem(calls.len()) {
                    let call = calls.remove(effect);
                    self.report(host, vec![(call, ending)]).await;
                }
            }
            Step::ReportAll { host, endings } => {
                let calls = std::mem::take(&mut self.hosts[host].calls);
                let calls = calls.into_iter().zip(endings.into_iter().cycle()).collect();
                self.report(host, calls).await;
            }
            Step::ByHand { deed, delivery } => self.by_hand(deed, delivery).await,
            Step::ByFilter { deed, filter } => self.by_filter(deed, filter).await,
            Step::Strand => self.strand().await,
            Step::FreeStranded { host } => self.free_stranded(host).await,
            Step::Prune { host } => self.prune(host).await,
            Step::Pass { seconds } => self.now += Duration::from_secs(seconds),
        }
    }

    /// As a job comes that is not yet taken, and a tick to every replica.
    async fn enter(&mut self, host: usize, number: usize) {
        let first = *self.fired.entry(number).or_insert(self.now);
        if self.now > first + RETENTION {
            return;
        }
        let fired = |component: &Component| Id { component: *component, kind: Kind::Fired, number };
        let fired: Vec<_> = BOTH.iter().map(fired).collect();
        fired.iter().for_each(|id| self.model.enter(*id, self.now));
        if let Some(ledger) = self.ledger(host) {
            let entering = fired.iter().map(|id| database::internal(*id, self.now));
            assert_eq!(ledger.enter(entering.collect()).await, Ok(()));
        }
        self.acknowledged.extend(fired);
    }

    /// What a commit or a report added to the outbox since.
    fn promise(&mut self, added: i64) {
        let new = self.model.outbox.range(added + 1..);
        self.promised.extend(new.map(|(sequence, row)| (*sequence, row.effect.id.clone())));
    }

    async fn by_hand(&mut self, deed: Deed, delivery: usize) {
        let unknown = Id { component: Component::Audit, kind: Kind::Came, number: EVENTS };
        let id = self.model.rows.keys().nth(delivery).copied().unwrap_or(unknown);
        let Some(changed) = self.deed(deed, id) else { return };
        let Some(ledger) = self.ledger(0) else { return };
        let id = database::id(id);
        let theirs = match deed {
            Deed::Retry => ledger.retry(&id, self.now).await,
            Deed::Discard | Deed::Count => ledger.discard(&id).await,
        };
        assert_eq!(theirs, Ok(changed));
    }

    fn deed(&mut self, deed: Deed, id: Id) -> Option<ByHand> {
        let row = self.model.rows.get(&id);
        if deed == Deed::Retry && row.is_some_and(|r| r.state.status == DeliveryStatus::Dead) {
            self.by_hand.insert(id);
        }
        let (changed, gone) = self.model.deed(deed, id, self.now)?;
        self.given_up.extend(gone);
        Some(changed)
    }

    /// In pages, until there is nothing more.
    async fn by_filter(&mut self, deed: Deed, filter: Filter) {
        const PAGE: usize = 4;
        let matching = self.model.matching(filter);
        // The last page may be empty.
        let whole = matching.len() / PAGE * PAGE;
        let pages = matching[..whole].chunks(PAGE).chain([&matching[whole..]]);
        let mut after = 0;
        for (at, page) in pages.enumerate() {
            let matched = u32::try_from(page.len()).unwrap();
            let mut ours = Batch { matched, ..Batch::default() };
            for id in page {
                match self.deed(deed, *id) {
                    Some(ByHand::Changed) => ours.changed.push(database::id(*id)),
                    Some(ByHand::Refused(status)) => ours.passed.push((database::id(*id), status)),
                    Some(ByHand::Unknown) => panic!("{id} matches and is not there"),
                    None => self.model.meet("deliveries are counted"),
                }
            }
            for (what, is_met) in [
                ("a second page of deliveries", at > 0 && !page.is_empty()),
                ("deliveries are changed by filter", !ours.changed.is_empty()),
                ("deliveries are passed by by a filter", !ours.passed.is_empty()),
            ] {
                if is_met {
                    self.model.meet(what);
                }
            }
            let Some(ledger) = self.ledger(0) else { continue };
            let asked = database::filter(filter, u32::try_from(PAGE).unwrap());
            let theirs = ledger.by_filter(&asked, after, deed, self.now).await.unwrap();
            assert_eq!(theirs.after.is_some(), page.len() == PAGE);
            after = theirs.after.unwrap_or(after);
            assert_eq!(Batch { after: None, ..theirs }, ours);
        }
    }

    async fn strand(&mut self) {
        self.stranded = true;
        self.model.strand();
        if let Some(beside) = &self.beside {
            beside.strand().await;
        }
    }

    async fn free_stranded(&mut self, host: usize) {
        self.stranded = false;
        self.model.free_stranded();
        if let Some(ledger) = self.ledger(host) {
            assert_eq!(ledger.free_stranded().await, Ok(()));
        }
    }

    async fn prune(&mut self, host: usize) {
        let before: HashMap<_, _> =
            self.model.rows.iter().map(|(id, row)| (*id, (row.state, row.arrived))).collect();
        let (pruned, gone) = self.model.prune(self.now);
        self.model.meet(match pruned {
            Pruned::Batch(1..) => "deliveries are pruned",
            Pruned::Batch(0) => "pruning passes by",
            Pruned::Nothing | Pruned::Elsewhere => "nothing is old enough",
        });
        if let Some(ledger) = self.ledger(host) {
            assert_eq!(ledger.prune(self.now, self.now - WINDOW).await, Ok(pruned));
        }
        for id in gone {
            let (state, arrived) = before[&id];
            assert!(state.due.is_none(), "{id} was parked");
            assert_ne!(state.status, DeliveryStatus::Dead, "nobody decided on {id}");
            assert!(arrived + WINDOW < self.now, "{id} is young");
            let left = self.model.outbox.values().any(|row| row.of == id);
            assert!(!left, "an effect of {id} is left");
            self.pruned.insert(id);
        }
    }

    fn ledger(&self, host: usize) -> Option<&Ledger> {
        self.beside.as_ref().map(|beside| &beside.ledgers[host])
    }

    /// Hosts work, nothing fails any more: everything delivered comes to its end, and what may go
    /// goes.
    async fn settle(&mut self) {
        self.hosts = Default::default();
        if self.stranded {
            self.free_stranded(1).await;
        }
        let mut rounds = 0;
        while !self.has_ended() {
            rounds += 1;
            assert!(rounds < 100, "someone never comes to an end");
            for number in self.not_acknowledged() {
                self.deliver(0, number);
            }
            self.now += LEASE;
            self.claim_parked(1, BOTH, 100).await;
            for host in [0, 1] {
                let runs = std::mem::take(&mut self.hosts[host].runs).into_iter();
                self.end(host, runs.map(|run| (run, Ending::Ok)).collect(), true, false).await;
            }
            self.claim_outbox(0, 100).await;
            for effect in 0..self.hosts[0].calls.len() {
                self.perform(0, effect);
            }
            let calls = std::mem::take(&mut self.hosts[0].calls).into_iter();
            self.report(0, calls.map(|call| (call, Ending::Ok)).collect()).await;
            self.check();
        }
        self.same().await;
        self.check_ends();
        self.now += super::ROUND + WINDOW;
        for _step in 0..4 {
            self.prune(0).await;
        }
        assert_eq!(self.model.prune(self.now).0, Pruned::Nothing);
        let kept = |row: &super::Row| row.state.status == DeliveryStatus::Dead;
        let refused = |id| self.model.outbox.values().any(|row| row.of == id);
        for (id, row) in &self.model.rows {
            assert!(kept(row) || refused(*id), "{id} never goes");
        }
        self.check();
        self.same().await;
    }

    /// What the broker still keeps and has no answer for.
    fn not_acknowledged(&self) -> Vec<usize> {
        let came = |number, component: &Component| {
            let id = Id { component: *component, kind: Kind::Came, number };
            self.acknowledged.contains(&id)
        };
        let kept = self.delivered.iter().filter(|(_, first)| self.now <= **first + RETENTION);
        let kept = kept.map(|(number, _)| *number);
        kept.filter(|number| !BOTH.iter().all(|component| came(*number, component))).collect()
    }

    fn has_ended(&self) -> bool {
        let parked = |row: &super::Row| row.state.status == DeliveryStatus::Parked;
        self.not_acknowledged().is_empty()
            && !self.model.rows.values().any(parked)
            && !self.model.outbox.values().any(|row| row.waits())
    }
}
