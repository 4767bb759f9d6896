//! Speaks HTTP to a sidecar, real or embedded.

use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::config::DaprEndpoint;

/// How long Dapr may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the Dapr HTTP API is, as Dapr's own tools find it.
pub struct DaprClient {
    endpoint: String,
    token: Option<String>,
    http: reqwest::Client,
}

impl DaprClient {
    /// From `DAPR_HTTP_ENDPOINT`, else `DAPR_HTTP_PORT`, else port 3500 of this machine.
    pub fn new(address: DaprEndpoint) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
        Ok(Self { endpoint: address.url, token: address.token, http })
    }

    /// Publishes one event; the error says what Dapr said.
    pub async fn publish(
        &self,
        pubsub: &str,
        topic: &str,
        content_type: &str,
        body: String,
    ) -> anyhow::Result<()> {
        let url = format!("{}/v1.0/publish/{pubsub}/{topic}", self.endpoint);
        let mut request = self.http.post(&url).header("content-type", content_type).body(body);
        if let Some(token) = &self.token {
            request = request.header("dapr-api-token", token);
        }
        let answer = request.send().await.with_context(|| {
            format!("no Dapr answers at {}; start one with `cargo dev`, or say where it is with DAPR_HTTP_PORT", self.endpoint)
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        bail!("Dapr answered {status}: {}", answer.text().await.unwrap_or_default())
    }
}
