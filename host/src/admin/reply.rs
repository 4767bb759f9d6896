//! Errors of the admin API: `{"error": "..."}`, saying what to do.

use axum::Json;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::ledger::LedgerError;

/// Why a request is not answered.
#[derive(Debug)]
pub enum AdminError {
    NotFound(String),
    BadRequest(String),
    Unauthorized,
    /// What is asked for is not possible as things are.
    Conflict(String),
    Ledger(LedgerError),
}

impl From<LedgerError> for AdminError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            Self::NotFound(error) => (StatusCode::NOT_FOUND, error),
            Self::Conflict(error) => (StatusCode::CONFLICT, error),
            Self::BadRequest(error) => (StatusCode::BAD_REQUEST, error),
            Self::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "send the admin token as `authorization: Bearer <token>`".to_owned(),
            ),
            Self::Ledger(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        };
        (status, Json(json!({ "error": error }))).into_response()
    }
}

/// Any other path.
pub async fn not_found(uri: Uri) -> AdminError {
    AdminError::NotFound(format!(
        "there is no `{}`; try /components, /deliveries, /health or /metrics",
        uri.path()
    ))
}
