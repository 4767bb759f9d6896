//! Keeps what handlers were given, read and decided, so that a failure can be looked at and a
//! change tried on what really happened. Kept in memory, written in batches outside of the commit:
//! a crash may lose the last second of recordings, and nothing else.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::delivery::{DeliveryId, LogLine};
use crate::effect::Effect;
use crate::event::{Arrival, Event};
use crate::ledger::{Ledger, LedgerError, Recording};
use crate::name::ComponentId;
use crate::runtime::{Call, Component, Invocation, Read};

/// Successes that are kept of each component: a sample.
pub const SUCCESSES: u32 = 200;

/// Failures that are kept of each component.
pub const FAILURES: u32 = 10_000;

/// How often what waits is written.
const RHYTHM: Duration = Duration::from_secs(1);

/// A larger event is recorded without its bytes as received.
const LARGE: usize = 256 << 10;

/// More of a run than this is not recorded.
const LARGEST: usize = 4 << 20;

/// What waits to be written. Between two writes a component's successes beyond the sample are let
/// go, so that recording costs a busy component next to nothing.
pub struct Recorder {
    ledger: Ledger,
    waiting: Mutex<HashMap<(ComponentId, bool), Vec<Run>>>,
}

/// A run, before it is put into words.
struct Run {
    id: DeliveryId,
    digest: String,
    call: Call,
    redact: Vec<String>,
    fuel: u64,
    duration: Duration,
    log: Vec<LogLine>,
    reads: Vec<Read>,
    reads_complete: bool,
    outcome: Result<Vec<Effect>, String>,
}

/// A recording's body: all that running it again needs, and what came of it.
#[derive(Serialize)]
struct Body<'a> {
    event: &'a Event,
    /// Base64; left out when it is large or something is redacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    wire: Option<String>,
    arrival: &'a Arrival,
    now: String,
    seed: String,
    reads: &'a [Read],
    reads_complete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    effects: Option<&'a [Effect]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    log: &'a [LogLine],
}

impl Recorder {
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger, waiting: Mutex::default() }
    }

    /// Takes a run down, if it is wanted.
    pub fn take(&self, component: &Component, call: &Call, invocation: &Invocation) {
        let rules = &component.manifest().recording;
        let failed = invocation.outcome.is_err();
        let most = usize::try_from(if failed { FAILURES } else { SUCCESSES }).unwrap_or(usize::MAX);
        if !rules.enabled {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = waiting.entry((component.id().clone(), failed)).or_default();
        if runs.len() >= most {
            return;
        }
        runs.push(Run {
            id: DeliveryId { component: component.id().clone(), key: call.decoded.key },
            digest: component.digest().to_owned(),
            call: call.clone(),
            redact: rules.redact.clone(),
            fuel: invocation.fuel,
            duration: invocation.duration,
            log: invocation.log.clone(),
            reads: invocation.reads.clone(),
            reads_complete: invocation.reads_complete,
            outcome: invocation.outcome.clone().map_err(|failure| failure.to_string()),
        });
    }

    /// Writes what waits, now.
    pub async fn flush(&self) -> Result<(), LedgerError> {
        let waiting = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *waiting)
        };
        let recordings: Vec<_> = waiting.into_values().flatten().filter_map(recording).collect();
        if recordings.is_empty() {
            return Ok(());
        }
        self.ledger.record(recordings, (SUCCESSES, FAILURES)).await
    }

    /// Writes in its rhythm, and a last time at the end.
    pub async fn run(&self, stop: CancellationToken) {
        let mut rhythm = tokio::time::interval(RHYTHM);
        loop {
            let go_on = tokio::select! {
                _ = rhythm.tick() => true,
                () = stop.cancelled() => false,
            };
            if let Err(error) = self.flush().await {
                tracing::warn!(%error, "recordings are lost");
            }
            if !go_on {
                return;
            }
        }
    }
}

/// `None` for what is too large.
fn recording(run: Run) -> Option<Recording> {
    let (call, decoded) = (&run.call, &run.call.decoded);
    let small = call.wire.bytes.len() <= LARGE && run.redact.is_empty();
    let body = Body {
        event: &decoded.event,
        wire: small.then(|| STANDARD.encode(&call.wire.bytes)),
        arrival: &call.wire.arrival,
        now: crate::clock::rfc3339(call.now),
        seed: STANDARD.encode(call.seed),
        reads: &run.reads,
        reads_complete: run.reads_complete,
        effects: run.outcome.as_deref().ok(),
        error: run.outcome.as_ref().err().map(String::as_str),
        log: &run.log,
    };
    let body = if run.redact.is_empty() {
        serde_json::to_string(&body)
    } else {
        serde_json::to_value(&body).map(|body| redacted(body, &run.redact).to_string())
    };
    match body {
        Ok(body) if body.len() <= LARGEST => Some(Recording {
            failed: run.outcome.is_err(),
            attempt: call.attempt,
            at: call.now,
            fuel: run.fuel,
            micros: u64::try_from(run.duration.as_micros()).unwrap_or(u64::MAX),
            id: run.id,
            digest: run.digest,
            body,
        }),
        Ok(body) => {
            let bytes = body.len();
            tracing::warn!(delivery = %run.id, bytes, "a run is too large to be recorded");
            None
        }
        Err(error) => {
            tracing::error!(delivery = %run.id, %error, "a run cannot be recorded");
            None
        }
    }
}

/// What stands in place of a redacted value.
const REDACTED: &str = "redacted";

/// Takes out the values at these places of the event, and the same text wherever else it stands:
/// in what was read, decided, or logged.
fn redacted(mut body: Value, places: &[String]) -> Value {
    let mut secrets = Vec::new();
    for place in places {
        let found = body.get_mut("event").and_then(|event| event.pointer_mut(place));
        if let Some(value) = found {
            let value = std::mem::replace(value, Value::from(REDACTED));
            texts(&value, &mut secrets);
        }
    }
    secrets.retain(|secret| !secret.is_empty());
    // The longest first: one may be part of another.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    if !secrets.is_empty() {
        hide(&mut body, &secrets);
    }
    body
}

fn texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| texts(value, into)),
        Value::Object(fields) => fields.values().for_each(|value| texts(value, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Effects hold JSON as text, so parts of texts are looked at too.
fn hide(value: &mut Value, secrets: &[String]) {
    match value {
        Value::String(text) => {
            for secret in secrets {
                if text.contains(secret.as_str()) {
                    *text = text.replace(secret.as_str(), REDACTED);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| hide(value, secrets)),
        Value::Object(fields) => fields.values_mut().for_each(|value| hide(value, secrets)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_redacted_is_nowhere_in_the_body() {
        let body = json!({
            "event": { "data": { "email": "ann@example.org", "task": { "title": "call Bob" } } },
            "reads": [{ "rows": [["ann@example.org"]] }],
            "effects": [{ "data": "{\"to\":\"ann@example.org\",\"text\":\"please call Bob\"}" }],
            "log": [{ "text": "mail to ann@example.org" }],
        });
        let places = ["/data/email".to_owned(), "/data/task".to_owned(), "/data/gone".to_owned()];
        let body = redacted(body, &places).to_string();
        assert!(!body.contains("ann@") && !body.contains("call Bob"), "{body}");
        assert!(body.contains("please redacted"), "{body}");
    }
}
