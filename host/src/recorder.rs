//! Keeps what handlers were given, read and decided, so that a failure can be looked at and a
//! change tried on what really happened. Kept in memory, written in batches outside of the commit:
//! a crash may lose the last second of recordings, and nothing else.

mod hide;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::delivery::{DeliveryId, LogLine};
use crate::effect::Effect;
use crate::event::{Arrival, Event};
use crate::ledger::{Ledger, LedgerError, Recording};
use crate::name::ComponentId;
use crate::runtime::{Call, Component, Invocation, Read, Secrets};

/// Successes that are kept of each component: a sample.
pub const SUCCESSES: u32 = 200;

/// Successes that are taken down of each component between two writes.
const SAMPLE: u32 = 50;

/// Failures that are kept of each component.
pub const FAILURES: u32 = 10_000;

/// How often what waits is written.
const RHYTHM: Duration = Duration::from_secs(1);

/// Bytes that wait of each component, successes and failures apart. What comes beyond is let go.
const WAITING: usize = 8 << 20;

/// A larger run is not taken down when it succeeds.
const LARGE: usize = 256 << 10;

/// More of a run than this is not kept at all.
const LARGEST: usize = 4 << 20;

/// As many bytes go into one transaction, about: others wait for it.
const AT_ONCE: usize = 1 << 20;

/// What waits to be written. Between two writes a component's successes beyond the sample are let
/// go, so that recording costs a busy component next to nothing.
pub struct Recorder {
    ledger: Ledger,
    waiting: Mutex<Waiting>,
    /// Held while something is written: who flushes then waits until it is there.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Waiting {
    /// In the order in which they ended.
    runs: Vec<Run>,
    /// Of each component's successes and failures: how many, and about how many bytes.
    room: HashMap<(ComponentId, bool), (u32, usize)>,
}

/// A run, before it is known what becomes of it.
pub struct Run {
    id: DeliveryId,
    digest: String,
    call: Call,
    redact: Vec<String>,
    secrets: Secrets,
    fuel: u64,
    duration: Duration,
    log: Vec<LogLine>,
    reads: Vec<Read>,
    reads_complete: bool,
    /// None when they are too many or too large to be kept.
    effects: Option<Vec<Effect>>,
    error: Option<String>,
}

/// A recording's body: all that running it again needs, and what came of it.
#[derive(Serialize)]
struct Body<'a> {
    event: &'a Event,
    /// Base64; left out when it is large or something is hidden.
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
        Self { ledger, waiting: Mutex::default(), writing: tokio::sync::Mutex::default() }
    }

    /// Takes a run down before its commit; `None` where the manifest does not want it recorded.
    pub fn take(
        &self,
        component: &Component,
        call: &Call,
        invocation: &mut Invocation,
    ) -> Option<Run> {
        let rules = &component.manifest().recording;
        let key = (component.id().clone(), false);
        let has_room = rules.enabled && self.lock().has_room(&key, 0);
        let effects =
            invocation.outcome.as_ref().ok().filter(|effects| {
                has_room && effects.iter().map(Effect::size).sum::<usize>() <= LARGE
            });
        rules.enabled.then(|| Run {
            id: DeliveryId { component: key.0, key: call.decoded.key },
            digest: component.digest().to_owned(),
            call: call.clone(),
            redact: rules.redact.clone(),
            fuel: invocation.fuel,
            duration: invocation.duration,
            log: invocation.log.clone(),
            effects: effects.cloned(),
            reads: std::mem::take(&mut invocation.reads),
            reads_complete: invocation.reads_complete,
            secrets: std::mem::take(&mut invocation.secrets),
            error: None,
        })
    }

    /// Keeps a run, now that it is known what became of it; `error` is why it committed nothing.
    pub fn keep(&self, run: Run, error: Option<String>) {
        if error.is_none() && (run.effects.is_none() || run.call.wire.bytes.len() > LARGE) {
            return;
        }
        let run = Run { error, ..run };
        let key = (run.id.component.clone(), run.error.is_some());
        let mut waiting = self.lock();
        if waiting.has_room(&key, run.size()) {
            let (count, bytes) = waiting.room.entry(key).or_default();
            (*count, *bytes) = (*count + 1, *bytes + run.size());
            waiting.runs.push(run);
        }
    }

    /// Writes what waits, now. When it returns, whatever was kept before is there, or its loss was
    /// told to whoever wrote it.
    pub async fn flush(self: &Arc<Self>) -> Result<(), LedgerError> {
        let this = Arc::clone(self);
        // What is taken is written, whether or not somebody waits for it.
        self.ledger.uncancelled(async move { this.write().await }).await
    }

    async fn write(&self) -> Result<(), LedgerError> {
        let _one = self.writing.lock().await;
        let waiting = std::mem::take(&mut *self.lock());
        let (mut together, mut bytes) = (Vec::new(), 0);
        for recording in waiting.runs.into_iter().filter_map(recording) {
            bytes += recording.body.len();
            together.push(recording);
            if bytes >= AT_ONCE {
                bytes = 0;
                self.ledger.record(std::mem::take(&mut together), (SUCCESSES, FAILURES)).await?;
            }
        }
        match together.is_empty() {
            true => Ok(()),
            false => self.ledger.record(together, (SUCCESSES, FAILURES)).await,
        }
    }

    /// Writes in its rhythm, and a last time at the end.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
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

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn has_room(&self, key: &(ComponentId, bool), more: usize) -> bool {
        let (count, bytes) = self.room.get(key).copied().unwrap_or_default();
        count < if key.1 { FAILURES } else { SAMPLE } && bytes + more <= WAITING
    }
}

impl Run {
    fn size(&self) -> usize {
        let effects = self.effects.iter().flatten().map(Effect::size);
        let log = self.log.iter().map(|line| line.text.len());
        let reads = self.reads.iter().map(Read::size);
        effects.chain(log).chain(reads).sum::<usize>() + self.call.wire.bytes.len()
    }
}

/// `None` for what is too large.
fn recording(run: Run) -> Option<Recording> {
    let (call, decoded) = (&run.call, &run.call.decoded);
    let open = run.redact.is_empty() && run.secrets.0.is_empty();
    let small = call.wire.bytes.len() <= LARGE;
    let body = Body {
        event: &decoded.event,
        wire: (open && small).then(|| STANDARD.encode(&call.wire.bytes)),
        arrival: &call.wire.arrival,
        now: crate::clock::rfc3339(call.now),
        seed: STANDARD.encode(call.seed),
        reads: &run.reads,
        reads_complete: run.reads_complete,
        effects: run.effects.as_deref(),
        error: run.error.as_deref(),
        log: &run.log,
    };
    let body = if open {
        serde_json::to_string(&body)
    } else {
        serde_json::to_value(&body)
            .map(|body| hide::hidden(body, &run.redact, &run.secrets.0).to_string())
    };
    match body {
        Ok(body) if body.len() <= LARGEST => Some(Recording {
            failed: run.error.is_some(),
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
