//! The ledger as a few maps, moved by the same rules as the SQL. [`play`] runs random schedules of
//! crashes, repeats and two hosts on it, and on each database beside it.

mod by_hand;
mod outbox;
mod play;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::state_machine::{Delivery, Turn, Verdict, writes_effects};
use super::{Committed, NextDue, Pruned};
use crate::clock::Timestamp;
use crate::delivery::DeliveryStatus;
use outbox::{Effect, OutboxRow};

const LEASE: Duration = Duration::from_secs(30);
/// The dedup window.
const WINDOW: Duration = Duration::from_secs(400);
/// When pruning sets out from the beginning again.
const ROUND: Duration = Duration::from_hours(24);

/// Events of a number below have a subject that is kept in order, two numbers each.
const ORDERED: usize = 4;

/// One event for one component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Id {
    component: Component,
    kind: Kind,
    number: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Component {
    Audit,
    Recurring,
}

/// Where an event comes from. What is caused by another has its number, and so its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    /// The broker.
    Came,
    /// A handler: its type has no topic.
    Made,
    /// A job fired, or a binding ticked.
    Fired,
    /// A call was performed.
    Succeeded,
    /// A call was given up.
    Failed,
    /// Something died, the so manieth: `audit.failed`.
    Report(usize),
}

/// What is kept in order: a subject of a component.
type Line = (Component, usize);

impl Id {
    /// `None` where order does not matter.
    fn line(self) -> Option<Line> {
        (self.number < ORDERED).then_some((self.component, self.number / 2))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { component, kind, number } = self;
        write!(f, "{component:?}/{kind:?}/{number}")
    }
}

#[derive(Default)]
struct Model {
    rows: BTreeMap<Id, Row>,
    outbox: BTreeMap<i64, OutboxRow>,
    entered: i64,
    added: i64,
    pruning: Walk,
    /// What has happened so far, by name.
    met: BTreeSet<&'static str>,
}

/// How far pruning has come, and since when.
#[derive(Default)]
struct Walk {
    mark: i64,
    begun: Timestamp,
}

struct Row {
    sequence: i64,
    arrived: Timestamp,
    state: Delivery,
    /// A claim found that it was not in turn, and no claim looks at it until it is set free.
    aside: bool,
}

/// What a run hands in.
struct Handed {
    id: Id,
    arrived: Timestamp,
    claim: Option<i64>,
    attempts: u32,
    verdict: Verdict,
    /// The answer, if its own statements run.
    fails: Option<Committed>,
    effects: Vec<Effect>,
    internal: Vec<Id>,
}

/// A delivery that is somebody's to run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claimed {
    id: Id,
    claim: i64,
    attempts: u32,
    arrived: Timestamp,
}

impl Model {
    fn meet(&mut self, what: &'static str) {
        self.met.insert(what);
    }

    /// One transaction: what it lets in, then what that leaves for later.
    fn commit(&mut self, group: &[Handed], now: Timestamp) -> Vec<Committed> {
        let (mut answers, mut left) = (Vec::new(), BTreeSet::new());
        for handed in group {
            let answer = self.settle(handed);
            let ended = matches!(answer, Committed::Done | Committed::Dead);
            left.extend(handed.id.line().filter(|_| ended && handed.claim.is_some()));
            answers.push(answer);
        }
        for line in left {
            self.free_line(line);
        }
        for (handed, answer) in group.iter().zip(&answers) {
            if matches!(answer, Committed::Done | Committed::Dead) {
                self.leave(handed.id, &handed.effects, handed.arrived);
            }
        }
        for (handed, answer) in group.iter().zip(&answers) {
            if matches!(answer, Committed::Done | Committed::Dead) {
                handed.internal.iter().for_each(|id| self.enter(*id, now));
            }
        }
        answers
    }

    /// Whether its own statements are reached.
    fn runs_statements(&self, handed: &Handed) -> bool {
        let lets_in = match (self.rows.get(&handed.id), handed.claim) {
            (None, None) => self.turn(handed.id) == Turn::Free,
            (Some(row), Some(claim)) => row.state.accepts(claim),
            (Some(_), None) | (None, Some(_)) => false,
        };
        lets_in && handed.verdict == Verdict::Done
    }

    fn settle(&mut self, handed: &Handed) -> Committed {
        let Handed { id, arrived, claim, attempts, verdict, .. } = *handed;
        if let Some(failed) = handed.fails.clone().filter(|_| self.runs_statements(handed)) {
            return failed;
        }
        let state = match (self.rows.get(&id).map(|row| row.state), claim) {
            (Some(state), None) => return Committed::Repeat(state.status),
            (None, None) => Delivery::enter(verdict, attempts, arrived, self.turn(id)),
            (Some(state), Some(claim)) if state.accepts(claim) => {
                Delivery::settled(claim, verdict, attempts)
            }
            (_, Some(_)) => return Committed::Superseded,
        };
        // One that is due now without an attempt is parked the same way in its turn and behind.
        let behind =
            claim.is_none() && state != Delivery::enter(verdict, attempts, arrived, Turn::Free);
        self.put(id, state, arrived);
        assert_eq!(writes_effects(state.status), state.due.is_none());
        match state.status {
            DeliveryStatus::Done => Committed::Done,
            DeliveryStatus::Dead => Committed::Dead,
            DeliveryStatus::Parked | DeliveryStatus::Discarded => Committed::Parked { behind },
        }
    }

    fn put(&mut self, id: Id, state: Delivery, arrived: Timestamp) {
        let entered = &mut self.entered;
        let row = self.rows.entry(id).or_insert_with(|| {
            *entered += 1;
            Row { sequence: *entered, arrived, state, aside: false }
        });
        row.state = state;
    }

    /// An internal event; one that is there stays as it is.
    fn enter(&mut self, id: Id, arrived: Timestamp) {
        if self.rows.contains_key(&id) {
            self.meet("an internal event enters again");
        } else {
            self.meet("an internal event enters");
            self.put(id, Delivery::internal(arrived), arrived);
        }
    }

    fn turn(&self, id: Id) -> Turn {
        let Some(line) = id.line() else { return Turn::Free };
        if self.parked(line).next().is_some() { Turn::Behind } else { Turn::Free }
    }

    /// What is parked of a line.
    fn parked(&self, line: Line) -> impl Iterator<Item = (&Id, &Row)> {
        let parked = |row: &Row| row.state.status == DeliveryStatus::Parked;
        self.rows.iter().filter(move |(id, row)| id.line() == Some(line) && parked(row))
    }

    /// Parked ones of lower sequence that one of a line must wait for.
    fn ahead_of(&self, id: Id) -> Vec<Id> {
        let (Some(line), Some(row)) = (id.line(), self.rows.get(&id)) else { return vec![] };
        let ahead = self.parked(line).filter(|(_, other)| other.sequence < row.sequence);
        ahead.map(|(id, _)| *id).collect()
    }

    /// By when they are due, what is in turn is claimed, and what is not is put aside: again, until
    /// something is claimed or there is nothing more.
    fn claim_parked(&mut self, now: Timestamp, of: &[Component], limit: usize) -> Vec<Claimed> {
        loop {
            let mut due: Vec<_> = self
                .rows
                .iter()
                .filter(|(id, row)| {
                    of.contains(&id.component) && !row.aside && row.state.claim(now, now).is_some()
                })
                .map(|(id, row)| (row.state.due, row.sequence, *id))
                .collect();
            due.sort_unstable();
            due.truncate(limit);
            let waits: Vec<_> = due.iter().map(|(.., id)| !self.ahead_of(*id).is_empty()).collect();
            let mut claimed = Vec::new();
            for ((_, sequence, id), waits) in due.iter().zip(waits) {
                let Some(row) = self.rows.get_mut(id) else { continue };
                row.aside = waits;
                if let Some(state) = row.state.claim(now, now + LEASE).filter(|_| !waits) {
                    row.state = state;
                    let Delivery { claim, attempts, .. } = state;
                    let arrived = row.arrived;
                    claimed.push((*sequence, Claimed { id: *id, claim, attempts, arrived }));
                }
                if waits {
                    self.meet("a delivery is put aside");
                }
            }
            if !claimed.is_empty() || due.is_empty() {
                claimed.sort_unstable_by_key(|(sequence, _)| *sequence);
                return claimed.into_iter().map(|(_, claimed)| claimed).collect();
            }
        }
    }

    /// The first that is put aside is so no longer: one of its line has gone. Whether there is one.
    fn free_line(&mut self, line: Line) -> bool {
        let aside = self.parked(line).filter(|(_, row)| row.aside);
        let first = aside.min_by_key(|(_, row)| row.sequence).map(|(id, _)| *id);
        if let Some(row) = first.and_then(|first| self.rows.get_mut(&first)) {
            row.aside = false;
            self.meet("a delivery is set free");
        }
        first.is_some()
    }

    /// Frees whatever is put aside behind nobody.
    fn free_stranded(&mut self) {
        let lines: BTreeSet<_> = self.rows.keys().filter_map(|id| id.line()).collect();
        for line in lines {
            let first = self.parked(line).min_by_key(|(_, row)| row.sequence);
            if first.is_some_and(|(_, row)| row.aside) {
                self.meet("a stranded delivery is found");
                self.free_line(line);
            }
        }
        self.free_stranded_effects();
    }

    /// As a host leaves them that takes the earlier ones away and sets nobody free.
    fn strand(&mut self) {
        for (id, row) in &mut self.rows {
            row.aside |= row.state.status == DeliveryStatus::Parked && id.line().is_some();
        }
        self.strand_effects();
    }

    /// When a claim would find something.
    fn next_due(&self, of: Component) -> NextDue {
        let parked = self.rows.iter().filter(|(id, row)| id.component == of && !row.aside);
        NextDue {
            parked: parked.filter_map(|(_, row)| row.state.due).min(),
            outbox: self.next_effect(),
        }
    }

    /// One step of the walk, which is longer than all that is played. Gives what goes, too.
    fn prune(&mut self, now: Timestamp) -> (Pruned, Vec<Id>) {
        let before = now - WINDOW;
        let Walk { mark, begun } = self.pruning;
        let old = |row: &&Row| row.sequence > mark && row.arrived < before;
        let Some(reached) = self.rows.values().filter(old).map(|row| row.sequence).max() else {
            let again = mark > 0 && begun + ROUND <= now;
            if again {
                self.pruning = Walk { mark: 0, begun: now };
            }
            return (if again { Pruned::Batch(0) } else { Pruned::Nothing }, Vec::new());
        };
        let outbox = &self.outbox;
        let gone = self.rows.extract_if(.., |id, row| {
            let effects = outbox.values().filter(|effect| effect.of == *id).count();
            let passed = row.sequence > mark && row.sequence <= reached;
            passed && row.state.may_go(row.arrived, before, effects)
        });
        let gone: Vec<_> = gone.map(|(id, _)| id).collect();
        let begun = if mark == 0 { now } else { begun };
        self.pruning = Walk { mark: reached, begun };
        (Pruned::Batch(gone.len() as u64), gone)
    }
}
