//! Ends a connection's statement that runs for too long: SQLite asks between its steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::sqlite::SqliteConnection;

/// How many steps of SQLite's virtual machine pass between two looks at the time: well under a
/// millisecond.
const STEPS: i32 = 10_000;

/// When to stop, read by SQLite's own thread.
#[derive(Clone)]
pub struct Deadline {
    start: Instant,
    millis: Arc<AtomicU64>,
}

impl Deadline {
    /// None passes until one is set.
    pub async fn watch(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let deadline = Self { start: Instant::now(), millis: Arc::new(AtomicU64::new(u64::MAX)) };
        let watched = deadline.clone();
        connection.lock_handle().await?.set_progress_handler(STEPS, move || !watched.passed());
        Ok(deadline)
    }

    pub fn clear(&self) {
        self.millis.store(u64::MAX, Ordering::Relaxed);
    }

    pub fn set(&self, timeout: Duration) {
        let millis = (self.start.elapsed() + timeout).as_millis();
        self.millis.store(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn passed(&self) -> bool {
        self.start.elapsed().as_millis() >= u128::from(self.millis.load(Ordering::Relaxed))
    }
}
