//! Dapr's errors: status, code, words and details as daprd gives them (its `pkg/api/errors` and
//! `pkg/messages`), so that a client that looks into them finds what it expects.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::call::Target;
use super::json_answer;

/// One error answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    status: StatusCode,
    code: &'static str,
    message: String,
    details: Vec<Value>,
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let Self { status, code, message, details } = self;
        let mut body = json!({ "errorCode": code, "message": message });
        if let (Some(body), false) = (body.as_object_mut(), details.is_empty()) {
            body.insert("details".into(), details.into());
        }
        json_answer(status, &body)
    }
}

/// Whether the metadata asks for no envelope.
pub fn raw_payload(target: &Target, metadata: &BTreeMap<String, String>) -> Result<bool, Fault> {
    match metadata.get("rawPayload").map_or("", String::as_str) {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(Fault::raw_payload(target, metadata, other)),
    }
}

/// The faults of publishing; `reason` is Dapr's newer code.
impl Fault {
    pub fn not_found(target: &Target, metadata: &BTreeMap<String, String>) -> Self {
        let message = format!("pubsub {} is not found", target.pubsub);
        let details = vec![error_info("DAPR_PUBSUB_NOT_FOUND", &json!(metadata))];
        Self { status: StatusCode::NOT_FOUND, code: "ERR_PUBSUB_NOT_FOUND", message, details }
    }

    pub fn publish(target: &Target, error: &str) -> Self {
        let Target { pubsub, topic } = target;
        let message = format!("error when publishing to topic {topic} in pubsub {pubsub}: {error}");
        let info =
            error_info("DAPR_PUBSUB_PUBLISH_MESSAGE", &json!({ "error": error, "topic": topic }));
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::of_pubsub(target, status, "ERR_PUBSUB_PUBLISH_MESSAGE", message, info)
    }

    pub fn cloud_event_creation(target: &Target, app_id: &str) -> Self {
        let info = error_info(
            "DAPR_PUBSUB_CLOUD_EVENT_CREATION",
            &json!({ "appID": app_id, "error": "the body is not a JSON object" }),
        );
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        let message = "cannot create cloudevent".to_owned();
        Self::of_pubsub(target, status, "ERR_PUBSUB_CLOUD_EVENTS_SER", message, info)
    }

    fn raw_payload(target: &Target, metadata: &BTreeMap<String, String>, given: &str) -> Self {
        let message = format!(
            "failed deserializing metadata. Error: rawPayload value must be a valid boolean: actual is '{given}'"
        );
        let info = error_info("DAPR_PUBSUB_METADATA_DESERIALIZATION", &json!(metadata));
        let status = StatusCode::BAD_REQUEST;
        Self::of_pubsub(target, status, "ERR_PUBSUB_REQUEST_METADATA", message, info)
    }

    pub fn unmarshal(target: &Target, app_id: &str, error: &str) -> Self {
        let Target { pubsub, topic } = target;
        let message = format!(
            "error when unmarshaling the request for topic {topic} pubsub {pubsub}: {error}"
        );
        let info = error_info("DAPR_PUBSUB_UNMARSHAL_EVENTS", &json!({ "appID": app_id }));
        let status = StatusCode::BAD_REQUEST;
        Self::of_pubsub(target, status, "ERR_PUBSUB_EVENTS_SER", message, info)
    }

    pub fn envelope(target: &Target, app_id: &str, error: &str) -> Self {
        let Target { pubsub, topic } = target;
        let message = format!(
            "error when marshalling cloud event envelope for topic {topic} pubsub {pubsub}: {error}"
        );
        let info =
            error_info("DAPR_PUBSUB_MARSHAL_ENVELOPE", &json!({ "appID": app_id, "error": error }));
        let status = StatusCode::BAD_REQUEST;
        Self::of_pubsub(target, status, "ERR_PUBSUB_EVENTS_SER", message, info)
    }

    pub fn entry_id(target: &Target, app_id: &str) -> Self {
        let Target { pubsub, topic } = target;
        let error = "entryId is duplicated or not present for entry";
        let message = format!(
            "error marshaling events to bytes for topic {topic} pubsub {pubsub}. error: {error}"
        );
        let info =
            error_info("DAPR_PUBSUB_MARSHAL_EVENTS", &json!({ "appID": app_id, "error": error }));
        let status = StatusCode::BAD_REQUEST;
        Self::of_pubsub(target, status, "ERR_PUBSUB_EVENTS_SER", message, info)
    }

    fn of_pubsub(
        target: &Target,
        status: StatusCode,
        code: &'static str,
        message: String,
        info: Value,
    ) -> Self {
        let resource = json!({
            "@type": "type.googleapis.com/google.rpc.ResourceInfo",
            "description": message,
            "owner": "",
            "resource_name": target.pubsub,
            "resource_type": "pubsub",
        });
        Self { status, code, message, details: vec![resource, info] }
    }
}

/// The faults of everything else.
impl Fault {
    /// One without details.
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code, message: message.into(), details: Vec::new() }
    }

    #[must_use]
    pub fn with(self, details: Vec<Value>) -> Self {
        Self { details, ..self }
    }

    /// A body that cannot be read, or is not what it should be.
    pub fn malformed(error: &str) -> Self {
        let message = format!("failed deserializing HTTP body: {error}");
        Self::new(400, "ERR_MALFORMED_REQUEST", message)
    }

    pub fn not_ready() -> Self {
        Self::new(500, "ERR_HEALTH_NOT_READY", "dapr is not ready: [app]")
    }

    pub fn other_app() -> Self {
        Self::new(500, "ERR_HEALTH_APPID_NOT_MATCH", "dapr app-id does not match")
    }

    pub fn no_app_id() -> Self {
        let words = "failed getting app id either from the URL path or the header dapr-app-id";
        Self::new(404, "ERR_DIRECT_INVOKE", words)
    }

    /// Service invocation is not embedded.
    pub fn no_invocation() -> Self {
        Self::new(500, "ERR_DIRECT_INVOKE", "invoke API is not ready")
    }
}

pub fn error_info(reason: &str, metadata: &Value) -> Value {
    json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "domain": "dapr.io",
        "metadata": metadata,
        "reason": reason,
    })
}
