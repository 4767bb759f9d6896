//! The sandbox: runs one handler for one event in a fresh instance, within its manifest's limits,
//! and gives back what it wants done. Nothing that a guest does reaches further than its own
//! invocation: no panic, no endless loop, no memory, no call that was not granted.
//!
//! `engine` owns wasmtime and its clockwork, `cache` compiled code, `component` one loaded
//! component, `invoke` one run of it; `limits`, `determinism` and `text` are what a run is fenced
//! with, `capability` what it can reach, `recording` what is kept of what it read.

mod cache;
mod capability;
mod component;
mod determinism;
mod engine;
mod invoke;
mod limits;
mod recording;
mod text;
mod world;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::clock::Timestamp;
use crate::delivery::LogLine;
use crate::effect::{Effect, Secret, SqlRow, SqlValue};
use crate::event::{Decoded, WireEvent};
use crate::name::StoreName;
use crate::problem::Problem;

pub use component::{Component, Permit};
pub use engine::{Import, Inspection, Sandbox, SandboxConfig};
pub use recording::{Read, ReadAnswer, ReadCall, Secrets};

/// One event for a component, and everything from outside that its run depends on.
#[derive(Clone)]
pub struct Call {
    pub decoded: Arc<Decoded>,
    pub wire: Arc<WireEvent>,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// The time that the guest sees, standing still.
    pub now: Timestamp,
    /// Where the guest's randomness comes from.
    pub seed: [u8; 32],
    pub reads: Arc<dyn Reads>,
    /// Whether the reads are to be kept; without, nothing is copied for it.
    pub record: bool,
}

/// What a handler reads while it runs: live from the ledger, or as recorded.
pub trait Reads: Send + Sync {
    /// Runs a statement that was checked when the component was loaded. Read only. Says when it
    /// is taken up: until then its caller waits for the other side, not for the statement.
    fn query(
        &self,
        sql: Arc<str>,
        params: Vec<SqlValue>,
        waiting: Waiting,
    ) -> BoxFuture<'_, Result<Vec<SqlRow>, ReadError>>;

    /// The value of a key of a state store, the component's committed writes included. `key` is as
    /// the store knows it.
    fn state(
        &self,
        store: StoreName,
        key: String,
        waiting: Waiting,
    ) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>>;

    /// A secret's entries; none when the store has no such secret.
    fn secret(
        &self,
        store: StoreName,
        name: String,
        waiting: Waiting,
    ) -> BoxFuture<'_, Result<Option<Secret>, ReadError>>;
}

/// Since when a read waits to be taken up, if it does. A run that ends while one has waited for
/// long found the other side away; many that are answered are the handler's own affair.
#[derive(Debug, Clone, Default)]
pub struct Waiting(Arc<Mutex<Option<Instant>>>);

impl Waiting {
    pub fn taken_up(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn begin(&self) -> Self {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.clone()
    }

    fn for_so_long(&self) -> Option<Duration> {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.map(|since| since.elapsed())
    }
}

/// Why a read gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The other side is away. The delivery is tried again and uses up no attempt.
    #[error("{0}")]
    Unavailable(String),
    /// The other side refused; asking again gives the same.
    #[error("{0}")]
    Failed(String),
}

/// What came of one run.
#[derive(Debug)]
pub struct Invocation {
    /// The effects to commit; or why there are none.
    pub outcome: Result<Vec<Effect>, Failure>,
    /// What the guest wrote, cut at its limit.
    pub log: Vec<LogLine>,
    /// Calls that were not granted, each as its error's text. Then the outcome is a failure.
    pub denied: Vec<String>,
    /// What it read, in order, if the call says so. At most 1 MiB; secrets without their answers.
    pub reads: Vec<Read>,
    /// Every read that went out is in `reads`.
    pub reads_complete: bool,
    /// To be taken out of whatever is kept of the run.
    pub secrets: Secrets,
    /// A read found the other side away, or the sandbox had no room: a failure uses up no attempt.
    pub unavailable: bool,
    /// Fuel burnt: the same in every run of the same event and reads.
    pub fuel: u64,
    /// The most memory that it held, in bytes.
    pub memory: usize,
    pub duration: Duration,
}

/// Why an invocation commits nothing. Its text is what the delivery's error says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The handler asked to be tried again.
    #[error("{0}")]
    Retry(String),
    /// The handler says that trying again cannot help: dead now.
    #[error("rejected: {0}")]
    Reject(String),
    /// The handler returned ok although a call was denied.
    #[error("{0}")]
    Denied(String),
    /// Cause, the guest's function, and the panic's text if there is one.
    #[error("the handler trapped: {0}")]
    Trap(String),
    #[error("the handler ran longer than {0:?}; see `time` under [limits]")]
    Deadline(Duration),
    #[error("the handler used up its fuel of {0}; see `fuel` under [limits]")]
    OutOfFuel(u64),
    #[error("the handler needs more memory than {0} bytes; see `memory` under [limits]")]
    OutOfMemory(usize),
    #[error("the handler made more than {0} effects; see `effects` under [limits]")]
    TooManyEffects(u32),
    #[error("the handler's effects are larger than {0} bytes; see `memory` under [limits]")]
    EffectsTooLarge(usize),
    /// The guest is not to blame; the invocation is `unavailable`.
    #[error("the sandbox could not start: {0}")]
    Sandbox(String),
}

/// Why a component cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("`{component}` is not a WebAssembly component; build it for wasm32-wasip2: {reason}")]
    NotAComponent { component: String, reason: String },
    #[error("`{component}` imports `{import}`, which {why}")]
    Import { component: String, import: String, why: Cow<'static, str> },
    #[error("`{component}` does not fit the world `wharf:worker/worker`: {reason}")]
    World { component: String, reason: String },
    #[error(
        "`{component}` may use {wanted} bytes of memory and the sandbox allows {allowed}; \
         lower `memory` under [limits]"
    )]
    Memory { component: String, wanted: usize, allowed: usize },
    #[error("{}", Listed(.0))]
    Statements(Vec<Problem>),
}

struct Listed<'a>(&'a [Problem]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{problem}")?;
        }
        Ok(())
    }
}
