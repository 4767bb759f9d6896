//! Input bindings that tick, as daprd with `bindings.cron`: it asks whether the app wants the ticks,
//! and a tick that fails is only logged. The instants count from the epoch, where `@every` would
//! count from the start; what comes due while a tick is delivered is left out.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use super::Post;
use super::app::App;
use crate::backend::embedded::Shared;
use crate::clock::Timestamp;
use crate::name::BindingName;

/// What daprd gives the app to answer whether it wants a binding.
const PROBE_DEADLINE: Duration = Duration::from_secs(3);

/// One binding that the app wants.
pub struct Ticking {
    shared: Arc<Shared>,
    app: App,
    name: BindingName,
    period: Duration,
    started: Timestamp,
    next: Timestamp,
}

impl Ticking {
    /// Asks the app; `None` when it does not want the binding's ticks.
    pub async fn wanted(
        shared: &Arc<Shared>,
        app: &App,
        name: &BindingName,
        period: Duration,
    ) -> Option<Self> {
        let deadline = shared.clock.sleep_until(shared.clock.now() + PROBE_DEADLINE);
        let path = path(name);
        let answer = tokio::select! {
            answer = app.options(&path) => answer,
            () = deadline => Err("it took longer than three seconds".to_owned()),
        };
        match answer {
            Ok((200..=299 | 405, _)) => {}
            Ok((status, _)) => {
                tracing::info!(%name, status, "the app does not want this binding");
                return None;
            }
            Err(error) => {
                tracing::warn!(%name, error, "the app could not be asked about this binding");
                return None;
            }
        }
        let started = shared.clock.now();
        let ticking = Self {
            shared: Arc::clone(shared),
            app: app.clone(),
            name: name.clone(),
            period,
            started,
            next: following(started, period),
        };
        ticking.announce();
        Some(ticking)
    }

    /// Ticks until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        while stop.run_until_cancelled(self.shared.clock.sleep_until(self.next)).await.is_some() {
            self.tick().await;
            // A machine's clock may be set back, but a tick does not come twice.
            self.next = following(self.next.max(self.shared.clock.now()), self.period);
            self.announce();
            self.shared.store.acknowledged.send_modify(|count| *count += 1);
        }
        let mut ticks = self.shared.ticks.lock().unwrap_or_else(PoisonError::into_inner);
        ticks.remove(&self.name);
    }

    async fn tick(&self) {
        let now = self.shared.clock.now();
        let post = Post {
            content_type: "application/json",
            metadata: vec![
                ("timeZone".to_owned(), "Local".to_owned()),
                ("readTimeUTC".to_owned(), go_time(now, now - self.started)),
            ],
            traceparent: None,
            tracestate: None,
            body: Bytes::new(),
        };
        let name = &self.name;
        match self.app.post(&path(name), &post).await {
            Ok((200..=299, _)) => {}
            Ok((status, _)) => tracing::error!(%name, status, "the app did not take a tick"),
            Err(error) => tracing::error!(%name, error, "a tick was not delivered"),
        }
    }

    /// Until this tick is delivered, [`Embedded::waiting`](super::Embedded::waiting) can count it.
    fn announce(&self) {
        let mut ticks = self.shared.ticks.lock().unwrap_or_else(PoisonError::into_inner);
        ticks.insert(self.name.clone(), self.next);
    }
}

fn path(name: &BindingName) -> String {
    format!("/{}", super::in_path(name.as_str()))
}

/// The first multiple of the period after an instant.
fn following(after: Timestamp, period: Duration) -> Timestamp {
    let period = i64::try_from(period.as_micros()).unwrap_or(i64::MAX).max(1);
    let next = after.timestamp_micros().div_euclid(period).saturating_add(1).saturating_mul(period);
    Timestamp::from_timestamp_micros(next).unwrap_or(Timestamp::MAX_UTC)
}

/// How Go writes a time that it has just read: with what its monotonic clock says.
fn go_time(at: Timestamp, running: TimeDelta) -> String {
    let nanos = format!("{:09}", at.timestamp_subsec_nanos());
    let fraction = match nanos.trim_end_matches('0') {
        "" => String::new(),
        digits => format!(".{digits}"),
    };
    let (seconds, nanos) = (running.num_seconds(), running.subsec_nanos());
    format!("{}{fraction} +0000 UTC m=+{seconds}.{nanos:09}", at.format("%Y-%m-%d %H:%M:%S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_count_from_the_epoch() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let five = Duration::from_secs(300);
        for (after, expected) in [
            ("2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z"),
            ("2026-01-01T00:04:59.999999Z", "2026-01-01T00:05:00Z"),
            ("1969-12-31T23:59:00Z", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(following(at(after), five), at(expected), "{after}");
        }
    }

    #[test]
    fn times_are_written_as_go_writes_them() {
        let at: Timestamp = "2026-01-01T00:05:00Z".parse().unwrap();
        let running = TimeDelta::milliseconds(2500);
        assert_eq!(go_time(at, running), "2026-01-01 00:05:00 +0000 UTC m=+2.500000000");
        let at = at + Duration::from_micros(120_500);
        let expected = "2026-01-01 00:05:00.1205 +0000 UTC m=+2.500000000";
        assert_eq!(go_time(at, running), expected);
    }
}
