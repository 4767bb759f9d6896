//! The conformance suite on the real daprd: Kafka and Redis as pub/sub; PostgreSQL, Redis and memory
//! as state. The same questions are asked of the embedded Dapr by `cargo test`, and here once more,
//! so that one table has both.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use wharf::backend::dapr;
use wharf::config::DaprEndpoint;
use wharf_test_real::{Daprd, Kafka, Redis, Scheduler, Sidecar, Yard, component, say};
use wharf_tests::conformance::app::{App, TOPICS, Topics, Way};
use wharf_tests::conformance::embedded::Playing;
use wharf_tests::conformance::{Part, World, all, ask, table};

/// Retried for ever, as the policy that ships with Wharf says.
const RESILIENCY: &str = "
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata:
  name: conformance
spec:
  policies:
    retries:
      forever: { policy: constant, duration: 500ms, maxRetries: -1 }
      constant: { policy: constant, duration: 100ms, maxRetries: 2 }
      exponential: { policy: exponential, maxRetries: 2 }
  targets:
    components:
      kafka: { inbound: { retry: forever } }
      kafka-constant: { inbound: { retry: constant } }
      kafka-exponential: { inbound: { retry: exponential } }
      kafka-let-go: { inbound: { retry: constant } }
      redis: { inbound: { retry: forever } }
      redis-constant: { inbound: { retry: constant } }
      redis-exponential: { inbound: { retry: exponential } }
      redis-let-go: { inbound: { retry: constant } }
";

const CONSTANT: &[(&str, Way)] = &[("constant", Way::Single), ("constant-bulk", Way::Bulk)];
const EXPONENTIAL: &[(&str, Way)] =
    &[("exponential", Way::Single), ("exponential-bulk", Way::Bulk)];
const LET_GO: &[(&str, Way)] = &[("let-go", Way::Single), ("let-go-bulk", Way::Bulk)];

/// All pubsubs of a broker, each a consumer group of its own.
const PUBSUBS: [Topics; 8] = [
    ("kafka", TOPICS),
    ("kafka-constant", CONSTANT),
    ("kafka-exponential", EXPONENTIAL),
    ("kafka-let-go", LET_GO),
    ("redis", TOPICS),
    ("redis-constant", CONSTANT),
    ("redis-exponential", EXPONENTIAL),
    ("redis-let-go", LET_GO),
];

const SECRETS: &str = r#"{"plain":"p","several":{"a":"1","b":"2"}}"#;

/// Prints the table; fails when an answer is not as it is written down.
pub async fn play(yard: Arc<Yard>) -> anyhow::Result<()> {
    let (kafka, redis, scheduler) =
        futures::try_join!(Kafka::start(&yard, 3), Redis::start(&yard), Scheduler::start(&yard))?;
    let schema = wharf_test_postgres::schema("conformance").await;
    // As Go's driver reads it.
    let database = schema.url.replace("options[search_path]", "search_path");
    let app = App::new(PUBSUBS.to_vec(), vec!["clock"]);
    let address = app.listen().await;
    let secrets = yard.write("secrets.json", SECRETS)?;
    let cron = [("schedule", "@every 2s")];
    let resources = [
        redis.state_store("redis-store"),
        component("memory", "state.in-memory", &[]),
        component(
            "postgres",
            "state.postgresql",
            &[("connectionString", &database), ("cleanupInterval", "1s")],
        ),
        component(
            "secrets",
            "secretstores.local.file",
            &[("secretsFile", &secrets.display().to_string()), ("multiValued", "true")],
        ),
        component("clock", "bindings.cron", &cron),
        component("unwanted-clock", "bindings.cron", &cron),
        component("notify-http", "bindings.http", &[("url", &format!("http://{address}/notify"))]),
        RESILIENCY.to_owned(),
    ];
    let pubsubs = PUBSUBS.map(|(name, _)| match name.starts_with("kafka") {
        true => {
            let retries = if name.ends_with("let-go") { "false" } else { "true" };
            let own = [("consumerGroup", name), ("consumeRetryEnabled", retries)];
            kafka.pubsub_with(name, &own)
        }
        false => redis.pubsub(name),
    });
    let resources: Vec<_> = resources.iter().chain(&pubsubs).map(String::as_str).collect();
    let sidecar = Sidecar {
        app_port: Some(address.port()),
        health: Some("/health".to_owned()),
        scheduler: Some(scheduler.address()),
        variables: vec![("APP_API_TOKEN", "app-token".to_owned())],
        ..Sidecar::of("conformance", yard.resources("conformance", &resources)?)
    };
    let mut daprd = Daprd::start(&yard, sidecar).await?;
    daprd.healthy().await?;
    let endpoint = DaprEndpoint { url: daprd.url(), token: None };
    let on_kafka = World {
        name: "daprd: Kafka, PostgreSQL",
        backend: Arc::new(dapr::Sidecar::new(&endpoint).context("no sidecar")?),
        url: daprd.url(),
        app,
        pubsub: "kafka",
        store: "postgres",
        secrets: "secrets",
        parts: &[Part::PubSub, Part::State, Part::Other, Part::Finite, Part::Health],
        http: reqwest::Client::new(),
    };
    let on_redis = World {
        name: "daprd: Redis",
        pubsub: "redis",
        store: "redis-store",
        parts: &[Part::PubSub, Part::State, Part::Finite],
        ..on_kafka.clone()
    };
    let in_memory = World {
        name: "daprd: in memory",
        store: "memory",
        parts: &[Part::State],
        ..on_kafka.clone()
    };
    let playing = Playing::start().await;
    let worlds = [playing.world.clone(), on_kafka, on_redis, in_memory];
    let lines = ask(&all(), &worlds).await;
    playing.stop().await;
    let (table, wrong) = table(&lines, &worlds);
    say::result(table);
    daprd.stop().await?;
    ensure!(wrong == 0, "{wrong} answers are not as they are written down");
    Ok(())
}
