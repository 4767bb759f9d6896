//! Speaks HTTP to a sidecar, real or embedded, and to the admin API of a host.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use reqwest::Method;
use serde_json::Value;

use crate::cli::WrongUse;
use crate::config::{Config, DaprEndpoint};

/// How long a sidecar may take to answer.
const DAPR: Duration = Duration::from_secs(10);

/// How long a host may: it changes a hundred deliveries for one request, each durably.
const ADMIN: Duration = Duration::from_secs(60);

/// Where the Dapr HTTP API is, as Dapr's own tools find it.
pub struct DaprClient {
    endpoint: String,
    token: Option<String>,
    http: reqwest::Client,
}

impl DaprClient {
    /// From `DAPR_HTTP_ENDPOINT`, else `DAPR_HTTP_PORT`, else port 3500 of this machine.
    pub fn new(address: DaprEndpoint) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(DAPR).build()?;
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
        bail!(
            "Dapr at {} did not take the event for pubsub `{pubsub}`, topic `{topic}`: {status}: {}; see \
             that it has that pubsub, and lets this app publish to that topic",
            self.endpoint,
            answer.text().await.unwrap_or_default().trim_end()
        )
    }
}

/// Which host a command speaks to. The token is `WHARF_ADMIN__TOKEN`.
#[derive(Debug, Default, Args)]
pub struct AdminEndpoint {
    /// The admin API of the host [default: WHARF_ADMIN__ADDRESS, else http://127.0.0.1:8081]
    #[arg(long = "admin", value_name = "URL")]
    pub url: Option<String>,
}

/// Asks a running host.
pub struct AdminClient {
    url: String,
    token: Option<String>,
    http: reqwest::Client,
}

impl AdminClient {
    pub fn new(endpoint: AdminEndpoint) -> anyhow::Result<Self> {
        let config = Config::load(None).map_err(|error| anyhow!("{error}"))?;
        let url = match endpoint.url {
            Some(url) if url.contains("://") => url,
            Some(address) => format!("http://{address}"),
            None => format!("http://{}", reachable(config.admin.address)),
        };
        let http = reqwest::Client::builder().timeout(ADMIN).build()?;
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { url, token: config.admin.token, http })
    }

    /// The answer to a question; an error says what the host said.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path).await
    }

    /// The answer to a request that changes something.
    pub async fn post(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::POST, path).await
    }

    async fn call(&self, method: Method, path: &str) -> anyhow::Result<Value> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.map_err(|error| self.unanswered(error))?;
        let status = answer.status();
        let text = answer
            .text()
            .await
            .with_context(|| format!("{} broke off its answer; ask again", self.url))?;
        let value: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        if status.is_success() {
            return Ok(value);
        }
        match value.get("error").and_then(Value::as_str) {
            // It is asked in the words of the command line.
            Some(error) if status == reqwest::StatusCode::BAD_REQUEST => {
                Err(WrongUse(error.to_owned()).into())
            }
            Some(error) if status == reqwest::StatusCode::UNAUTHORIZED => {
                bail!("{} wants its token in WHARF_ADMIN__TOKEN: {error}", self.url)
            }
            Some(error) => bail!("{error}"),
            None => bail!(
                "{}{path} answered {status}, which is no host of this version; name one with --admin URL",
                self.url
            ),
        }
    }

    fn unanswered(&self, error: reqwest::Error) -> anyhow::Error {
        let url = &self.url;
        if error.is_connect() {
            return anyhow!(
                "no host answers at {url}; start one with `wharf dev`, or name one with --admin URL \
                 or WHARF_ADMIN__ADDRESS"
            );
        }
        if error.is_timeout() {
            return anyhow!(
                "{url} did not answer within {ADMIN:?}; see {url}/health and the host's log: its \
                 database may be slow or away"
            );
        }
        anyhow::Error::new(error).context(format!("{url} cannot be asked"))
    }
}

/// A listener on every address of its machine is asked on this one.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if ip.is_unspecified() => {
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
        }
        _ => address,
    }
}
