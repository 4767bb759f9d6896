//! Work in progress: a stop waits for it, and a test knows by it that nothing happens any more.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Deliveries and effects that have begun and not ended. Clones are the same work.
#[derive(Clone, Default)]
pub struct Work {
    tasks: TaskTracker,
    begun: Arc<AtomicU64>,
}

impl Work {
    /// A task of its own.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.begun.fetch_add(1, Ordering::AcqRel);
        self.tasks.spawn(task)
    }

    /// Work that goes on for as long as the token lives.
    pub fn begin(&self) -> TaskTrackerToken {
        self.begun.fetch_add(1, Ordering::AcqRel);
        self.tasks.token()
    }

    /// How much has begun since the start: it stays the same only while nothing begins.
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    /// How much has begun and not ended.
    pub fn in_progress(&self) -> usize {
        self.tasks.len()
    }

    /// Waits until all that has begun has ended.
    pub async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }
}
