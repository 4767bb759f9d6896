//! Calls of Dapr: from a claim of an effect to what is said of it.

use std::time::Duration;

use super::{EVENTS, Ending, LANES, Play, database};
use crate::ledger::model::{Effect, Event, Kind, LEASE};
use crate::ledger::record::{EffectResult, FinishedEffect};
use crate::ledger::state_machine::Performance;

/// What is added to an event's number gives that of its call's result.
pub(super) const SUCCEEDED: Event = 2 * EVENTS;
pub(super) const FAILED: Event = 3 * EVENTS;

#[derive(Clone)]
pub(super) struct Call {
    number: usize,
    sequence: i64,
    claim: i64,
    id: String,
    performed: bool,
}

/// What the broker delivers calls a binding when it is done; each call is a lane of its own.
pub(super) fn call(event: Event) -> Option<Effect> {
    let lane = LANES + event;
    (event < EVENTS).then(|| Effect { id: format!("call/{event}"), lane, kind: Kind::Call })
}

/// The event that a call belongs to.
fn called(id: &str) -> Option<Event> {
    id.strip_prefix("call/")?.parse().ok()
}

impl Play {
    pub(super) async fn claim_outbox(&mut self, host: usize) {
        let claimed = self.model.claim_outbox(self.now);
        if let Some(ledger) = self.ledger(host) {
            let theirs = ledger.claim_outbox(self.now, LEASE, 100).await.unwrap();
            let theirs: Vec<_> = theirs
                .into_iter()
                .map(|c| (c.sequence, c.claim, c.outgoing.id().unwrap().to_owned()))
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

    pub(super) fn perform(&mut self, host: usize, effect: usize) {
        let Some(call) = self.hosts[host].calls.get_mut(effect) else { return };
        call.performed = true;
        assert!(self.promised.contains(&call.id), "{} was not committed", call.id);
        if self.performed.insert(call.id.clone()) && self.model.outbox.contains_key(&call.sequence)
        {
            assert!(!self.model.overtakes(call.sequence), "{} overtook its lane", call.id);
        }
    }

    /// What came of a binding call enters with it.
    pub(super) async fn report(&mut self, host: usize, call: &Call, ending: Ending) {
        let Call { sequence, claim, number, .. } = *call;
        let result = |offset| called(&call.id).map(|event| event + offset);
        let internal = |event: Option<Event>| {
            event.map(|event| database::internal(event, self.now)).into_iter().collect()
        };
        let due = self.now + Duration::from_secs(3);
        let (performance, entered, result) = match ending {
            Ending::Ok if call.performed => {
                let entered = result(SUCCEEDED);
                let internal = internal(entered);
                (Performance::Performed, entered, EffectResult::Performed { internal })
            }
            Ending::Rejected => {
                let entered = result(FAILED);
                let (error, internal) = ("refused".into(), internal(entered));
                let result = EffectResult::Dead { error, outbox: vec![], internal };
                (Performance::Dead, entered, result)
            }
            Ending::Ok | Ending::Failed => (
                Performance::Again { due, attempts: 1 },
                None,
                EffectResult::Again { at: due, attempts: 1, error: "away".into() },
            ),
            Ending::NotWritten | Ending::WrongStatement | Ending::WrongCount => return,
        };
        let entering = entered.map(|event| (event, self.now));
        if self.model.finish(sequence, claim, performance, entering) {
            let caller = self.caller.remove(&sequence);
            assert_eq!(caller, Some(number), "a late report was taken");
            if let Some(event) = entered {
                *self.results.entry(event).or_default() += 1;
            }
        }
        if let Some(ledger) = self.ledger(host) {
            let finished = FinishedEffect { sequence, claim, result };
            assert_eq!(ledger.finish_outbox(vec![finished]).await, Ok(()));
        }
    }
}
