//! What Dapr does for the host, as a port. Two implementations: the sidecar, and the embedded one
//! that plays it in this process.

pub mod embedded;

use futures::future::BoxFuture;

use crate::effect::Outgoing;

/// Dapr's building blocks, as far as effects need them.
pub trait Backend: Send + Sync + 'static {
    /// Publishes at least once, and gives one result for each event, in the same order. The events
    /// of a batch may be for different topics; one that fails does not hold the others back.
    /// `Ok` means that the broker has stored the event.
    fn publish(&self, batch: Vec<Outgoing>) -> BoxFuture<'_, Vec<Result<(), BackendError>>>;
}

/// Why an effect was not performed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// It may succeed later, and it may even have been performed: repeat it with the same id.
    #[error("dapr is not available: {0}")]
    Unavailable(String),
    /// It can never succeed as it is: an unknown pubsub, a forbidden topic, too large.
    #[error("dapr refuses: {0}")]
    Refused(String),
}
