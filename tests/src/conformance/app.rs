//! The app of a Dapr: it writes down what it is called with, and answers as told.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::PATIENCE;

/// A pubsub with its topics, and how each is delivered.
pub type Topics = (&'static str, &'static [(&'static str, Way)]);

/// The topics that most is asked of.
pub const TOPICS: &[(&str, Way)] = &[
    ("single", Way::Single),
    ("bulk", Way::Bulk),
    ("raw", Way::Raw),
    ("raw-bulk", Way::RawBulk),
    ("poison", Way::Single),
    ("poison-bulk", Way::Pairs),
];

/// How a topic is subscribed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Single,
    Bulk,
    /// In bulks of two, which wait for each other.
    Pairs,
    Raw,
    RawBulk,
}

/// One event, job, tick or call that came.
#[derive(Debug, Clone)]
pub struct Came {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    /// An entry of a bulk: the event. JSON where it is, else text.
    pub body: Value,
    /// Of an entry of a bulk.
    pub metadata: Value,
    pub content_type: String,
    /// How many came in the same callback.
    pub together: usize,
}

/// What the app answers to one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 200 and this status.
    Says(&'static str),
    /// This HTTP status and no body. In a bulk it is the answer to all of it.
    Http(u16),
    /// 200 and no body.
    Empty,
    /// 200; in a bulk nothing is said about the entry.
    Silent,
}

#[derive(Default)]
struct Shared {
    came: Mutex<Vec<(String, Came)>>,
    answers: Mutex<HashMap<String, VecDeque<Answer>>>,
    changed: watch::Sender<usize>,
    is_ill: AtomicBool,
    pubsubs: Vec<Topics>,
    /// Bindings that it says it wants.
    bindings: Vec<&'static str>,
}

/// A running app. Clones are the same one.
#[derive(Clone)]
pub struct App(Arc<Shared>);

impl App {
    pub fn new(pubsubs: Vec<Topics>, bindings: Vec<&'static str>) -> Self {
        Self(Arc::new(Shared { pubsubs, bindings, ..Shared::default() }))
    }

    pub fn router(&self) -> Router {
        Router::new()
            .fallback(receive)
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(self.clone())
    }

    /// Listens on a free port for as long as the process runs.
    pub async fn listen(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let router = self.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    /// What the next deliveries of `id` are answered; SUCCESS after that.
    pub fn answers(&self, id: &str, answers: &[Answer]) {
        let mut all = self.0.answers.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(id.to_owned(), answers.iter().copied().collect());
    }

    /// Whether its health says no.
    pub fn set_ill(&self, is_ill: bool) {
        self.0.is_ill.store(is_ill, Ordering::SeqCst);
    }

    /// What came under an id so far.
    pub fn came(&self, id: &str) -> Vec<Came> {
        let came = self.0.came.lock().unwrap_or_else(PoisonError::into_inner);
        came.iter().filter(|(of, _)| of == id).map(|(_, came)| came.clone()).collect()
    }

    /// Waits until so many came under an id; gives all that did by then.
    pub async fn wait(&self, id: &str, many: usize) -> Vec<Came> {
        self.within(id, many, PATIENCE).await
    }

    /// The same, for a shorter time.
    pub async fn within(&self, id: &str, many: usize, patience: Duration) -> Vec<Came> {
        let mut changed = self.0.changed.subscribe();
        let came = changed.wait_for(|_| self.came(id).len() >= many);
        // The sender lives as long as `self` does: only time can end this early.
        _ = tokio::time::timeout(patience, came).await;
        self.came(id)
    }

    /// The ids of what came that begin so.
    pub fn paths(&self, beginning: &str) -> Vec<String> {
        let came = self.0.came.lock().unwrap_or_else(PoisonError::into_inner);
        came.iter().map(|(id, _)| id).filter(|id| id.starts_with(beginning)).cloned().collect()
    }

    /// The ids of what came, in order, if they are among these.
    pub fn order(&self, ids: &[String]) -> Vec<String> {
        let came = self.0.came.lock().unwrap_or_else(PoisonError::into_inner);
        came.iter().map(|(id, _)| id).filter(|id| ids.contains(id)).cloned().collect()
    }

    fn take(&self, id: String, came: Came) -> Answer {
        let answer = {
            let mut answers = self.0.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.get_mut(&id).and_then(VecDeque::pop_front)
        };
        self.0.came.lock().unwrap_or_else(PoisonError::into_inner).push((id, came));
        self.0.changed.send_modify(|many| *many += 1);
        answer.unwrap_or(Answer::Says("SUCCESS"))
    }

    fn subscriptions(&self) -> Value {
        let of_pubsub = |(pubsub, topics): &Topics| {
            let pubsub = (*pubsub).to_owned();
            topics.iter().map(move |(topic, way)| {
                let mut entry = json!({
                    "pubsubname": pubsub, "topic": topic, "route": format!("/{pubsub}/{topic}"),
                });
                let bulk = match way {
                    Way::Single | Way::Raw => None,
                    Way::Bulk | Way::RawBulk => Some((100, 200)),
                    Way::Pairs => Some((2, 10_000)),
                };
                if let Some((many, wait)) = bulk {
                    entry["bulkSubscribe"] = json!({
                        "enabled": true, "maxMessagesCount": many, "maxAwaitDurationMs": wait,
                    });
                }
                if matches!(way, Way::Raw | Way::RawBulk) {
                    entry["metadata"] = json!({ "rawPayload": "true" });
                }
                entry
            })
        };
        self.0.pubsubs.iter().flat_map(of_pubsub).collect()
    }
}

async fn receive(State(app): State<App>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = percent_encoding::percent_decode_str(parts.uri.path());
    let path = path.decode_utf8_lossy().into_owned();
    let headers: BTreeMap<_, _> = parts
        .headers
        .iter()
        .map(|(name, value)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let text = || Value::from(String::from_utf8_lossy(&bytes).into_owned());
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_else(|_| text());
    let content_type = headers.get("content-type").cloned().unwrap_or_default();
    let came = Came {
        path: path.clone(),
        headers,
        body,
        metadata: Value::Null,
        content_type,
        together: 1,
    };
    match (&parts.method, path.as_str()) {
        (&Method::GET, "/dapr/config") => axum::Json(json!({})).into_response(),
        (&Method::GET, "/dapr/subscribe") => {
            app.take(path, came);
            axum::Json(app.subscriptions()).into_response()
        }
        (&Method::GET, "/health") => {
            let is_first = app.came(&path).is_empty();
            if is_first {
                app.take(path, came);
            }
            match app.0.is_ill.load(Ordering::SeqCst) {
                true => StatusCode::SERVICE_UNAVAILABLE.into_response(),
                false => StatusCode::OK.into_response(),
            }
        }
        (&Method::OPTIONS, _) => {
            app.take(format!("OPTIONS {path}"), came);
            let is_wanted = app.0.bindings.iter().any(|name| path == format!("/{name}"));
            if is_wanted { StatusCode::OK } else { StatusCode::NOT_FOUND }.into_response()
        }
        _ if came.body.get("entries").is_some() => bulk(&app, &came),
        _ => {
            let id = came.body.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
            // Raw payloads have a new id each time: their content tells which they are.
            let raw = came.body.get("data_base64").and_then(Value::as_str).map(str::to_owned);
            let id = raw.or(Some(id)).filter(|id| !id.is_empty()).unwrap_or(path);
            let id = came.headers.get("ce_id").cloned().unwrap_or(id);
            respond(app.take(id, came))
        }
    }
}

fn bulk(app: &App, came: &Came) -> Response {
    let entries = came.body["entries"].as_array().cloned().unwrap_or_default();
    let together = entries.len();
    let (mut statuses, mut whole) = (Vec::new(), None);
    for entry in entries {
        let event = entry["event"].clone();
        let id = event.as_str().or(event["id"].as_str()).unwrap_or_default().to_owned();
        let one = Came {
            body: event,
            metadata: entry["metadata"].clone(),
            content_type: entry["contentType"].as_str().unwrap_or_default().to_owned(),
            together,
            ..came.clone()
        };
        match app.take(id, one) {
            Answer::Says(status) => {
                statuses.push(json!({ "entryId": entry["entryId"], "status": status }));
            }
            Answer::Silent => {}
            answer => whole = Some(answer),
        }
    }
    match whole {
        Some(answer) => respond(answer),
        None => axum::Json(json!({ "statuses": statuses })).into_response(),
    }
}

fn respond(answer: Answer) -> Response {
    match answer {
        Answer::Says(status) => axum::Json(json!({ "status": status })).into_response(),
        Answer::Http(status) => StatusCode::from_u16(status)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response(),
        Answer::Empty | Answer::Silent => StatusCode::OK.into_response(),
    }
}
