//! Questions to parts: are you there, how many were there.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::Client;

/// Whether one that does not answer within this time is there, is asked again.
const SOON: Duration = Duration::from_secs(2);

/// What is asked once has so long.
const ONCE: Duration = Duration::from_secs(60);

static ASKING: LazyLock<Option<Client>> =
    LazyLock::new(|| Client::builder().timeout(ONCE).no_proxy().build().ok());

/// Whether a URL answers with success.
pub async fn is_success(url: &str) -> bool {
    let Some(client) = &*ASKING else { return false };
    client.get(url).timeout(SOON).send().await.is_ok_and(|answer| answer.status().is_success())
}

/// Of a metric as Prometheus reads it, the sum over all labels; 0 when there is none.
pub async fn count(url: &str, name: &str) -> anyhow::Result<f64> {
    let client = ASKING.as_ref().context("no HTTP client can be made")?;
    let text = client.get(url).send().await?.error_for_status()?.text().await?;
    let of = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let value = rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next())??;
        value.parse::<f64>().ok()
    };
    Ok(text.lines().filter_map(of).sum())
}
