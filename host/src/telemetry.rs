//! What the host tells about itself: metrics and one log line per finished delivery.

pub mod metrics;

use tracing_subscriber::EnvFilter;

/// Sends log lines to stderr, as `RUST_LOG` says; `info` without it.
pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let layer = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process keeps the first one's output.
    if layer.try_init().is_err() {
        tracing::debug!("log output is already set up");
    }
}
