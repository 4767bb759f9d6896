//! Output bindings in Dapr's API. Whatever goes wrong with a call is a 500.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use super::fault::Fault;
use super::read;
use super::wire::{Object, first_value};
use crate::backend::BackendError;
use crate::backend::embedded::{Embedded, Invocation, doubled};

impl Embedded {
    pub(super) async fn serve_binding(&self, name: &str, body: Body) -> Result<Response, Fault> {
        let malformed = |error: String| Fault::malformed(&error);
        let body = read(body).await.map_err(malformed)?;
        let value = first_value(&body).map_err(malformed)?;
        let request = Object::new("OutputBindingRequest", &value).map_err(malformed)?;
        let call = Invocation {
            binding: name.to_owned(),
            operation: request.text("operation").map_err(malformed)?.unwrap_or_default(),
            data: request.field("data").cloned().map_or(Value::Null, doubled).to_string(),
            metadata: request.texts("metadata").map_err(malformed)?,
        };
        match self.invoke_binding(call).await {
            Ok(None) => Ok(StatusCode::NO_CONTENT.into_response()),
            Ok(Some(answer)) => {
                let json = [(header::CONTENT_TYPE, "application/json")];
                Ok((StatusCode::OK, json, answer).into_response())
            }
            Err(
                BackendError::Refused(why)
                | BackendError::Unavailable(why)
                | BackendError::Away(why),
            ) => {
                let text = format!("error invoking output binding {name}: {why}");
                Err(Fault::new(500, "ERR_INVOKE_OUTPUT_BINDING", text))
            }
        }
    }
}
