//! The moods of a Dapr: the embedded one, which refuses, is away or does not answer where a test
//! says so. What the relay handed over is remembered, call by call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::watch;
use wharf::backend::embedded::Embedded;
use wharf::backend::{Backend, BackendError};
use wharf::effect::{Call, OutgoingEvent, OutgoingJob, Secret, StateWrite};
use wharf::name::{JobName, StoreName};

/// How Dapr takes an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Refuses,
    IsAway,
    /// Nobody answers at all: nothing was tried.
    NobodyIsThere,
    /// Does not answer until its mood is another.
    Hangs,
}

/// Clones are the same Dapr.
#[derive(Clone)]
pub struct Moods {
    dapr: Embedded,
    moods: watch::Sender<BTreeMap<String, Mood>>,
    published: Arc<Mutex<Published>>,
}

/// What the relay did so far.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// The events of each call.
    pub calls: Vec<Vec<OutgoingEvent>>,
    /// Calls that are under way, and the most there ever were.
    pub now: usize,
    pub most: usize,
}

impl Moods {
    pub fn of(dapr: Embedded) -> Self {
        let moods = watch::Sender::new(BTreeMap::new());
        Self { dapr, moods, published: Arc::default() }
    }

    /// Whatever has this text in it meets the mood: a topic, a store, a binding, an event's id.
    pub fn set(&self, text: &str, mood: Mood) {
        self.moods.send_modify(|moods| _ = moods.insert(text.to_owned(), mood));
    }

    /// All is well again.
    pub fn clear(&self) {
        self.moods.send_modify(BTreeMap::clear);
    }

    pub fn published(&self) -> Published {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn under_way(&self, batch: &[OutgoingEvent]) -> UnderWay<'_> {
        let mut published = self.lock();
        published.calls.push(batch.to_vec());
        published.now += 1;
        published.most = published.most.max(published.now);
        UnderWay(self)
    }

    async fn met(&self, effect: &str) -> Result<(), BackendError> {
        let mood = |moods: &BTreeMap<String, Mood>| {
            moods.iter().find(|(text, _)| effect.contains(*text)).map(|(_, mood)| *mood)
        };
        let mut moods = self.moods.subscribe();
        let calm = moods.wait_for(|moods| mood(moods) != Some(Mood::Hangs)).await;
        let mood = calm.ok().and_then(|moods| mood(&moods));
        match mood {
            None | Some(Mood::Hangs) => Ok(()),
            Some(Mood::Refuses) => Err(BackendError::Refused("it does not want to".to_owned())),
            Some(Mood::NobodyIsThere) => Err(BackendError::Away("nobody is there".to_owned())),
            Some(Mood::IsAway) => Err(BackendError::Unavailable("it is elsewhere".to_owned())),
        }
    }

    async fn publish_met(&self, batch: Vec<OutgoingEvent>) -> Vec<Result<(), BackendError>> {
        if self.moods.borrow().is_empty() {
            return self.dapr.publish(batch).await;
        }
        let mut results = Vec::new();
        for event in batch {
            let payload = String::from_utf8_lossy(&event.payload);
            let met = self.met(&format!("{} {payload}", event.topic)).await;
            results.push(match met {
                Ok(()) => self.dapr.publish(vec![event]).await.remove(0),
                error @ Err(_) => error,
            });
        }
        results
    }
}

/// A call that is dropped is under way no more.
struct UnderWay<'a>(&'a Moods);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.lock().now -= 1;
    }
}

impl Backend for Moods {
    fn publish(&self, batch: Vec<OutgoingEvent>) -> BoxFuture<'_, Vec<Result<(), BackendError>>> {
        Box::pin(async move {
            let _under_way = self.under_way(&batch);
            self.publish_met(batch).await
        })
    }

    fn state(
        &self,
        store: StoreName,
        key: String,
    ) -> BoxFuture<'_, Result<Option<Bytes>, BackendError>> {
        self.dapr.state(store, key)
    }

    fn write_state(&self, write: StateWrite) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async move {
            self.met(write.store.as_str()).await?;
            self.dapr.write_state(write).await
        })
    }

    fn secret(
        &self,
        store: StoreName,
        name: String,
    ) -> BoxFuture<'_, Result<Option<Secret>, BackendError>> {
        self.dapr.secret(store, name)
    }

    fn schedule(&self, job: OutgoingJob) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async move {
            self.met(job.name.as_str()).await?;
            self.dapr.schedule(job).await
        })
    }

    fn cancel(&self, name: JobName) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async move {
            self.met(name.as_str()).await?;
            self.dapr.cancel(name).await
        })
    }

    fn invoke(&self, call: Call) -> BoxFuture<'_, Result<Bytes, BackendError>> {
        Box::pin(async move {
            self.met(call.binding.as_str()).await?;
            self.dapr.invoke(call).await
        })
    }
}
