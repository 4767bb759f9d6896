//! What handlers read while they run, live: SQL from the ledger's database, state and secrets
//! through Dapr.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::backend::{Backend, BackendError};
use crate::effect::{Secret, SqlRow, SqlValue, StateChange};
use crate::ledger::{Ledger, SqlError};
use crate::name::StoreName;
use crate::runtime::{ReadError, Reads, Waiting};

/// The most rows that one query gives; more is an error, so that no answer is silently cut.
const MAX_ROWS: usize = 10_000;

/// Queries on the ledger's read-only connections, and Dapr's stores.
pub struct LiveReads {
    pub ledger: Ledger,
    pub backend: Arc<dyn Backend>,
}

impl Reads for LiveReads {
    fn query(
        &self,
        sql: Arc<str>,
        params: Vec<SqlValue>,
        waiting: Waiting,
    ) -> BoxFuture<'_, Result<Vec<SqlRow>, ReadError>> {
        Box::pin(async move {
            let begun = || waiting.taken_up();
            self.ledger.query(&sql, &params, MAX_ROWS, begun).await.map_err(|error| match error {
                SqlError::Ledger(error) => ReadError::Unavailable(error.to_string()),
                error => ReadError::Failed(error.to_string()),
            })
        })
    }

    /// What is committed and not yet performed comes first. It is looked up first, too: what is
    /// performed meanwhile is then in the store.
    fn state(
        &self,
        store: StoreName,
        key: String,
        _: Waiting,
    ) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        Box::pin(async move {
            let away = |error: &dyn std::fmt::Display| ReadError::Unavailable(error.to_string());
            let pending = self.ledger.pending_state(&store, &key).await.map_err(|e| away(&e))?;
            match pending.map(|write| write.change) {
                Some(StateChange::Set { value, .. }) => Ok(Some(value)),
                Some(StateChange::Delete) => Ok(None),
                None => self.backend.state(store, key).await.map_err(|error| away(&error)),
            }
        })
    }

    fn secret(
        &self,
        store: StoreName,
        name: String,
        _: Waiting,
    ) -> BoxFuture<'_, Result<Option<Secret>, ReadError>> {
        Box::pin(async move {
            // A store that is not there can be mended without the event being lost.
            let away = |error: BackendError| ReadError::Unavailable(error.to_string());
            self.backend.secret(store, name).await.map_err(away)
        })
    }
}
