//! Secrets. No text here ever holds a value.

use std::collections::BTreeMap;

use reqwest::Method;

use super::call::{Answer, send};
use super::{BackendError, Sidecar};
use crate::effect::Secret;
use crate::name::StoreName;

impl Sidecar {
    pub(super) async fn read_secret(
        &self,
        store: &StoreName,
        name: &str,
    ) -> Result<Option<Secret>, BackendError> {
        let path = ["v1.0", "secrets", store.as_str(), name];
        let answer = send(self.request(Method::GET, &path, &[])?).await?;
        if is_unknown(&answer) {
            return Ok(None);
        }
        let what = format!("secret {name} of store {store}");
        let answer = answer.succeeded(&what)?;
        if answer.body.is_empty() {
            return Ok(None);
        }
        // The error of a typed read could quote a value.
        let values: BTreeMap<String, String> =
            serde_json::from_slice(&answer.body).map_err(|_| {
                BackendError::Unavailable(format!("{what}: the answer is no object of texts"))
            })?;
        Ok(Some(values.into_iter().collect()))
    }
}

/// Dapr has one code for a secret that is not there and for a store that is away: the words of the
/// stores tell them apart.
fn is_unknown(answer: &Answer) -> bool {
    const WORDS: [&str; 4] = ["not found", "NotFound", "not exist", "ResourceNotFoundException"];
    #[derive(serde::Deserialize)]
    struct Told {
        #[serde(rename = "errorCode")]
        code: String,
        message: String,
    }
    let told = serde_json::from_slice::<Told>(&answer.body);
    told.is_ok_and(|Told { code, message }| {
        !answer.status.is_success()
            && code == "ERR_SECRET_GET"
            && WORDS.iter().any(|words| message.contains(words))
    })
}
