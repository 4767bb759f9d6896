//! Single deliveries: one event per callback, its metadata in headers.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};

use crate::event::{TopicOrigin, Trace};
use crate::ingress::body::{self, Read};
use crate::ingress::reply::NotTaken;
use crate::ingress::{Ingress, attributes, bindings, bulk, raw};
use crate::name::{Pubsub, Topic};

/// Any path that is not one of the fixed ones: an event, a bulk, or a mistake.
pub async fn receive(State(ingress): State<Arc<Ingress>>, request: Request) -> Response {
    match *request.method() {
        Method::POST => {}
        Method::OPTIONS => return bindings::probe(&ingress, request.uri().path()).into_response(),
        _ => return unwanted().await.into_response(),
    }
    let path = request.uri().path().to_owned();
    let (parts, body) = request.into_parts();
    let known = ingress.registry.snapshot().contracts.accepts_path(&path);
    if !known && path != "/" {
        return match bindings::tick(&ingress, &path, &parts.headers).await {
            Some(reply) => reply.into_response(),
            None => unknown(&path).into_response(),
        };
    }
    let max = bulk::most_bytes(&ingress, &parts.headers, &path);
    let share = Arc::new(ingress.dispatch.enter_callback());
    let body = match body::read(body, max, &share).await {
        Ok(Read::Whole(body)) => body,
        Ok(Read::NoRoom) => return ingress.turned_away(1, "bytes").into_response(),
        Ok(Read::TooLarge { .. }) if !known => return unknown(&path).into_response(),
        Ok(Read::TooLarge { beginning, hash }) => {
            let origin = origin(path, &parts.headers);
            return ingress.too_large(origin, beginning, &hash, share).await.into_response();
        }
        Err(not_taken) => return not_taken.into_response(),
    };
    match bulk::envelope(&parts.headers, &body) {
        Some(envelope) if path == "/" => bulk::unrouted(&ingress, &envelope).into_response(),
        Some(envelope) => {
            bulk::receive(&ingress, path, &body, envelope, &share).await.into_response()
        }
        None if known && share.events(1) == 0 => ingress.turned_away(1, "events").into_response(),
        None if known => {
            let is_raw = ingress.registry.snapshot().contracts.is_raw(&path);
            let body = if is_raw { raw::record(body) } else { body };
            let (origin, trace) = (origin(path, &parts.headers), trace(&parts.headers));
            ingress.take(origin, trace, body, &share).await.into_response()
        }
        None => unknown(&path).into_response(),
    }
}

fn unknown(path: &str) -> NotTaken {
    NotTaken(format!(
        "no active contract has the path `{path}`; name it as a topic's path in a contract.toml"
    ))
}

/// A fixed path with a method that is not its own. daprd would take a 404 to a POST for done.
pub async fn misdirected(method: Method, uri: Uri) -> Response {
    match method {
        Method::POST => unknown(uri.path()).into_response(),
        _ => unwanted().await.into_response(),
    }
}

/// Not 405: daprd probes input bindings with OPTIONS, and would start one that is answered so.
pub async fn unwanted() -> StatusCode {
    StatusCode::NOT_FOUND
}

fn trace(headers: &HeaderMap) -> Option<Trace> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Trace::new(text("traceparent")?, text("tracestate"))
}

fn origin(path: String, headers: &HeaderMap) -> TopicOrigin {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let position = text("__partition").zip(text("__offset"));
    TopicOrigin {
        path,
        pubsub: text("pubsubname").and_then(|name| Pubsub::new(name).ok()),
        topic: text("__topic").and_then(|name| Topic::new(name).ok()),
        position: position.map(|(partition, offset)| format!("{partition}/{offset}")),
        attributes: attributes::of(
            headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())),
        ),
    }
}
