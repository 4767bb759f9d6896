//! What becomes of deliveries that are tried again: the host is asked until each has an outcome, with
//! longer and longer pauses, and not for ever.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;

use super::text;
use crate::cli::client::AdminClient;

/// How long they are followed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// So many at most: a host has better things to do than to be asked.
pub const MOST: usize = 1000;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// How it stands with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Dead again, or Dapr refused an effect of it again.
    Dead,
    /// It failed, and is tried again by itself.
    Parked,
    /// It has not run yet.
    Waiting,
}

/// How many came to what.
#[derive(Debug, Default, Serialize)]
pub struct Outcomes {
    pub done: usize,
    pub dead: usize,
    pub parked: usize,
    pub waiting: usize,
}

impl Outcome {
    pub fn of(delivery: &Value) -> Self {
        let effects =
            delivery.get("outbox").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let is_refused = |effect: &Value| text(effect, "/status") == "dead";
        let is_untried = |effect: &Value| !is_refused(effect) && text(effect, "/error").is_empty();
        match text(delivery, "/status") {
            "dead" => Self::Dead,
            "parked" if text(delivery, "/error").is_empty() => Self::Waiting,
            "parked" => Self::Parked,
            _ if effects.iter().any(is_refused) => Self::Dead,
            _ if effects.iter().any(is_untried) => Self::Waiting,
            _ => Self::Done,
        }
    }
}

impl Outcomes {
    pub fn of(deliveries: &[Value]) -> Self {
        let mut outcomes = Self::default();
        for delivery in deliveries {
            *match Outcome::of(delivery) {
                Outcome::Done => &mut outcomes.done,
                Outcome::Dead => &mut outcomes.dead,
                Outcome::Parked => &mut outcomes.parked,
                Outcome::Waiting => &mut outcomes.waiting,
            } += 1;
        }
        outcomes
    }

    /// Such as `118 done, 2 dead again`.
    pub fn told(&self) -> String {
        let Self { done, dead, parked, waiting } = self;
        let counts = [
            (done, "done"),
            (dead, "dead again"),
            (parked, "failed and parked"),
            (waiting, "not run yet"),
        ];
        let counts = counts.into_iter().filter(|(count, _)| **count > 0);
        counts.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
    }
}

/// Each as it is when it has an outcome, or when the time is up.
pub async fn follow(client: &AdminClient, ids: &[String]) -> anyhow::Result<Vec<Value>> {
    let (started, mut pause) = (Instant::now(), FIRST_PAUSE);
    let mut found = vec![Value::Null; ids.len()];
    loop {
        let mut waits = false;
        for (id, found) in ids.iter().zip(&mut found) {
            if found.is_null() || Outcome::of(found) == Outcome::Waiting {
                *found = client.get(&format!("/deliveries/{id}")).await.with_context(|| {
                    format!("`{id}` is tried again, and what became of it is not known")
                })?;
                waits |= Outcome::of(found) == Outcome::Waiting;
            }
        }
        if !waits || started.elapsed() + pause > PATIENCE {
            return Ok(found);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}
