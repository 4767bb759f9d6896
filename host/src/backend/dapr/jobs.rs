//! Jobs of Dapr's scheduler.

use reqwest::Method;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::call::send;
use super::{BackendError, Sidecar};
use crate::clock::rfc3339;
use crate::effect::OutgoingJob;
use crate::name::JobName;

/// A job as Dapr's API has it. Its name stands in the path only.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Job<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeats: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_time: Option<String>,
    data: &'a RawValue,
    overwrite: bool,
    failure_policy: serde_json::Value,
}

impl Sidecar {
    pub(super) async fn schedule_job(&self, job: OutgoingJob) -> Result<(), BackendError> {
        let OutgoingJob { name, due, schedule, repeats, data } = &job;
        let what = format!("job {name}");
        if let Some(why) = name.refusal() {
            return Err(BackendError::Refused(why));
        }
        let data = serde_json::from_str(data).map_err(|error| {
            BackendError::Refused(format!("{what}: its data is no JSON: {error}"))
        })?;
        let body = Job {
            schedule: schedule.as_deref(),
            repeats: *repeats,
            due_time: due.map(rfc3339),
            data,
            overwrite: true,
            // Without a number of retries it has no end; without a policy it would be four attempts.
            failure_policy: json!({ "constant": { "interval": "1s" } }),
        };
        let answer = self.post(&["v1.0", "jobs", name.as_str()], &body).await?;
        answer.succeeded(&what).map(drop)
    }

    pub(super) async fn cancel_job(&self, name: &JobName) -> Result<(), BackendError> {
        let request = self.request(Method::DELETE, &["v1.0", "jobs", name.as_str()], &[])?;
        send(request).await?.succeeded(&format!("job {name}")).map(drop)
    }
}
