//! The rest of the system: a daprd of its own, that events are published through and that shows
//! what came on the topics; and the other end of output bindings.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{anyhow, ensure};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::future::try_join_all;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use wharf_test_real::{Daprd, Sidecar, Yard};
use wharf_tests::conformance::NO_TOPIC_YET;

use crate::stage::eventually;

pub struct Outside {
    pub daprd: Daprd,
    pub http: Client,
    pub app: App,
    /// Events of the load that were acknowledged.
    published: Cell<u32>,
}

const PUBSUB: &str = "todo-pubsub";
/// Of the load.
const PRODUCERS: usize = 6;
const PACE: Duration = Duration::from_millis(30);
const SOME: u32 = 60;

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

/// Publishes, once the broker has the topic: Kafka makes it when it is first used, which takes a
/// moment. Fails with any other answer than 204.
pub async fn published(topic: &str, request: RequestBuilder) -> anyhow::Result<()> {
    let answered = async || {
        let request = request.try_clone().ok_or("its body cannot be sent again")?;
        let answer = match request.send().await {
            Ok(answer) if answer.status() == 204 => return Ok(Ok(())),
            Ok(answer) => answer,
            Err(error) => return Ok(Err(anyhow!("publishing on {topic}: {error}"))),
        };
        let status = answer.status();
        let said = answer.text().await.unwrap_or_default();
        match said.contains(NO_TOPIC_YET) {
            true => Err(said),
            false => Ok(Err(anyhow!("publishing on {topic}: {status} {said}"))),
        }
    };
    eventually(&format!("the broker has the topic {topic}"), answered).await?
}

impl App {
    /// Subscribes to topics, each of a pubsub.
    pub async fn start(topics: &[(&str, &str)]) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, wharf_test_real::port::free()?)).await?;
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

    /// Of a type on a topic: by id, the data that came under it.
    pub fn by_id(&self, topic: &str, ty: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut found = BTreeMap::<_, BTreeSet<_>>::new();
        for event in self.came(topic).iter().filter(|event| event["type"] == ty) {
            let id = event["id"].as_str().unwrap_or_default().to_owned();
            found.entry(id).or_default().insert(event["data"].to_string());
        }
        found
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
        Ok(Self { daprd, http, app, published: Cell::new(0) })
    }

    /// Publishes a CloudEvent, with its subject as partition key; fails unless it is acknowledged.
    pub async fn publish(&self, pubsub: &str, topic: &str, event: &Value) -> anyhow::Result<()> {
        let mut url = format!("{}/v1.0/publish/{pubsub}/{topic}", self.daprd.url());
        if let Some(subject) = event["subject"].as_str() {
            let joint = if url.contains('?') { '&' } else { '?' };
            url = format!("{url}{joint}metadata.partitionKey={subject}");
        }
        let request = self.http.post(url).header("content-type", "application/cloudevents+json");
        published(topic, request.body(event.to_string())).await
    }

    /// The same until it is acknowledged: the broker may be away.
    async fn publish_in_the_end(&self, topic: &str, event: &Value) -> anyhow::Result<()> {
        eventually(&format!("{topic} takes an event"), async || {
            self.publish(PUBSUB, topic, event).await.map_err(|error| format!("{error:#}"))
        })
        .await
    }

    /// Publishes event after event while something goes on. Gives the ids of all.
    pub async fn under_load(
        &self,
        topic: &str,
        event: impl Fn(u32) -> Value,
        going_on: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<Vec<String>> {
        let ended = Cell::new(false);
        let ids = RefCell::new(Vec::new());
        let producer = async || {
            while !ended.get() {
                let number = u32::try_from(ids.borrow().len())?;
                let event = event(number);
                ids.borrow_mut().push(event["id"].as_str().unwrap_or_default().to_owned());
                self.publish_in_the_end(topic, &event).await?;
                self.published.set(self.published.get() + 1);
                // A load that a busy machine keeps up with.
                tokio::time::sleep(PACE).await;
            }
            anyhow::Ok(())
        };
        let producers = try_join_all((0..PRODUCERS).map(|_| producer()));
        let going_on = async {
            let result = going_on.await;
            ended.set(true);
            result
        };
        futures::try_join!(producers, going_on)?;
        Ok(ids.into_inner())
    }

    /// Waits until some more of the load is published.
    pub async fn progress(&self) -> anyhow::Result<()> {
        let wanted = self.published.get() + SOME;
        eventually("events are published", async || match self.published.get() {
            count if count >= wanted => Ok(()),
            count => Err(format!("{count} of {wanted}")),
        })
        .await
    }

    /// Waits until so many ids of a type came on a topic. Fails when there are more, or when one had
    /// two contents. Gives the contents.
    pub async fn came_by_id(
        &self,
        topic: &str,
        ty: &str,
        many: usize,
    ) -> anyhow::Result<BTreeSet<String>> {
        let came = eventually(&format!("{many} ids of {ty} on {topic}"), async || {
            let came = self.app.by_id(topic, ty);
            if came.len() >= many { Ok(came) } else { Err(came.len().to_string()) }
        })
        .await?;
        ensure!(came.len() == many, "{} ids of {ty} on {topic}, not {many}", came.len());
        let differing = came.iter().find(|(_, contents)| contents.len() > 1);
        ensure!(differing.is_none(), "one id, two contents: {differing:?}");
        Ok(came.into_values().flatten().collect())
    }

    /// Waits for something to have come.
    pub async fn came(&self, name: &str, count: usize) -> anyhow::Result<Vec<Value>> {
        let what = format!("{count} came of {name}");
        eventually(&what, async || {
            let came = self.app.came(name);
            if came.len() >= count { Ok(came) } else { Err(format!("{came:?}")) }
        })
        .await
    }
}
