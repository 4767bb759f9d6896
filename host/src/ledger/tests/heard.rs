//! Hears the ledger's statements as they go to the database. One for the whole process, which keeps
//! threads apart: one of a test's own would miss what other tests said first.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Mutex, Once, PoisonError};
use std::thread::{self, ThreadId};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::database::STATEMENTS;

/// A statement, as one of the databases got it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Statement {
    pub text: String,
    /// The types of its parameters, but for those of rows.
    pub types: String,
}

/// What each thread that listens heard.
static HEARD: Mutex<Option<HashMap<ThreadId, BTreeSet<Statement>>>> = Mutex::new(None);

/// What this thread runs from now on, until [`heard`].
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Ear).expect("it is the only one"));
    let mut all = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
    all.get_or_insert_default().insert(thread::current().id(), BTreeSet::new());
}

pub fn heard() -> BTreeSet<Statement> {
    let mut all = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
    all.get_or_insert_default().remove(&thread::current().id()).unwrap_or_default()
}

struct Ear;

impl Subscriber for Ear {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == STATEMENTS
    }

    fn event(&self, event: &Event<'_>) {
        let mut statement = Statement::default();
        event.record(&mut statement);
        let mut all = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(heard) = all.as_mut().and_then(|all| all.get_mut(&thread::current().id())) {
            heard.insert(statement);
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Visit for Statement {
    fn record_str(&mut self, field: &Field, text: &str) {
        match field.name() {
            "text" => text.clone_into(&mut self.text),
            "types" => text.clone_into(&mut self.types),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}
