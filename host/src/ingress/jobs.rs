//! Firings of jobs. Whatever is not 2xx goes to the job's failure policy; 404 would end the job.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};

use crate::dispatch::Entered;
use crate::ingress::body::{self, Read};
use crate::ingress::reply::NotTaken;
use crate::ingress::{Ingress, is_of_another_app};
use crate::name::JobName;

/// `POST /job/<name>`: 500 for a job that nobody wants, so that its failure policy keeps it.
pub async fn fire(
    State(ingress): State<Arc<Ingress>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, NotTaken> {
    if is_of_another_app(&headers, &name) {
        return Ok(StatusCode::FORBIDDEN);
    }
    let job = JobName::new(&name).map_err(|error| NotTaken(error.to_string()))?;
    let share = ingress.dispatch.enter_callback();
    let body = match body::read(body, ingress.max_body, &share).await? {
        Read::Whole(body) if share.events(1) == 1 => body,
        Read::Whole(_) | Read::NoRoom => {
            ingress.turned_away(1, "events");
            return Err(NotTaken("too much is in progress".to_owned()));
        }
        Read::TooLarge { .. } => {
            let max = ingress.max_body;
            return Err(NotTaken(format!(
                "the data of job `{name}` is larger than {max} bytes; raise [ingress] max_body"
            )));
        }
    };
    match ingress.dispatch.fire(&job, &body).await {
        Entered::Taken => Ok(StatusCode::OK),
        Entered::Unwanted => Err(NotTaken(format!(
            "no component wants the job `{name}`; add [[on]] with job = \"{name}\" to a manifest"
        ))),
        Entered::NotDurable(why) => Err(NotTaken(why)),
    }
}
