//! What can go wrong with the ledger, by what the caller does about it.

use crate::failpoint::Hit;

/// The ledger could not do it, and nothing is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Locked, full, broken or gone: the answer is RETRY. After a failed commit it is unknown
    /// whether it was written; the repeat finds out.
    #[error(
        "the ledger cannot be used: {0}; once its database is there again, has room and is not locked, it goes on by itself"
    )]
    Unavailable(String),
    /// Other transactions were in the way, again and again; nothing was written. The answer is
    /// RETRY.
    #[error("other transactions were in the ledger's way: {0}; it is tried again")]
    Conflict(String),
    /// The database is there, and is not to be trusted as it is set up.
    #[error("the ledger cannot be kept in this database: {0}")]
    Unfit(String),
    /// The host is stopping and takes nothing more: the answer is RETRY.
    #[error("the ledger takes nothing more: the host is stopping")]
    Stopping,
    /// A row is not as this version writes it.
    #[error(
        "a row of the ledger cannot be read: {0}; was it written by a newer version, or by hand?"
    )]
    Unreadable(String),
}

impl From<Hit> for LedgerError {
    fn from(hit: Hit) -> Self {
        Self::Unavailable(hit.to_string())
    }
}

/// Why a component's SQL gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// The statement or its parameters are wrong, or it tried to write.
    #[error("the statement failed: {0}")]
    Statement(String),
    #[error("the query gives more than {0} rows; add a LIMIT")]
    TooManyRows(usize),
    #[error("the query took longer than {0:?}; narrow it, or add an index")]
    Deadline(std::time::Duration),
    /// Not the statement's fault; later it may work.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Why migrations were not applied. None of the call's migrations is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MigrateError {
    #[error(
        "migration `{set}/{name}` was changed after it was applied; restore it and put the change into a new migration"
    )]
    Changed { set: String, name: String },
    #[error("migration `{set}/{name}` failed: {error}")]
    Failed { set: String, name: String, error: String },
    /// With the migrations, a statement would not fit the tables.
    #[error("{statement} does not fit the tables: {error}")]
    Statement { statement: String, error: String },
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}
