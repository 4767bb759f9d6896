//! The ledger as a few maps, moved by the same rules as the SQL. [`play`] runs random schedules of
//! crashes, repeats and two hosts on it, and on each database beside it.

mod play;

use std::collections::BTreeMap;
use std::time::Duration;

use super::record::EffectStatus;
use super::state_machine::{Delivery, Performance, Turn, Verdict, Waiting, writes_effects};
use super::{ByHand, Committed, Pruned};
use crate::clock::Timestamp;
use crate::delivery::DeliveryStatus;

const LEASE: Duration = Duration::from_secs(30);
/// The dedup window.
const WINDOW: Duration = Duration::from_secs(400);
/// When pruning sets out from the beginning again.
const ROUND: Duration = Duration::from_hours(24);

/// Events have numbers; the first [`SUBJECT`] of them share a subject.
type Event = usize;
const SUBJECT: Event = 3;

fn ordered(event: Event) -> bool {
    event < SUBJECT
}

#[derive(Default)]
struct Model {
    rows: BTreeMap<Event, Row>,
    outbox: BTreeMap<i64, OutboxRow>,
    entered: i64,
    added: i64,
    pruning: Walk,
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
}

struct OutboxRow {
    event: Event,
    id: String,
    lane: usize,
    state: Waiting,
    /// A person wanted it performed after all, whatever came later.
    revived: bool,
}

/// What a run hands in.
struct Handed {
    event: Event,
    claim: Option<i64>,
    attempts: u32,
    verdict: Verdict,
    effects: Vec<Effect>,
    internal: Vec<Event>,
}

#[derive(Debug, Clone)]
struct Effect {
    id: String,
    lane: usize,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Publish,
    /// A binding is called: what came of it is an event.
    Call,
}

impl Model {
    fn commit(&mut self, result: &Handed, arrived: Timestamp) -> Committed {
        let state = match (self.rows.get(&result.event).map(|row| row.state), result.claim) {
            (Some(state), None) => return Committed::Repeat(state.status),
            (None, None) => {
                let turn = self.turn(result.event);
                Delivery::enter(result.verdict, result.attempts, arrived, turn)
            }
            (Some(state), Some(claim)) if state.accepts(claim) => {
                Delivery::settled(claim, result.verdict, result.attempts)
            }
            (_, Some(_)) => return Committed::Superseded,
        };
        let behind = result.claim.is_none() && self.turn(result.event) == Turn::Behind;
        self.put(result.event, state, arrived);
        if writes_effects(state.status) {
            for Effect { id, lane, .. } in &result.effects {
                self.added += 1;
                let row = OutboxRow {
                    event: result.event,
                    id: id.clone(),
                    lane: *lane,
                    state: Waiting::enter(arrived),
                    revived: false,
                };
                self.outbox.insert(self.added, row);
            }
            for event in &result.internal {
                self.enter(*event, arrived);
            }
        }
        match state.status {
            DeliveryStatus::Done => Committed::Done,
            DeliveryStatus::Dead => Committed::Dead,
            DeliveryStatus::Parked | DeliveryStatus::Discarded => Committed::Parked { behind },
        }
    }

    fn put(&mut self, event: Event, state: Delivery, arrived: Timestamp) {
        let entered = &mut self.entered;
        let row = self.rows.entry(event).or_insert_with(|| {
            *entered += 1;
            Row { sequence: *entered, arrived, state }
        });
        row.state = state;
    }

    /// An internal event; one that is there stays as it is.
    fn enter(&mut self, event: Event, arrived: Timestamp) {
        if !self.rows.contains_key(&event) {
            self.put(event, Delivery::internal(arrived), arrived);
        }
    }

    fn turn(&self, event: Event) -> Turn {
        let waits = |(other, row): (&Event, &Row)| {
            ordered(*other) && row.state.status == DeliveryStatus::Parked
        };
        if ordered(event) && self.rows.iter().any(waits) { Turn::Behind } else { Turn::Free }
    }

    /// Parked ones of lower sequence that an ordered one must wait for.
    fn ahead_of(&self, event: Event) -> Vec<Event> {
        let Some(row) = self.rows.get(&event).filter(|_| ordered(event)) else { return vec![] };
        let parked = |other: &Row| other.state.status == DeliveryStatus::Parked;
        let ahead = |(e, r): (&Event, &Row)| {
            (ordered(*e) && parked(r) && r.sequence < row.sequence).then_some(*e)
        };
        self.rows.iter().filter_map(ahead).collect()
    }

    fn claim_parked(&mut self, now: Timestamp) -> Vec<(Event, i64, u32)> {
        let turn: Vec<_> =
            self.rows.keys().copied().filter(|event| self.ahead_of(*event).is_empty()).collect();
        let mut claimed = Vec::new();
        for event in turn {
            let Some(row) = self.rows.get_mut(&event) else { continue };
            if let Some(state) = row.state.claim(now, now + LEASE) {
                row.state = state;
                claimed.push((row.sequence, (event, state.claim, state.attempts)));
            }
        }
        claimed.sort_unstable();
        claimed.into_iter().map(|(_, claim)| claim).collect()
    }

    fn lane_ahead_of(&self, sequence: i64) -> bool {
        let lane = self.outbox[&sequence].lane;
        let mut ahead = self.outbox.range(..sequence);
        ahead.any(|(_, row)| row.lane == lane && row.state.status == EffectStatus::Waiting)
    }

    /// Whether it is performed out of its turn, which only what a person revived may cause.
    fn overtakes(&self, sequence: i64) -> bool {
        let lane = self.outbox[&sequence].lane;
        let mut ahead = self.outbox.range(..sequence).filter(|(_, row)| !row.revived);
        ahead.any(|(_, row)| row.lane == lane && row.state.status == EffectStatus::Waiting)
    }

    fn claim_outbox(&mut self, now: Timestamp) -> Vec<(i64, i64, String)> {
        let turn: Vec<_> =
            self.outbox.keys().copied().filter(|sequence| !self.lane_ahead_of(*sequence)).collect();
        let mut claimed = Vec::new();
        for sequence in turn {
            let Some(row) = self.outbox.get_mut(&sequence) else { continue };
            if let Some(state) = row.state.claim(now, now + LEASE) {
                row.state = state;
                claimed.push((sequence, state.claim, row.id.clone()));
            }
        }
        claimed
    }

    /// What comes of it enters with it, unless the claim is no longer the last.
    fn finish(
        &mut self,
        sequence: i64,
        claim: i64,
        performance: Performance,
        result: Option<(Event, Timestamp)>,
    ) -> bool {
        let Some(row) = self.outbox.get_mut(&sequence).filter(|row| row.state.accepts(claim))
        else {
            return false;
        };
        match row.state.finished(performance) {
            Some(state) => row.state = state,
            None => drop(self.outbox.remove(&sequence)),
        }
        if let Some((event, now)) = result {
            self.enter(event, now);
        }
        true
    }

    /// The delivery runs again, and what told of its death goes; of any other, the refused effects
    /// are performed again. Gives the ids that go.
    fn retry(&mut self, event: Event, now: Timestamp) -> (ByHand, Vec<String>) {
        match self.by_hand(event, |row| row.retry(now)) {
            ByHand::Changed => (ByHand::Changed, self.give_up(event)),
            ByHand::Refused(status) => {
                let (mut dead, mut again) = (self.outbox.values_mut(), false);
                while let Some(row) = dead.find(|row| row.event == event && is_dead(row)) {
                    row.state = row.state.retry(now).unwrap_or(row.state);
                    row.revived = true;
                    again = true;
                }
                (if again { ByHand::Changed } else { ByHand::Refused(status) }, Vec::new())
            }
            ByHand::Unknown => (ByHand::Unknown, Vec::new()),
        }
    }

    /// The delivery goes, if it may, and its refused effects. Gives their ids.
    fn discard(&mut self, event: Event) -> (ByHand, Vec<String>) {
        let changed = self.by_hand(event, Delivery::discard);
        let gone = self.give_up(event);
        match changed {
            ByHand::Refused(_) if !gone.is_empty() => (ByHand::Changed, gone),
            ByHand::Changed | ByHand::Unknown | ByHand::Refused(_) => (changed, gone),
        }
    }

    fn give_up(&mut self, event: Event) -> Vec<String> {
        let gone = self.outbox.extract_if(.., |_, row| row.event == event && is_dead(row));
        gone.map(|(_, row)| row.id).collect()
    }

    /// One step of the walk, which is longer than all that is played. Gives what goes, too.
    fn prune(&mut self, now: Timestamp) -> (Pruned, Vec<Event>) {
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
        let gone = self.rows.extract_if(.., |event, row| {
            let effects = outbox.values().filter(|effect| effect.event == *event).count();
            let passed = row.sequence > mark && row.sequence <= reached;
            passed && row.state.may_go(row.arrived, before, effects)
        });
        let gone: Vec<_> = gone.map(|(event, _)| event).collect();
        let begun = if mark == 0 { now } else { begun };
        self.pruning = Walk { mark: reached, begun };
        (Pruned::Batch(gone.len() as u64), gone)
    }

    fn by_hand(
        &mut self,
        event: Event,
        to: impl FnOnce(Delivery) -> Result<Delivery, DeliveryStatus>,
    ) -> ByHand {
        let Some(row) = self.rows.get_mut(&event) else { return ByHand::Unknown };
        match to(row.state) {
            Ok(state) => {
                row.state = state;
                ByHand::Changed
            }
            Err(status) => ByHand::Refused(status),
        }
    }
}

fn is_dead(row: &OutboxRow) -> bool {
    row.state.status == EffectStatus::Dead
}
