//! The admin API can show events and change what runs: beyond loopback it asks for a token.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::admin::Admin;
use crate::admin::reply::AdminError;

/// Passes a request with the right bearer token.
pub async fn check(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let given = given.and_then(|value| value.strip_prefix(b"Bearer ")).unwrap_or_default();
    match &admin.token {
        Some(token) if !crate::config::same_token(given, token) => {
            AdminError::Unauthorized.into_response()
        }
        _ => next.run(request).await,
    }
}
