//! Delivers what is stored: asks the app what it wants, as daprd does at its start, then runs one
//! consumer for each bulk topic, and one for each partition of any other; beside them the jobs and
//! the bindings that tick.
//!
//! The policy is the one that ships with Wharf: retry for ever, a second apart, nothing behind a
//! failed message overtakes it.

mod answer;
mod app;
mod jobs;
mod request;
mod subscribe;
mod ticks;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::app::App;
use self::request::{Bulk, Single};
use self::ticks::Ticking;
use super::{Embedded, PARTITIONS, Share, Shared, StoreError, StoredMessage, Subscribed};

pub use subscribe::{Mode, Subscription};

/// Between two attempts; also after an error of the database.
const RETRY: Duration = Duration::from_secs(1);
/// Between two looks at an app that is not healthy yet.
const PROBE: Duration = Duration::from_millis(100);

impl Embedded {
    /// Waits until the app is healthy, asks it once for its configuration and subscriptions, and
    /// delivers until `stop`. A request under way is finished and acknowledged first. What runs
    /// until then is given to `keep`.
    pub fn start(&self, app: axum::Router, keep: &Keep, stop: CancellationToken) {
        if self.0.started.swap(true, Ordering::SeqCst) {
            tracing::error!("the embedded dapr delivers to one app; a second one is ignored");
            return;
        }
        let app = App { router: app, token: self.0.app_token.clone() };
        let (shared, ended) = (Arc::clone(&self.0), stop.clone());
        let starting = Starting { shared, app, keep: Arc::clone(keep), stop };
        // It counts as a loop, so that its failure is noticed, too.
        let start = async move {
            starting.run().await;
            ended.cancelled().await;
        };
        keep("embedded Dapr", Box::pin(start));
    }
}

/// Spawns a loop under a name. It ends at the stop; one that ends before is noticed by who keeps it.
pub type Keep = Arc<dyn Fn(&'static str, BoxFuture<'static, ()>) + Send + Sync>;

/// A delivery, ready to be sent as often as needed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Post {
    content_type: &'static str,
    /// The broker's metadata; each becomes a header.
    metadata: Vec<(String, String)>,
    traceparent: Option<String>,
    tracestate: Option<String>,
    body: Bytes,
}

/// What becomes of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Acknowledge,
    /// Acknowledged too, but worth a warning.
    Drop(String),
    Retry(String),
}

struct Starting {
    shared: Arc<Shared>,
    app: App,
    keep: Keep,
    stop: CancellationToken,
}

impl Starting {
    async fn run(self) {
        let Some(subscriptions) = self.subscriptions().await else { return };
        for subscription in &subscriptions {
            let Some(topic) = self.remember(subscription).await else { return };
            for (share, bell) in shares(&topic) {
                let consumer = Consumer {
                    shared: Arc::clone(&self.shared),
                    app: self.app.clone(),
                    subscription: subscription.clone(),
                    topic: topic.clone(),
                    share,
                    bell,
                    stop: self.stop.clone(),
                };
                (self.keep)("embedded Dapr's delivery of events", Box::pin(consumer.run()));
            }
        }
        self.start_ticks().await;
        let (shared, app) = (Arc::clone(&self.shared), self.app.clone());
        let jobs = jobs::run(shared, app, self.stop.clone());
        (self.keep)("embedded Dapr's delivery of jobs", Box::pin(jobs));
        self.shared.subscriptions.send_replace(Some(subscriptions));
    }

    async fn start_ticks(&self) {
        for binding in &self.shared.bindings {
            let Some(period) = binding.period else { continue };
            let asked = Ticking::wanted(&self.shared, &self.app, &binding.name, period).await;
            if let Some(ticking) = asked {
                let ticking = ticking.run(self.stop.clone());
                (self.keep)("embedded Dapr's delivery of ticks", Box::pin(ticking));
            }
        }
    }

    /// What the app wants, once it is healthy; `None` when stopping.
    async fn subscriptions(&self) -> Option<Vec<Subscription>> {
        while !matches!(self.app.get("/health", None).await, Ok((200..=299, _))) {
            if self.shared.stopped_while_waiting(PROBE, &self.stop).await {
                return None;
            }
        }
        let app_id = Some(self.shared.app_id.as_str());
        // Whatever it answers, daprd goes on; actors are all that it configures.
        let _ = self.app.get("/dapr/config", app_id).await;
        let (status, body) = match self.app.get("/dapr/subscribe", app_id).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(error, "the app could not be asked for its subscriptions");
                return Some(Vec::new());
            }
        };
        let wanted = subscribe::read(status, &body);
        for complaint in wanted.complaints {
            tracing::error!("{complaint}");
        }
        let (known, unknown): (Vec<_>, Vec<_>) =
            wanted.subscriptions.into_iter().partition(|wanted| self.knows(wanted));
        for Subscription { pubsub, topic, .. } in unknown {
            tracing::error!(%pubsub, %topic, "no such pubsub; the subscription is left out");
        }
        Some(known)
    }

    fn knows(&self, subscription: &Subscription) -> bool {
        self.shared.pubsubs.contains(&subscription.pubsub)
    }

    async fn remember(&self, subscription: &Subscription) -> Option<Subscribed> {
        let Subscription { pubsub, topic, mode, .. } = subscription;
        let bells = match mode {
            Mode::Single => PARTITIONS,
            Mode::Bulk { .. } => 1,
        };
        loop {
            match self.shared.store.subscribe(pubsub, topic, bells).await {
                Ok(topic) => return Some(topic),
                Err(StoreError::Stopped) => return None,
                Err(error) => tracing::error!(%error, %topic, "not subscribed yet"),
            }
            if self.shared.stopped_while_waiting(RETRY, &self.stop).await {
                return None;
            }
        }
    }
}

/// daprd leaves a name as it is; only what cannot stand in a request line is escaped.
fn in_path(name: &str) -> String {
    const OUTSIDE: AsciiSet = CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'<')
        .add(b'>')
        .add(b'`')
        .add(b'{')
        .add(b'}')
        .add(b'^')
        .add(b'|');
    utf8_percent_encode(name, &OUTSIDE).to_string()
}

/// One consumer for each bell: of the whole topic, or of a partition.
fn shares(topic: &Subscribed) -> Vec<(Share, Arc<Notify>)> {
    match topic.bells.as_slice() {
        [bell] => vec![(Share::Whole, Arc::clone(bell))],
        bells => (0..PARTITIONS).map(Share::Partition).zip(bells.iter().cloned()).collect(),
    }
}

impl Shared {
    /// Waits by the clock; true when it is time to stop.
    async fn stopped_while_waiting(&self, wait: Duration, stop: &CancellationToken) -> bool {
        let until = self.clock.sleep_until(self.clock.now() + wait);
        stop.run_until_cancelled(until).await.is_none()
    }
}

/// Delivers one share of a topic, in order.
struct Consumer {
    shared: Arc<Shared>,
    app: App,
    subscription: Subscription,
    topic: Subscribed,
    share: Share,
    bell: Arc<Notify>,
    stop: CancellationToken,
}

impl Consumer {
    async fn run(self) {
        while let Some(messages) = self.next().await {
            let delivered = match self.subscription.mode {
                Mode::Single => self.deliver_singly(messages).await,
                Mode::Bulk { .. } => self.deliver_in_bulk(messages).await,
            };
            if delivered.is_none() {
                return;
            }
        }
    }

    /// What comes next, as soon as there is anything; `None` when stopping.
    async fn next(&self) -> Option<Vec<StoredMessage>> {
        let limit = match self.subscription.mode {
            Mode::Single => 1,
            Mode::Bulk { max } => max,
        };
        while !self.stop.is_cancelled() {
            match self.shared.store.next(self.topic.id, self.share, limit).await {
                Ok(messages) if messages.is_empty() => {
                    self.stop.run_until_cancelled(self.bell.notified()).await?;
                }
                Ok(messages) => return Some(messages),
                Err(error) => {
                    tracing::error!(%error, topic = %self.topic.topic, "could not read the topic");
                    self.pause().await?;
                }
            }
        }
        None
    }

    async fn deliver_singly(&self, messages: Vec<StoredMessage>) -> Option<()> {
        for message in messages {
            let single = Single::new(&self.subscription, &message, self.shared.clock.now());
            while let Verdict::Retry(reason) = self.attempt(&single).await {
                tracing::warn!(reason, topic = %self.topic.topic, "delivered again in a second");
                self.pause().await?;
            }
            self.acknowledge(vec![(message.partition, message.sequence)]).await?;
        }
        Some(())
    }

    async fn attempt(&self, single: &Single) -> Verdict {
        let verdict = match single {
            Single::Post(post) => match self.app.post(&self.subscription.path, post).await {
                Ok((status, body)) => answer::single(status, &body),
                Err(error) => Verdict::Retry(error),
            },
            Single::Settled(verdict) => verdict.clone(),
        };
        self.warn_of_drop(&verdict);
        verdict
    }

    /// Only what failed is sent again, but all of a bulk whose last entry cannot be read; what came
    /// in later waits for it.
    async fn deliver_in_bulk(&self, messages: Vec<StoredMessage>) -> Option<()> {
        let mut bulk = Bulk::new(&self.subscription, messages, self.shared.clock.now());
        bulk.settled().for_each(|verdict| self.warn_of_drop(verdict));
        loop {
            if let Some((ids, post)) = bulk.post(&self.subscription) {
                let verdicts = match self.app.post(&self.subscription.path, &post).await {
                    Ok((status, body)) => answer::bulk(status, &body, &ids),
                    Err(error) => ids.iter().map(|_| Verdict::Retry(error.clone())).collect(),
                };
                for (id, verdict) in ids.iter().zip(verdicts) {
                    self.warn_of_drop(&verdict);
                    bulk.settle(id, verdict);
                }
            }
            self.acknowledge(bulk.positions()).await?;
            let Some((left, reason)) = bulk.failed() else { return Some(()) };
            tracing::warn!(left, reason, topic = %self.topic.topic, "delivered again in a second");
            self.pause().await?;
            bulk.begin_again();
        }
    }

    fn warn_of_drop(&self, verdict: &Verdict) {
        if let Verdict::Drop(reason) = verdict {
            tracing::warn!(reason, topic = %self.topic.topic, "dropped, and acknowledged");
        }
    }

    /// Writes the progress, however long it takes: until then nothing else is delivered.
    async fn acknowledge(&self, positions: Vec<(u8, i64)>) -> Option<()> {
        loop {
            match self.shared.store.acknowledge(self.topic.id, positions.clone()).await {
                Ok(()) => return Some(()),
                Err(StoreError::Stopped) => return None,
                Err(error) => {
                    tracing::error!(%error, topic = %self.topic.topic, "not acknowledged yet");
                    self.pause().await?;
                }
            }
        }
    }

    async fn pause(&self) -> Option<()> {
        (!self.shared.stopped_while_waiting(RETRY, &self.stop).await).then_some(())
    }
}
