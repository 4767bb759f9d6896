//! What a handler wants done. Nothing of it happens while the handler runs; all of it happens
//! after the commit, or none.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::name::{EventType, Pubsub, Topic};

/// One recorded write, in the order of the handler's calls.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    Publish(Publish),
    Execute(Execute),
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

/// A published event as it leaves the host: encoded by its contract, on its way to a pubsub.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    pub pubsub: Pubsub,
    pub topic: Topic,
    /// Stays the same when the publish is repeated.
    pub id: String,
    pub content_type: String,
    /// Trace context is inside, as attributes of the CloudEvent.
    pub payload: Bytes,
    /// Events with the same one keep their order.
    pub partition_key: Option<String>,
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

/// An INSERT of one row, as text for several rows with nameless parameters: SQLite looks a name up
/// by walking over all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Many {
    /// Numbers of rows with their texts, the largest first.
    pub texts: Vec<(usize, std::sync::Arc<str>)>,
    /// Which parameter of the one row stands at each place, counted from 0.
    pub order: Vec<usize>,
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
    Bytes(Vec<u8>),
    /// JSON text: `TEXT` in SQLite, `JSONB` in PostgreSQL.
    Json(String),
    /// RFC 3339 text: `TEXT` in SQLite (UTC, microseconds), `TIMESTAMPTZ` in PostgreSQL.
    Timestamp(String),
}

/// A row of a query: column names with their values, in the statement's order.
pub type SqlRow = Vec<(String, SqlValue)>;
