//! Firings of jobs. Whatever is not 2xx goes to the job's failure policy; 404 would end the job.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use crate::dispatch::Entered;
use crate::ingress::Ingress;
use crate::ingress::events::{PATIENCE, Read, read};
use crate::ingress::reply::NotTaken;
use crate::name::JobName;

/// `POST /job/<name>`: 500 for a job that nobody wants, so that its failure policy keeps it.
pub async fn fire(
    State(ingress): State<Arc<Ingress>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<StatusCode, NotTaken> {
    let job = JobName::new(&name).map_err(|error| NotTaken(error.to_string()))?;
    let body = match tokio::time::timeout(PATIENCE, read(body, ingress.max_body)).await {
        Ok(Ok(Read::Whole(body))) => body,
        Ok(Ok(Read::TooLarge { .. })) => {
            let max = ingress.max_body;
            return Err(NotTaken(format!(
                "the data of job `{name}` is larger than {max} bytes; raise [ingress] max_body"
            )));
        }
        Ok(Err(error)) => return Err(NotTaken(format!("the body ended early: {error}"))),
        Err(_) => return Err(NotTaken(format!("the body did not come within {PATIENCE:?}"))),
    };
    match ingress.dispatch.fire(&job, &body).await {
        Entered::Taken => Ok(StatusCode::OK),
        Entered::Unwanted => Err(NotTaken(format!(
            "no component wants the job `{name}`; add [[on]] with job = \"{name}\" to a manifest"
        ))),
        Entered::NotDurable(why) => Err(NotTaken(why)),
    }
}
