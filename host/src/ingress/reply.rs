//! The bodies that daprd reads. It takes anything but 2xx as "send again", except 404.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::dispatch::answer::Answer;

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        Json(json!({ "status": self.status() })).into_response()
    }
}

/// The answers to a bulk, one for each entry.
pub struct BulkReply(pub Vec<(String, Answer)>);

impl IntoResponse for BulkReply {
    fn into_response(self) -> Response {
        let statuses = self.0.into_iter();
        let statuses =
            statuses.map(|(entry_id, answer)| Status { entry_id, status: answer.status() });
        Json(Statuses { statuses: statuses.collect() }).into_response()
    }
}

#[derive(Serialize)]
struct Statuses {
    statuses: Vec<Status>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    entry_id: String,
    status: &'static str,
}

/// Why a callback is not taken: daprd tries again later, so nothing is lost by a wrong set-up.
pub struct NotTaken(pub String);

impl IntoResponse for NotTaken {
    fn into_response(self) -> Response {
        tracing::warn!(reason = self.0, "a callback is not taken");
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{}\n", self.0)).into_response()
    }
}
