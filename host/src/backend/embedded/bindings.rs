//! Output bindings: `notify-file` appends to a file, `notify-http` posts to one address. They stand
//! in for mail, chat and webhooks, so that a flow can be followed to its end on one machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::{Embedded, MAX_BODY, StoreError};
use crate::backend::{BackendError, data};
use crate::clock::rfc3339;
use crate::effect::Call;

/// The file that `notify-file` appends to, in the data folder.
const FILE: &str = "notifications.jsonl";
const DEADLINE: Duration = Duration::from_secs(10);
/// What a receiver may answer.
const MAX_ANSWER: usize = 1 << 20;

/// A call of an output binding as Dapr's API understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    pub binding: String,
    pub operation: String,
    /// JSON text.
    pub data: String,
    pub metadata: BTreeMap<String, String>,
}

/// What a binding answers; without data Dapr's API has nothing to give.
pub type Answer = Option<Bytes>;

impl Embedded {
    pub(super) async fn invoke_binding(&self, call: Invocation) -> Result<Answer, BackendError> {
        let Invocation { binding, operation, .. } = &call;
        let refuse = |text: String| Err(BackendError::Refused(text));
        if operation.is_empty() {
            return refuse("operation field is missing from request".to_owned());
        }
        if !self.is_output(binding) {
            return refuse(format!("couldn't find output binding {binding}"));
        }
        if operation != "create" {
            return refuse(format!(
                "binding {binding} does not support operation {operation}. supported \
                 operations:create"
            ));
        }
        match binding.as_str() {
            "notify-file" => self.append(&call).await.map(|()| None),
            "notify-http" => self.post(&call).await.map(Some),
            other => refuse(format!(
                "the embedded dapr has the output bindings notify-file and notify-http; `{other}` \
                 needs a daprd"
            )),
        }
    }

    pub(super) async fn call_binding(&self, call: Call) -> Result<Bytes, BackendError> {
        let Call { id, binding, operation, data, metadata, trace, .. } = call;
        let mut metadata: BTreeMap<_, _> = metadata.into_iter().collect();
        metadata.insert("idempotency-key".to_owned(), id);
        if let Some(trace) = trace {
            metadata.insert("traceparent".to_owned(), trace.parent);
            metadata.extend(trace.state.map(|state| ("tracestate".to_owned(), state)));
        }
        let data = data::json_of(&data);
        if data.len() > MAX_BODY {
            let size = data.len();
            let text = format!("{size} bytes of data for binding {binding} are too many");
            return Err(BackendError::Refused(text));
        }
        let call = Invocation { binding: binding.to_string(), operation, data, metadata };
        Ok(self.invoke_binding(call).await?.unwrap_or_default())
    }

    fn is_output(&self, name: &str) -> bool {
        let mut outputs = self.0.bindings.iter().filter(|binding| binding.period.is_none());
        outputs.any(|binding| binding.name.as_str() == name)
    }

    async fn append(&self, call: &Invocation) -> Result<(), BackendError> {
        let mut metadata = call.metadata.clone();
        let data: Value = serde_json::from_str(&call.data).unwrap_or(Value::Null);
        let line = json!({
            "time": rfc3339(self.0.clock.now()),
            "binding": call.binding,
            "operation": call.operation,
            "idempotency-key": metadata.remove("idempotency-key"),
            "data": data,
            "metadata": metadata,
        });
        let path = self.0.data.join(FILE);
        let _one_at_a_time = self.0.notifications.lock().await;
        add_line(&path, &format!("{line}\n")).await.map_err(|error| {
            BackendError::Unavailable(format!("{} cannot be written: {error}", path.display()))
        })
    }

    async fn post(&self, call: &Invocation) -> Result<Bytes, BackendError> {
        let Some(url) = &self.0.notify_url else {
            return Err(BackendError::Refused(
                "notify-http does not know where to post; set [dapr] notify_url \
                 (WHARF_DAPR__NOTIFY_URL)"
                    .to_owned(),
            ));
        };
        // The address may hold a secret.
        let unavailable =
            |error: reqwest::Error| BackendError::Unavailable(chain(&error.without_url()));
        let mut request = self.0.http.post(url).header(CONTENT_TYPE, "application/json");
        for name in ["idempotency-key", "traceparent", "tracestate"] {
            if let Some(value) = call.metadata.get(name) {
                request = request.header(name, value);
            }
        }
        let mut response =
            request.body(call.data.clone()).send().await.map_err(|error| {
                match error.is_builder() {
                    true => {
                        let why = chain(&error.without_url());
                        BackendError::Refused(format!(
                            "[dapr] notify_url cannot be posted to: {why}"
                        ))
                    }
                    false => unavailable(error),
                }
            })?;
        judge(response.status())?;
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unavailable)? {
            let room = MAX_ANSWER - answer.len();
            answer.extend(chunk.iter().take(room));
        }
        Ok(answer.into())
    }
}

/// These will be the same again; the rest may be tried on the call's schedule, which ends.
fn judge(status: StatusCode) -> Result<(), BackendError> {
    let text = format!("the receiver of notify-http answered {}", status.as_u16());
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => Err(BackendError::Refused(text)),
        _ => Err(BackendError::Unavailable(text)),
    }
}

/// What `notify-http` posts with. No redirects: the address is the operator's.
pub fn client() -> Result<reqwest::Client, StoreError> {
    reqwest::Client::builder()
        .timeout(DEADLINE)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(|error| StoreError::Client(chain(&error)))
}

async fn add_line(path: &Path, line: &str) -> std::io::Result<()> {
    let mut file = tokio::fs::OpenOptions::new().create(true).append(true).open(path).await?;
    file.write_all(line.as_bytes()).await?;
    file.flush().await?;
    file.sync_data().await
}

/// An error with its causes: reqwest's own text names only the address.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
