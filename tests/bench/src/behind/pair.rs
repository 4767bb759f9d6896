//! A contestant and its daprd, which runs only while it is its turn.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, query_scalar};
use tokio::time::sleep;
use wharf_bench::{cpu, event};
use wharf_test_real::{Daprd, Sidecar, Yard, port, retried_for_ever};

use super::Way;
use super::round::{Round, Sample, Window};
use super::site::{PUBSUB, Site, TOPIC};
use crate::contestant::{Contestant, Dapr, Database, Kind, Ports, Surroundings};
use crate::postgres::Server;

/// How long a turn may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often it is looked how far it is.
const TICK: Duration = Duration::from_millis(150);
/// When all of the last so many rows are there, they are all counted.
const LAST: u64 = 500;

pub struct Pair {
    pub contestant: Contestant,
    daprd: Daprd,
    resources: PathBuf,
}

impl Pair {
    /// The sidecar is stopped: it has a place to be started again.
    pub async fn start(kind: Kind, around: &Surroundings<'_>, yard: &Yard) -> anyhow::Result<Self> {
        let ingress = port::free()?;
        let resources = yard.resources(kind.name(), &[&retried_for_ever("todo-pubsub")])?;
        let sidecar = Sidecar {
            app_port: Some(ingress),
            // All have the same subscription, from a file: one of them could not ask for bulks.
            flags: vec!["--disable-init-endpoints=config,subscribe".to_owned()],
            ..Sidecar::of(kind.name(), resources.clone())
        };
        let mut daprd = Daprd::start(yard, sidecar).await?;
        let dapr = Dapr::Sidecar(daprd.port());
        let ports = Ports { ingress, admin: port::free()?, dapr };
        let contestant = Contestant::start(kind, Database::Postgres, around, ports).await?;
        daprd.healthy().await?;
        daprd.stop().await?;
        Ok(Self { contestant, daprd, resources })
    }

    /// Its sidecar begins to deliver what it has not had yet.
    pub async fn open(&mut self, site: &Site, way: Way) -> anyhow::Result<()> {
        fs::write(self.resources.join("pubsub.yaml"), site.kafka.pubsub(PUBSUB))?;
        fs::write(self.resources.join("subscription.yaml"), subscription(way))?;
        self.daprd.start_again().await
    }

    /// What was handled is not delivered again.
    pub async fn close(&mut self) -> anyhow::Result<()> {
        self.daprd.stop().await
    }

    /// Gets these events, which are all that it has not had yet.
    pub async fn turn(
        &mut self,
        site: &Site,
        server: &Server,
        way: Way,
        events: Range<u64>,
    ) -> anyhow::Result<Round> {
        server.checkpoint().await?;
        let mut rows = self.rows().await?;
        self.open(site, way).await?;
        let roots =
            [self.contestant.id(), Some(server.id()), self.daprd.process.id(), site.kafka.id()];
        let count = (events.end - events.start) as f64;
        let mut samples = vec![self.sample(&roots).await?];
        let began = Instant::now();
        while !(self.has_all(&mut rows, &events).await? && self.contestant.is_idle().await) {
            self.go_on(began, &mut rows, &events).await?;
            // One that is too busy to answer is asked again.
            samples.extend(self.sample(&roots).await.ok());
        }
        samples.push(self.sample(&roots).await?);
        let window = match self.contestant.kind {
            Kind::WharfPublish => {
                Window::of_published(&samples, count).context("it has not published all")?
            }
            _ => Window::of_rows(&times(&mut rows, &events).await?)
                .context("all of it was handled at once; give it more events")?,
        };
        let callbacks = self.callbacks(way).await?;
        self.close().await?;
        Ok(Round {
            rate: window.rate(),
            used: window.used(&samples),
            in_callback: count / callbacks,
        })
    }

    /// Waits until there is a row for each of these events.
    pub async fn has(&self, events: &Range<u64>) -> anyhow::Result<()> {
        let (mut rows, began) = (self.rows().await?, Instant::now());
        while !self.has_all(&mut rows, events).await? {
            self.go_on(began, &mut rows, events).await?;
        }
        self.contestant.drain().await
    }

    async fn go_on(
        &self,
        began: Instant,
        rows: &mut PgConnection,
        events: &Range<u64>,
    ) -> anyhow::Result<()> {
        if began.elapsed() > PATIENCE {
            bail!(
                "{} has {} of {} rows after {PATIENCE:?}; it said:\n{}\nits daprd said:\n{}",
                self.contestant.kind.name(),
                count(rows, events).await?,
                events.end - events.start,
                self.contestant.said(),
                self.daprd.process.said(),
            );
        }
        sleep(TICK).await;
        Ok(())
    }

    /// Asks little before it is likely.
    async fn has_all(&self, rows: &mut PgConnection, events: &Range<u64>) -> anyhow::Result<bool> {
        for part in [events.end.saturating_sub(LAST).max(events.start)..events.end, events.clone()]
        {
            if count(rows, &part).await? < part.end - part.start {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn sample(&self, roots: &[Option<u32>; 4]) -> anyhow::Result<Sample> {
        let published = self.contestant.published().await?;
        let known: Vec<_> = roots.iter().map(|root| root.unwrap_or_default()).collect();
        let mut used = cpu::trees(&known).into_iter().map(|used| Some(used?.as_secs_f64()));
        let used = roots.map(|_| used.next().flatten());
        Ok(Sample { at: now(), used, published })
    }

    /// Since its daprd was started. Of the events in bulks it has no count.
    async fn callbacks(&self, way: Way) -> anyhow::Result<f64> {
        let metric = match way {
            Way::Single => "dapr_component_pubsub_ingress_count",
            Way::Bulk => "dapr_component_pubsub_ingress_bulk_count",
        };
        self.daprd.count(metric).await
    }

    async fn rows(&self) -> anyhow::Result<PgConnection> {
        let options = PgConnectOptions::from_str(&self.contestant.tables.url())?;
        Ok(options.disable_statement_logging().connect().await?)
    }

    /// Ends it; fails unless it has a row for each event, and no other.
    pub async fn end(self, published: u64) -> anyhow::Result<()> {
        let rows = self.contestant.tables.count("audit_log").await?;
        let name = self.contestant.kind.name();
        ensure!(rows == published, "{name} has {rows} rows for {published} events");
        self.contestant.stop().await
    }
}

/// The same for all.
fn subscription(way: Way) -> String {
    let path = event::PATH;
    let bulk = match way {
        Way::Single => String::new(),
        Way::Bulk => format!(
            "  bulkSubscribe:\n    enabled: true\n    maxMessagesCount: {}\n    \
             maxAwaitDurationMs: {}\n",
            event::IN_BULK,
            super::AWAIT.as_millis()
        ),
    };
    format!(
        "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata:\n  name: bench\nspec:\n  \
         pubsubname: {PUBSUB}\n  topic: {TOPIC}\n  routes:\n    default: {path}\n{bulk}"
    )
}

/// Rows of these events; one event has one key, so none can have two.
async fn count(rows: &mut PgConnection, events: &Range<u64>) -> anyhow::Result<u64> {
    const COUNT: &str = "SELECT count(*) FROM audit_log WHERE contract = 'cloudevents' \
        AND source = 'chat-api' AND event_id >= $1 AND event_id < $2";
    let count: i64 = query_scalar(COUNT)
        .bind(event::id(events.start))
        .bind(event::id(events.end))
        .fetch_one(rows)
        .await?;
    Ok(u64::try_from(count)?)
}

/// When each of these events was handled, sorted: the contestant's own clock, which is ours.
async fn times(rows: &mut PgConnection, events: &Range<u64>) -> anyhow::Result<Vec<f64>> {
    const TIMES: &str = "SELECT extract(epoch FROM recorded_at)::float8 FROM audit_log \
        WHERE contract = 'cloudevents' AND source = 'chat-api' \
        AND event_id >= $1 AND event_id < $2 ORDER BY 1";
    let times = query_scalar(TIMES).bind(event::id(events.start)).bind(event::id(events.end));
    Ok(times.fetch_all(rows).await?)
}

#[expect(clippy::disallowed_methods, reason = "rows have the machine's time, too")]
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
