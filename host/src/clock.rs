//! Time and randomness come in as an argument, so that tests move the one by hand, know the other,
//! and nothing waits for real.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, TimeZone as _, Utc};
use futures::future::BoxFuture;
use tokio::sync::watch;

/// An instant in UTC. The ledger keeps it as microseconds since 1970.
pub type Timestamp = DateTime<Utc>;

/// The text for an instant: RFC 3339 in UTC, with microseconds.
pub fn rfc3339(at: Timestamp) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

/// Where the host's time and randomness come from.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;

    /// Returns when `now()` has reached `at`; that is later when the clock is set back. Cancel safe.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()>;

    /// 32 random bytes, drawn once per invocation.
    fn draw(&self) -> [u8; 32];
}

/// How soon it is noticed that the machine's clock was set, or went on while the machine slept.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        // As the ledger keeps it, so that what is written and read again is still the same.
        Utc::now().trunc_subsecs(6)
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        // The clock may be set, and a machine that sleeps lets no timer run: it is looked at again.
        Box::pin(async move {
            while let Ok(left) = (at - Self.now()).to_std()
                && !left.is_zero()
            {
                tokio::time::sleep(left.min(LOOK_AGAIN)).await;
            }
        })
    }

    fn draw(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the operating system has randomness to give");
        bytes
    }
}

/// A clock that moves only when told. Tests advance it; sleepers wake in order of their time.
#[derive(Debug, Clone)]
pub struct ManualClock {
    now: Arc<watch::Sender<Timestamp>>,
    sleepers: Arc<Mutex<BinaryHeap<Reverse<Timestamp>>>>,
    drawn: Arc<AtomicU64>,
}

impl ManualClock {
    pub fn new(start: Timestamp) -> Self {
        Self {
            now: Arc::new(watch::Sender::new(start)),
            sleepers: Arc::default(),
            drawn: Arc::default(),
        }
    }

    pub fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now += by);
    }

    /// The earliest future instant that something sleeps until.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let now = self.now();
        let mut sleepers = self.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
        while sleepers.peek().is_some_and(|Reverse(at)| *at <= now) {
            sleepers.pop();
        }
        sleepers.peek().map(|Reverse(at)| *at)
    }
}

impl Default for ManualClock {
    /// Starts on 2026-01-01 at midnight.
    fn default() -> Self {
        let start = Utc.timestamp_opt(1_767_225_600, 0).single();
        Self::new(start.unwrap_or(DateTime::UNIX_EPOCH))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner).push(Reverse(at));
        let mut now = self.now.subscribe();
        Box::pin(async move {
            // An error means that the clock is gone: nobody can advance it, so nobody may be woken.
            if now.wait_for(|now| *now >= at).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }

    /// Different every time, and the same in every run of a test.
    fn draw(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let number = self.drawn.fetch_add(1, Ordering::Relaxed);
        bytes.iter_mut().zip(number.to_le_bytes()).for_each(|(byte, drawn)| *byte = drawn);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_clock_reaches_it() {
        let clock = ManualClock::default();
        let at = clock.now() + Duration::from_secs(2);
        let mut sleeper = clock.sleep_until(at);
        assert_eq!(clock.next_wake(), Some(at));
        clock.advance(Duration::from_secs(1));
        assert!(futures::poll!(&mut sleeper).is_pending());
        clock.advance(Duration::from_secs(1));
        sleeper.await;
        assert_eq!(clock.next_wake(), None);
    }
}
