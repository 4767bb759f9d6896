//! The epoch's clockwork, by which a guest's endless loop is interrupted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use wasmtime::Engine;

/// Lets a guest's endless loop be interrupted: a thread that advances the epoch every millisecond
/// while something runs. It is a thread because such a loop may hold every worker of the runtime.
pub struct Ticker {
    clockwork: Arc<Clockwork>,
    thread: Option<thread::JoinHandle<()>>,
}

struct Clockwork {
    running: AtomicUsize,
    idle: AtomicBool,
    stop: AtomicBool,
}

const TICK: Duration = Duration::from_millis(1);
/// So many ticks with nothing to interrupt, and the ticker rests until it is woken.
const RESTS_AFTER: u32 = 100;

impl Ticker {
    pub fn start(engine: Engine) -> std::io::Result<Self> {
        let clockwork = Arc::new(Clockwork {
            running: AtomicUsize::new(0),
            idle: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let thread = thread::Builder::new().name("wharf-epoch".into()).spawn({
            let clockwork = clockwork.clone();
            move || clockwork.tick(&engine)
        })?;
        Ok(Self { clockwork, thread: Some(thread) })
    }

    /// Keeps the epoch advancing until the guard is dropped.
    pub fn running(&self) -> Running<'_> {
        self.clockwork.running.fetch_add(1, Ordering::SeqCst);
        if self.clockwork.idle.load(Ordering::SeqCst) {
            self.wake();
        }
        Running(&self.clockwork)
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Clockwork {
    fn tick(&self, engine: &Engine) {
        let mut quiet = 0;
        while !self.stop.load(Ordering::SeqCst) {
            thread::sleep(TICK);
            engine.increment_epoch();
            quiet = if self.running.load(Ordering::SeqCst) == 0 { quiet + 1 } else { 0 };
            if quiet >= RESTS_AFTER {
                self.rest();
                quiet = 0;
            }
        }
    }

    /// `idle` is set before `running` is read, and the other side does it the other way round: one
    /// of the two always sees the other.
    fn rest(&self) {
        self.idle.store(true, Ordering::SeqCst);
        while self.running.load(Ordering::SeqCst) == 0 && !self.stop.load(Ordering::SeqCst) {
            thread::park();
        }
        self.idle.store(false, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.clockwork.stop.store(true, Ordering::SeqCst);
        self.wake();
        if let Some(thread) = self.thread.take() {
            // It holds nothing that could be lost, and it cannot panic.
            _ = thread.join();
        }
    }
}

/// An invocation is under way.
pub struct Running<'a>(&'a Clockwork);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}
