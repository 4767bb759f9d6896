//! A broker whose topics have so many partitions, and a sidecar that everything is published through.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use futures::stream::{self, TryStreamExt as _};
use reqwest::Client;
use wharf_bench::event;
use wharf_test_real::{Daprd, Kafka, Sidecar, Yard};

pub const PUBSUB: &str = "todo-pubsub";
pub const TOPIC: &str = "task-events";

/// How long daprd may take to publish a bulk.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bulks that are published at a time.
const AT_ONCE: usize = 4;

pub struct Site {
    pub partitions: u16,
    pub kafka: Kafka,
    outside: Daprd,
    http: Client,
    /// Of its first event.
    first: u64,
    /// Of the next one.
    next: u64,
    /// The broker's own, so that the next one begins with nothing.
    yard: Yard,
}

impl Site {
    /// Its events are numbered from `first` on.
    pub async fn start(partitions: u16, first: u64) -> anyhow::Result<Self> {
        let yard = Yard::new(&format!("behind-{partitions}"))?;
        let kafka = Kafka::start(&yard, partitions).await?;
        let resources = yard.resources("outside", &[&kafka.pubsub(PUBSUB)])?;
        let outside = Daprd::start(&yard, Sidecar::of("outside", resources)).await?;
        let http = Client::builder().timeout(PATIENCE).no_proxy().build()?;
        Ok(Self { partitions, kafka, outside, http, first, next: first, yard })
    }

    /// Leaves the logs, and says where they are.
    pub fn keep(&self) -> &Path {
        self.yard.keep()
    }

    /// The numbers of what was published here.
    pub fn published(&self) -> Range<u64> {
        self.first..self.next
    }

    /// Publishes so many events, in bulks, and gives their numbers.
    pub async fn fill(&mut self, count: u64) -> anyhow::Result<Range<u64>> {
        let all = self.next..self.next + count;
        self.next = all.end;
        let bulks = all.clone().step_by(event::IN_BULK);
        let bulks = bulks.map(|first| Ok(first..all.end.min(first + event::IN_BULK as u64)));
        stream::iter(bulks).try_for_each_concurrent(AT_ONCE, |bulk| self.publish_all(bulk)).await?;
        Ok(all)
    }

    async fn publish_all(&self, numbers: Range<u64>) -> anyhow::Result<()> {
        let entries = numbers.map(|number| {
            let event = event::single(number);
            format!(
                r#"{{"entryId":"{number}","event":{event},"contentType":"{}","metadata":{{"partitionKey":"{number}"}}}}"#,
                event::SINGLE
            )
        });
        let entries: Vec<_> = entries.collect();
        let url = format!("{}/v1.0/publish/bulk/{PUBSUB}/{TOPIC}", self.outside.url());
        self.post(&url, event::BULK, format!("[{}]", entries.join(","))).await
    }

    /// Publishes the next event by itself. Gives its number before it is sent.
    pub async fn publish(&mut self, sending: impl FnOnce(u64)) -> anyhow::Result<()> {
        let number = self.next;
        self.next += 1;
        let url = self.outside.url();
        let url = format!("{url}/v1.0/publish/{PUBSUB}/{TOPIC}?metadata.partitionKey={number}");
        sending(number);
        self.post(&url, event::SINGLE, event::single(number)).await
    }

    async fn post(&self, url: &str, content_type: &str, body: String) -> anyhow::Result<()> {
        let request = self.http.post(url).header("content-type", content_type).body(body);
        let answer = request.send().await?;
        let status = answer.status();
        ensure!(status == 204, "publishing: {status} {}", answer.text().await?);
        Ok(())
    }
}
