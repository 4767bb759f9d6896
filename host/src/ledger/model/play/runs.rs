//! Runs of handlers: from a delivery or a claim to what is handed in and answered.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use futures::future::join_all;

use super::{EVENTS, LANES, MARGIN, Play, RETENTION, calls, database};
use crate::clock::Timestamp;
use crate::ledger::Committed;
use crate::ledger::model::{Effect, Event, Handed, Kind, LEASE, ordered};
use crate::ledger::state_machine::{Turn, Verdict};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
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

#[derive(Clone)]
pub(super) struct Run {
    pub(super) number: usize,
    pub(super) event: Event,
    pub(super) claim: Option<i64>,
    attempts: u32,
    /// Since when it runs.
    since: Timestamp,
}

/// A run that is over, and what it hands in.
pub(super) struct Ended {
    pub(super) run: Run,
    pub(super) ending: Ending,
    pub(super) handed: Handed,
}

impl Play {
    /// Again, too, for as long as the broker keeps it.
    pub(super) fn deliver(&mut self, host: usize, event: Event) {
        let first = *self.delivered.entry(event).or_insert(self.now);
        if self.now <= first + RETENTION {
            self.start(host, event, None, 0);
        }
    }

    fn start(&mut self, host: usize, event: Event, claim: Option<i64>, attempts: u32) {
        self.runs += 1;
        let number = self.runs;
        if claim.is_some() {
            self.holder.insert(event, number);
        }
        let since = self.now;
        self.hosts[host].runs.push(Run { number, event, claim, attempts, since });
    }

    /// Hands in at once what several runs came to.
    pub(super) async fn end(&mut self, host: usize, runs: Vec<(Run, Ending)>, answered: bool) {
        let in_time = |run: &Run| run.claim.is_some() || self.now <= run.since + MARGIN;
        let runs = runs.into_iter().filter(|(run, _)| in_time(run));
        let ended = runs.filter_map(|(run, ending)| {
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
        let submissions: Vec<_> = match &self.beside {
            Some(beside) => ended.iter().map(|one| beside.submission(one, self.now)).collect(),
            None => Vec::new(),
        };
        let answers: Vec<_> = ended.into_iter().map(|ended| self.ended(ended, answered)).collect();
        if let Some(ledger) = self.ledger(host) {
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
            self.promised.extend(handed.effects.into_iter().map(|effect| effect.id));
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
                let error = self.beside.as_ref().map(|beside| beside.repeated(run));
                let error = error.unwrap_or_default();
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
        let Run { event, claim, attempts, number, .. } = *run;
        // What a dead delivery leaves is another effect each time, what a done one leaves is not.
        let effects = match verdict {
            Verdict::Done => {
                let published = |n| publish(format!("{event}/{n}"), (event + n) % LANES);
                (0..2).map(published).chain(calls::call(event)).collect()
            }
            Verdict::Dead => vec![publish(format!("{event}/dead/{number}"), event % LANES)],
            Verdict::Parked { .. } => Vec::new(),
        };
        let reports = event < EVENTS && verdict == Verdict::Done;
        let internal = if reports { vec![event + EVENTS] } else { Vec::new() };
        Handed { event, claim, attempts: attempts + 1, verdict, effects, internal }
    }

    pub(super) async fn claim_parked(&mut self, host: usize) {
        let claimed = self.model.claim_parked(self.now);
        if let Some(ledger) = self.ledger(host) {
            let of = [database::component()];
            let theirs = ledger.claim_parked(self.now, LEASE, &of, 100).await.unwrap();
            let theirs: BTreeSet<_> = theirs
                .iter()
                .map(|c| (c.head.event_id.parse::<Event>().unwrap(), c.claim, c.attempts))
                .collect();
            // Within a group, the database enters what does not share a subject in another order.
            assert_eq!(theirs, claimed.iter().copied().collect());
        }
        for (event, claim, attempts) in claimed {
            self.start(host, event, Some(claim), attempts);
        }
    }
}

fn publish(id: String, lane: usize) -> Effect {
    Effect { id, lane, kind: Kind::Publish }
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
            (!came_in, came_in.then(|| database::id(ended.run.event).key))
        });
        written.append(&mut group);
        ended = later;
    }
    written
}
