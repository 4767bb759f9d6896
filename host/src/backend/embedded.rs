//! Plays daprd for one app in this process, durably, on its own SQLite file: for development,
//! tests and small single-machine use. It calls the app with the very requests daprd would send,
//! reads the answers as daprd does, and never promises more than Dapr does.
//!
//! It plays daprd with Kafka behind it and the resiliency policy that ships with Wharf: retry for
//! ever with a constant delay, no dead-letter topic. One difference: a bulk goes out as soon as
//! something waits.

mod api;
mod deliver;
mod pubsub;
mod remarshal;
mod store;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::name::{Pubsub, Topic};

use deliver::Subscription;
use pubsub::{MAX_BODY, Publishing, Trace, is_type, trace_id};
use remarshal::remarshal;
use store::{NewMessage, PARTITIONS, Share, Store, Subscribed};

pub use store::{StoreError, StoredMessage};

/// What an embedded Dapr is made of.
pub struct Options {
    /// The SQLite file; made if it is missing, its folder is not.
    pub path: PathBuf,
    /// The pubsub components that exist.
    pub pubsubs: Vec<Pubsub>,
    /// The app's id: the `source` of events that it publishes without an envelope.
    pub app_id: String,
    /// Sent to the app as `dapr-api-token`; daprd's `APP_API_TOKEN`.
    pub app_token: Option<String>,
    /// Asked of callers of the Dapr API; daprd's `DAPR_API_TOKEN`.
    pub api_token: Option<String>,
    pub clock: Arc<dyn Clock>,
    /// How long a message is kept, acknowledged or not.
    pub retention: Duration,
}

impl Options {
    /// Kafka's default, and ours.
    pub const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);
}

/// An embedded Dapr. Clones are the same one.
#[derive(Clone)]
pub struct Embedded(Arc<Shared>);

struct Shared {
    store: Store,
    pubsubs: Vec<Pubsub>,
    app_id: String,
    app_token: Option<String>,
    api_token: Option<String>,
    clock: Arc<dyn Clock>,
    started: AtomicBool,
    /// What the app subscribed to; `None` until it is healthy and was asked.
    subscriptions: watch::Sender<Option<Vec<Subscription>>>,
}

impl Embedded {
    pub async fn open(options: Options) -> Result<Self, StoreError> {
        let Options { path, pubsubs, app_id, app_token, api_token, clock, retention } = options;
        let store = Store::open(&path, Arc::clone(&clock), retention).await?;
        Ok(Self(Arc::new(Shared {
            store,
            pubsubs,
            app_id,
            app_token,
            api_token,
            clock,
            started: AtomicBool::new(false),
            subscriptions: watch::Sender::new(None),
        })))
    }

    /// The oldest messages of a topic that are still kept, acknowledged or not.
    pub async fn messages(
        &self,
        pubsub: &Pubsub,
        topic: &Topic,
        limit: u32,
    ) -> Result<Vec<StoredMessage>, StoreError> {
        self.0.store.messages(pubsub, topic, limit).await
    }

    /// How many messages of subscribed topics the app has not acknowledged.
    pub async fn waiting(&self) -> Result<u64, StoreError> {
        self.0.store.waiting().await
    }

    /// Counts acknowledgements: a receiver that waits for a change misses none.
    pub fn acknowledgements(&self) -> watch::Receiver<u64> {
        self.0.store.acknowledged.subscribe()
    }

    /// Returns when the app was healthy and has been asked for its subscriptions; from then on
    /// `waiting` counts them, and the API calls itself healthy.
    pub async fn ready(&self) {
        // The sender lives as long as `self` does.
        let _ = self.0.subscriptions.subscribe().wait_for(Option::is_some).await;
    }

    /// Writes what was handed over and closes the file; publishes fail from then on. Stop and
    /// await the deliveries first.
    pub async fn close(&self) {
        self.0.store.close().await;
    }
}

/// A random id, for what was published without one, and for trace spans.
#[expect(clippy::disallowed_methods, reason = "the one place where this Dapr draws an id")]
fn fresh_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

#[cfg(test)]
mod tests;
