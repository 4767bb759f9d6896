//! Calls of Dapr: from a claim of an effect to what is said of it.

use std::time::Duration;

use super::{CALLS, Ending, Play, REPORTS};
use crate::ledger::model::outbox::{ClaimedEffect, Effect, EffectKind, Finished};
use crate::ledger::model::{Component, Id, Kind};
use crate::ledger::state_machine::Performance;

#[derive(Clone)]
pub(super) struct Call {
    number: usize,
    claimed: ClaimedEffect,
    performed: bool,
}

/// What the broker delivers calls a binding when it is done; each call is a lane of its own.
pub(super) fn call(of: Id) -> Option<Effect> {
    let lane = CALLS + 2 * of.number + usize::from(of.component == Component::Audit);
    (of.kind == Kind::Came).then(|| Effect {
        id: format!("{of}/call"),
        lane,
        kind: EffectKind::Call,
    })
}

impl Play {
    pub(super) async fn claim_outbox(&mut self, host: usize, limit: usize) {
        let claimed = self.model.claim_outbox(self.now, limit);
        if let Some(beside) = &self.beside {
            let theirs = beside.claim_outbox(host, self.now, limit).await;
            let theirs: Vec<_> = theirs
                .into_iter()
                .map(|c| (c.sequence, c.claim, c.attempts, c.outgoing.id().unwrap().to_owned()))
                .collect();
            let ours = claimed.iter().cloned();
            let ours: Vec<_> =
                ours.map(|c| (c.sequence, c.claim, c.attempts, c.effect.id)).collect();
            assert_eq!(theirs, ours);
        }
        for claimed in claimed {
            self.runs += 1;
            let number = self.runs;
            self.caller.insert(claimed.sequence, number);
            self.hosts[host].calls.push(Call { number, claimed, performed: false });
        }
    }

    pub(super) fn perform(&mut self, host: usize, effect: usize) {
        let calls = &mut self.hosts[host].calls;
        let Some(effect) = effect.checked_rem(calls.len()) else { return };
        let call = &mut calls[effect];
        call.performed = true;
        let sequence = call.claimed.sequence;
        assert!(self.promised.contains_key(&sequence), "{sequence} was not committed");
        if self.performed.insert(sequence) && self.model.outbox.contains_key(&sequence) {
            assert!(!self.model.overtakes(sequence), "{sequence} overtook its lane");
        }
    }

    /// Hands in together what was said of them.
    pub(super) async fn report(&mut self, host: usize, calls: Vec<(Call, Ending)>) {
        let finished = calls.into_iter().filter_map(|(call, ending)| self.finished(call, ending));
        let (numbers, finished): (Vec<_>, Vec<_>) =
            finished.collect::<Vec<_>>().into_iter().unzip();
        if finished.is_empty() {
            return;
        }
        let added = self.model.added;
        let accepted = self.model.finish(&finished, self.now);
        self.promise(added);
        for ((finished, number), accepted) in finished.iter().zip(numbers).zip(accepted) {
            if accepted {
                let caller = self.caller.remove(&finished.sequence);
                assert_eq!(caller, Some(number), "a late report was taken");
                self.told(&finished.effects, &finished.internal);
            } else {
                self.model.meet(match finished.performance {
                    Performance::Performed => "a late success",
                    Performance::Again { .. } => "a late failure",
                    Performance::Dead => "a late refusal",
                });
            }
        }
        if let Some(beside) = &self.beside {
            let finished = finished.iter().map(|one| beside.finished(one, self.now)).collect();
            assert_eq!(beside.ledgers[host].finish_outbox(finished).await, Ok(()));
        }
    }

    /// What is said of it; nothing when the host dies before. What came of a call is an event, and a
    /// refusal of anything else is told.
    fn finished(&mut self, call: Call, ending: Ending) -> Option<(usize, Finished)> {
        let Call { number, claimed, performed } = call;
        let ClaimedEffect { sequence, claim, attempts, of, effect } = claimed;
        let (mut effects, mut internal) = (Vec::new(), Vec::new());
        let mut result = |kind| internal.push(Id { kind, ..of });
        let performance = match (ending, effect.kind) {
            (Ending::Ok, kind) if performed => {
                self.model.meet("an effect is performed");
                if kind == EffectKind::Call {
                    result(Kind::Succeeded);
                }
                Performance::Performed
            }
            (Ending::Rejected, EffectKind::Call) => {
                self.model.meet("a call is given up");
                result(Kind::Failed);
                Performance::Dead
            }
            (Ending::Rejected, EffectKind::Publish) => {
                self.model.meet("an effect is refused");
                if !matches!(of.kind, Kind::Report(_)) {
                    let what = format!("effect {sequence} {claim}");
                    (effects, internal) = self.told_of(of, what);
                }
                Performance::Dead
            }
            (Ending::Rejected, EffectKind::Report) => {
                self.model.meet("a report is refused");
                Performance::Dead
            }
            (Ending::Away, _) => {
                self.model.meet("an effect waits, no attempt used");
                Performance::Again { due: self.now + Duration::from_secs(1), attempts }
            }
            (Ending::Ok | Ending::Failed, _) => {
                self.model.meet("an effect is tried again");
                let due = self.now + Duration::from_secs(3);
                Performance::Again { due, attempts: attempts + 1 }
            }
            (
                Ending::NotWritten
                | Ending::Saturated
                | Ending::WrongStatement
                | Ending::WrongCount,
                _,
            ) => return None,
        };
        Some((number, Finished { sequence, claim, performance, effects, internal }))
    }

    /// What tells of a death: on a topic, or, where the contract names none, as an event.
    pub(super) fn told_of(&mut self, of: Id, what: String) -> (Vec<Effect>, Vec<Id>) {
        let known = self.deaths.iter().position(|death| *death == what);
        let death = known.unwrap_or(self.deaths.len());
        if known.is_none() {
            self.deaths.push(what);
        }
        if of.number.is_multiple_of(2) {
            let (id, lane) = (format!("report/{death}"), REPORTS);
            (vec![Effect { id, lane, kind: EffectKind::Report }], Vec::new())
        } else {
            let (component, kind) = (Component::Audit, Kind::Report(death));
            (Vec::new(), vec![Id { component, kind, number: of.number }])
        }
    }
}
