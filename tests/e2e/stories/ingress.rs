//! Every way in that a daprd has, beside the plain one: declared subscriptions, raw payloads, binary
//! mode, odd traces, large events, the app's token; and stops with deliveries in progress.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};
use wharf_test_real::{Redis, Yard};
use wharf_tests::host::{event, id};

use crate::outside::published;
use crate::project::Project;
use crate::restarts::{CREATED, created, in_progress};
use crate::stage::{Host, Stage};

/// How long a stop may take.
const STOP: Duration = Duration::from_secs(60);

/// Above what daprd takes for an API call unless told otherwise.
const LARGE: usize = 5 << 20;

/// Everything that is published here is about a task that was created.
struct Publisher<'s> {
    stage: &'s Stage,
    url: String,
}

impl Publisher<'_> {
    /// Publishes a body under a path that begins with the pubsub.
    async fn post(&self, path: &str, content_type: &str, body: String) -> anyhow::Result<()> {
        let url = format!("{}/v1.0/publish/{path}", self.url);
        let request = self.stage.outside.http.post(url).header("content-type", content_type);
        published(path, request.body(body)).await
    }

    async fn event(&self, path: &str, event: &Value) -> anyhow::Result<()> {
        self.post(path, "application/cloudevents+json", event.to_string()).await
    }
}

/// A subscription that daprd finds in a file; the host does not name its topic.
fn declared(pubsub: &str, topic: &str, more: &str) -> String {
    format!(
        "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata:\n  name: {topic}\nspec:\n  \
         pubsubname: {pubsub}\n  topic: {topic}\n  routes:\n    default: /events/task-events\n{more}"
    )
}

/// Large ones go through Redis, which has no limit of its own.
pub async fn ways(yard: Arc<Yard>) -> anyhow::Result<()> {
    const RAW: &str = "  metadata:\n    rawPayload: \"true\"\n";
    const BULK: &str = "  bulkSubscribe:\n    enabled: true\n    maxMessagesCount: 10\n    \
        maxAwaitDurationMs: 100\n";
    let mut stage = Stage::set(Arc::clone(&yard), &[]).await?;
    let redis = Redis::start(&yard).await?;
    stage.resources.extend([
        redis.pubsub("redis"),
        declared("todo-pubsub", "declared-events", ""),
        declared("todo-pubsub", "raw-events", RAW),
        declared("todo-pubsub", "raw-bulk-events", &format!("{RAW}{BULK}")),
        stage.kafka.pubsub_with("escaping", &[("escapeHeaders", "true"), ("consumerGroup", "e")]),
        declared("escaping", "escaped-events", ""),
        declared("escaping", "escaped-bulk-events", BULK),
        declared("redis", "large-events", ""),
    ]);
    let token = "s3cret".to_owned();
    let flags = vec!["--max-body-size=16Mi".to_owned()];
    let variables = [
        ("APP_API_TOKEN", token.clone()),
        ("DAPR_API_TOKEN", token.clone()),
        ("WHARF_INGRESS__MAX_BODY", (8 << 20).to_string()),
    ];
    let both = vec![("APP_API_TOKEN", token.clone()), ("DAPR_API_TOKEN", token)];
    let host =
        stage.host_beside("host", &Project::audit(&yard)?, &variables, (both, flags)).await?;
    let publisher = Publisher { stage: &stage, url: host.daprd.url() };
    ensure!(
        publisher.event("todo-pubsub/task-events", &event(CREATED, 0)).await.is_err(),
        "daprd takes calls without its token"
    );
    let http = reqwest::Client::builder().default_headers(
        [(
            reqwest::header::HeaderName::from_static("dapr-api-token"),
            reqwest::header::HeaderValue::from_static("s3cret"),
        )]
        .into_iter()
        .collect(),
    );
    stage.outside.http = http.no_proxy().build()?;
    let publisher = Publisher { stage: &stage, url: host.daprd.url() };

    publisher.event("todo-pubsub/task-events", &event(CREATED, 1)).await?;
    publisher.event("todo-pubsub/declared-events", &event(CREATED, 2)).await?;
    let raw = "?metadata.rawPayload=true";
    for (topic, number) in [("raw-events", 3), ("raw-bulk-events", 4)] {
        publisher.event(&format!("todo-pubsub/{topic}{raw}"), &event(CREATED, number)).await?;
    }
    let kind = "application/octet-stream";
    publisher
        .post(&binary("todo-pubsub/declared-events", &event(CREATED, 5), kind), kind, data(5))
        .await?;
    // In bulk, and with its data wrapped by daprd, singly and in bulk.
    for (topic, number) in [
        ("todo-pubsub/task-events", 11),
        ("todo-pubsub/raw-events", 12),
        ("todo-pubsub/raw-bulk-events", 13),
        ("escaping/escaped-events", 14),
        ("escaping/escaped-bulk-events", 15),
    ] {
        let path = binary(topic, &event(CREATED, number), "application/json");
        publisher.post(&path, "application/json", data(number)).await?;
    }
    // One that is no string ends daprd itself: 1.18.1 panics before it calls anybody, and again at each
    // start, since the event comes again.
    let zero = "00-00000000000000000000000000000000-0000000000000000-00";
    for (number, trace) in [(6, json!(zero)), (7, json!("17")), (8, Value::Null)] {
        let mut odd = event(CREATED, number);
        for name in ["traceid", "traceparent"] {
            odd[name] = trace.clone();
        }
        publisher.event("todo-pubsub/task-events", &odd).await?;
    }
    let mut large = event(CREATED, 9);
    large["data"]["task"]["description"] = json!("x".repeat(LARGE));
    publisher.event("redis/large-events", &large).await?;
    let mut too_large = event(CREATED, 10);
    too_large["data"]["task"]["description"] = json!("x".repeat(2 * LARGE));
    publisher.event("redis/large-events", &too_large).await?;
    let ids: Vec<_> = (1..10).chain(11..16).map(id).collect();
    stage.audited(CREATED, &ids).await?;
    // Some were escaped on the way.
    let sources = format!(
        "SELECT source, count(*)::text FROM audit_log WHERE type = '{CREATED}' GROUP BY source \
         ORDER BY source"
    );
    stage.become_rows(&sources, &[&["test", "8"], &["urn:a b", "6"]]).await?;
    let dead = "SELECT component, status FROM wharf_deliveries WHERE status <> 'done'";
    stage.become_rows(dead, &[&["-", "dead"]]).await?;
    Ok(())
}

fn data(number: u32) -> String {
    event(CREATED, number)["data"].to_string()
}

/// Kafka's binary mode: attributes in the record's headers.
fn binary(topic: &str, event: &Value, kind: &str) -> String {
    let mut event = event.clone();
    event["source"] = json!("urn:a b");
    let names = ["specversion", "id", "source", "type", "subject", "time"];
    let attributes = names.map(|name| {
        let value = event[name].as_str().unwrap_or_default();
        format!("&metadata.ce_{name}={}", value.replace(':', "%3A").replace(' ', "%20"))
    });
    let kind = kind.replace('/', "%2F");
    let kind = format!("&metadata.content-type={kind}");
    format!("{topic}?metadata.rawPayload=true{kind}{}", attributes.concat())
}

/// The host is stopped with deliveries in progress, its sidecar too, and both at once as in a pod:
/// each event is audited once, and every stop is clean.
pub async fn stops(yard: Arc<Yard>) -> anyhow::Result<()> {
    let stage = Stage::set(Arc::clone(&yard), &[]).await?;
    let flags = vec!["--dapr-block-shutdown-duration=5s".to_owned()];
    let project = Project::audit(&yard)?;
    let mut host = stage.host_beside("host", &project, &[], (Vec::new(), flags)).await?;
    let busy = async |host: &Host| {
        stage.progress().await?;
        let ledger = stage.lock_ledger().await?;
        in_progress(host).await?;
        anyhow::Ok(ledger)
    };
    let stops = async {
        for _ in 0..3 {
            let ledger = busy(&host).await?;
            // It is told to stop first, and can finish then.
            futures::try_join!(host.stop(), ledger.unlock())?;
            host.start_again().await?;
        }
        let ledger = busy(&host).await?;
        futures::try_join!(host.daprd.stop(), ledger.unlock())?;
        host.daprd.start_again().await?;
        let ledger = busy(&host).await?;
        let Host { wharf, daprd, .. } = &mut host;
        let ((), status, ()) = futures::try_join!(daprd.stop(), wharf.stop(STOP), ledger.unlock())?;
        ensure!(status.success(), "the host ended with {status}");
        daprd.start_again().await?;
        host.start_again().await?;
        stage.progress().await
    };
    let ids = stage.outside.under_load("task-events", created, stops).await?;
    stage.audited_once(CREATED, &ids).await
}
