//! The rest of the system: a daprd of its own, that events are published through and that shows
//! what came on the topics; and the other end of output bindings.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use wharf_e2e::{Daprd, Sidecar, Yard};

use crate::stage::eventually;

pub struct Outside {
    pub daprd: Daprd,
    pub http: Client,
    pub app: App,
}

/// An app beside that daprd: it remembers what it is told.
pub struct App {
    pub port: u16,
    seen: Seen,
    serving: AbortHandle,
}

#[derive(Clone, Default)]
struct Seen {
    topics: Arc<Vec<(String, String)>>,
    /// By topic, job, or binding.
    came: Arc<Mutex<BTreeMap<String, Vec<Value>>>>,
}

impl App {
    /// Subscribes to topics, each of a pubsub.
    pub async fn start(topics: &[(&str, &str)]) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, wharf_e2e::port::free()?)).await?;
        let port = listener.local_addr().map(|address: SocketAddr| address.port())?;
        let topics =
            topics.iter().map(|(pubsub, topic)| ((*pubsub).to_owned(), (*topic).to_owned()));
        let seen = Seen { topics: Arc::new(topics.collect()), ..Seen::default() };
        let router = Router::new()
            .route("/dapr/subscribe", get(subscribe))
            .route("/health", get(async || Json(json!({}))))
            .route("/topic/{name}", post(take))
            .route("/job/{name}", post(take))
            .route("/sink/{name}", post(take))
            .with_state(seen.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { port, seen, serving: serving.abort_handle() })
    }

    /// What came of a topic, job, or binding, in order of coming.
    pub fn came(&self, name: &str) -> Vec<Value> {
        self.seen.came.lock().unwrap().get(name).cloned().unwrap_or_default()
    }

    /// The `type` of each event of a topic.
    pub fn types(&self, topic: &str) -> Vec<String> {
        let came = self.came(topic);
        came.iter().map(|event| event["type"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn subscribe(State(seen): State<Seen>) -> Json<Value> {
    let one = |(pubsub, topic): &(String, String)| json!({ "pubsubname": pubsub, "topic": topic, "route": format!("/topic/{topic}") });
    Json(seen.topics.iter().map(one).collect())
}

async fn take(State(seen): State<Seen>, Path(name): Path<String>, body: Bytes) -> Json<Value> {
    let text = || Value::from(String::from_utf8_lossy(&body).into_owned());
    let value = serde_json::from_slice(&body).unwrap_or_else(|_| text());
    seen.came.lock().unwrap().entry(name).or_default().push(value);
    Json(json!({ "status": "SUCCESS" }))
}

impl Outside {
    /// Waits until it is subscribed to its topics.
    pub async fn start(
        yard: &Yard,
        sidecar: Sidecar,
        topics: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let app = App::start(topics).await?;
        let sidecar = Sidecar { app_port: Some(app.port), ..sidecar };
        let mut daprd = Daprd::start(yard, sidecar).await?;
        daprd.healthy().await?;
        let http = Client::builder().timeout(Duration::from_secs(20)).no_proxy().build()?;
        Ok(Self { daprd, http, app })
    }

    /// Publishes a CloudEvent, with its subject as partition key; fails unless it is acknowledged.
    pub async fn publish(&self, pubsub: &str, topic: &str, event: &Value) -> anyhow::Result<()> {
        let mut url = format!("{}/v1.0/publish/{pubsub}/{topic}", self.daprd.url());
        if let Some(subject) = event["subject"].as_str() {
            url.push_str(&format!("?metadata.partitionKey={subject}"));
        }
        let request = self.http.post(url).header("content-type", "application/cloudevents+json");
        let answer = request.body(event.to_string()).send().await?;
        let status = answer.status();
        if !status.is_success() {
            bail!("publishing on {topic}: {status} {}", answer.text().await?);
        }
        Ok(())
    }

    /// Waits for something to have come.
    pub async fn came(&self, name: &str, count: usize) -> anyhow::Result<Vec<Value>> {
        let what = format!("{count} came of {name}");
        eventually(&what, || async move {
            let came = self.app.came(name);
            if came.len() >= count { Ok(came) } else { Err(format!("{came:?}")) }
        })
        .await
        .with_context(|| format!("of {name}"))
    }
}
