//! Each of daprd's errors, and whether it is for now or for good.

use futures::future::join_all;
use serde_json::json;
use wharf::backend::dapr::Sidecar;
use wharf::backend::{Backend as _, BackendError};
use wharf::name::StoreName;

use super::{Fake, call, job, publish_one, set};

/// How an answer is taken.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Taken {
    ForGood,
    ForNow,
    /// Nothing was done, since nobody was there to do it.
    NotAtAll,
}

use Taken::{ForGood, ForNow, NotAtAll};

/// Status, code, words; then how publish, state, secret, job and binding take it.
type Row = (u16, &'static str, &'static str, Taken);

const PUBLISH: [Row; 18] = [
    (404, "ERR_PUBSUB_NOT_FOUND", "pubsub x is not found", NotAtAll),
    (400, "ERR_PUBSUB_NOT_FOUND", "pubsub 'x' not found", NotAtAll),
    (400, "ERR_PUBSUB_NOT_CONFIGURED", "pubsub x is not configured", NotAtAll),
    (404, "ERR_PUBSUB_EMPTY", "pubsub name is empty", ForGood),
    (404, "ERR_TOPIC_NAME_EMPTY", "topic is empty in pubsub x", ForGood),
    (403, "ERR_PUBSUB_FORBIDDEN", "topic t is not allowed for app id a", ForGood),
    (400, "ERR_PUBSUB_REQUEST_METADATA", "failed deserializing metadata", ForGood),
    (500, "ERR_PUBSUB_CLOUD_EVENTS_SER", "cannot create cloudevent", ForGood),
    (400, "ERR_PUBSUB_EVENTS_SER", "error when unmarshaling", ForGood),
    (500, "ERR_PUBSUB_PUBLISH_MESSAGE", "kafka: client has run out of brokers", ForNow),
    (500, "ERR_PUBSUB_PUBLISH_MESSAGE", "stream too large", ForGood),
    (
        500,
        "ERR_PUBSUB_PUBLISH_MESSAGE",
        "kafka server: Message was too large, server rejected it to avoid allocation error",
        ForGood,
    ),
    (
        500,
        "ERR_PUBSUB_PUBLISH_MESSAGE",
        "Attempt to produce message larger than configured Producer.MaxMessageBytes: 9 > 8",
        ForGood,
    ),
    (401, "", "invalid api token", NotAtAll),
    (404, "", "404 page not found", NotAtAll),
    (404, "ERR_DIRECT_INVOKE", "failed getting app id", NotAtAll),
    (503, "", "upstream connect error", ForNow),
    (431, "", "", ForGood),
];

const STATE: [Row; 8] = [
    (400, "ERR_STATE_STORE_NOT_FOUND", "state store x is not found", NotAtAll),
    (500, "ERR_STATE_STORE_NOT_CONFIGURED", "state store x is not configured", NotAtAll),
    (400, "ERR_MALFORMED_REQUEST", "can't contain '||'", ForGood),
    (500, "ERR_STATE_SAVE", "dial tcp: connection refused", ForNow),
    (409, "ERR_STATE_SAVE", "possible etag mismatch", ForNow),
    (500, "ERR_STATE_SAVE", "error parsing TTL: incorrect value", ForGood),
    (500, "ERR_STATE_GET", "dial tcp: connection refused", ForNow),
    (500, "ERR_STATE_DELETE", "dial tcp: connection refused", ForNow),
];

const SECRET: [Row; 5] = [
    (401, "ERR_SECRET_STORE_NOT_FOUND", "failed finding secret store with key x", NotAtAll),
    (500, "ERR_SECRET_STORES_NOT_CONFIGURED", "secret store is not configured", NotAtAll),
    (403, "ERR_PERMISSION_DENIED", "access denied by policy", ForGood),
    (500, "ERR_SECRET_GET", "failed getting secret: connection refused", ForNow),
    (401, "", "invalid api token", NotAtAll),
];

const JOB: [Row; 12] = [
    (400, "DAPR_SCHEDULER_SCHEDULE_EMPTY", "Schedule is empty", ForGood),
    (400, "DAPR_SCHEDULER_JOB_NAME", "Set the job name in the url only", ForGood),
    (400, "DAPR_SCHEDULER_JOB_NAME_EMPTY", "Name is empty", ForGood),
    (400, "DAPR_SCHEDULER_EMPTY", "Job is empty", ForGood),
    (400, "ERR_MALFORMED_REQUEST", "failed deserializing HTTP body", ForGood),
    (400, "DAPR_SCHEDULER_SCHEDULE_JOB", "code = InvalidArgument", ForGood),
    (500, "DAPR_SCHEDULER_SCHEDULE_JOB", "code = Unknown desc = job failed validation", ForGood),
    (500, "DAPR_SCHEDULER_SCHEDULE_JOB", "code = Unknown desc = job name is invalid", ForGood),
    (409, "DAPR_SCHEDULER_SCHEDULE_JOB", "code = AlreadyExists", ForNow),
    (503, "DAPR_SCHEDULER_SCHEDULE_JOB", "code = Unavailable", ForNow),
    (500, "DAPR_SCHEDULER_DELETE_JOB", "code = DeadlineExceeded", ForNow),
    (500, "DAPR_SCHEDULER_DELETE_JOB", "code = InvalidArgument", ForGood),
];

const BINDING: [Row; 9] = [
    (500, "ERR_INVOKE_OUTPUT_BINDING", "couldn't find output binding x", NotAtAll),
    (500, "ERR_INVOKE_OUTPUT_BINDING", "binding x does not support operation y.", ForGood),
    (500, "ERR_INVOKE_OUTPUT_BINDING", "dial tcp: connection refused", ForNow),
    (500, "ERR_INVOKE_OUTPUT_BINDING", "received status code 422", ForGood),
    (500, "ERR_INVOKE_OUTPUT_BINDING", "received status code 404", ForNow),
    (500, "ERR_INVOKE_OUTPUT_BINDING", "received status code 429", ForNow),
    (500, "ERR_INVOKE_OUTPUT_BINDING", "received status code 503", ForNow),
    (500, "ERR_MALFORMED_REQUEST_DATA", "can't serialize request data field", ForGood),
    (400, "ERR_MALFORMED_REQUEST", "failed deserializing HTTP body", ForGood),
];

/// One row: what a call makes of an answer that stays the same.
async fn judge(row: Row, call: impl AsyncFnOnce(Sidecar) -> Result<(), BackendError>) {
    let (status, code, words, expected) = row;
    let (fake, sidecar) = Fake::start().await;
    let told = json!({ "errorCode": code, "message": words }).to_string();
    for _ in 0..10 {
        fake.answers(status, &if code.is_empty() { words } else { &told });
    }
    let (error, taken) = match call(sidecar).await {
        Err(BackendError::Refused(error)) => (error, ForGood),
        Err(BackendError::Unavailable(error)) => (error, ForNow),
        Err(BackendError::Away(error)) => (error, NotAtAll),
        Ok(()) => panic!("{row:?} is a success"),
    };
    assert_eq!(taken, expected, "{row:?}");
    assert!(error.contains(code) && error.contains(words), "{row:?} is told as {error}");
}

#[tokio::test]
async fn every_code_of_daprs_is_for_now_or_for_good() {
    let publish = PUBLISH.map(|row| judge(row, async |it| publish_one(&it).await));
    let state = STATE.map(|row| judge(row, async |it| it.write_state(set("k", Some(1))).await));
    let store = || StoreName::new("x").unwrap();
    let secret = SECRET
        .map(|row| judge(row, async move |it| it.secret(store(), "s".into()).await.map(drop)));
    let job = JOB.map(|row| judge(row, async |it| it.schedule(job()).await));
    let binding = BINDING.map(|row| judge(row, async |it| it.invoke(call(b"1")).await.map(drop)));
    // Side by side: some are asked again after a while.
    tokio::join!(
        join_all(publish),
        join_all(state),
        join_all(secret),
        join_all(job),
        join_all(binding)
    );
}
