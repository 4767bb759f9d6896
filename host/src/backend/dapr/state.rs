//! State stores. A value is a JSON string that holds its bytes as base64: Dapr reads numbers as
//! doubles, and keeps no other bytes exactly.

use std::sync::PoisonError;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::send;
use super::{BackendError, Sidecar};
use crate::effect::{StateChange, StateWrite};
use crate::name::StoreName;

impl Sidecar {
    pub(super) async fn read_state(
        &self,
        store: &StoreName,
        key: &str,
    ) -> Result<Option<Bytes>, BackendError> {
        let path = ["v1.0", "state", store.as_str(), key];
        let answer = send(self.request(Method::GET, &path, &[])?).await?;
        let answer = answer.succeeded(&target(store, key))?;
        if answer.status == StatusCode::NO_CONTENT || answer.body.is_empty() {
            return Ok(None);
        }
        let text: Option<String> = serde_json::from_slice(&answer.body).ok();
        match text.and_then(|text| STANDARD.decode(text).ok()) {
            Some(bytes) => Ok(Some(bytes.into())),
            None => Err(BackendError::Refused(format!(
                "the value of key {key} in state store {store} is not a JSON string of base64; \
                 write it through a component, or delete it"
            ))),
        }
    }

    pub(super) async fn change_state(&self, write: StateWrite) -> Result<(), BackendError> {
        let StateWrite { store, key, change } = write;
        let answer = match change {
            StateChange::Set { value, ttl_seconds } => {
                let ttl = match ttl_seconds {
                    Some(ttl) => Some(ttl.to_string()),
                    None => self.runs_on(&store).await?.then(|| NONE.to_owned()),
                };
                let mut request = json!({ "key": key, "value": STANDARD.encode(&value) });
                if let (Some(ttl), Some(request)) = (ttl, request.as_object_mut()) {
                    request.insert("metadata".to_owned(), json!({ "ttlInSeconds": ttl }));
                }
                self.post(&["v1.0", "state", store.as_str()], &Value::Array(vec![request])).await?
            }
            StateChange::Delete => {
                let path = ["v1.0", "state", store.as_str(), key.as_str()];
                send(self.request(Method::DELETE, &path, &[])?).await?
            }
        };
        answer.succeeded(&target(&store, &key)).map(drop)
    }
}

/// A key that is set anew without a time to live keeps the one that it had.
const RUNS_ON: &str = "state.redis";

/// No time to live, said. Several other stores would take it for one that is over.
const NONE: &str = "-1";

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    components: Vec<Component>,
}

#[derive(Deserialize)]
struct Component {
    name: String,
    r#type: String,
}

impl Sidecar {
    /// Whether a key's time runs on in this store when it is set anew. A store's type is asked once.
    async fn runs_on(&self, store: &StoreName) -> Result<bool, BackendError> {
        let known = || self.run_on.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runs_on) = known().get(store) {
            return Ok(*runs_on);
        }
        let answer = send(self.request(Method::GET, &["v1.0", "metadata"], &[])?).await?;
        let answer = answer.succeeded("the sidecar's metadata")?;
        let metadata: Metadata = serde_json::from_slice(&answer.body).map_err(|error| {
            BackendError::Unavailable(format!("the sidecar's metadata cannot be read: {error}"))
        })?;
        let mut components = metadata.components.into_iter();
        let Some(found) = components.find(|component| component.name == store.as_str()) else {
            return Ok(false);
        };
        let runs_on = found.r#type == RUNS_ON;
        known().insert(store.clone(), runs_on);
        Ok(runs_on)
    }
}

fn target(store: &StoreName, key: &str) -> String {
    format!("key {key} in state store {store}")
}
