//! What a handler wants done. Nothing of it happens while the handler runs; all of it happens
//! after the commit, or none.

pub mod outgoing;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::outgoing::{Call, Outgoing, OutgoingEvent, OutgoingJob};
use crate::clock::Timestamp;
use crate::name::{BindingName, ComponentId, EventType, JobName, StoreName};

/// One recorded write, in the order of the handler's calls.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    Publish(Publish),
    Execute(Execute),
    State(StateWrite),
    Schedule(Schedule),
    Cancel(Cancel),
    Invoke(Invoke),
}

impl Effect {
    /// About how many bytes it holds.
    pub fn size(&self) -> usize {
        match self {
            Self::Publish(publish) => publish.data.len(),
            Self::Execute(execute) => execute.params.iter().map(SqlValue::size).sum(),
            Self::State(StateWrite { change: StateChange::Set { value, .. }, .. }) => value.len(),
            Self::State(_) | Self::Cancel(_) => 0,
            Self::Schedule(job) => job.data.len(),
            Self::Invoke(invoke) => invoke.data.len(),
        }
    }
}

/// An event to publish, canonical; the contract of the causing event encodes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Publish {
    /// Derived from component, key and index; the same in every run.
    pub id: String,
    #[serde(rename = "type")]
    pub ty: EventType,
    pub subject: Option<String>,
    /// RFC 3339; the invocation's time when the guest gave none.
    pub time: String,
    /// JSON text.
    pub data: String,
}

/// A value written to a state store, or deleted from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateWrite {
    pub store: StoreName,
    /// As the store knows it; see [`state_key`].
    pub key: String,
    #[serde(flatten)]
    pub change: StateChange,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum StateChange {
    Set {
        #[serde(with = "base64_text")]
        value: Bytes,
        /// The store forgets the value after so many seconds, where it can.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl_seconds: Option<u32>,
    },
    Delete,
}

/// The most bytes of a state value: as base64 in JSON it fits the 4 MiB that Dapr takes at once.
pub const MAX_STATE_VALUE: usize = 3_000_000;

/// The most bytes that a call of an output binding brings, for the same reason.
pub const MAX_BINDING_DATA: usize = 3_000_000;

/// A component's key in a state store, where every component has keys of its own. Component names
/// hold no `/`.
pub fn state_key(component: &ComponentId, key: &str) -> String {
    format!("{component}/{key}")
}

/// Work for a later time, as a handler asks for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Schedule {
    /// Derived like a publish's: what identifies the firings.
    pub id: String,
    pub name: JobName,
    /// When it fires, or fires first.
    pub due: Option<Timestamp>,
    /// `@every <duration>`, or six cron fields beginning with seconds.
    pub schedule: Option<String>,
    /// How often a repeating job fires; without end when absent.
    pub repeats: Option<u32>,
    /// JSON text that the firing brings along.
    pub data: String,
}

/// A job that is not wanted any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cancel {
    pub name: JobName,
}

/// A call of an output binding. Its result comes back to the component as an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Invoke {
    /// Derived like a publish's; the call carries it as `idempotency-key`.
    pub id: String,
    pub binding: BindingName,
    pub operation: String,
    #[serde(with = "base64_text")]
    pub data: Bytes,
    pub metadata: Vec<(String, String)>,
}

/// A named SQL statement with its parameters, run inside the commit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Execute {
    /// The statement's name in the manifest.
    pub statement: String,
    /// The SQL text that the manifest gives for this ledger's database.
    #[serde(skip)]
    pub sql: std::sync::Arc<str>,
    /// Set when the rows of several deliveries may go into one statement.
    #[serde(skip)]
    pub many: Option<std::sync::Arc<Many>>,
    pub params: Vec<SqlValue>,
    /// The number of rows that it must touch; another number runs the handler again.
    pub expect: Option<u64>,
}

/// An INSERT of one row, as text for the rows of several deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Many {
    /// SQLite: a text for each of a few numbers of rows, `VALUES (?, ?), (?, ?), …`. The parameters
    /// are nameless, since SQLite looks a name up by walking over all of them.
    Values {
        /// Numbers of rows with their texts, the largest first.
        texts: Vec<(usize, std::sync::Arc<str>)>,
        /// Which parameter of the one row stands at each place, counted from 0.
        order: Vec<usize>,
    },
    /// PostgreSQL: one text for any number of rows, each parameter being the array of its values.
    ///
    /// Between the two stands `UNNEST($1::T1[], $2::T2[], …) AS r (p1, p2, …)`, with each parameter
    /// of the one row's statement, in their order; `T` is the type that PostgreSQL infers for it
    /// there. An array of arrays would come apart, so that a parameter that is an array itself
    /// cannot go this way.
    Unnest {
        /// `INSERT INTO t (a, b) SELECT r.p2, lower(r.p1) FROM `
        head: std::sync::Arc<str>,
        /// ` ON CONFLICT DO NOTHING`
        tail: std::sync::Arc<str>,
    },
}

/// A value that crosses between a component and the database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SqlValue {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Bytes(#[serde(with = "base64_text")] Vec<u8>),
    /// JSON text: `TEXT` in SQLite, `JSONB` in PostgreSQL.
    Json(String),
    /// RFC 3339 text: `TEXT` in SQLite (UTC, microseconds), `TIMESTAMPTZ` in PostgreSQL.
    Timestamp(String),
}

impl SqlValue {
    /// About how many bytes it holds.
    pub fn size(&self) -> usize {
        let content = match self {
            Self::Null | Self::Bool(_) | Self::Integer(_) | Self::Float(_) => 0,
            Self::Text(text) | Self::Json(text) | Self::Timestamp(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        };
        content + size_of::<Self>()
    }
}

/// A secret's entries: names with their values.
pub type Secret = Vec<(String, String)>;

/// A row of a query: column names with their values, in the statement's order.
pub type SqlRow = Vec<(String, SqlValue)>;

pub mod base64_text {
    //! Bytes in JSON.

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(
        bytes: &impl AsRef<[u8]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, T: From<Vec<u8>>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(T::from).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_recorded_by_name_with_its_parameters() {
        let execute = Effect::Execute(Execute {
            statement: "insert".into(),
            sql: "INSERT INTO t VALUES ($1, $2)".into(),
            many: None,
            params: vec![SqlValue::Bytes(vec![0, 255]), SqlValue::Integer(1)],
            expect: Some(1),
        });
        let json = serde_json::to_value(&execute).unwrap();
        let expected = serde_json::json!({
            "effect": "execute",
            "statement": "insert",
            "params": [{ "bytes": "AP8=" }, { "integer": 1 }],
            "expect": 1,
        });
        assert_eq!(json, expected);
    }
}
