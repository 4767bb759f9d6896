//! Puts the parts together. The only place that names the backend and the database.

mod dapr;
mod listen;

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use axum::Router;
use futures::FutureExt as _;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::Admin;
use crate::backend::Backend;
use crate::backend::embedded::Keep;
use crate::catalog::Registry;
use crate::catalog::load::{self, Offer};
use crate::catalog::swap::Swapper;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::contract::Contracts;
use crate::dispatch::order::Order;
use crate::dispatch::parked::ParkedCounts;
use crate::dispatch::reads::LiveReads;
use crate::dispatch::report::Reporter;
use crate::dispatch::room::{Amount, Room};
use crate::dispatch::{Dispatch, Parts};
use crate::ingress::Ingress;
use crate::ledger::{Ledger, LedgerError, LedgerOptions, Place};
use crate::places::Places;
use crate::problem::Problem;
use crate::prune::Prune;
use crate::recorder::Recorder;
use crate::relay::{self, Relay};
use crate::runtime::{Sandbox, SandboxConfig};
use crate::sweep::{self, Sweep};
use crate::telemetry::metrics::Metrics;
use crate::work::Work;

pub use self::dapr::Dapr;

/// How long a stop waits for connections that are still open, and then for the embedded Dapr's file.
const LINGER: Duration = Duration::from_secs(5);

/// A host with its Dapr.
pub struct App {
    pub config: Config,
    pub clock: Arc<dyn Clock>,
    pub ledger: Ledger,
    pub registry: Arc<Registry>,
    pub swapper: Swapper,
    pub dapr: Dapr,
    /// What effects are performed through.
    pub backend: Arc<dyn Backend>,
    pub metrics: Metrics,
    between: Arc<dyn Between>,
    /// How long the ledger knows an event at least.
    dedup_window: Duration,
    recorder: Arc<Recorder>,
    dispatch: Dispatch,
    ingress: Arc<Ingress>,
    admin: Arc<Admin>,
    /// Deliveries and effects in progress.
    work: Work,
    /// Loops that start new work: relay, sweep, pruning, and the embedded Dapr's deliveries.
    loops: TaskTracker,
    /// What work in progress still needs: the ledger's committer and the listeners.
    services: TaskTracker,
    /// Ends the loops and turns new events away.
    stop: CancellationToken,
    /// Ends the services, after the work is done.
    close: CancellationToken,
}

/// What stands between a host and its Dapr: nothing, or faults in a test.
pub trait Between: Send + Sync {
    /// What the host calls instead of its backend.
    fn calls(&self, backend: Arc<dyn Backend>) -> Arc<dyn Backend>;

    /// What the embedded Dapr calls instead of the ingress.
    fn callbacks(&self, ingress: Router) -> Router;
}

/// They call each other directly.
pub struct Nothing;

impl Between for Nothing {
    fn calls(&self, backend: Arc<dyn Backend>) -> Arc<dyn Backend> {
        backend
    }

    fn callbacks(&self, ingress: Router) -> Router {
        ingress
    }
}

/// Why a host cannot start: faults in files that people write, or something else.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{} problems", .0.len())]
    Problems(Vec<Problem>),
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl App {
    /// Opens the databases, compiles the components and wires everything; nothing runs yet.
    pub async fn build(
        config: Config,
        contracts: Vec<PathBuf>,
        offers: Vec<Offer>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        Box::pin(Self::build_with(config, contracts, offers, clock, Arc::new(Nothing))).await
    }

    /// The same with something between the host and its Dapr.
    pub async fn build_with(
        config: Config,
        contracts: Vec<PathBuf>,
        offers: Vec<Offer>,
        clock: Arc<dyn Clock>,
        between: Arc<dyn Between>,
    ) -> Result<Self, StartError> {
        let contracts = Contracts::load(&contracts).map_err(StartError::Problems)?;
        let dedup_window = contracts.dedup_window(config.ledger.dedup_window);
        let dedup_window = dedup_window.map_err(|problem| StartError::Problems(vec![problem]))?;
        let (work, loops, services) = (Work::default(), TaskTracker::new(), TaskTracker::new());
        let (stop, close) = (CancellationToken::new(), CancellationToken::new());
        let ledger = open_ledger(&config, &services, &close).await?;
        let dapr = Dapr::open(&config, &contracts, &clock).await?;
        let backend = between.calls(dapr.backend());
        let metrics = Metrics::new().context("the metrics cannot be set up")?;
        let cache = Some(config.cache_folder());
        let sandbox = Sandbox::new(SandboxConfig { cache, ..SandboxConfig::default() })?;
        let catalog = load::load(contracts, offers, &sandbox, &ledger, clock.now()).await;
        let registry = Arc::new(Registry::new(catalog.map_err(StartError::Problems)?));
        let recorder = Arc::new(Recorder::new(ledger.clone()));
        let swapper = Swapper {
            registry: Arc::clone(&registry),
            sandbox,
            ledger: ledger.clone(),
            clock: Arc::clone(&clock),
            metrics: metrics.clone(),
            tasks: loops.clone(),
            stop: stop.clone(),
        };
        let Config { ingress: config::Ingress { max_events, max_bytes, .. }, .. } = config;
        let room = Room::new(Amount { events: max_events, bytes: max_bytes });
        let dispatch = Dispatch::new(Parts {
            registry: Arc::clone(&registry),
            ledger: ledger.clone(),
            reads: Arc::new(LiveReads { ledger: ledger.clone(), backend: Arc::clone(&backend) }),
            clock: Arc::clone(&clock),
            reporter: Reporter { metrics: metrics.clone() },
            recorder: Arc::clone(&recorder),
            order: Order::default(),
            parked: ParkedCounts::default(),
            room: room.clone(),
            patience: config.ingress.patience,
            work: work.clone(),
            stop: stop.clone(),
        });
        let ingress = Arc::new(Ingress {
            service: config.service.clone(),
            token: config.ingress.token.clone(),
            max_body: config.ingress.max_body,
            subscriptions: config.ingress.subscriptions,
            registry: Arc::clone(&registry),
            dispatch: dispatch.clone(),
            ledger: ledger.clone(),
            metrics: metrics.clone(),
            ready: AtomicBool::new(false),
        });
        let admin = Arc::new(Admin {
            service: config.service.clone(),
            token: config.admin.token.clone(),
            registry: Arc::clone(&registry),
            ledger: ledger.clone(),
            recorder: Arc::clone(&recorder),
            room,
            clock: Arc::clone(&clock),
            metrics: metrics.clone(),
        });
        Ok(Self {
            config,
            clock,
            ledger,
            registry,
            swapper,
            backend,
            dapr,
            metrics,
            between,
            dedup_window,
            recorder,
            dispatch,
            ingress,
            admin,
            work,
            loops,
            services,
            stop,
            close,
        })
    }

    /// The routes that daprd calls.
    pub fn ingress(&self) -> Router {
        self.ingress.router()
    }

    /// The routes that people call.
    pub fn admin(&self) -> Router {
        self.admin.router()
    }

    /// Starts the relay, the sweep, pruning and the embedded Dapr, and reports healthy.
    pub fn start(&self) {
        let relay = Relay {
            backend: Arc::clone(&self.backend),
            registry: Arc::clone(&self.registry),
            ledger: self.ledger.clone(),
            clock: Arc::clone(&self.clock),
            metrics: self.metrics.clone(),
            lease: self.config.relay.lease,
            batch: self.config.relay.batch,
            work: self.work.clone(),
            told: Mutex::default(),
            places: Places::new(relay::PLACES),
            batches: Arc::new(Semaphore::new(relay::BATCHES)),
        };
        let sweep = Sweep {
            dispatch: self.dispatch.clone(),
            registry: Arc::clone(&self.registry),
            ledger: self.ledger.clone(),
            clock: Arc::clone(&self.clock),
            lease: self.config.ledger.lease,
            work: self.work.clone(),
            places: Places::new(sweep::PLACES),
        };
        let prune = Prune {
            ledger: self.ledger.clone(),
            clock: Arc::clone(&self.clock),
            metrics: self.metrics.clone(),
            window: self.dedup_window,
        };
        self.keep("relay", relay.run(self.stop.clone()));
        self.keep("sweep", sweep.run(self.stop.clone()));
        self.keep("pruning", prune.run(self.stop.clone()));
        self.services.spawn(Arc::clone(&self.recorder).run(self.close.clone()));
        self.loops.spawn(self.metrics.clone().keep_up(self.stop.clone()));
        self.ingress.set_ready(true);
        let ingress = self.between.callbacks(self.ingress());
        self.dapr.start(ingress, &self.keeper(), self.stop.clone());
    }

    /// A loop that ends before the stop is a bug of the host: health says so, and daprd holds back.
    fn keeper(&self) -> Keep {
        let (loops, stop) = (self.loops.clone(), self.stop.clone());
        let ingress = Arc::clone(&self.ingress);
        Arc::new(move |name, run| {
            let (stop, ingress) = (stop.clone(), Arc::clone(&ingress));
            loops.spawn(async move {
                let panicked = AssertUnwindSafe(run).catch_unwind().await.is_err();
                if panicked || !stop.is_cancelled() {
                    tracing::error!("the {name} ended; restart the host");
                    ingress.set_ready(false);
                }
            });
        })
    }

    /// The same for one of the host's own loops.
    fn keep(&self, name: &'static str, run: impl Future<Output = ()> + Send + 'static) {
        self.keeper()(name, Box::pin(run));
    }

    /// Serves a router until the host stops.
    pub fn serve(&self, listener: TcpListener, router: Router) {
        let (services, close) = (self.services.clone(), self.close.clone());
        self.services.spawn(listen::serve(listener, router, services, close));
    }

    /// Takes nothing new, finishes what is in progress, then closes the databases. What does not end
    /// within `drain` is left: nothing of it is acknowledged, and its claims end by themselves.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.loops.close();
        let drained = async {
            self.loops.wait().await;
            self.work.ended().await;
        };
        if tokio::time::timeout(self.config.drain, drained).await.is_err() {
            let (loops, begun) = (self.loops.len(), self.work.in_progress());
            tracing::warn!(loops, begun, "what is in progress does not end, and is left");
        }
        self.ingress.set_ready(false);
        self.close.cancel();
        self.services.close();
        if tokio::time::timeout(LINGER, self.services.wait()).await.is_err() {
            tracing::warn!("a connection was still open and is cut");
        }
        if tokio::time::timeout(LINGER, self.dapr.close()).await.is_err() {
            tracing::warn!("the embedded Dapr's file was not closed");
        }
    }

    /// What is in progress, for tests.
    pub fn work(&self) -> &Work {
        &self.work
    }
}

/// Where a host with these settings keeps its ledger.
pub fn ledger_place(config: &Config) -> Place {
    match &config.ledger.url {
        Some(url) => Place::Url(url.clone()),
        None => Place::File(config.ledger_file()),
    }
}

async fn open_ledger(
    config: &Config,
    tasks: &TaskTracker,
    close: &CancellationToken,
) -> anyhow::Result<Ledger> {
    let place = ledger_place(config);
    let (name, is_postgres) = (place.to_string(), matches!(place, Place::Url(_)));
    let options = LedgerOptions {
        max_page_count: config.ledger.max_page_count,
        busy_timeout: config.ledger.busy_timeout,
        committers: config.ledger.committers,
        query_timeout: config.ledger.query_timeout,
        ..LedgerOptions::of(place)
    };
    let opened = Ledger::open(options, tasks, close.clone()).await;
    let opened = opened.map_err(|error| match error {
        // Later it would be waited for.
        LedgerError::Unavailable(why) if is_postgres => anyhow!(
            "{why}; a start needs the database: see that its server runs, and that DATABASE_URL \
             (or [ledger] url) is right"
        ),
        other => other.into(),
    });
    opened.with_context(|| format!("the ledger cannot be opened: {name}"))
}

#[cfg(test)]
mod tests;
