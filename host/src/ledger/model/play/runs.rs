//! Runs of handlers: from a delivery or a claim to what is handed in and answered.

use std::collections::HashSet;
use std::time::Duration;

use futures::future::join_all;

use super::schedule::BOTH;
use super::{LANES, LETTERS, MARGIN, Play, RETENTION, calls, database};
use crate::clock::Timestamp;
use crate::delivery::DeliveryStatus;
use crate::ledger::model::outbox::{Effect, EffectKind};
use crate::ledger::model::{Claimed, Component, Handed, Id, Kind};
use crate::ledger::state_machine::Verdict;
use crate::ledger::{Committed, LedgerError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Ok,
    Failed,
    Rejected,
    /// A store is away, which uses up no attempt.
    Away,
    /// No place was free: it did not run, and is due now.
    Saturated,
    /// Its own SQL fails at its second statement.
    WrongStatement,
    /// Its own SQL touches another number of rows than it says.
    WrongCount,
    /// The ledger could not: nothing is written.
    NotWritten,
}

#[derive(Clone)]
pub(super) struct Run {
    pub(super) number: usize,
    pub(super) id: Id,
    pub(super) claim: Option<i64>,
    attempts: u32,
    /// When its event came in; of one that just came, when it is handed in.
    arrived: Option<Timestamp>,
    /// Since when it runs.
    since: Timestamp,
}

/// A run that is over, and what it hands in.
pub(super) struct Ended {
    pub(super) run: Run,
    pub(super) ending: Ending,
    pub(super) handed: Handed,
    pub(super) now: Timestamp,
}

impl Play {
    /// Again, too, for as long as the broker keeps it.
    pub(super) fn deliver(&mut self, host: usize, number: usize) {
        let first = *self.delivered.entry(number).or_insert(self.now);
        if self.now <= first + RETENTION {
            for component in BOTH {
                let id = Id { component: *component, kind: Kind::Came, number };
                self.start(host, id, None);
            }
        }
    }

    fn start(&mut self, host: usize, id: Id, claimed: Option<Claimed>) {
        self.runs += 1;
        let number = self.runs;
        if claimed.is_some() {
            self.holder.insert(id, number);
        }
        let (since, claim) = (self.now, claimed.as_ref().map(|claimed| claimed.claim));
        let attempts = claimed.as_ref().map_or(0, |claimed| claimed.attempts);
        let arrived = claimed.map(|claimed| claimed.arrived);
        self.hosts[host].runs.push(Run { number, id, claim, attempts, arrived, since });
    }

    /// Hands in at once what several runs came to, while somebody may hold the components' table.
    pub(super) async fn end(
        &mut self,
        host: usize,
        runs: Vec<(Run, Ending)>,
        answered: bool,
        held: bool,
    ) {
        let in_time = |run: &Run| run.claim.is_some() || self.now <= run.since + MARGIN;
        let (runs, _): (Vec<_>, Vec<_>) = runs.into_iter().partition(|(run, _)| in_time(run));
        let ended: Vec<_> =
            runs.into_iter().filter_map(|(run, ending)| self.handed(run, ending)).collect();
        let groups = groups(ended);
        let ended = groups.iter().flatten();
        let submissions: Vec<_> = match &self.beside {
            Some(beside) => ended.map(|one| beside.submission(one)).collect(),
            None => Vec::new(),
        };
        let whole = held && self.beside.as_ref().is_some_and(|beside| beside.is_held_whole());
        let mut answers = Vec::new();
        for group in groups {
            answers.extend(if whole {
                not_written(&group)
            } else {
                self.group(host, group, answered, held)
            });
        }
        if whole {
            self.model.meet("a table is held");
        }
        let Some(beside) = &self.beside else { return };
        let holder = if held && !submissions.is_empty() { Some(beside.hold().await) } else { None };
        let ledger = &beside.ledgers[host];
        let theirs = join_all(submissions.into_iter().map(|s| ledger.commit(s))).await;
        if let Some(holder) = holder {
            holder.let_go().await;
        }
        let theirs: Vec<_> = theirs.into_iter().map(without_words).collect();
        assert_eq!(theirs, answers);
    }

    /// One transaction; where the table is held, without those that need it.
    fn group(
        &mut self,
        host: usize,
        group: Vec<Ended>,
        answered: bool,
        held: bool,
    ) -> Vec<Result<Committed, ()>> {
        let waits = held && group.iter().any(|one| self.model.runs_statements(&one.handed));
        let (mut written, mut aside) = (Vec::new(), Vec::new());
        let mut places = Vec::new();
        for ended in group {
            let is_aside = waits && ended.handed.verdict == Verdict::Done;
            places.push(is_aside);
            if is_aside { aside.push(ended) } else { written.push(ended) }
        }
        for Ended { run, .. } in aside {
            self.model.meet("a table is held");
            self.hosts[host].runs.push(run);
        }
        let (runs, handed): (Vec<_>, Vec<_>) =
            written.into_iter().map(|Ended { run, handed, .. }| (run, handed)).unzip();
        let added = self.model.added;
        let answers = self.model.commit(&handed, self.now);
        self.promise(added);
        for ((run, handed), answer) in runs.into_iter().zip(handed).zip(&answers) {
            self.answered(host, run, &handed, answer, answered);
        }
        let mut answers = answers.into_iter();
        let locked = || Committed::Locked { statement: "insert".to_owned(), error: String::new() };
        let answer = |is_aside| if is_aside { Some(locked()) } else { answers.next() };
        places.into_iter().map(answer).map(|answer| answer.ok_or(())).collect()
    }

    fn answered(
        &mut self,
        host: usize,
        run: Run,
        handed: &Handed,
        answer: &Committed,
        answered: bool,
    ) {
        self.model.meet(name(answer, run.claim.is_some()));
        match answer {
            Committed::Done => {
                self.written.insert(run.number);
                *self.committed.entry(run.id).or_default() += 1;
                let mut overtaken = self.model.ahead_of(run.id);
                overtaken.retain(|id| !self.by_hand.contains(id));
                assert!(overtaken.is_empty(), "{} overtook {overtaken:?}", run.id);
                self.told(&handed.effects, &handed.internal);
            }
            Committed::Dead => self.told(&handed.effects, &handed.internal),
            Committed::Parked { .. } => {
                let attempts = self.model.rows[&run.id].state.attempts;
                assert!(attempts == handed.attempts || attempts == run.attempts, "{}", run.id);
            }
            Committed::Repeat(_) | Committed::Superseded => {}
            // It is still this host's: it runs again, is parked, or the host dies.
            Committed::StatementFailed { .. }
            | Committed::Unexpected { .. }
            | Committed::Locked { .. } => {
                self.hosts[host].runs.push(run);
                return;
            }
        }
        let written = !matches!(answer, Committed::Repeat(_) | Committed::Superseded);
        if written && run.claim.is_some() {
            let holder = self.holder.remove(&run.id);
            assert_eq!(holder, Some(run.number), "a late result was taken");
        }
        if answered && run.claim.is_none() {
            self.acknowledged.insert(run.id);
        }
    }

    /// Each death is told, under an id of its own.
    pub(super) fn told(&mut self, effects: &[Effect], internal: &[Id]) {
        let reports = effects.iter().filter(|effect| effect.kind == EffectKind::Report);
        let reports = reports.map(|effect| effect.id.clone());
        let events = internal.iter().filter(|id| matches!(id.kind, Kind::Report(_)));
        let all: Vec<_> = reports.chain(events.map(ToString::to_string)).collect();
        for report in all {
            self.model.meet(if report.starts_with("report") {
                "told on a topic"
            } else {
                "told as an event"
            });
            assert!(self.reported.insert(report.clone()), "{report} tells of two deaths");
        }
        for id in internal {
            *self.results.entry(*id).or_default() += 1;
        }
    }

    fn handed(&mut self, run: Run, ending: Ending) -> Option<Ended> {
        let Run { id, claim, attempts, number, .. } = run;
        let (now, soon) = (self.now, self.now + Duration::from_secs(5));
        let (verdict, counts) = match ending {
            Ending::Ok | Ending::WrongStatement | Ending::WrongCount => (Verdict::Done, true),
            Ending::Failed => (Verdict::Parked { due: soon }, true),
            Ending::Rejected => (Verdict::Dead, true),
            Ending::Away => (Verdict::Parked { due: soon }, false),
            Ending::Saturated => (Verdict::Parked { due: now }, false),
            Ending::NotWritten => return None,
        };
        let (effects, internal) = match verdict {
            Verdict::Done => done(id),
            Verdict::Dead => self.dead(id, claim),
            Verdict::Parked { .. } => (Vec::new(), Vec::new()),
        };
        let statement = "insert".to_owned();
        let fails = match ending {
            Ending::WrongStatement => {
                let error = self.beside.as_ref().map(|beside| beside.repeated(number));
                let error = error.unwrap_or_default();
                Some(Committed::StatementFailed { statement, error })
            }
            Ending::WrongCount => {
                Some(Committed::Unexpected { statement, expected: 2, touched: 1 })
            }
            Ending::Ok
            | Ending::Failed
            | Ending::Rejected
            | Ending::Away
            | Ending::Saturated
            | Ending::NotWritten => None,
        };
        let (arrived, attempts) = (run.arrived.unwrap_or(now), attempts + u32::from(counts));
        let handed = Handed { id, arrived, claim, attempts, verdict, fails, effects, internal };
        Some(Ended { run, ending, handed, now })
    }

    /// A dead letter, with the same id each time, and a report of this very death. The host's own
    /// events tell nobody.
    fn dead(&mut self, id: Id, claim: Option<i64>) -> (Vec<Effect>, Vec<Id>) {
        let letter = publish(format!("{id}/letter"), LETTERS);
        let letter = (id.kind == Kind::Came).then_some(letter);
        if !matches!(id.kind, Kind::Came | Kind::Made) {
            return (Vec::new(), Vec::new());
        }
        let (report, internal) = self.told_of(id, format!("{id} {}", claim.unwrap_or_default()));
        (letter.into_iter().chain(report).collect(), internal)
    }

    pub(super) async fn claim_parked(&mut self, host: usize, of: &[Component], limit: usize) {
        let claimed = self.model.claim_parked(self.now, of, limit);
        if let Some(beside) = &self.beside {
            let theirs = beside.claim_parked(host, self.now, of, limit).await;
            let theirs: Vec<_> = theirs
                .into_iter()
                .map(|c| (c.head.id, c.claim, c.attempts, c.head.received_at))
                .collect();
            let ours: Vec<_> = claimed
                .iter()
                .map(|c| (database::id(c.id), c.claim, c.attempts, c.arrived))
                .collect();
            assert_eq!(theirs, ours);
        }
        for claimed in claimed {
            self.start(host, claimed.id, Some(claimed));
        }
    }
}

/// What a delivered event leaves: two events on topics, a call, and an event without a topic.
fn done(id: Id) -> (Vec<Effect>, Vec<Id>) {
    let published = |n| publish(format!("{id}/{n}"), (id.number + n) % LANES);
    match id.kind {
        Kind::Came => {
            let effects = (0..2).map(published).chain(calls::call(id));
            (effects.collect(), vec![Id { kind: Kind::Made, ..id }])
        }
        Kind::Made | Kind::Fired | Kind::Report(_) => (vec![published(0)], Vec::new()),
        Kind::Succeeded | Kind::Failed => (Vec::new(), Vec::new()),
    }
}

fn publish(id: String, lane: usize) -> Effect {
    Effect { id, lane, kind: EffectKind::Publish }
}

fn not_written(group: &[Ended]) -> Vec<Result<Committed, ()>> {
    group.iter().map(|_| Err(())).collect()
}

/// How somebody holds the table, and why nothing was written, is the database's to say.
fn without_words(answer: Result<Committed, LedgerError>) -> Result<Committed, ()> {
    match answer {
        Ok(Committed::Locked { statement, .. }) => {
            Ok(Committed::Locked { statement, error: String::new() })
        }
        answer => answer.map_err(|_| ()),
    }
}

fn name(answer: &Committed, claimed: bool) -> &'static str {
    match (answer, claimed) {
        (Committed::Done, false) => "a newcomer is done",
        (Committed::Done, true) => "a claimed one is done",
        (Committed::Dead, false) => "a newcomer is dead",
        (Committed::Dead, true) => "a claimed one is dead",
        (Committed::Parked { behind: true }, _) => "a newcomer is parked behind another",
        (Committed::Parked { behind: false }, false) => "a newcomer is parked",
        (Committed::Parked { behind: false }, true) => "a claimed one is parked again",
        (Committed::Repeat(DeliveryStatus::Done), _) => "a repeat of a done one",
        (Committed::Repeat(DeliveryStatus::Parked), _) => "a repeat of a parked one",
        (Committed::Repeat(DeliveryStatus::Dead), _) => "a repeat of a dead one",
        (Committed::Repeat(DeliveryStatus::Discarded), _) => "a repeat of a discarded one",
        (Committed::Superseded, _) => "a late result",
        (Committed::StatementFailed { .. }, false) => "a newcomer's statement fails",
        (Committed::StatementFailed { .. }, true) => "a claimed one's statement fails",
        (Committed::Unexpected { .. }, false) => "a newcomer's count is wrong",
        (Committed::Unexpected { .. }, true) => "a claimed one's count is wrong",
        (Committed::Locked { .. }, _) => "a table is held",
    }
}

/// As one committer writes what it gets at once: groups in which each key and each line is there
/// once, and in each what just came in before what was claimed.
fn groups(mut ended: Vec<Ended>) -> Vec<Vec<Ended>> {
    let mut groups = Vec::new();
    while !ended.is_empty() {
        let (mut ids, mut lines) = (HashSet::new(), HashSet::new());
        let (mut group, mut later) = (Vec::new(), Vec::new());
        for ended in ended {
            let id = ended.run.id;
            let turn = id.line().is_none_or(|line| lines.insert(line));
            if turn && ids.insert(id) { group.push(ended) } else { later.push(ended) }
        }
        group.sort_by_key(|ended: &Ended| {
            let came_in = ended.run.claim.is_none();
            let id = database::id(ended.run.id);
            (!came_in, came_in.then_some((id.key, id.component)))
        });
        groups.push(group);
        ended = later;
    }
    groups
}
