//! What a component says about itself in `component.toml`: what it wants, what it is granted, its
//! SQL and its limits. Pure: the text comes in, a manifest or every problem of it comes out.

mod file;
mod units;
mod wants;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::name::{BindingName, ComponentId, EventType, JobName, StoreName};
use crate::problem::Problem;

/// A component's manifest, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Where it was read from; error messages name it.
    pub file: PathBuf,
    pub name: ComponentId,
    pub version: String,
    pub description: String,
    /// Folders of migrations, relative to the manifest's own; applied in this order.
    pub migrations: Vec<PathBuf>,
    pub order: Order,
    /// What the guest reads through `wasi:config/store`.
    pub config: BTreeMap<String, String>,
    /// How `wharf dev` builds it; absent when the component comes built.
    pub build: Option<Build>,
    /// What it wants; never empty.
    pub on: Vec<Want>,
    pub grants: Grants,
    /// SQL statements by name.
    pub sql: BTreeMap<String, Statement>,
    pub limits: Limits,
    pub recording: Recording,
}

impl Manifest {
    /// Reads a manifest. An error holds every problem that could be found.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        file::parse(file, text)
    }
}

/// Whether deliveries of one subject wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    #[default]
    Subject,
    None,
}

/// A command that builds the component, and the file it makes under the build's target folder.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    pub command: String,
    pub output: PathBuf,
}

/// One `[[on]]`: what the component is called for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// Events of a type.
    Event(Pattern),
    /// Firings of a job, which come as [`JOB_FIRED`].
    Job(Pattern),
    /// Ticks of an input binding, which come as [`BINDING_TICKED`].
    Binding(BindingName),
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(pattern) => write!(f, "{pattern}"),
            Self::Job(pattern) => write!(f, "job {pattern}"),
            Self::Binding(name) => write!(f, "binding {name}"),
        }
    }
}

/// A name, or the beginning of names followed by `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Arc<str>,
}

/// The types that the host itself makes. Wildcards leave them out.
pub const HOST_TYPES: &str = "com.wharf.";

/// A job came due; `name` in its data says which.
pub const JOB_FIRED: &str = "com.wharf.job.fired.v1";

/// An input binding was triggered; `binding` in its data says which.
pub const BINDING_TICKED: &str = "com.wharf.binding.ticked.v1";

impl Pattern {
    /// Checks `text`; the error says what is allowed.
    pub fn new(text: &str) -> Result<Self, String> {
        let stem = text.strip_suffix('*').unwrap_or(text);
        let longest = text.chars().count() <= 255;
        let legal = |c: char| c != '*' && !c.is_control() && !c.is_whitespace();
        if text.is_empty() || !longest || !stem.chars().all(legal) {
            return Err(format!(
                "`{text}` is not a pattern: use a name of up to 255 characters without spaces, \
                 with `*` only at its end"
            ));
        }
        Ok(Self { text: text.into() })
    }

    /// A pattern of job names.
    pub fn of_jobs(text: &str) -> Result<Self, String> {
        let pattern = Self::new(text)?;
        match text.strip_suffix('*') {
            Some("") => {}
            Some(stem) => _ = JobName::new(stem).map_err(|error| error.to_string())?,
            None => _ = JobName::new(text).map_err(|error| error.to_string())?,
        }
        Ok(pattern)
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a name is meant. A wildcard takes the host's own types only when it names them.
    pub fn matches(&self, name: &str) -> bool {
        match self.text.strip_suffix('*') {
            Some(stem) => {
                name.starts_with(stem)
                    && (stem.starts_with(HOST_TYPES) || !name.starts_with(HOST_TYPES))
            }
            None => &*self.text == name,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl serde::Serialize for Pattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// What a component may do beyond computing.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Grants {
    /// Event types that it may publish.
    pub publish: Vec<EventType>,
    /// Tables that its statements and migrations may touch; lower case.
    pub tables: BTreeMap<String, Access>,
    /// State stores in which it may keep values, under keys of its own.
    pub state: Vec<StoreName>,
    /// Secrets that it may read, by their store.
    pub secrets: BTreeMap<StoreName, Vec<String>>,
    /// Jobs that it may schedule and cancel.
    pub jobs: Vec<Pattern>,
    /// Output bindings that it may call.
    pub bindings: Vec<BindingName>,
}

/// How far a table is granted.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    Read,
    /// Includes reading.
    Write,
}

/// A named SQL statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub kind: StatementKind,
    pub text: SqlText,
    /// The parameters of a whole group commit may go in one round trip.
    pub many: bool,
    /// Where the statement stands in the manifest, counted from 1.
    pub line: usize,
}

/// When a statement runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementKind {
    /// Now, read only.
    Query,
    /// In the commit.
    Execute,
}

/// SQL, the same for every database or one text for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SqlText {
    Any(Arc<str>),
    Each { postgres: Option<Arc<str>>, sqlite: Option<Arc<str>> },
}

impl SqlText {
    /// The text for a database; `None` when the manifest gives none for it.
    pub fn of(&self, database: Database) -> Option<&Arc<str>> {
        match (self, database) {
            (Self::Any(text), _) => Some(text),
            (Self::Each { postgres, .. }, Database::Postgres) => postgres.as_ref(),
            (Self::Each { sqlite, .. }, Database::Sqlite) => sqlite.as_ref(),
        }
    }
}

/// The database that the ledger and the components' tables live in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Database {
    Sqlite,
    Postgres,
}

impl Database {
    pub const ALL: [Self; 2] = [Self::Sqlite, Self::Postgres];
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        })
    }
}

/// What is kept of its invocations, to look at and to replay.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Recording {
    pub enabled: bool,
    /// JSON pointers (RFC 6901) into the canonical event, such as `/data/email`: what they point at
    /// is never kept.
    pub redact: Vec<String>,
}

impl Default for Recording {
    fn default() -> Self {
        Self { enabled: true, redact: Vec::new() }
    }
}

/// How far one invocation may go, and how many may run at once. As JSON, times are in seconds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Limits {
    /// Wall clock of one invocation, waiting for reads included; no more than
    /// [`MOST_TIME`](Self::MOST_TIME).
    #[serde(serialize_with = "units::as_seconds")]
    pub time: Duration,
    /// Bytes of linear memory and tables together.
    pub memory: usize,
    /// wasmtime's unit: about one per instruction.
    pub fuel: u64,
    /// Recorded writes.
    pub effects: u32,
    /// Bytes of log lines, stdout and stderr that are kept; the rest is cut.
    pub output: usize,
    /// Invocations of this component at once.
    pub concurrency: u32,
    /// Parked deliveries of this component before callbacks are held back.
    pub max_parked: u64,
}

impl Limits {
    /// A parked delivery is claimed once for up to four runs and the waits between them. They must
    /// end within the lease, 60 s unless configured: what comes later is thrown away, every time.
    pub const MOST_TIME: Duration = Duration::from_secs(10);
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(1),
            memory: 16 << 20,
            fuel: 100_000_000,
            effects: 100,
            output: 1 << 20,
            concurrency: 32,
            max_parked: 10_000,
        }
    }
}
