//! Why a write did not happen, by whose fault it is, as told by the databases' own codes.

use sqlx::postgres::PgDatabaseError;

use super::error::LedgerError;
use super::{postgres, sqlite};
use crate::effect::Execute;
use crate::failpoint::Hit;

#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Locked, full, broken or gone: nobody's delivery is to blame.
    Ledger(LedgerError),
    /// Two transactions were in each other's way: the same again may work at once.
    Conflict(String),
    /// It ran for too long, and was ended.
    Late(String),
    /// Somebody holds a table or row that it needs, and did not let go in time. `of` is the
    /// component's statement that waited, if it was one.
    Locked { of: Option<Box<Execute>>, error: String },
    /// The statement's own: a constraint, a wrong type, a missing table. Only a component's
    /// statement, and a commit that has some, may say so of a delivery.
    Own { statement: Option<String>, error: String },
}

impl Fault {
    /// One of a component's statement.
    pub fn own(error: impl Into<String>) -> Self {
        Self::Own { statement: None, error: error.into() }
    }

    /// Says which statement it was; that one ran for too long is its own fault.
    pub fn of(self, execute: &Execute) -> Self {
        match self {
            Self::Own { error, .. } | Self::Late(error) => {
                Self::Own { statement: Some(execute.statement.clone()), error }
            }
            Self::Locked { error, .. } => {
                let of = Execute { params: Vec::new(), ..execute.clone() };
                Self::Locked { of: Some(Box::new(of)), error }
            }
            other @ (Self::Ledger(_) | Self::Conflict(_)) => other,
        }
    }
}

/// What is said of a query whose rows are more than `most_bytes`.
pub fn too_large(most_bytes: usize) -> String {
    format!("the query gives more than {} MiB; add a LIMIT, or select less", most_bytes >> 20)
}

impl From<LedgerError> for Fault {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Conflict(error) => Self::Conflict(error),
            other @ (LedgerError::Unavailable(_)
            | LedgerError::Unfit(_)
            | LedgerError::Stopping
            | LedgerError::Unreadable(_)) => Self::Ledger(other),
        }
    }
}

impl From<Hit> for Fault {
    fn from(hit: Hit) -> Self {
        Self::Ledger(hit.into())
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => {
                match database.try_downcast_ref::<PgDatabaseError>() {
                    Some(of_postgres) => postgres::fault(of_postgres),
                    None => sqlite::fault(database.as_ref()),
                }
            }
            sqlx::Error::Encode(encode) => Self::own(encode.to_string()),
            sqlx::Error::Configuration(why) => Self::Ledger(LedgerError::Unfit(why.to_string())),
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::Decode(_) => Self::Ledger(LedgerError::Unreadable(error.to_string())),
            _ => Self::Ledger(LedgerError::Unavailable(error.to_string())),
        }
    }
}

/// Where nothing but the ledger's own statements run, no fault is a delivery's.
impl From<Fault> for LedgerError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Ledger(error) => error,
            Fault::Conflict(error) => Self::Conflict(error),
            Fault::Own { error, .. } | Fault::Late(error) | Fault::Locked { error, .. } => {
                Self::Unavailable(error)
            }
        }
    }
}

impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> Self {
        Fault::from(error).into()
    }
}
