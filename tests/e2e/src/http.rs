//! Questions that say only yes or no.

use std::sync::LazyLock;
use std::time::Duration;

use reqwest::Client;

/// One that does not answer within this time is asked again.
static ASKING: LazyLock<Option<Client>> =
    LazyLock::new(|| Client::builder().timeout(Duration::from_secs(2)).no_proxy().build().ok());

/// Whether a URL answers with success.
pub async fn is_success(url: &str) -> bool {
    let Some(client) = &*ASKING else { return false };
    client.get(url).send().await.is_ok_and(|answer| answer.status().is_success())
}
