//! Jobs in Dapr's API. The scheduler's own refusals come back as gRPC errors without a code, and so
//! as a 500; only what daprd itself checks is a 400.

mod asked;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use self::asked::Posted;
use super::call::JobCall;
use super::fault::{Fault, error_info};
use super::{json_answer, read};
use crate::backend::embedded::{Embedded, JobFault};

impl Embedded {
    pub(super) async fn serve_job(
        &self,
        name: &str,
        call: JobCall,
        body: Body,
    ) -> Result<Response, Fault> {
        match call {
            JobCall::Schedule => self.post_job(name, body).await,
            JobCall::Get => self.get_job(name).await,
            JobCall::Delete => self.delete_job(name).await,
        }
    }

    async fn post_job(&self, name: &str, body: Body) -> Result<Response, Fault> {
        let body = read(body).await.map_err(|error| {
            Fault::new(400, "ERR_BODY_READ", format!("failed to read request body: {error}"))
        })?;
        let posted = asked::read(&body).map_err(|error| Fault::malformed(&error))?;
        let Posted { name: named, asked, overwrite } = posted;
        let name = name.trim();
        if !named.is_empty() {
            let info = error_info("DAPR_SCHEDULER_JOB_NAME", &json!({ "appID": self.0.app_id }));
            let text = "Set the job name in the url only";
            return Err(Fault::new(400, "DAPR_SCHEDULER_JOB_NAME", text).with(vec![info]));
        }
        if name.is_empty() || name.contains('|') {
            return Err(self.job_fault(400, "DAPR_SCHEDULER_JOB_NAME_EMPTY", "Name is empty"));
        }
        if asked.schedule.is_none() && asked.due_time.is_none() {
            return Err(self.job_fault(400, "DAPR_SCHEDULER_SCHEDULE_EMPTY", "Schedule is empty"));
        }
        match self.schedule_job(name, asked, overwrite).await {
            Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
            Err(fault) => {
                let status = if matches!(fault, JobFault::Exists(_)) { 409 } else { 500 };
                let text = format!("failed to schedule job due to: {}", grpc(&fault));
                Err(self.job_fault(status, "DAPR_SCHEDULER_SCHEDULE_JOB", &text))
            }
        }
    }

    async fn get_job(&self, name: &str) -> Result<Response, Fault> {
        let failed = |why: &str| {
            let text = format!("failed to get job due to: {why}");
            self.job_fault(500, "DAPR_SCHEDULER_GET_JOB", &text)
        };
        let found = self.find_job(name).await.map_err(|fault| failed(&grpc(&fault)))?;
        let asked = found.ok_or_else(|| {
            failed(&format!("rpc error: code = NotFound desc = job not found: {name}"))
        })?;
        match asked::write(name, &asked) {
            Some(job) => Ok(json_answer(StatusCode::OK, &job)),
            None => {
                let text = "failed to encode response as JSON: proto: google.protobuf.Value: none \
                            of the oneof fields is set";
                Err(Fault::new(500, "ERR_INTERNAL", text))
            }
        }
    }

    async fn delete_job(&self, name: &str) -> Result<Response, Fault> {
        match self.cancel_job(name).await {
            Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
            Err(fault) => {
                let text = format!("failed to delete job due to: {}", grpc(&fault));
                Err(self.job_fault(500, "DAPR_SCHEDULER_DELETE_JOB", &text))
            }
        }
    }

    fn job_fault(&self, status: u16, code: &'static str, message: &str) -> Fault {
        let metadata = json!({ "appID": self.0.app_id, "namespace": "default" });
        Fault::new(status, code, message).with(vec![error_info(code, &metadata)])
    }
}

/// An error as it comes back from the scheduler.
fn grpc(fault: &JobFault) -> String {
    let code = match fault {
        JobFault::Exists(_) => "AlreadyExists",
        JobFault::Store(_) => "Unavailable",
        JobFault::Name(_) | JobFault::Invalid(_) => "Unknown",
    };
    format!("rpc error: code = {code} desc = {fault}")
}
