//! Dapr's HTTP API, as far as it is embedded: publishing, state, secrets, jobs, bindings, metadata,
//! health. Paths, status codes and error bodies are daprd's, so that producers written with any Dapr SDK notice no difference.

mod bindings;
mod bulk;
mod call;
mod fault;
mod jobs;
mod metadata;
mod secrets;
mod state;
mod wire;

use std::collections::BTreeMap;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http_body_util::LengthLimitError;

use self::call::{Call, Target};
use self::fault::Fault;
use self::state::Asked;
use super::{Embedded, MAX_BODY, NewMessage, Publishing, StoreError, Trace};
use crate::config::same_token;
use crate::name::Topic;

impl Embedded {
    /// Serves Dapr's API; for a listener on 127.0.0.1, where daprd has it on port 3500.
    pub fn router(&self) -> Router {
        Router::new().fallback(serve).with_state(self.clone())
    }
}

/// Everything arrives here: daprd cleans and unescapes paths in its own way.
async fn serve(State(dapr): State<Embedded>, request: Request) -> Response {
    let call = match call::parse(request.method(), request.uri().path()) {
        Ok(call) => call,
        Err(text) => return (StatusCode::BAD_REQUEST, text).into_response(),
    };
    if !dapr.admits(&call, request.headers()) {
        return (StatusCode::UNAUTHORIZED, "invalid api token\n").into_response();
    }
    let query = Query::of(&request);
    let served = match call {
        Call::Publish(target) => dapr.publish_one(target, query, request).await,
        Call::PublishBulk(target) => dapr.publish_bulk(target, query, request).await,
        Call::State { store, call } => {
            let (parts, body) = request.into_parts();
            let Query { metadata, concurrency, consistency, .. } = query;
            let asked = Asked { metadata, concurrency, consistency, headers: &parts.headers };
            dapr.serve_state(&store, call, asked, body).await
        }
        Call::Secret { store, key } => dapr.serve_secret(&store, &key).await,
        Call::Secrets { store } => dapr.serve_secrets(&store).await,
        Call::Job { name, call } => dapr.serve_job(&name, call, request.into_body()).await,
        Call::Binding { name } => dapr.serve_binding(&name, request.into_body()).await,
        Call::Metadata => Ok(json_answer(StatusCode::OK, &dapr.metadata())),
        Call::Health => dapr.health(&query),
        Call::OutboundHealth => Ok(StatusCode::NO_CONTENT.into_response()),
        Call::Other { invokes } => {
            Err(if invokes || request.headers().contains_key("dapr-app-id") {
                Fault::no_invocation()
            } else {
                Fault::no_app_id()
            })
        }
    };
    served.unwrap_or_else(Fault::into_response)
}

/// A request's query: its `metadata.*` parameters without the prefix, the app id that a health
/// check may ask for, and how state is to be deleted.
#[derive(Default)]
struct Query {
    metadata: BTreeMap<String, String>,
    app_id: Option<String>,
    concurrency: String,
    consistency: String,
}

impl Query {
    /// The first of several values counts.
    fn of(request: &Request) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let mut parsed = Self::default();
        let mut named: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let (of, name) = match name.strip_prefix("metadata.") {
                Some(name) => (&mut parsed.metadata, name),
                None => (&mut named, name.as_ref()),
            };
            of.entry(name.to_owned()).or_insert_with(|| value.into_owned());
        }
        parsed.app_id = named.remove("appid");
        parsed.concurrency = named.remove("concurrency").unwrap_or_default();
        parsed.consistency = named.remove("consistency").unwrap_or_default();
        parsed
    }
}

impl Embedded {
    fn admits(&self, call: &Call, headers: &HeaderMap) -> bool {
        let Some(token) = &self.0.api_token else { return true };
        match call {
            Call::Health | Call::OutboundHealth => true,
            Call::Publish(_)
            | Call::PublishBulk(_)
            | Call::State { .. }
            | Call::Secret { .. }
            | Call::Secrets { .. }
            | Call::Job { .. }
            | Call::Binding { .. }
            | Call::Metadata
            | Call::Other { .. } => headers
                .get("dapr-api-token")
                .is_some_and(|given| same_token(given.as_bytes(), token)),
        }
    }

    async fn publish_one(
        &self,
        target: Target,
        Query { metadata, .. }: Query,
        request: Request,
    ) -> Result<Response, Fault> {
        self.check(&target, &metadata)?;
        let raw = fault::raw_payload(&target, &metadata)?;
        let (parts, body) = request.into_parts();
        let body = read(body).await.map_err(|error| Fault::publish(&target, &error))?;
        let topic = topic(&target)?;
        let publishing = Publishing {
            pubsub: target.pubsub.clone(),
            topic,
            content_type: header_text(&parts.headers, header::CONTENT_TYPE.as_str()),
            headers: metadata.clone(),
            metadata,
            body,
            trace: trace(&parts.headers),
            raw,
        };
        let message = self
            .message(publishing)
            .ok_or_else(|| Fault::cloud_event_creation(&target, &self.0.app_id))?;
        let stored = self.store(vec![message]).await;
        stored.map_err(|error| Fault::publish(&target, &error.to_string()))?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    async fn publish_bulk(
        &self,
        target: Target,
        Query { metadata, .. }: Query,
        request: Request,
    ) -> Result<Response, Fault> {
        self.check(&target, &metadata)?;
        let raw = fault::raw_payload(&target, &metadata)?;
        let (parts, body) = request.into_parts();
        let app_id = self.0.app_id.as_str();
        let unreadable = |error: String| Fault::unmarshal(&target, app_id, &error);
        let body = read(body).await.map_err(unreadable)?;
        let entries = bulk::entries(&body).map_err(unreadable)?;
        let topic = topic(&target)?;
        let mut events = Vec::with_capacity(entries.len());
        let mut ids = Vec::with_capacity(entries.len());
        for entry in entries {
            let body = entry.bytes().map_err(|error| Fault::envelope(&target, app_id, &error))?;
            if entry.id.is_empty() || ids.contains(&entry.id) {
                return Err(Fault::entry_id(&target, app_id));
            }
            ids.push(entry.id.clone());
            events.push((entry, body));
        }
        let mut messages = Vec::with_capacity(events.len());
        for (entry, body) in events {
            let publishing = Publishing {
                pubsub: target.pubsub.clone(),
                topic: topic.clone(),
                headers: entry.headers(&metadata),
                metadata: entry.merged(&metadata),
                content_type: entry.content_type,
                body,
                trace: trace(&parts.headers),
                raw,
            };
            let message = self.message(publishing);
            messages.push(message.ok_or_else(|| Fault::cloud_event_creation(&target, app_id))?);
        }
        match self.store(messages).await {
            Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
            Err(error) => Ok(bulk::failed(&ids, &error.to_string())),
        }
    }

    async fn store(&self, messages: Vec<NewMessage>) -> Result<(), StoreError> {
        if messages.is_empty() {
            return Ok(());
        }
        self.0.store.append(messages).await
    }

    fn check(&self, target: &Target, metadata: &BTreeMap<String, String>) -> Result<(), Fault> {
        if self.0.pubsubs.contains(&target.pubsub) {
            Ok(())
        } else {
            Err(Fault::not_found(target, metadata))
        }
    }

    /// daprd is healthy when its app is.
    fn health(&self, query: &Query) -> Result<Response, Fault> {
        if self.0.subscriptions.borrow().is_none() {
            return Err(Fault::not_ready());
        }
        match &query.app_id {
            Some(asked) if *asked != self.0.app_id => Err(Fault::other_app()),
            Some(_) | None => Ok(StatusCode::NO_CONTENT.into_response()),
        }
    }
}

fn json_answer(status: StatusCode, body: &serde_json::Value) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (status, json, body.to_string()).into_response()
}

/// The whole body, or why not, in Dapr's words.
async fn read(body: Body) -> Result<Bytes, String> {
    to_bytes(body, MAX_BODY).await.map_err(|error| {
        let cause = std::error::Error::source(&error);
        match cause.is_some_and(|cause| cause.is::<LengthLimitError>()) {
            true => "stream too large".to_owned(),
            false => error.to_string(),
        }
    })
}

/// A name that no broker takes fails as a publish, not as a request.
fn topic(target: &Target) -> Result<Topic, Fault> {
    Topic::new(&target.topic).map_err(|error| Fault::publish(target, &error.to_string()))
}

fn trace(headers: &HeaderMap) -> Trace {
    let (parent, state) = (header_text(headers, "traceparent"), header_text(headers, "tracestate"));
    Trace::child_of(&parent, &state)
}

fn header_text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    value.unwrap_or_default().into_owned()
}
