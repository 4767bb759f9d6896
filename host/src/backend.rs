//! What Dapr does for the host, as a port. Two implementations: the sidecar, and the embedded one
//! that plays it in this process.

pub mod dapr;
mod data;
pub mod embedded;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::effect::{Call, OutgoingEvent, OutgoingJob, Secret, StateWrite};
use crate::name::{JobName, StoreName};

/// Dapr's building blocks, as far as effects and reads need them.
pub trait Backend: Send + Sync + 'static {
    /// Publishes at least once, and gives one result for each event, in the same order. The events
    /// of a batch may be for different topics; one that fails does not hold the others back.
    /// `Ok` means that the broker has stored the event.
    fn publish(&self, batch: Vec<OutgoingEvent>) -> BoxFuture<'_, Vec<Result<(), BackendError>>>;

    /// The value under a key, or none. Values are bytes to the host; in the store each is a JSON
    /// string that holds them as base64, since Dapr keeps no other bytes exactly.
    fn state(
        &self,
        store: StoreName,
        key: String,
    ) -> BoxFuture<'_, Result<Option<Bytes>, BackendError>>;

    /// Sets or deletes, whatever was there before.
    fn write_state(&self, write: StateWrite) -> BoxFuture<'_, Result<(), BackendError>>;

    /// A secret's entries, or none when the store has no such secret.
    fn secret(
        &self,
        store: StoreName,
        name: String,
    ) -> BoxFuture<'_, Result<Option<Secret>, BackendError>>;

    /// Schedules a job, in place of one of the same name, with a failure policy without an end.
    fn schedule(&self, job: OutgoingJob) -> BoxFuture<'_, Result<(), BackendError>>;

    /// Cancels a job. One that is not there is no error.
    fn cancel(&self, name: JobName) -> BoxFuture<'_, Result<(), BackendError>>;

    /// Calls an output binding and gives its response, with the call's id as the metadata
    /// `idempotency-key`.
    fn invoke(&self, call: Call) -> BoxFuture<'_, Result<Bytes, BackendError>>;
}

/// Why an effect was not performed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// Nobody is there who could do it, and nothing was done: repeat it when Dapr is back.
    #[error("dapr is away: {0}")]
    Away(String),
    /// It may succeed later, and it may even have been performed: repeat it with the same id.
    #[error("dapr is not available: {0}")]
    Unavailable(String),
    /// It can never succeed as it is: an unknown pubsub, a forbidden topic, too large.
    #[error("dapr refuses: {0}")]
    Refused(String),
}
