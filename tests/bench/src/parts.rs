//! Wharf's processor time by part, as `wharf-bench-parts` measures it.

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::contestant::{Database, Kind, Program, Surroundings};

/// Microseconds for each event.
#[derive(Debug, Clone, Deserialize)]
pub struct Parts {
    pub parse: ByShape<f64>,
    pub decode: f64,
    pub sandbox: f64,
    pub commit: ByShape<Cost>,
    /// `None` when nothing is published.
    pub relay: Option<Cost>,
}

/// Single events, 32 in flight; or bulks, one at a time.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct ByShape<T> {
    pub single: T,
    pub bulk: T,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Cost {
    pub host: f64,
    /// `None` where the database is a part of the host, or not ours.
    pub server: Option<f64>,
}

pub async fn measure(
    kind: Kind,
    database: Database,
    events: u64,
    around: &Surroundings<'_>,
) -> anyhow::Result<Parts> {
    let mut command = Program::parts(database, kind, around).await?.command();
    command.arg("--events").arg(events.to_string());
    let output = command.output().await.context("wharf-bench-parts cannot be run")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("the parts of {} on {}: {}", kind.name(), database.name(), said.trim_end());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
