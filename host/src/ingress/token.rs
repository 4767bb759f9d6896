//! Only daprd may call: it sends the app token with every callback but the health probe.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::ingress::Ingress;

/// Passes a request with the right `dapr-api-token`; 401 otherwise, on which daprd tries again.
pub async fn check(State(ingress): State<Arc<Ingress>>, request: Request, next: Next) -> Response {
    let given = request.headers().get("dapr-api-token");
    let given = given.map_or(&b""[..], |value| value.as_bytes());
    match &ingress.token {
        Some(token) if !crate::config::same_token(given, token) => {
            tracing::warn!(path = request.uri().path(), "a callback without the app token");
            (StatusCode::UNAUTHORIZED, "the `dapr-api-token` header is missing or wrong; start daprd with the same APP_API_TOKEN\n").into_response()
        }
        _ => next.run(request).await,
    }
}
