//! What handlers read while they run, live from the ledger's database.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::effect::{SqlRow, SqlValue};
use crate::ledger::{Ledger, SqlError};
use crate::runtime::{ReadError, Reads, Waiting};

/// The most rows that one query gives; more is an error, so that no answer is silently cut.
const MAX_ROWS: usize = 10_000;

/// Queries on the ledger's read-only connections.
pub struct LedgerReads(pub Ledger);

impl Reads for LedgerReads {
    fn query(
        &self,
        sql: Arc<str>,
        params: Vec<SqlValue>,
        waiting: Waiting,
    ) -> BoxFuture<'_, Result<Vec<SqlRow>, ReadError>> {
        Box::pin(async move {
            let begun = || waiting.taken_up();
            self.0.query(&sql, &params, MAX_ROWS, begun).await.map_err(|error| match error {
                SqlError::Ledger(error) => ReadError::Unavailable(error.to_string()),
                error => ReadError::Failed(error.to_string()),
            })
        })
    }
}
