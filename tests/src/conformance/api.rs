//! What the HTTP API answers to what is wrong: status and code, as producers and the host read them.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::Method;
use serde_json::Value;

use super::{Behaviour, World};

/// Status and code of an answer. `{pubsub}`, `{store}` and `{secrets}` stand for the world's.
fn asked(
    world: World,
    method: Method,
    path: &'static str,
    content_type: &'static str,
    body: &'static str,
) -> BoxFuture<'static, String> {
    async move { answer(&world, method, path, content_type, body).await }.boxed()
}

/// The same, now.
pub async fn answer(
    world: &World,
    method: Method,
    path: &str,
    content_type: &str,
    body: impl Into<reqwest::Body>,
) -> String {
    let path = path
        .replace("{pubsub}", world.pubsub)
        .replace("{store}", world.store)
        .replace("{secrets}", world.secrets);
    let (status, answer) = world.call(method, &path, &[("content-type", content_type)], body).await;
    let detail = answer["details"]
        .as_array()
        .and_then(|details| details.iter().find_map(|detail| detail["reason"].as_str()));
    let code = answer["errorCode"].as_str().filter(|code| !code.is_empty());
    match (code, detail) {
        (Some(code), _) => format!("{status} {code}"),
        (None, Some(reason)) => format!("{status} ({reason})"),
        (None, None) if answer == Value::String(String::new()) => status.to_string(),
        (None, None) => format!("{status}, no code"),
    }
}

macro_rules! api {
    ($name:literal, $expected:literal, $method:ident, $path:literal, $type:literal, $body:literal) => {
        api!($name, $expected, $method, $path, $type, $body, &[])
    };
    ($name:literal, $expected:literal, $method:ident, $path:literal, $type:literal, $body:literal,
     $but:expr) => {
        Behaviour {
            name: $name,
            expected: $expected,
            but: $but,
            ask: |world| asked(world, Method::$method, $path, $type, $body),
        }
    };
}

#[rustfmt::skip]
pub fn pubsub() -> Vec<Behaviour> {
    vec![
        api!("API: publish", "204", POST, "/v1.0/publish/{pubsub}/unread", "application/json", "{}"),
        api!("API: publish to an unknown pubsub", "404 ERR_PUBSUB_NOT_FOUND", POST,
             "/v1.0/publish/unknown/unread", "application/json", "{}"),
        api!("API: publish without a topic", "404 ERR_DIRECT_INVOKE", POST,
             "/v1.0/publish/{pubsub}/", "application/json", "{}"),
        api!("API: publish with metadata that is none", "400 ERR_PUBSUB_REQUEST_METADATA", POST,
             "/v1.0/publish/{pubsub}/unread?metadata.rawPayload=perhaps", "application/json", "{}"),
        api!("API: publish what is no CloudEvent as one", "500 ERR_PUBSUB_CLOUD_EVENTS_SER", POST,
             "/v1.0/publish/{pubsub}/unread", "application/cloudevents+json", "[1]"),
        api!("API: publish in bulk", "204", POST, "/v1.0/publish/bulk/{pubsub}/unread", "application/json",
             r#"[{"entryId":"1","event":"a","contentType":"text/plain"}]"#),
        api!("API: publish in bulk what is no list", "400 ERR_PUBSUB_EVENTS_SER", POST,
             "/v1.0/publish/bulk/{pubsub}/unread", "application/json", "{}"),
        api!("API: publish in bulk under one id twice", "400 ERR_PUBSUB_EVENTS_SER", POST,
             "/v1.0/publish/bulk/{pubsub}/unread", "application/json",
             r#"[{"entryId":"1","event":"a","contentType":"text/plain"},{"entryId":"1","event":"a","contentType":"text/plain"}]"#),
        api!("API: publish in bulk what does not fit its type", "400 ERR_PUBSUB_EVENTS_SER", POST,
             "/v1.0/publish/bulk/{pubsub}/unread", "application/json",
             r#"[{"entryId":"1","event":{},"contentType":"text/plain"}]"#),
    ]
}

#[rustfmt::skip]
pub fn state() -> Vec<Behaviour> {
    vec![
        api!("API: a state store that is not there", "400 ERR_STATE_STORE_NOT_FOUND", GET,
             "/v1.0/state/unknown/a", "application/json", ""),
        api!("API: state that is not there", "204", GET, "/v1.0/state/{store}/none", "application/json", ""),
        api!("API: state under an illegal key", "400 ERR_MALFORMED_REQUEST", GET,
             "/v1.0/state/{store}/a%7C%7Cb", "application/json", ""),
        api!("API: state that is no list", "400 ERR_MALFORMED_REQUEST", POST,
             "/v1.0/state/{store}", "application/json", "{}"),
        api!("API: state with another etag", "409 ERR_STATE_SAVE", POST, "/v1.0/state/{store}", "application/json",
             r#"[{"key":"never-set","value":1,"etag":"77"}]"#,
             // Redis looks at the etag only of what is there.
             &[("daprd: Redis", "204")]),
        api!("API: state deleted under another etag", "204", DELETE, "/v1.0/state/{store}/never-set", "application/json", ""),
        api!("API: state with a time to live that is none", "500 ERR_STATE_SAVE", POST,
             "/v1.0/state/{store}", "application/json",
             r#"[{"key":"a","value":1,"metadata":{"ttlInSeconds":"soon"}}]"#),
        api!("API: a state transaction of nothing", "204", POST, "/v1.0/state/{store}/transaction",
             "application/json", r#"{"operations":[]}"#),
        api!("API: a state transaction with an unknown operation", "400 ERR_NOT_SUPPORTED_STATE_OPERATION", POST,
             "/v1.0/state/{store}/transaction", "application/json",
             r#"{"operations":[{"operation":"upsert","request":{"key":"t-none","value":1}},{"operation":"read","request":{"key":"a"}}]}"#),
    ]
}

#[rustfmt::skip]
pub fn others() -> Vec<Behaviour> {
    vec![
        api!("API: a secret store that is not there", "401 ERR_SECRET_STORE_NOT_FOUND", GET,
             "/v1.0/secrets/unknown/a", "application/json", ""),
        api!("API: a secret that is not there", "500 ERR_SECRET_GET", GET,
             "/v1.0/secrets/{secrets}/missing", "application/json", ""),
        api!("API: a job without a time", "400 DAPR_SCHEDULER_SCHEDULE_EMPTY", POST, "/v1.0/jobs/none",
             "application/json", r#"{"data":1}"#),
        api!("API: a job with its name in the body", "400 DAPR_SCHEDULER_JOB_NAME", POST, "/v1.0/jobs/none",
             "application/json", r#"{"name":"a","dueTime":"1s","data":1}"#),
        api!("API: a job whose schedule is none", "500 DAPR_SCHEDULER_SCHEDULE_JOB", POST, "/v1.0/jobs/none",
             "application/json", r#"{"schedule":"now and then","data":1}"#),
        api!("API: a job whose name holds `|`", "400 DAPR_SCHEDULER_JOB_NAME_EMPTY", POST, "/v1.0/jobs/a%7Cb",
             "application/json", r#"{"dueTime":"1s","data":1}"#),
        api!("API: a job that is not JSON", "400 ERR_MALFORMED_REQUEST", POST, "/v1.0/jobs/none",
             "application/json", "{"),
        api!("API: a job that is not there", "500 DAPR_SCHEDULER_GET_JOB", GET, "/v1.0/jobs/missing",
             "application/json", ""),
        api!("API: a job that is not there, deleted", "204", DELETE, "/v1.0/jobs/missing", "application/json", ""),
        api!("API: a binding that is not there", "500 ERR_INVOKE_OUTPUT_BINDING", POST, "/v1.0/bindings/unknown",
             "application/json", r#"{"operation":"create"}"#),
        api!("API: a binding called with what is no JSON", "400 ERR_MALFORMED_REQUEST", POST,
             "/v1.0/bindings/notify-http", "application/json", "{"),
    ]
}
