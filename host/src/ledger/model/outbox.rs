//! The model's outbox: what waits to be performed, or was refused.

use std::collections::BTreeSet;

use super::{Id, LEASE, Model};
use crate::clock::Timestamp;
use crate::ledger::record::EffectStatus;
use crate::ledger::state_machine::{Performance, Waiting};

#[derive(Debug, Clone)]
pub(super) struct Effect {
    pub(super) id: String,
    pub(super) lane: usize,
    pub(super) kind: EffectKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EffectKind {
    Publish,
    /// Tells of a death, and of its own to nobody.
    Report,
    /// A binding is called: what came of it is an event.
    Call,
}

pub(super) struct OutboxRow {
    pub(super) of: Id,
    pub(super) effect: Effect,
    pub(super) since: Timestamp,
    pub(super) state: Waiting,
    /// As a delivery's.
    pub(super) aside: bool,
    /// A person wanted it performed after all, whatever came later.
    pub(super) revived: bool,
}

impl OutboxRow {
    pub(super) fn is_dead(&self) -> bool {
        self.state.status == EffectStatus::Dead
    }

    pub(super) fn waits(&self) -> bool {
        self.state.status == EffectStatus::Waiting
    }
}

/// An effect that is somebody's to perform.
#[derive(Debug, Clone)]
pub(super) struct ClaimedEffect {
    pub(super) sequence: i64,
    pub(super) claim: i64,
    pub(super) attempts: u32,
    pub(super) of: Id,
    pub(super) effect: Effect,
}

/// What came of it, and what tells of that.
pub(super) struct Finished {
    pub(super) sequence: i64,
    pub(super) claim: i64,
    pub(super) performance: Performance,
    pub(super) effects: Vec<Effect>,
    pub(super) internal: Vec<Id>,
}

impl Model {
    /// Effects leave with a delivery.
    pub(super) fn leave(&mut self, of: Id, effects: &[Effect], since: Timestamp) {
        for effect in effects {
            self.added += 1;
            let (effect, state) = (effect.clone(), Waiting::enter(since));
            let row = OutboxRow { of, effect, since, state, aside: false, revived: false };
            self.outbox.insert(self.added, row);
        }
    }

    fn lane_waits(&self, lane: usize) -> impl Iterator<Item = (&i64, &OutboxRow)> {
        self.outbox.iter().filter(move |(_, row)| row.effect.lane == lane && row.waits())
    }

    fn lane_ahead_of(&self, sequence: i64) -> bool {
        let lane = self.outbox[&sequence].effect.lane;
        self.lane_waits(lane).any(|(other, _)| *other < sequence)
    }

    /// Whether it is performed out of its turn, which only what a person revived may cause.
    pub(super) fn overtakes(&self, sequence: i64) -> bool {
        let lane = self.outbox[&sequence].effect.lane;
        self.lane_waits(lane).any(|(other, row)| *other < sequence && !row.revived)
    }

    /// As of deliveries.
    pub(super) fn claim_outbox(&mut self, now: Timestamp, limit: usize) -> Vec<ClaimedEffect> {
        loop {
            let due = self
                .outbox
                .iter()
                .filter(|(_, row)| !row.aside && row.state.claim(now, now).is_some());
            let mut due: Vec<_> = due.map(|(sequence, row)| (row.state.due, *sequence)).collect();
            due.sort_unstable();
            due.truncate(limit);
            let mut claimed = Vec::new();
            for (_, sequence) in &due {
                let waits = self.lane_ahead_of(*sequence);
                let Some(row) = self.outbox.get_mut(sequence) else { continue };
                row.aside = waits;
                if let Some(state) = row.state.claim(now, now + LEASE).filter(|_| !waits) {
                    row.state = state;
                    let (sequence, effect) = (*sequence, row.effect.clone());
                    let Waiting { claim, attempts, .. } = state;
                    claimed.push(ClaimedEffect { sequence, claim, attempts, of: row.of, effect });
                }
                if waits {
                    self.meet("an effect is put aside");
                }
            }
            if !claimed.is_empty() || due.is_empty() {
                claimed.sort_unstable_by_key(|claimed| claimed.sequence);
                return claimed;
            }
        }
    }

    /// One transaction: what was performed goes first. Gives which were still wanted.
    pub(super) fn finish(&mut self, finished: &[Finished], now: Timestamp) -> Vec<bool> {
        let accepts = |finished: &Finished| {
            let row = self.outbox.get(&finished.sequence);
            row.is_some_and(|row| row.state.accepts(finished.claim))
        };
        let accepted: Vec<_> = finished.iter().map(accepts).collect();
        let mut lanes = BTreeSet::new();
        let wanted = finished.iter().zip(&accepted).filter(|(_, accepted)| **accepted);
        for (finished, _) in wanted {
            let Some(row) = self.outbox.get_mut(&finished.sequence) else { continue };
            let (of, since, lane) = (row.of, row.since, row.effect.lane);
            match row.state.finished(finished.performance) {
                Some(state) => row.state = state,
                None => drop(self.outbox.remove(&finished.sequence)),
            }
            if !matches!(finished.performance, Performance::Again { .. }) {
                lanes.insert(lane);
            }
            self.leave(of, &finished.effects, since);
            finished.internal.iter().for_each(|id| self.enter(*id, now));
        }
        lanes.into_iter().for_each(|lane| self.free_lane(lane));
        accepted
    }

    fn free_lane(&mut self, lane: usize) {
        let first = self.lane_waits(lane).find(|(_, row)| row.aside).map(|(first, _)| *first);
        if let Some(row) = first.and_then(|first| self.outbox.get_mut(&first)) {
            row.aside = false;
            self.meet("an effect is set free");
        }
    }

    pub(super) fn free_stranded_effects(&mut self) {
        let lanes: BTreeSet<_> = self.outbox.values().map(|row| row.effect.lane).collect();
        for lane in lanes {
            if self.lane_waits(lane).next().is_some_and(|(_, row)| row.aside) {
                self.meet("a stranded effect is found");
                self.free_lane(lane);
            }
        }
    }

    pub(super) fn strand_effects(&mut self) {
        for row in self.outbox.values_mut() {
            row.aside |= row.waits();
        }
    }

    pub(super) fn next_effect(&self) -> Option<Timestamp> {
        let waiting = self.outbox.values().filter(|row| row.waits() && !row.aside);
        waiting.map(|row| row.state.due).min()
    }

    /// What was refused of a delivery is performed again; whether there is anything.
    pub(super) fn revive(&mut self, of: Id, now: Timestamp) -> bool {
        let mut any = false;
        for row in self.outbox.values_mut().filter(|row| row.of == of && row.is_dead()) {
            row.state = row.state.retry(now).unwrap_or(row.state);
            (row.aside, row.revived, any) = (false, true, true);
        }
        any
    }
}
