//! Output bindings.

use std::collections::BTreeMap;

use bytes::Bytes;
use reqwest::Method;
use serde::Serialize;
use serde_json::value::RawValue;

use super::call::send;
use super::{BackendError, Sidecar};
use crate::backend::data;
use crate::effect::Call;

/// The most of a response that is passed on.
const MOST: usize = 1 << 20;

/// What a call's id is called. Dapr's HTTP binding makes headers only of names with a capital letter.
const ID: [&str; 2] = ["idempotency-key", "Idempotency-Key"];

/// A call as Dapr's API has it.
#[derive(Serialize)]
struct Invocation<'a> {
    operation: &'a str,
    data: &'a RawValue,
    metadata: BTreeMap<&'a str, &'a str>,
}

impl Sidecar {
    pub(super) async fn call_binding(&self, call: Call) -> Result<Bytes, BackendError> {
        let what = format!("binding {}", call.binding);
        let refuse = |error: serde_json::Error| BackendError::Refused(format!("{what}: {error}"));
        let data = RawValue::from_string(data::json_of(&call.data)).map_err(refuse)?;
        let mut metadata: BTreeMap<_, _> =
            call.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        metadata.extend(ID.map(|name| (name, call.id.as_str())));
        let body = Invocation { operation: &call.operation, data: &data, metadata };
        let path = ["v1.0", "bindings", call.binding.as_str()];
        let mut request = self.request(Method::POST, &path, &[])?;
        // Dapr hands its own span on to the binding, as a child of this one.
        if let Some(trace) = &call.trace {
            request = request.header("traceparent", &trace.parent);
            if let Some(state) = &trace.state {
                request = request.header("tracestate", state);
            }
        }
        let answer = send(request.json(&body)).await?.succeeded(&what)?;
        Ok(answer.body.slice(..answer.body.len().min(MOST)))
    }
}
