//! Fires jobs when they are due. One loop, woken by the clock and by every change, delivers them
//! side by side; the tick of a job is settled before its next one.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio_util::sync::CancellationToken;

use super::answer;
use super::app::App;
use super::{Post, RETRY, Verdict, in_path};
use crate::backend::embedded::{
    JobId, Shared, StoreError, StoredJob, Tick, after_failure, after_tick, asked,
};
use crate::clock::Timestamp;

/// So many jobs are delivered side by side.
const PLACES: usize = 32;

/// Delivers due jobs until `stop`. A request under way is finished and settled first.
pub async fn run(shared: Arc<Shared>, app: App, stop: CancellationToken) {
    let firing = Firing { shared, app, stop };
    let mut ids = HashSet::new();
    let mut under_way = FuturesUnordered::new();
    loop {
        // One instant for the whole round: what comes due after it is what is slept until.
        let now = firing.shared.clock.now();
        let next = match firing.due(&ids, now).await {
            Ok(due) => {
                for job in due {
                    ids.insert(job.id);
                    under_way.push(firing.fire(job));
                }
                firing.shared.store.next_attempt(now).await
            }
            Err(error) => Err(error),
        };
        tokio::select! {
            () = firing.stop.cancelled() => break,
            Some(done) = under_way.next() => {
                ids.remove(&done);
            }
            () = firing.shared.store.jobs_changed.notified() => {}
            () = firing.sleep(next, now), if ids.len() < PLACES => {}
        }
    }
    while under_way.next().await.is_some() {}
}

struct Firing {
    shared: Arc<Shared>,
    app: App,
    stop: CancellationToken,
}

impl Firing {
    /// What is due and not under way, as far as there are places.
    async fn due(
        &self,
        under_way: &HashSet<JobId>,
        now: Timestamp,
    ) -> Result<Vec<StoredJob>, StoreError> {
        let limit = u32::try_from(PLACES).unwrap_or(u32::MAX);
        let due = self.shared.store.due_jobs(now, limit).await?;
        let free = PLACES.saturating_sub(under_way.len());
        Ok(due.into_iter().filter(|job| !under_way.contains(&job.id)).take(free).collect())
    }

    /// Until the next job is due, or the database may be read again.
    async fn sleep(&self, next: Result<Option<Timestamp>, StoreError>, now: Timestamp) {
        match next {
            Ok(Some(at)) => self.shared.clock.sleep_until(at).await,
            Ok(None) => std::future::pending().await,
            Err(error) => {
                tracing::error!(%error, "the jobs cannot be read");
                self.shared.clock.sleep_until(now + RETRY).await;
            }
        }
    }

    async fn fire(&self, job: StoredJob) -> JobId {
        let verdict = self.deliver(&job).await;
        let next = self.follows(&job, &verdict, self.shared.clock.now());
        self.settle(job.id, next).await;
        job.id
    }

    async fn deliver(&self, job: &StoredJob) -> Verdict {
        let Some(data) = asked(job).data else {
            return Verdict::Retry("daprd cannot send a job without data over HTTP".to_owned());
        };
        let path = format!("/job/{}", in_path(job.name.as_str()));
        let post = Post {
            content_type: "application/json",
            metadata: Vec::new(),
            traceparent: None,
            tracestate: None,
            body: Bytes::from(data),
        };
        match self.app.post(&path, &post).await {
            Ok((status, _)) => answer::job(status),
            Err(error) => Verdict::Retry(error),
        }
    }

    fn follows(&self, job: &StoredJob, verdict: &Verdict, now: Timestamp) -> Option<Tick> {
        let (name, asked) = (&job.name, asked(job));
        match verdict {
            Verdict::Acknowledge => after_tick(&asked, job.expires, job.tick),
            Verdict::Drop(reason) => {
                tracing::error!(%name, reason, "a job is taken as done");
                after_tick(&asked, job.expires, job.tick)
            }
            Verdict::Retry(reason) => {
                let next = after_failure(&asked, job.expires, job.tick, now);
                let again = next.is_some_and(|next| next.due == job.tick.due);
                tracing::warn!(%name, reason, again, "a job was not delivered");
                next
            }
        }
    }

    /// Writes what comes next, however long it takes: until then the job is not fired again.
    async fn settle(&self, id: JobId, next: Option<Tick>) {
        loop {
            match self.shared.store.settle(id, next).await {
                Ok(()) | Err(StoreError::Stopped) => return,
                Err(error) => tracing::error!(%error, "a job's tick is not settled yet"),
            }
            if self.shared.stopped_while_waiting(RETRY, &self.stop).await {
                return;
            }
        }
    }
}
