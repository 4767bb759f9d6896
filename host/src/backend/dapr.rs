//! Speaks HTTP to the sidecar beside the host. Every call is one request with a deadline; whoever
//! needs it repeats it, with the same id.
//!
//! Only what Dapr itself says is for good is refused. A wrong token, a wrong port or an answer that
//! nobody understands is the operator's to mend, and costs no effect meanwhile.

mod bindings;
mod call;
mod fault;
mod jobs;
mod pubsub;
mod secrets;
mod state;

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;
use futures::future::BoxFuture;
use reqwest::header::{HeaderMap, HeaderValue};

use self::call::DEADLINE;
use super::{Backend, BackendError};
use crate::config::DaprEndpoint;
use crate::effect::{Call, OutgoingEvent, OutgoingJob, Secret, StateWrite};
use crate::name::{JobName, StoreName};

/// How long a connection to the sidecar may take to be made.
const CONNECT: std::time::Duration = std::time::Duration::from_secs(3);

/// The sidecar of this host. Connections are kept and used again.
pub struct Sidecar {
    http: reqwest::Client,
    /// Without a slash at the end.
    url: String,
    /// State stores that were asked for their type, and whether a key's time runs on there.
    run_on: Mutex<BTreeMap<StoreName, bool>>,
}

/// Why a sidecar cannot be spoken to at all.
#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    #[error(
        "the API token is no header's value; give printable ASCII in [dapr] token (DAPR_API_TOKEN)"
    )]
    Token,
    #[error("no HTTP client can be made")]
    Client(#[from] reqwest::Error),
}

impl Sidecar {
    /// Connects to nothing yet: the sidecar may come later than the host, and waits for it.
    pub fn new(endpoint: &DaprEndpoint) -> Result<Self, SidecarError> {
        let mut headers = HeaderMap::new();
        if let Some(token) = &endpoint.token {
            let mut token = HeaderValue::from_str(token).map_err(|_| SidecarError::Token)?;
            token.set_sensitive(true);
            headers.insert("dapr-api-token", token);
        }
        // It is on this machine: nothing in between, and nobody who sends the host elsewhere.
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .timeout(DEADLINE)
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { http, url: endpoint.url.clone(), run_on: Mutex::default() })
    }
}

impl Backend for Sidecar {
    fn publish(&self, batch: Vec<OutgoingEvent>) -> BoxFuture<'_, Vec<Result<(), BackendError>>> {
        Box::pin(self.publish_all(batch))
    }

    fn state(
        &self,
        store: StoreName,
        key: String,
    ) -> BoxFuture<'_, Result<Option<Bytes>, BackendError>> {
        Box::pin(async move { self.read_state(&store, &key).await })
    }

    fn write_state(&self, write: StateWrite) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(self.change_state(write))
    }

    fn secret(
        &self,
        store: StoreName,
        name: String,
    ) -> BoxFuture<'_, Result<Option<Secret>, BackendError>> {
        Box::pin(async move { self.read_secret(&store, &name).await })
    }

    fn schedule(&self, job: OutgoingJob) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(self.schedule_job(job))
    }

    fn cancel(&self, name: JobName) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async move { self.cancel_job(&name).await })
    }

    fn invoke(&self, call: Call) -> BoxFuture<'_, Result<Bytes, BackendError>> {
        Box::pin(self.call_binding(call))
    }
}
