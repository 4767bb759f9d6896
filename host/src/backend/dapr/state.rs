//! State stores. A value is a JSON string that holds its bytes as base64: Dapr reads numbers as
//! doubles, and keeps no other bytes exactly.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::{Method, StatusCode};
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
                let mut request = json!({ "key": key, "value": STANDARD.encode(&value) });
                if let (Some(ttl), Some(request)) = (ttl_seconds, request.as_object_mut()) {
                    let ttl = json!({ "ttlInSeconds": ttl.to_string() });
                    request.insert("metadata".to_owned(), ttl);
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

fn target(store: &StoreName, key: &str) -> String {
    format!("key {key} in state store {store}")
}
