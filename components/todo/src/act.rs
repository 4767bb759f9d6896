//! What a component's decision wants done. The decision is made first, whole; then the host is
//! told, in this order.

use crate::{Event, Failure, Row, Value};

/// Runs a `query` statement of the manifest: its name and parameters in, its rows out.
pub type Read<'a> = dyn FnMut(&str, &[Value]) -> Result<Vec<Row>, Failure> + 'a;

/// One effect, or a line for the delivery's log.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    Execute {
        statement: &'static str,
        params: Vec<Value>,
        /// The number of rows that it must touch; another number runs the handler again.
        expect: Option<u64>,
    },
    Publish {
        ty: &'static str,
        subject: String,
        /// JSON text.
        data: String,
    },
    Job(Job),
    Warn(String),
}

/// An effect on a job. Apart from the others: a component that is granted no job must not even
/// import the interface.
#[derive(Debug, Clone, PartialEq)]
pub enum Job {
    Schedule {
        name: String,
        when: When,
        /// JSON text.
        data: String,
    },
    Cancel {
        name: String,
    },
}

/// When a job fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// Once, at an RFC 3339 time.
    At(String),
    /// Again and again, such as `@every 24h`.
    Every(&'static str),
}

impl Act {
    pub fn schedule(name: String, when: When, data: String) -> Self {
        Self::Job(Job::Schedule { name, when, data })
    }

    pub fn cancel(name: String) -> Self {
        Self::Job(Job::Cancel { name })
    }

    /// A statement that must touch exactly one row: it guards what the decision was made from.
    pub fn guarded(statement: &'static str, params: Vec<Value>) -> Self {
        Self::Execute { statement, params, expect: Some(1) }
    }

    /// A statement that may find nothing to do.
    pub fn unguarded(statement: &'static str, params: Vec<Value>) -> Self {
        Self::Execute { statement, params, expect: None }
    }
}

/// JSON text of data that the components publish.
pub fn json(data: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(data)
        .map_err(|error| Failure::Reject(format!("cannot write data: {error}")))
}

/// Data of an event or a job. The text names what is wrong with it.
pub fn data<'a, T: serde::Deserialize<'a>>(event: &'a Event) -> Result<T, Failure> {
    serde_json::from_str(&event.data)
        .map_err(|error| Failure::Reject(format!("data of `{}` cannot be read: {error}", event.ty)))
}
