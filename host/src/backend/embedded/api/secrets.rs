//! Secrets in Dapr's API.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::fault::Fault;
use super::json_answer;
use crate::backend::embedded::Embedded;
use crate::name::StoreName;

impl Embedded {
    pub(super) async fn serve_secret(&self, store: &str, key: &str) -> Result<Response, Fault> {
        let store = self.checked_secret_store(store)?;
        let failed = |why: String| {
            let text =
                format!("failed getting secret with key {key} from secret store {store}: {why}");
            Fault::new(500, "ERR_SECRET_GET", text)
        };
        let found = self.find_secret(store, key).await;
        let found = found.map_err(|error| failed(error.to_string()))?;
        let values = found.ok_or_else(|| failed(format!("secret {key} not found")))?;
        Ok(json_answer(StatusCode::OK, &json!(values)))
    }

    pub(super) async fn serve_secrets(&self, store: &str) -> Result<Response, Fault> {
        let store = self.checked_secret_store(store)?;
        let secrets = self.secrets_of(store).await.map_err(|error| {
            let text = format!("failed getting secrets from secret store {store}: {error}");
            Fault::new(500, "ERR_SECRET_GET", text)
        })?;
        Ok(json_answer(StatusCode::OK, &json!(secrets)))
    }

    fn checked_secret_store(&self, store: &str) -> Result<&StoreName, Fault> {
        if self.0.secret_stores.is_empty() {
            let code = "ERR_SECRET_STORES_NOT_CONFIGURED";
            return Err(Fault::new(500, code, "secret store is not configured"));
        }
        self.secret_store(store).ok_or_else(|| {
            let text = format!("failed finding secret store with key {store}");
            Fault::new(401, "ERR_SECRET_STORE_NOT_FOUND", text)
        })
    }
}
