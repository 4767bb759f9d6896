//! Calls the app's router as daprd calls an app's port.

use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use bytes::Bytes;
use futures::FutureExt as _;
use http_body_util::{BodyExt as _, Limited};
use tower::ServiceExt as _;

use super::Post;

/// Far above any answer; daprd has no limit of its own.
const MAX_ANSWER: usize = 16 << 20;

/// The app, and the token that shows it that Dapr is calling.
#[derive(Clone)]
pub struct App {
    pub router: Router,
    pub token: Option<String>,
}

/// Status and body; an error is what a broken connection would be.
type Answer = Result<(u16, Bytes), String>;

impl App {
    /// With the app's id a request of Dapr itself, without it a health probe, which has no token.
    pub async fn get(&self, path: &str, app_id: Option<&str>) -> Answer {
        let mut headers = HeaderMap::new();
        if let Some(app_id) = app_id {
            insert(&mut headers, "dapr-app-id", app_id);
            insert(&mut headers, "content-type", "application/json");
            self.add_token(&mut headers);
        }
        self.call(Method::GET, path, headers, Bytes::new()).await
    }

    /// Asks whether the app wants a binding.
    pub async fn options(&self, path: &str) -> Answer {
        let mut headers = HeaderMap::new();
        insert(&mut headers, "content-type", "application/json");
        self.add_token(&mut headers);
        self.call(Method::OPTIONS, path, headers, Bytes::new()).await
    }

    pub async fn post(&self, path: &str, post: &Post) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in &post.metadata {
            if !name.eq_ignore_ascii_case("content-length") {
                insert(&mut headers, name, value);
            }
        }
        insert(&mut headers, "content-type", post.content_type);
        for (name, value) in [("traceparent", &post.traceparent), ("tracestate", &post.tracestate)]
        {
            if let Some(value) = value {
                insert(&mut headers, name, value);
            }
        }
        self.add_token(&mut headers);
        self.call(Method::POST, path, headers, post.body.clone()).await
    }

    fn add_token(&self, headers: &mut HeaderMap) {
        if let Some(token) = &self.token {
            insert(headers, "dapr-api-token", token);
        }
    }

    /// A panic of the app costs its connection, not this Dapr.
    async fn call(&self, method: Method, path: &str, headers: HeaderMap, body: Bytes) -> Answer {
        let length = body.len();
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|error| format!("path `{path}`: {error}"))?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("127.0.0.1"));
        request.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        let answer = async {
            let response = match self.router.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            body.map(|body| (status, body.to_bytes()))
                .map_err(|error| format!("the app's answer broke off: {error}"))
        };
        let caught = AssertUnwindSafe(answer).catch_unwind().await;
        caught.unwrap_or_else(|_| Err("the app broke the connection".into()))
    }
}

/// What cannot be a header is left out.
fn insert(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) =
        (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
    {
        headers.insert(name, value);
    }
}
