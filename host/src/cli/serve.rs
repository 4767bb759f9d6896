//! `wharf serve`: runs built components beside a Dapr sidecar. Everything is loaded before anybody
//! is let in, and the sidecar is not waited for: it waits for the host.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use clap::Args;

use crate::app::{self, App, StartError};
use crate::catalog::bundle;
use crate::catalog::load::{self, Offer};
use crate::cli::host::{Port, Signals, lock};
use crate::cli::{build, print};
use crate::clock::SystemClock;
use crate::config::{self, BackendKind, Config};
use crate::manifest::Manifest;
use crate::problem::Problem;
use crate::telemetry;

/// Run the built components beside a Dapr sidecar
///
/// It takes callbacks on 127.0.0.1:8080 (the sidecar's --app-port) and questions on 127.0.0.1:8081,
/// and calls the sidecar where DAPR_HTTP_ENDPOINT or DAPR_HTTP_PORT says. It runs what is in
/// components/: folders with a component.toml and its built wasm beside it, and bundles (*.tar),
/// under the contracts in contracts/. SIGTERM ends it when what is in progress is finished.
#[derive(Args)]
#[command(after_help = "Examples:
  wharf serve
  wharf serve --config /etc/wharf/wharf.toml
  DATABASE_URL=postgres://wharf:secret@db/wharf WHARF_SERVICE=todo wharf serve
  wharf serve --print-config       what it would run with, secrets hidden
  dapr run --app-id wharf --app-port 8080 --enable-app-health-check \\
    --app-health-check-path /health --app-health-probe-timeout 3000 \\
    --resources-path dapr/local --config dapr/local/config.yaml -- wharf serve")]
pub struct Serve {
    /// A configuration file, such as deploy/wharf.toml, which has every setting; none is needed
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the configuration that comes of defaults, file and environment, and do nothing else
    #[arg(long)]
    print_config: bool,
    /// Print it as JSON
    #[arg(long, requires = "print_config")]
    json: bool,
}

impl Serve {
    /// Runs until SIGTERM or Ctrl-C.
    pub async fn run(self) -> Result<(), StartError> {
        let defaults = Config { backend: BackendKind::Dapr, ..Config::default() };
        let config = defaults.overridden(self.config.as_deref());
        let config = config.map_err(|error| anyhow!("{error}"))?;
        if self.print_config {
            match self.json {
                true => print::json(&config.without_secrets())?,
                false => print::line(config.shown().trim_end()),
            }
            return Ok(());
        }
        telemetry::init("info,sqlx=warn");
        let _lock = match keeps_files(&config) {
            true => Some(lock(&config.data, "WHARF_DATA=FOLDER")?),
            false => None,
        };
        let ports = Ports::reserve(&config)?;
        let mut signals = Signals::listen()?;
        let load = Box::pin(async {
            let (offers, contracts) = found(&config).await.map_err(StartError::Problems)?;
            App::build(config, contracts, offers, Arc::new(SystemClock)).await
        });
        let app = tokio::select! {
            app = load => app?,
            () = signals.stop() => return Ok(()),
        };
        serve(&app, ports, signals).await.map_err(StartError::Other)
    }
}

/// Whether anything but compiled components is in the data folder.
fn keeps_files(config: &Config) -> bool {
    config.ledger.url.is_none() || config.backend == BackendKind::Embedded
}

/// The ports of the listeners.
struct Ports {
    ingress: Port,
    admin: Port,
    /// Of the embedded Dapr.
    dapr: Option<Port>,
}

impl Ports {
    fn reserve(config: &Config) -> anyhow::Result<Self> {
        let Config { ingress, admin, dapr, .. } = config;
        let dapr = match config.backend {
            BackendKind::Dapr => None,
            BackendKind::Embedded => {
                Some(Port::reserve(dapr.address, "Dapr", "WHARF_DAPR__ADDRESS")?)
            }
        };
        Ok(Self {
            ingress: Port::reserve(ingress.address, "ingress", "WHARF_INGRESS__ADDRESS")?,
            admin: Port::reserve(admin.address, "admin", "WHARF_ADMIN__ADDRESS")?,
            dapr,
        })
    }
}

/// The components as they were built, and the folders of the contracts.
async fn found(config: &Config) -> Result<(Vec<Offer>, Vec<PathBuf>), Vec<Problem>> {
    let mut problems = Vec::new();
    let mut offers = Vec::new();
    let contracts = load::contract_folders(&config.contracts);
    let contracts = contracts.map_err(|found| problems.extend(found)).unwrap_or_default();
    for component in load::prebuilt(&config.components)? {
        match offer(&component).await {
            Ok(offer) => offers.push(offer),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok((offers, contracts)) } else { Err(problems) }
}

/// A component's folder or bundle.
async fn offer(component: &Path) -> Result<Offer, Vec<Problem>> {
    if component.is_dir() {
        let manifest = load::read_manifest(component)?;
        return load::read(component, &wasm(component, &manifest).await);
    }
    let fault =
        |error: &dyn std::fmt::Display| vec![Problem::in_file(component, error.to_string())];
    let bytes = std::fs::read(component).map_err(|error| fault(&error))?;
    let named = component.display().to_string();
    bundle::unpack(&bytes, &named).map_err(|error| fault(&format!("{error:#}")))
}

/// What was put beside the manifest is what is meant; without it, what cargo built last.
async fn wasm(folder: &Path, manifest: &Manifest) -> PathBuf {
    let named = format!("{}.wasm", manifest.name);
    let output = manifest.build.as_ref().map_or(Path::new(&named), |build| &build.output);
    let beside = [output, Path::new(&named)].map(|file| folder.join(file));
    match beside.into_iter().find(|file| file.is_file()) {
        Some(file) => file,
        None => build::output(folder, manifest).await,
    }
}

async fn serve(app: &App, ports: Ports, mut signals: Signals) -> anyhow::Result<()> {
    let (ingress, admin) = (ports.ingress.listen()?, ports.admin.listen()?);
    let addresses = (ingress.local_addr()?, admin.local_addr()?);
    let mut dapr = app.config.dapr.endpoint.clone();
    if let (Some(port), Some(embedded)) = (ports.dapr, app.dapr.embedded()) {
        let listener = port.listen()?;
        dapr = format!("http://{}", listener.local_addr()?);
        app.serve(listener, embedded.router());
    }
    app.serve(admin, app.admin());
    app.serve(ingress, app.ingress());
    app.start();
    greet(app, addresses, &dapr);
    signals.stop().await;
    tracing::info!("stopping: finishing what is in progress");
    tokio::select! {
        () = app.stop() => tracing::info!("stopped"),
        () = signals.stop() => tracing::warn!("given up; unfinished events come again"),
    }
    Ok(())
}

fn greet(app: &App, (ingress, admin): (SocketAddr, SocketAddr), dapr: &str) {
    let catalog = app.registry.snapshot();
    let names: Vec<_> = catalog.components().map(|one| one.id().as_str()).collect();
    if names.is_empty() {
        tracing::warn!(
            folder = %app.config.components.display(),
            "no component runs: every event is acknowledged, and handled by nobody"
        );
    }
    let Config { backend, ingress: config::Ingress { subscriptions, .. }, .. } = &app.config;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        components = names.join(","),
        ledger = %app::ledger_place(&app.config),
        %ingress,
        ?subscriptions,
        %admin,
        ?backend,
        dapr,
        "serving"
    );
}
