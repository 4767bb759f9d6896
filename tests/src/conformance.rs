//! What a Dapr does, asked of any: of the embedded one, and of daprd with real brokers and stores.
//!
//! A behaviour is a question and its answer in a few words. An answer is what daprd gives; where one
//! Dapr differs from another, the table says so, and a difference that nobody wrote down fails.

#![expect(
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "tests fail by panicking, and are lists of behaviours"
)]

pub mod api;
pub mod app;
pub mod deliver;
pub mod embedded;
mod jobs;
pub mod other;
pub mod publish;
pub mod state;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use reqwest::Method;
use serde_json::{Value, json};
use wharf::backend::{Backend, BackendError};
use wharf::effect::OutgoingEvent;
use wharf::name::{Pubsub, StoreName, Topic};

use app::App;

/// What daprd says of a topic that Kafka is making, as it does when one is first used. Nothing is
/// written then.
pub const NO_TOPIC_YET: &str = "does not exist on this broker";

/// How long something that must happen may take, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// A Dapr, the names of what it has, and the app that it calls.
#[derive(Clone)]
pub struct World {
    /// The column of the table.
    pub name: &'static str,
    pub backend: Arc<dyn Backend>,
    /// Of its HTTP API.
    pub url: String,
    pub app: App,
    pub pubsub: &'static str,
    pub store: &'static str,
    /// Holds `plain` = `"p"` and `several` = `{"a": "1", "b": "2"}`.
    pub secrets: &'static str,
    /// What is asked of it.
    pub parts: &'static [Part],
    pub http: reqwest::Client,
}

/// What behaviours are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    PubSub,
    State,
    /// Secrets, jobs, bindings and tokens.
    Other,
    /// Retries that end: pubsubs `{pubsub}-constant`, `-exponential` and `-let-go`.
    Finite,
    /// What keeps all the others waiting.
    Health,
}

/// What is asked.
pub struct Behaviour {
    pub name: &'static str,
    pub expected: &'static str,
    /// Other answers, each with the world that gives it; why is told where it is written down.
    pub but: &'static [(&'static str, &'static str)],
    pub ask: fn(World) -> BoxFuture<'static, String>,
}

/// One line of the table.
pub struct Line {
    pub behaviour: &'static str,
    pub expected: &'static str,
    /// For each world, in their order.
    pub answers: Vec<String>,
    pub is_as_written: bool,
}

/// Asks everything of every world: the parts side by side, each one thing at a time, and health at
/// the end.
pub async fn ask(behaviours: &[(Part, Behaviour)], worlds: &[World]) -> Vec<Line> {
    let mut answers = BTreeMap::new();
    for phase in [&[Part::PubSub, Part::State, Part::Other, Part::Finite][..], &[Part::Health]] {
        let askings = worlds.iter().enumerate().flat_map(|(column, world)| {
            let parts = phase.iter().filter(|part| world.parts.contains(part));
            parts.map(move |part| async move {
                let mut answers = Vec::new();
                for (row, (_, behaviour)) in
                    behaviours.iter().enumerate().filter(|(_, (of, _))| of == part)
                {
                    let asking = std::panic::AssertUnwindSafe((behaviour.ask)(world.clone()));
                    let answer = asking.catch_unwind().await;
                    answers.push(((row, column), answer.unwrap_or_else(|_| "it broke".into())));
                }
                answers
            })
        });
        answers.extend(join_all(askings).await.into_iter().flatten());
    }
    let line = |(row, (_, behaviour)): (usize, &(Part, Behaviour))| {
        let expected = |world: &World| {
            let but = behaviour.but.iter().find(|(name, _)| *name == world.name);
            but.map_or(behaviour.expected, |(_, answer)| *answer)
        };
        let answers: Vec<Option<&String>> =
            (0..worlds.len()).map(|column| answers.get(&(row, column))).collect();
        let is_as_written = worlds
            .iter()
            .zip(&answers)
            .all(|(world, answer)| answer.is_none_or(|answer| answer == expected(world)));
        let answers = answers.into_iter().map(|answer| answer.cloned().unwrap_or_default());
        Line {
            behaviour: behaviour.name,
            expected: behaviour.expected,
            answers: answers.collect(),
            is_as_written,
        }
    };
    behaviours.iter().enumerate().map(line).collect()
}

/// The lines as a table in Markdown, and how many are not as they are written down.
pub fn table(lines: &[Line], worlds: &[World]) -> (String, usize) {
    let names: Vec<_> = worlds.iter().map(|world| world.name).collect();
    let mut text = format!("| behaviour | answer | {} |\n| --- | --- |", names.join(" | "));
    text.push_str(&" --- |".repeat(worlds.len()));
    for line in lines {
        let cells = line.answers.iter().map(|answer| match answer.as_str() {
            "" => "–".to_owned(),
            answer if answer == line.expected => "same".to_owned(),
            answer => answer.replace('|', "\\|"),
        });
        let mark = if line.is_as_written { "" } else { " **not as written**" };
        let cells: Vec<_> = cells.collect();
        let (name, expected) = (line.behaviour, line.expected.replace('|', "\\|"));
        text.push_str(&format!("\n| {name}{mark} | {expected} | {} |", cells.join(" | ")));
    }
    (text, lines.iter().filter(|line| !line.is_as_written).count())
}

/// Every behaviour.
pub fn all() -> Vec<(Part, Behaviour)> {
    let parts = [
        (Part::PubSub, publish::behaviours()),
        (Part::PubSub, deliver::behaviours()),
        (Part::PubSub, api::pubsub()),
        (Part::State, state::behaviours()),
        (Part::State, api::state()),
        (Part::Other, other::behaviours()),
        (Part::Other, api::others()),
        (Part::Finite, deliver::finite()),
        (Part::Health, deliver::health()),
    ];
    let parts = parts.into_iter();
    parts.flat_map(|(part, all)| all.into_iter().map(move |one| (part, one))).collect()
}

impl World {
    pub fn topic(&self, topic: &str) -> Topic {
        Topic::new(topic).expect("a topic")
    }

    pub fn store(&self) -> StoreName {
        StoreName::new(self.store).expect("a store's name")
    }

    /// An id that no other world gives.
    pub fn id(&self, name: &str) -> String {
        format!("{}-{name}", self.pubsub)
    }

    /// A CloudEvent on its way out, with its world's id.
    pub fn event(&self, topic: &str, name: &str, data: &Value) -> OutgoingEvent {
        let id = self.id(name);
        let payload = json!({
            "specversion": "1.0", "id": id, "source": "conformance", "type": "com.test.v1",
            "time": "2026-01-01T00:00:00Z", "subject": "s", "data": data,
        });
        OutgoingEvent {
            pubsub: Pubsub::new(self.pubsub).expect("a pubsub's name"),
            topic: self.topic(topic),
            id,
            content_type: "application/cloudevents+json".into(),
            payload: payload.to_string().into(),
            partition_key: Some("s".into()),
        }
    }

    /// Publishes events, all of which must be taken, once the broker has their topic.
    pub async fn publish(&self, mut events: Vec<OutgoingEvent>) {
        let started = Instant::now();
        while !events.is_empty() {
            assert!(started.elapsed() < PATIENCE, "the broker does not make a topic");
            let results = self.backend.publish(events.clone()).await;
            let mut results = results.into_iter();
            events.retain(|_| match results.next().expect("each event has a result") {
                Err(error) if error.to_string().contains(NO_TOPIC_YET) => true,
                result => result.map(|()| false).expect("the event is published"),
            });
            if !events.is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Asks the HTTP API; gives status and body.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> (u16, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.url)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.expect("the API answers");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("the answer has a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }
}

/// What a result is, in a word.
pub fn word<T>(result: &Result<T, BackendError>) -> &'static str {
    match result {
        Ok(_) => "taken",
        Err(BackendError::Refused(_)) => "refused",
        Err(BackendError::Unavailable(_)) => "unavailable",
        Err(BackendError::Away(_)) => "away",
    }
}
