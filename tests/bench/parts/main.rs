//! Where Wharf's processor time goes: the steps of an event's way, each by itself, in a process of
//! its own. What they do not explain of a whole host's time is its own work: HTTP, dispatch, metrics
//! and log. Prints JSON, for the benchmark.

#![expect(clippy::print_stdout, reason = "the result is what is printed")]

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
use clap::Parser;
use futures::StreamExt as _;
use serde_json::json;
use wharf::app::{App, StartError};
use wharf::catalog::{Catalog, load};
use wharf::clock::{Clock as _, SystemClock};
use wharf::config::Config;
use wharf::contract::Decode;
use wharf::dispatch::decide::Attempt;
use wharf::dispatch::reads::LiveReads;
use wharf::event::{Arrival, Decoded, Origin, TopicOrigin, WireEvent, parse};
use wharf::ingress::bulk;
use wharf::ledger::{Committed, Submission};
use wharf::name::{ComponentId, Pubsub, Topic};
use wharf::runtime::{Call, Component};
use wharf_bench::{cpu, event};

/// As in the host's program: allocation is a good part of what is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the relay may take for all that was committed.
const RELAY: Duration = Duration::from_secs(60);

/// Measure the steps of an event's way through Wharf
///
/// Everything else is said as to a host: WHARF_DATA, WHARF_CACHE, DATABASE_URL.
#[derive(Parser)]
struct Arguments {
    /// Events for each step
    #[arg(long, default_value_t = 12_000)]
    events: u64,
    /// The postmaster, whose time counts too
    #[arg(long)]
    server: Option<u32>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // Each line is written, to where it costs the least.
    let nowhere = File::create("/dev/null")?;
    tracing_subscriber::fmt().with_env_filter("info").with_writer(nowhere).init();
    let app = start().await?;
    let result = Box::pin(Parts::new(&app, &arguments)?.measure()).await;
    app.stop().await;
    println!("{}", result?);
    Ok(())
}

/// A host with the components of this folder. Nothing in it runs yet.
async fn start() -> anyhow::Result<App> {
    let config = Config::load(None).map_err(|error| anyhow!("{error}"))?;
    std::fs::create_dir_all(&config.data)?;
    let contracts = load::contract_folders(&config.contracts).map_err(StartError::Problems)?;
    let folder = config.components.join("audit");
    let offer = load::read(&folder, &folder.join("audit.wasm")).map_err(StartError::Problems)?;
    let app = App::build(config, contracts, vec![offer], Arc::new(SystemClock)).await;
    app.map_err(|error| match error {
        StartError::Problems(problems) => {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            anyhow!("{}", problems.join("\n"))
        }
        StartError::Other(error) => error,
    })
}

struct Parts<'a> {
    app: &'a App,
    arguments: &'a Arguments,
    catalog: Arc<Catalog>,
    component: Arc<Component>,
}

/// Microseconds for each event: this process's, and the database server's.
struct Cost {
    host: f64,
    server: Option<f64>,
}

impl Cost {
    fn json(&self) -> serde_json::Value {
        json!({ "host": self.host, "server": self.server })
    }
}

impl<'a> Parts<'a> {
    fn new(app: &'a App, arguments: &'a Arguments) -> anyhow::Result<Self> {
        let catalog = app.registry.snapshot();
        let component = catalog.component(&ComponentId::new("audit")?);
        let component = Arc::clone(component.context("there is no component `audit`")?);
        Ok(Self { app, arguments, catalog, component })
    }

    async fn measure(&self) -> anyhow::Result<serde_json::Value> {
        let events = self.arguments.events;
        let wires: Vec<_> = (0..events).map(wire).collect();
        let single = self.cost(async { Ok(parse_all(&wires)?) }).await?;
        let bulks: Vec<_> = (0..events / event::IN_BULK as u64)
            .map(|bulk| Bytes::from(event::bulk(bulk * event::IN_BULK as u64)))
            .collect();
        let envelopes = self.cost(async { open_all(&bulks) }).await?;
        let decode = self.cost(async {
            for wire in &wires {
                std::hint::black_box(self.catalog.contracts.decode(wire));
            }
            Ok(())
        });
        let decode = decode.await?;
        let sandbox = self.sandbox(0..events).await?;
        // Ids that were not there before; the relay finds all of them.
        let one = self.commit(events..2 * events, 32).await?;
        let hundred = self.commit(2 * events..3 * events, event::IN_BULK).await?;
        let relay = self.relay(2 * events).await?;
        Ok(json!({
            "parse": { "single": single.host, "bulk": single.host + envelopes.host },
            "decode": decode.host - single.host,
            "sandbox": sandbox.host,
            "commit": { "single": one.json(), "bulk": hundred.json() },
            "relay": relay.map(|relay| relay.json()),
        }))
    }

    /// What a step for every event costs.
    async fn cost(&self, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<Cost> {
        let server = || self.arguments.server.and_then(cpu::tree);
        let before = (cpu::own(), server());
        work.await?;
        let each = |time: Duration| time.as_secs_f64() * 1e6 / self.arguments.events as f64;
        let host = each(cpu::own().saturating_sub(before.0));
        let server =
            server().zip(before.1).map(|(after, before)| each(after.saturating_sub(before)));
        Ok(Cost { host, server })
    }

    async fn sandbox(&self, numbers: std::ops::Range<u64>) -> anyhow::Result<Cost> {
        let decoded: Vec<_> =
            numbers.map(|number| self.decoded(number)).collect::<Result<_, _>>()?;
        let invoke = self.cost(async {
            for (decoded, wire) in &decoded {
                self.invoke(decoded, wire).await?;
            }
            Ok(())
        });
        invoke.await
    }

    /// Commits side by side, each in a task of its own, as callbacks do.
    async fn commit(
        &self,
        numbers: std::ops::Range<u64>,
        in_flight: usize,
    ) -> anyhow::Result<Cost> {
        let mut submissions = Vec::new();
        for number in numbers {
            let (decoded, wire) = self.decoded(number)?;
            submissions.push(self.invoke(&decoded, &wire).await?);
        }
        let commits = submissions.into_iter().map(|submission| {
            let ledger = self.app.ledger.clone();
            async move { ledger.commit(submission).await }
        });
        let commits = futures::stream::iter(commits).map(tokio::spawn).buffer_unordered(in_flight);
        let all = self.cost(async {
            let mut commits = std::pin::pin!(commits);
            while let Some(committed) = commits.next().await {
                let committed = committed?;
                ensure!(matches!(committed, Ok(Committed::Done)), "not committed: {committed:?}");
            }
            Ok(())
        });
        all.await
    }

    /// Lets the relay perform what was committed; `None` when there was nothing to perform. Its cost
    /// is that of one event, although there are `events` of them.
    async fn relay(&self, events: u64) -> anyhow::Result<Option<Cost>> {
        let waits = async || {
            let due = self.app.ledger.next_due(&[]).await;
            anyhow::Ok(due.map_err(|error| anyhow!("{error}"))?.outbox.is_some())
        };
        if !waits().await? {
            return Ok(None);
        }
        let run = self.cost(async {
            self.app.start();
            let began = std::time::Instant::now();
            while waits().await? {
                ensure!(began.elapsed() < RELAY, "the relay was not done after {RELAY:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        });
        let Cost { host, server } = run.await?;
        let share = self.arguments.events as f64 / events as f64;
        Ok(Some(Cost { host: host * share, server: server.map(|server| server * share) }))
    }

    fn decoded(&self, number: u64) -> anyhow::Result<(Arc<Decoded>, Arc<WireEvent>)> {
        let wire = wire(number);
        match self.catalog.contracts.decode(&wire) {
            Decode::Event(decoded) => Ok((Arc::new(*decoded), Arc::new(wire))),
            Decode::Unknown { .. } | Decode::Unreadable(_) => {
                Err(anyhow!("the event is not valid"))
            }
        }
    }

    async fn invoke(
        &self,
        decoded: &Arc<Decoded>,
        wire: &Arc<WireEvent>,
    ) -> anyhow::Result<Submission> {
        let now = SystemClock.now();
        let call = Call {
            decoded: Arc::clone(decoded),
            wire: Arc::clone(wire),
            attempt: 1,
            now,
            seed: SystemClock.draw(),
            reads: Arc::new(LiveReads {
                ledger: self.app.ledger.clone(),
                backend: self.app.dapr.backend(),
            }),
            record: true,
        };
        let permit = self.component.permit(Duration::from_secs(1)).await.context("no place")?;
        let invocation = self.component.invoke(permit, call).await;
        let attempt = Attempt {
            catalog: &self.catalog,
            component: &self.component,
            decoded,
            wire,
            claim: None,
            failed: 0,
            arrived: now,
            now,
        };
        Ok(attempt.submission(invocation))
    }
}

fn parse_all(wires: &[WireEvent]) -> Result<(), parse::ParseError> {
    for wire in wires {
        std::hint::black_box(parse::parse(&wire.bytes, &[])?);
    }
    Ok(())
}

fn open_all(bulks: &[Bytes]) -> anyhow::Result<()> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(event::BULK));
    for bulk in bulks {
        std::hint::black_box(bulk::envelope(&headers, bulk).context("no envelope")?);
    }
    Ok(())
}

fn wire(number: u64) -> WireEvent {
    let origin = TopicOrigin {
        path: event::PATH.to_owned(),
        pubsub: Pubsub::new("todo-pubsub").ok(),
        topic: Topic::new("task-events").ok(),
        ..TopicOrigin::default()
    };
    let arrival = Arrival { origin: Origin::Topic(origin), ..Arrival::default() };
    WireEvent { bytes: Bytes::from(event::single(number)), arrival }
}
