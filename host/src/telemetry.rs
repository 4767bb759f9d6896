//! What the host tells about itself: metrics and one log line per finished delivery.

pub mod metrics;

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::EnvFilter;

/// Sends log lines to stderr, as `RUST_LOG` says, or `default` without it. Coloured on a terminal only, and
/// not where `NO_COLOR` is set.
pub fn init(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let coloured =
        stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let layer = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let layer = layer.with_ansi(coloured);
    // A second start in one process keeps the first one's output.
    if layer.try_init().is_err() {
        tracing::debug!("log output is already set up");
    }
}
