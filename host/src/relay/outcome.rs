//! What becomes of an effect that Dapr took or did not: it goes, it is tried again later, or it is
//! dead, and what tells of that goes with it.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::perform::Performed;
use super::{NO_PLACE, PLACES, Relay};
use crate::backend::BackendError;
use crate::dispatch::decide::{Ending, Rows, host_event, internal};
use crate::effect::{Call, Outgoing};
use crate::ledger::{ClaimedEffect, EffectResult, FinishedEffect, NewDelivery};

/// The first wait between two tries of one effect, about, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// How often it is told that effects wait.
const TELL: Duration = Duration::from_secs(30);

/// A call waits for a Dapr that is away as long as for its third try, whenever that is.
const AWAY: u32 = 2;

impl Relay {
    /// What becomes of an effect. `None` leaves the effect to its lease: it is performed again, with the same id.
    pub(super) async fn finished(
        &self,
        effect: ClaimedEffect,
        result: Performed,
    ) -> Option<FinishedEffect> {
        let result = match (result, &effect.outgoing) {
            (Ok(response), Outgoing::Invoke(call)) => {
                let internal = self.result(&effect, call, Ok(&response));
                EffectResult::Performed { internal }
            }
            (Ok(_), _) => EffectResult::Performed { internal: Vec::new() },
            (Err(error), Outgoing::Invoke(call)) => self.call_failed(&effect, call, error),
            (Err(BackendError::Away(error) | BackendError::Unavailable(error)), _) => {
                self.tell_of_wait(&error);
                self.again(&effect, backoff(effect.attempts, self.clock.draw()), error)
            }
            (Err(BackendError::Refused(error)), outgoing) => {
                let (delivery, kind, target) =
                    (&effect.delivery, outgoing.kind(), outgoing.target());
                tracing::error!(%delivery, kind, target, error, "Dapr refuses an effect for good");
                let Rows { outbox, internal } = self.report(&effect, &error).await?;
                EffectResult::Dead { outbox, internal, error }
            }
        };
        Some(FinishedEffect { sequence: effect.sequence, claim: effect.claim, result })
    }

    /// It was not tried for want of a place, which uses up no attempt.
    pub(super) fn no_place(&self, effect: &ClaimedEffect) -> FinishedEffect {
        let result = EffectResult::Again {
            at: self.clock.now() + NO_PLACE,
            attempts: effect.attempts,
            error: format!("{PLACES} others are being performed"),
        };
        FinishedEffect { sequence: effect.sequence, claim: effect.claim, result }
    }

    /// One line stands for all that wait at the same time.
    fn tell_of_wait(&self, error: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() >= TELL) {
            *told = Some(Instant::now());
            tracing::warn!(error, "effects wait; each is tried again");
        }
    }

    fn again(&self, effect: &ClaimedEffect, wait: Duration, error: String) -> EffectResult {
        EffectResult::Again { at: self.clock.now() + wait, attempts: effect.attempts + 1, error }
    }

    /// A call is tried on its contract's schedule. Its last failure is told to the component, and
    /// to nobody else. While Dapr is away nothing is tried, which uses up no attempt.
    fn call_failed(
        &self,
        effect: &ClaimedEffect,
        call: &Call,
        error: BackendError,
    ) -> EffectResult {
        let catalog = self.registry.snapshot();
        let retry = catalog.contracts.get(&call.contract).map(|contract| &contract.retry);
        let delay = retry.and_then(|retry| retry.delay_after(effect.attempts + 1));
        match (error, delay) {
            (BackendError::Away(error), _) => {
                self.tell_of_wait(&error);
                let at = self.clock.now() + backoff(AWAY, self.clock.draw());
                EffectResult::Again { at, attempts: effect.attempts, error }
            }
            (BackendError::Unavailable(error), Some(delay)) => self.again(effect, delay, error),
            (BackendError::Unavailable(error) | BackendError::Refused(error), _) => {
                let (delivery, binding) = (&effect.delivery, &call.binding);
                tracing::warn!(%delivery, %binding, error, "a call of a binding is given up");
                let internal = self.result(effect, call, Err(&error));
                EffectResult::Dead { outbox: Vec::new(), internal, error }
            }
        }
    }

    /// The event that tells the component what came of its call, if it wants to know.
    fn result(
        &self,
        effect: &ClaimedEffect,
        call: &Call,
        outcome: Result<&[u8], &str>,
    ) -> Vec<NewDelivery> {
        let (catalog, now) = (self.registry.snapshot(), self.clock.now());
        match host_event::result(call, outcome, now) {
            Ok(event) => {
                let component = &effect.delivery.component;
                internal::delivery_to(&catalog, component, &event, call.trace.as_ref(), now)
            }
            Err(error) => {
                tracing::error!(delivery = %effect.delivery, error, "a result cannot be told");
                Vec::new()
            }
        }
    }

    /// The rows of `audit.failed` that tell of a refused effect; `None` when the ledger cannot say
    /// whose it is.
    async fn report(&self, effect: &ClaimedEffect, error: &str) -> Option<Rows> {
        match self.ledger.delivery(&effect.delivery).await {
            Ok(Some(detail)) => {
                let catalog = self.registry.snapshot();
                let ending = Ending { catalog: &catalog, now: self.clock.now() };
                let head = &detail.summary.head;
                Some(ending.refused(head, effect, error))
            }
            Ok(None) => Some(Rows::default()),
            Err(error) => {
                tracing::warn!(delivery = %effect.delivery, %error, "a refused effect waits for its report");
                None
            }
        }
    }
}

/// Doubles with each attempt, and is anything from half to one and a half of that, so that effects
/// which failed together do not come back together. `drawn` is random.
fn backoff(attempts: u32, drawn: [u8; 32]) -> Duration {
    let (first, longest) = WAITS;
    let middle = first.saturating_mul(1 << attempts.min(16)).min(longest);
    let [a, b, ..] = drawn;
    middle / 2 + middle * u32::from(u16::from_le_bytes([a, b])) / u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_and_ends_growing() {
        let middle = [0xff, 0x7f].repeat(16).try_into().unwrap();
        let waits: Vec<_> = (0..10).map(|attempts| backoff(attempts, middle)).collect();
        assert!(waits.is_sorted(), "{waits:?}");
        for (wait, about) in [(waits[0], 500), (waits[3], 4_000), (waits[9], 60_000)] {
            assert!(wait.as_millis().abs_diff(about) < 10, "{waits:?}");
        }
        assert!(backoff(u32::MAX, [255; 32]) <= WAITS.1 * 3 / 2);
    }

    #[test]
    fn what_fails_together_does_not_come_back_together() {
        let drawn = |n: u8| [n.wrapping_mul(167), n.wrapping_mul(29)].repeat(16);
        let waits = (0..=255).map(|n| backoff(4, drawn(n).try_into().unwrap()).as_millis());
        let mut tenths = [0; 10];
        for wait in waits {
            let place = usize::try_from((wait - 4_000) * 10 / 8_001).unwrap();
            tenths[place] += 1;
        }
        assert!(tenths.iter().all(|many| (20..=32).contains(many)), "{tenths:?}");
    }
}
