//! Plays daprd for one app in this process, durably, on its own SQLite file: for development,
//! tests and small single-machine use. It calls the app with the very requests daprd would send,
//! reads the answers as daprd does, and never promises more than Dapr does.
//!
//! It plays daprd with Kafka behind it and the resiliency policy that ships with Wharf: retry for
//! ever with a constant delay, no dead-letter topic. One difference: a bulk goes out as soon as
//! something waits. Beside the pubsub it has state, secrets, jobs and bindings, each in a file of
//! its own; what they keep is in the same database.

mod api;
mod bindings;
mod deliver;
mod jobs;
mod pubsub;
mod remarshal;
mod secrets;
mod state;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::watch;

use super::{Backend, BackendError};
use crate::clock::{Clock, Timestamp};
use crate::contract::BindingRules;
use crate::effect::{Call, OutgoingEvent, OutgoingJob, Secret, StateWrite};
use crate::name::{BindingName, JobName, Pubsub, StoreName, Topic};

use bindings::Invocation;
use deliver::Subscription;
use jobs::{AskedJob, FailurePolicy, JobFault, after_failure, after_tick, asked};
use pubsub::{MAX_BODY, Publishing, Trace, is_type, trace_id};
use remarshal::{doubled, remarshal};
use state::{IllegalKey, StateFault, StateRequest};
use store::{
    Condition, JobId, KeyWrite, NewJob, NewMessage, NewValue, PARTITIONS, Share, StateEntry, Store,
    StoredJob, Subscribed, Tick,
};

pub use deliver::Keep;
pub use jobs::ScheduledJob;
pub use store::{StoreError, StoredMessage};

/// What an embedded Dapr is made of.
pub struct Options {
    /// The SQLite file; made if it is missing, its folder is not.
    pub path: PathBuf,
    /// The folder of `secrets.json` and `notifications.jsonl`.
    pub data: PathBuf,
    /// The pubsub components that exist.
    pub pubsubs: Vec<Pubsub>,
    pub state_stores: Vec<StoreName>,
    pub secret_stores: Vec<StoreName>,
    /// Those with a period tick, the others can be called.
    pub bindings: Vec<BindingRules>,
    /// Gives a secret by its name when `secrets.json` does not have it.
    pub secret_variable: fn(&str) -> Option<String>,
    /// Where `notify-http` posts to.
    pub notify_url: Option<String>,
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
    data: PathBuf,
    pubsubs: Vec<Pubsub>,
    state_stores: Vec<StoreName>,
    secret_stores: Vec<StoreName>,
    bindings: Vec<BindingRules>,
    secret_variable: fn(&str) -> Option<String>,
    notify_url: Option<String>,
    http: reqwest::Client,
    /// Held while a notification is written: lines must not mix.
    notifications: tokio::sync::Mutex<()>,
    /// The next tick of each binding that ticks; it moves on when the tick is delivered.
    ticks: Mutex<BTreeMap<BindingName, Timestamp>>,
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
        let retention = options.retention;
        let store = Store::open(&options.path, Arc::clone(&options.clock), retention).await?;
        Ok(Self(Arc::new(Shared {
            store,
            data: options.data,
            pubsubs: once(options.pubsubs, |pubsub| pubsub.to_string()),
            state_stores: once(options.state_stores, |store| store.to_string()),
            secret_stores: once(options.secret_stores, |store| store.to_string()),
            bindings: once(options.bindings, |binding| binding.name.to_string()),
            secret_variable: options.secret_variable,
            notify_url: options.notify_url,
            http: bindings::client()?,
            notifications: tokio::sync::Mutex::default(),
            ticks: Mutex::default(),
            app_id: options.app_id,
            app_token: options.app_token,
            api_token: options.api_token,
            clock: options.clock,
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

    /// How much the app has not settled: messages of subscribed topics, and ticks of jobs and
    /// bindings that are due or being delivered. A job between two attempts waits for its time.
    pub async fn waiting(&self) -> Result<u64, StoreError> {
        let now = self.0.clock.now();
        let messages = self.0.store.waiting().await?;
        let jobs = self.0.store.due_ticks(now).await?;
        let ticks = self.0.ticks.lock().unwrap_or_else(PoisonError::into_inner);
        let ticks = ticks.values().filter(|next| **next <= now).count();
        Ok(messages + jobs + u64::try_from(ticks).unwrap_or(0))
    }

    /// Counts what the app has settled: a receiver that waits for a change misses none.
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

impl From<StoreError> for BackendError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl Backend for Embedded {
    fn publish(&self, batch: Vec<OutgoingEvent>) -> BoxFuture<'_, Vec<Result<(), BackendError>>> {
        Box::pin(self.publish_outgoing(batch))
    }

    fn state(
        &self,
        store: StoreName,
        key: String,
    ) -> BoxFuture<'_, Result<Option<Bytes>, BackendError>> {
        Box::pin(async move { self.read_state(&store, &key).await })
    }

    fn write_state(&self, write: StateWrite) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(self.set_state(write))
    }

    fn secret(
        &self,
        store: StoreName,
        name: String,
    ) -> BoxFuture<'_, Result<Option<Secret>, BackendError>> {
        Box::pin(async move { self.read_secret(&store, &name).await })
    }

    fn schedule(&self, job: OutgoingJob) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(self.schedule_outgoing(job))
    }

    fn cancel(&self, name: JobName) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async move { self.cancel_outgoing(&name).await })
    }

    fn invoke(&self, call: Call) -> BoxFuture<'_, Result<Bytes, BackendError>> {
        Box::pin(self.call_binding(call))
    }
}

/// Several contracts may name the same thing; the first of them counts.
fn once<T>(named: Vec<T>, name: impl Fn(&T) -> String) -> Vec<T> {
    let mut seen = BTreeSet::new();
    named.into_iter().filter(|one| seen.insert(name(one))).collect()
}

/// A random id, for what was published without one, and for trace spans.
#[expect(clippy::disallowed_methods, reason = "the one place where this Dapr draws an id")]
fn fresh_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

#[cfg(test)]
mod tests;
