//! What Dapr's errors mean: whether the same call may succeed later, or never.

use reqwest::StatusCode;
use serde::Deserialize;

use super::BackendError;

/// The most characters of what Dapr says that are told.
const TOLD: usize = 500;

/// Dapr's error body; each part may be missing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    #[serde(rename = "errorCode")]
    code: String,
    message: String,
    details: Vec<Detail>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail {
    reason: String,
}

/// The error of an answer that is no success; `what` was asked, for people.
pub fn of(status: StatusCode, body: &[u8], what: &str) -> BackendError {
    let told: Told = serde_json::from_slice(body).unwrap_or_default();
    let code = code(&told);
    let message = match told.message.is_empty() {
        true => String::from_utf8_lossy(body).trim().to_owned(),
        false => told.message.clone(),
    };
    let text: String = format!("{what}: {} {code} {message}", status.as_u16());
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text: String = text.chars().take(TOLD).collect();
    match (code, status) {
        ("", StatusCode::UNAUTHORIZED) => BackendError::Away(format!(
            "{text}; give this host the sidecar's token in [dapr] token (DAPR_API_TOKEN)"
        )),
        // daprd takes a path that it does not know for a call of another app.
        ("" | "ERR_DIRECT_INVOKE", StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) => {
            BackendError::Away(format!(
                "{text}; there is no daprd of 1.18 or later: look at DAPR_HTTP_ENDPOINT and \
                 DAPR_HTTP_PORT"
            ))
        }
        _ if is_absent(code, &message) => BackendError::Away(format!(
            "{text}; if this lasts, add it to daprd's resources: `wharf check` reads them"
        )),
        _ if is_for_good(status, code, &message) => BackendError::Refused(text),
        _ => BackendError::Unavailable(text),
    }
}

/// Whether Dapr has no such pubsub, store or binding. It has none of a component while it loads it
/// anew, as it does when its file changes; and one that is missing is the operator's to add.
fn is_absent(code: &str, message: &str) -> bool {
    let codes = [
        "ERR_PUBSUB_NOT_FOUND",
        "ERR_PUBSUB_NOT_CONFIGURED",
        "ERR_STATE_STORE_NOT_FOUND",
        "ERR_STATE_STORE_NOT_CONFIGURED",
        "ERR_SECRET_STORE_NOT_FOUND",
        "ERR_SECRET_STORES_NOT_CONFIGURED",
    ];
    codes.contains(&code) || message.contains("couldn't find output binding")
}

/// Some errors have their code among the details only.
fn code(told: &Told) -> &str {
    let reason = || told.details.iter().map(|detail| detail.reason.as_str());
    match told.code.as_str() {
        "" | "ERROR" => reason().find(|reason| !reason.is_empty()).unwrap_or_default(),
        code => code,
    }
}

/// Whether the call can never succeed as it is. Dapr gives one code to what a broker or a store
/// says, whatever that is: there the words have to tell.
fn is_for_good(status: StatusCode, code: &str, message: &str) -> bool {
    match code {
        // What is not allowed, or not understood.
        "ERR_PUBSUB_EMPTY"
        | "ERR_TOPIC_NAME_EMPTY"
        | "ERR_PUBSUB_FORBIDDEN"
        | "ERR_PUBSUB_REQUEST_METADATA"
        | "ERR_PUBSUB_CLOUD_EVENTS_SER"
        | "ERR_PUBSUB_EVENTS_SER"
        | "ERR_PERMISSION_DENIED"
        | "ERR_MALFORMED_REQUEST"
        | "ERR_MALFORMED_REQUEST_DATA"
        | "DAPR_SCHEDULER_JOB_NAME"
        | "DAPR_SCHEDULER_JOB_NAME_EMPTY"
        | "DAPR_SCHEDULER_EMPTY"
        | "DAPR_SCHEDULER_SCHEDULE_EMPTY" => true,
        "DAPR_SCHEDULER_SCHEDULE_JOB" if status == StatusCode::BAD_REQUEST => true,
        "" => [
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::URI_TOO_LONG,
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        ]
        .contains(&status),
        _ => is_said_for_good(message),
    }
}

/// What brokers, stores and bindings say of what they will never take.
pub fn is_said_for_good(message: &str) -> bool {
    const WORDS: [&str; 9] = [
        // A body beyond daprd's own limit, and an event beyond the broker's.
        "stream too large",
        "Message was too large",
        "message larger than configured",
        // The scheduler's, with the code `Unknown`.
        "job failed validation",
        "job name is invalid",
        "code = InvalidArgument",
        "does not support operation",
        "error parsing TTL",
        "incorrect value for metadata 'ttlInSeconds'",
    ];
    WORDS.iter().any(|words| message.contains(words)) || is_clients_fault(message)
}

/// The HTTP binding tells of the status that it received. These will be the same again; others of
/// 4xx a receiver says while it is put in place, and a call's schedule ends anyway.
fn is_clients_fault(message: &str) -> bool {
    let Some((_, status)) = message.split_once("received status code ") else { return false };
    let status = status.get(..3).and_then(|digits| digits.parse::<u16>().ok());
    status.is_some_and(|status| [400, 413, 415, 422].contains(&status))
}
