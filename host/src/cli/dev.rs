//! `wharf dev`: builds the components and runs everything on this machine, with no broker and no
//! sidecar; then watches their sources, and swaps in what changed.

mod elsewhere;
mod inputs;
mod rebuild;
mod tell;
mod watch;

use rebuild::Rebuild;
use watch::Watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::Args;
use tokio::net::TcpListener;

use crate::app::{App, StartError};
use crate::catalog::load;
use crate::cli::emit;
use crate::cli::host::{Port, Signals, lock};
use crate::cli::{build, print};
use crate::clock::SystemClock;
use crate::config::{BackendKind, Config};
use crate::contract::Contracts;
use crate::manifest::Manifest;
use crate::problem::Problem;
use crate::telemetry;

/// Build the components and run everything here, with an embedded Dapr
///
/// Run it where `components/` and `contracts/` are. It listens on 127.0.0.1: 8080 for callbacks,
/// 8081 for people, 3500 as Dapr. A component whose sources change is built again and swapped in
/// while events flow; one that does not build or load leaves the old one running, and
/// `wharf components` says why. A new folder in components/ is added. Ctrl-C stops it; the next
/// start finds its data.
#[derive(Args)]
#[command(after_help = "Examples:
  wharf dev
  wharf dev --data /tmp/try        keep the data elsewhere
  wharf dev --no-build             run what was built before; watch manifests and built files only
  WHARF_DAPR__ADDRESS=127.0.0.1:3501 wharf dev   when port 3500 is taken
  DATABASE_URL=postgres://wharf:secret@localhost/wharf wharf dev   the ledger in PostgreSQL")]
pub struct Dev {
    /// Where the ledger and the embedded Dapr keep their files [default: .wharf]
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Use the components as they were built before
    #[arg(long)]
    no_build: bool,
    /// A configuration file, such as deploy/wharf.toml, which has every setting
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The three listeners, bound before anything is built, so that a port in use is said at once.
struct Listeners {
    ingress: TcpListener,
    admin: TcpListener,
    dapr: TcpListener,
}

impl Dev {
    /// Runs until Ctrl-C or SIGTERM.
    pub async fn run(self) -> Result<(), StartError> {
        // On a developer's machine a line may say what was wrong with an event, and what guests say.
        telemetry::init(
            "info,sqlx=warn,notify=error,wharf::dispatch::report=debug,wharf::guest=debug",
        );
        let mut config =
            Config::load(self.config.as_deref()).map_err(|error| anyhow!("{error}"))?;
        if let Some(data) = self.data {
            config.data = data;
        }
        config.backend = BackendKind::Embedded;
        let (components, contracts) = found(&config).map_err(StartError::Problems)?;
        let _lock = lock(&config.data, "--data FOLDER")?;
        let listeners = Listeners::bind(&config)?;
        let mut signals = Signals::listen()?;
        let watch = Watch::start(&config.components, &config.contracts).context(
            "the sources cannot be watched; raise fs.inotify.max_user_watches and \
                      max_user_instances (sysctl), or use `wharf serve`, which watches nothing",
        )?;
        let rebuild = Rebuild::new(&config, &components, !self.no_build);
        let build = Box::pin(async {
            let offers = offers(&components, !self.no_build).await?;
            // The first time each is compiled to machine code.
            print::note(format!("loading the components ({})", offers.len()));
            App::build(config, contracts, offers, Arc::new(SystemClock)).await
        });
        let app = tokio::select! {
            app = build => app?,
            () = signals.stop() => {
                print::note("stopped");
                return Ok(());
            }
        };
        let changes = Changes { rebuild, watch };
        Box::pin(run(&app, listeners, signals, changes)).await.map_err(StartError::Other)
    }
}

/// What is done about changed files.
struct Changes {
    rebuild: Rebuild,
    watch: Watch,
}

/// Components with their manifests, and contracts. Every fault that can be seen without building is
/// found here: building takes long.
type Found = (Vec<(PathBuf, Manifest)>, Vec<PathBuf>);

fn found(config: &Config) -> Result<Found, Vec<Problem>> {
    // The ledger is not open yet.
    let database = config.database();
    let mut problems = Vec::new();
    let mut kept = |found: Result<_, Vec<Problem>>| {
        found.map_err(|found| problems.extend(found)).unwrap_or_default()
    };
    let folders = kept(load::component_folders(&config.components));
    let contracts = kept(load::contract_folders(&config.contracts));
    problems.extend(Contracts::load(&contracts).err().into_iter().flatten());
    let mut components = Vec::new();
    for folder in folders {
        match load::read_manifest(&folder) {
            Ok(manifest) => {
                problems.extend(load::check(&folder, &manifest, database));
                components.push((folder, manifest));
            }
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok((components, contracts)) } else { Err(problems) }
}

async fn offers(
    components: &[(PathBuf, Manifest)],
    build: bool,
) -> Result<Vec<load::Offer>, StartError> {
    let built = build::components(components, build).await?;
    let offers = components.iter().zip(&built).map(|((folder, _), wasm)| load::read(folder, wasm));
    offers.collect::<Result<_, _>>().map_err(StartError::Problems)
}

async fn run(
    app: &App,
    listeners: Listeners,
    mut signals: Signals,
    changes: Changes,
) -> anyhow::Result<()> {
    let Listeners { ingress, admin, dapr } = listeners;
    greet(app, ingress.local_addr()?, admin.local_addr()?, dapr.local_addr()?);
    app.serve(ingress, app.ingress());
    app.serve(admin, app.admin());
    if let Some(embedded) = app.dapr.embedded() {
        app.serve(dapr, embedded.router());
    }
    app.start();
    tokio::select! {
        () = changes.rebuild.run(app, changes.watch) => {}
        () = signals.stop() => {}
    }
    print::note("stopping: finishing what is in progress (Ctrl-C again to give up on it)");
    tokio::select! {
        () = app.stop() => print::note("stopped"),
        _ = signals.interrupt.recv() => print::note("given up; unfinished events come again at the next start"),
    }
    Ok(())
}

fn greet(app: &App, ingress: SocketAddr, admin: SocketAddr, dapr: SocketAddr) {
    let components = app.registry.snapshot();
    let names: Vec<_> = components.components().map(|component| component.id().as_str()).collect();
    let names = if names.is_empty() { "no component".to_owned() } else { names.join(", ") };
    print::line(format!(
        "wharf {} runs {names} on this machine\n\n  \
         dapr     http://{dapr}   publish here, as to a sidecar\n  \
         ingress  http://{ingress}   what daprd would call\n  \
         admin    http://{admin}   /deliveries /components /metrics /health\n  \
         data     {}\n  \
         sources  {}   a change is built and swapped in\n\nTry, in another terminal:",
        env!("CARGO_PKG_VERSION"),
        app.config.data.display(),
        app.config.components.display(),
    ));
    if let Some(suggestion) = emit::suggestion(&components.contracts, dapr) {
        print::line(suggestion);
    }
    print::line(format!("  curl http://{admin}/deliveries\n"));
}

impl Listeners {
    fn bind(config: &Config) -> anyhow::Result<Self> {
        let Config { ingress, admin, dapr, .. } = config;
        let bind = |address, what, variable| Port::reserve(address, what, variable)?.listen();
        Ok(Self {
            ingress: bind(ingress.address, "ingress", "WHARF_INGRESS__ADDRESS")?,
            admin: bind(admin.address, "admin", "WHARF_ADMIN__ADDRESS")?,
            dapr: bind(dapr.address, "Dapr", "WHARF_DAPR__ADDRESS")?,
        })
    }
}
