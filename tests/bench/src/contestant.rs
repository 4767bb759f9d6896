//! Who takes part, how each one is started, and how it is seen that it has lost nothing.

use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::ValueEnum;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rustix::process::Signal;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Row as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::load::{Shape, Turn, drive};
use crate::postgres::Server;
use crate::prepare::{Built, package, root};
use crate::process::{Process, free_address};

/// How long a start may take; one compiles components.
const START: Duration = Duration::from_secs(90);
/// How long what was acknowledged may take until it is in its table, and published.
const SETTLE: Duration = Duration::from_secs(60);
/// Connections to PostgreSQL, for each of those that let us choose.
const CONNECTIONS: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Kind {
    /// Wharf with the audit component
    Wharf,
    /// Wharf with a component that also publishes an event for each event
    WharfPublish,
    /// axum + sqlx: one insert for each event
    NativeInsert,
    /// axum + sqlx: inbox row and row in one statement; UNNEST in bulk
    NativeInbox,
    /// axum + sqlx: inbox row, row and outbox row in one statement; UNNEST in bulk
    NativeOutbox,
    /// FastAPI, dapr-ext-fastapi, asyncpg; executemany in bulk
    Fastapi,
    /// Express, pg; one insert of many rows in bulk
    Express,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Database {
    Sqlite,
    Postgres,
}

impl Kind {
    /// As `--only` and the tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wharf => "wharf",
            Self::WharfPublish => "wharf-publish",
            Self::NativeInsert => "native-insert",
            Self::NativeInbox => "native-inbox",
            Self::NativeOutbox => "native-outbox",
            Self::Fastapi => "fastapi",
            Self::Express => "express",
        }
    }

    pub fn is_wharf(self) -> bool {
        matches!(self, Self::Wharf | Self::WharfPublish)
    }

    /// Whether it was written for a database.
    pub fn runs_on(self, database: Database) -> bool {
        match self {
            Self::Wharf
            | Self::WharfPublish
            | Self::NativeInsert
            | Self::NativeInbox
            | Self::NativeOutbox => true,
            Self::Fastapi | Self::Express => database == Database::Postgres,
        }
    }
}

impl Database {
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// What contestants are started with.
pub struct Surroundings<'a> {
    pub built: &'a Built,
    pub server: Option<&'a Server>,
    /// A folder for files.
    pub place: &'a Path,
}

/// One of them, running.
pub struct Contestant {
    pub kind: Kind,
    pub database: Database,
    process: Process,
    ingress: SocketAddr,
    /// Wharf's, which says whether anything is left to do.
    admin: Option<SocketAddr>,
    tables: Tables,
    folder: PathBuf,
    next: Cell<u64>,
    acknowledged: u64,
    refused: u64,
}

/// Where its rows are.
#[derive(Clone)]
enum Tables {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Contestant {
    pub async fn start(
        kind: Kind,
        database: Database,
        around: &Surroundings<'_>,
    ) -> anyhow::Result<Self> {
        let name = format!("{}-{}", kind.name(), database.name().to_lowercase());
        let folder = around.place.join(&name);
        fs::create_dir_all(&folder)?;
        let tables = match (database, around.server) {
            (Database::Sqlite, _) if kind.is_wharf() => {
                Tables::Sqlite(folder.join("data/ledger.db"))
            }
            (Database::Sqlite, _) => Tables::Sqlite(folder.join("database.db")),
            (Database::Postgres, Some(server)) => Tables::Postgres(server.create(&name).await?),
            (Database::Postgres, None) => bail!("there is no PostgreSQL"),
        };
        let ingress = free_address()?;
        let admin = if kind.is_wharf() { Some(free_address()?) } else { None };
        if !kind.is_wharf() {
            tables.make().await?;
        }
        let command = match kind {
            Kind::Wharf | Kind::WharfPublish => {
                wharf_folder(kind, &folder, around.built)?;
                let mut command = Command::new(&around.built.wharf);
                command.args(["dev", "--no-build"]);
                wharf_variables(&mut command, &folder, &tables);
                command.env("WHARF_INGRESS__ADDRESS", ingress.to_string());
                command.env("WHARF_DAPR__ADDRESS", free_address()?.to_string());
                let admin = admin.map(|admin| admin.to_string());
                command.env("WHARF_ADMIN__ADDRESS", admin.unwrap_or_default());
                command
            }
            Kind::NativeInsert => native(around, ingress, &tables, "insert"),
            Kind::NativeInbox => native(around, ingress, &tables, "inbox"),
            Kind::NativeOutbox => native(around, ingress, &tables, "outbox"),
            Kind::Fastapi => fastapi(&crate::prepare::python().await?, ingress, &tables),
            Kind::Express => express(&crate::prepare::node().await?, ingress, &tables),
        };
        let mut process = Process::start(kind.name(), command, &folder.join("log"))?;
        process.until(START, async || get(ingress, "/health").await.is_some()).await?;
        let contestant = Self {
            kind,
            database,
            process,
            ingress,
            admin,
            tables,
            folder,
            next: Cell::new(0),
            acknowledged: 0,
            refused: 0,
        };
        if kind.is_wharf() && contestant.rows("audit_log").await.is_err() {
            bail!("this Wharf does not keep its ledger in {}", database.name());
        }
        Ok(contestant)
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Events that it answered with SUCCESS.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Sends events for a while, and waits until what they caused is done, which counts.
    pub async fn turn(&mut self, shape: Shape, length: Duration) -> anyhow::Result<Turn> {
        let who = || format!("{} on {}", self.kind.name(), self.database.name());
        let turn = drive(self.ingress, shape, &self.next, length).await;
        let mut turn =
            turn.with_context(|| format!("{}; it said:\n{}", who(), self.process.said()))?;
        let drained = Instant::now();
        self.drain().await?;
        turn.took += drained.elapsed();
        self.acknowledged += turn.events;
        self.refused += turn.refused;
        Ok(turn)
    }

    /// Waits until Wharf has nothing parked and nothing to publish.
    async fn drain(&self) -> anyhow::Result<()> {
        let Some(admin) = self.admin else { return Ok(()) };
        let began = Instant::now();
        loop {
            let metrics = get(admin, "/metrics").await.context("wharf gives no metrics")?;
            let left = metrics.lines().filter(|line| {
                let waits =
                    line.starts_with("wharf_outbox{") || line.starts_with("wharf_deliveries{");
                waits && line.rsplit(' ').next() != Some("0")
            });
            let left: Vec<_> = left.collect();
            if left.is_empty() {
                return Ok(());
            }
            if began.elapsed() > SETTLE {
                bail!("{} did not finish: {}", self.kind.name(), left.join(", "));
            }
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Fails unless there is a row for each event that was acknowledged, and no other.
    pub async fn verify(&self) -> anyhow::Result<u64> {
        let (name, database) = (self.kind.name(), self.database.name());
        let rows = self.rows("audit_log").await?;
        let most = self.acknowledged + self.refused;
        if !(self.acknowledged..=most).contains(&rows) {
            bail!(
                "{name} on {database} has {rows} rows for {} acknowledged and {} refused events; it \
                 said:\n{}",
                self.acknowledged,
                self.refused,
                self.process.said(),
            );
        }
        if self.kind == Kind::WharfPublish {
            let messages = Tables::Sqlite(self.folder.join("data/dapr.db"));
            let published = messages
                .count("messages JOIN topics ON topics.id = messages.topic AND topics.topic = 'echoes'")
                .await?;
            if published < rows {
                bail!("{name} on {database} has published {published} events for {rows} rows");
            }
        }
        Ok(self.refused)
    }

    async fn rows(&self, table: &str) -> anyhow::Result<u64> {
        self.tables.count(table).await
    }

    pub async fn stop(self) -> anyhow::Result<()> {
        self.process.stop(Signal::TERM).await
    }
}

impl Tables {
    fn url(&self) -> String {
        match self {
            Self::Sqlite(file) => format!("sqlite:{}", file.display()),
            Self::Postgres(url) => url.clone(),
        }
    }

    /// Makes what is Wharf's own in a wharf: the audit component's table, and an inbox and an outbox.
    async fn make(&self) -> anyhow::Result<()> {
        let script = |name: &str| {
            let audit =
                root().join(format!("components/audit/migrations/{name}/0001_audit_log.sql"));
            let own = package().join(format!("peers/native/{name}.sql"));
            anyhow::Ok(AssertSqlSafe(fs::read_to_string(audit)? + &fs::read_to_string(own)?))
        };
        match self {
            Self::Sqlite(file) => {
                let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
                let mut connection = options.connect().await?;
                sqlx::raw_sql(script("sqlite")?).execute(&mut connection).await?;
                connection.close().await?;
            }
            Self::Postgres(url) => {
                let mut connection = PgConnectOptions::from_str(url)?.connect().await?;
                sqlx::raw_sql(script("postgres")?).execute(&mut connection).await?;
                connection.close().await?;
            }
        }
        Ok(())
    }

    async fn count(&self, from: &str) -> anyhow::Result<u64> {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {from}"));
        let count: i64 = match self {
            Self::Sqlite(file) => {
                let options = SqliteConnectOptions::new().filename(file).read_only(true);
                options.connect().await?.fetch_one(sql).await?.try_get(0)?
            }
            Self::Postgres(url) => {
                let options = PgConnectOptions::from_str(url)?;
                options.connect().await?.fetch_one(sql).await?.try_get(0)?
            }
        };
        Ok(u64::try_from(count)?)
    }
}

/// A project folder as `wharf dev` wants it, with one component, built.
fn wharf_folder(kind: Kind, folder: &Path, built: &Built) -> anyhow::Result<()> {
    let audit = root().join("components/audit");
    let (source, wasm) = match kind {
        Kind::WharfPublish => (package().join("guest"), &built.publishing),
        _ => (audit.clone(), &built.audit),
    };
    let component = folder.join("components/audit");
    fs::create_dir_all(&component)?;
    fs::copy(source.join("component.toml"), component.join("component.toml"))?;
    fs::copy(wasm, component.join("audit.wasm"))?;
    copy(&audit.join("migrations"), &component.join("migrations"))?;
    let contract = folder.join("contracts/cloudevents");
    copy(&root().join("contracts/cloudevents"), &contract)?;
    if kind == Kind::WharfPublish {
        let file = contract.join("contract.toml");
        let echoes = fs::read_to_string(source.join("echoes.toml"))?;
        fs::write(&file, fs::read_to_string(&file)? + &echoes)?;
    }
    Ok(())
}

/// How Wharf is told where everything is, for a host or for what measures its parts.
fn wharf_variables(command: &mut Command, folder: &Path, tables: &Tables) {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if ["CARGO", "RUST", "WHARF_", "DAPR_", "APP_"].iter().any(|own| name.starts_with(own)) {
            command.env_remove(name.as_ref());
        }
    }
    command.current_dir(folder).env_remove("DATABASE_URL");
    command.env("WHARF_DATA", folder.join("data")).env("WHARF_CACHE", folder.join("cache"));
    // As in production: a line for each delivery.
    command.env("RUST_LOG", "info");
    if let Tables::Postgres(url) = tables {
        command.env("DATABASE_URL", url);
    }
}

/// A command that measures Wharf's parts in a folder of its own.
pub async fn parts(
    database: Database,
    kind: Kind,
    around: &Surroundings<'_>,
) -> anyhow::Result<Command> {
    let name = format!("parts-{}-{}", kind.name(), database.name().to_lowercase());
    let folder = around.place.join(&name);
    wharf_folder(kind, &folder, around.built)?;
    let tables = match (database, around.server) {
        (Database::Postgres, Some(server)) => Tables::Postgres(server.create(&name).await?),
        _ => Tables::Sqlite(folder.join("data/ledger.db")),
    };
    let mut command = Command::new(&around.built.parts);
    wharf_variables(&mut command, &folder, &tables);
    if let (Database::Postgres, Some(server)) = (database, around.server) {
        command.arg("--server").arg(server.id().to_string());
    }
    command.kill_on_drop(true);
    Ok(command)
}

fn native(
    around: &Surroundings<'_>,
    ingress: SocketAddr,
    tables: &Tables,
    promise: &str,
) -> Command {
    let mut command = Command::new(&around.built.native);
    command.args(["--listen", &ingress.to_string(), "--database", &tables.url()]);
    command.args(["--connections", &CONNECTIONS.to_string(), "--promise", promise]);
    command
}

/// Workers and connections of a runtime whose processes use one core each.
fn workers() -> (usize, usize) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores, (CONNECTIONS / cores).max(1))
}

fn fastapi(venv: &Path, ingress: SocketAddr, tables: &Tables) -> Command {
    let (workers, connections) = workers();
    let mut command = Command::new(venv.join("bin/python"));
    command.args(["-m", "uvicorn", "app:app", "--host", "127.0.0.1", "--no-access-log"]);
    command.args(["--port", &ingress.port().to_string(), "--workers", &workers.to_string()]);
    command.args(["--log-level", "warning"]);
    command.env("DATABASE_URL", tables.url()).env("CONNECTIONS", connections.to_string());
    // Nothing is left in the clone.
    command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(package().join("peers/fastapi"));
    command
}

fn express(folder: &Path, ingress: SocketAddr, tables: &Tables) -> Command {
    let (workers, connections) = workers();
    let mut command = Command::new("node");
    command.arg("app.js").current_dir(folder).env("NODE_ENV", "production");
    command.env("DATABASE_URL", tables.url()).env("CONNECTIONS", connections.to_string());
    command.env("PORT", ingress.port().to_string()).env("WORKERS", workers.to_string());
    command
}

/// The body of a 200.
async fn get(address: SocketAddr, path: &str) -> Option<String> {
    let request = async {
        let stream = TcpStream::connect(address).await.ok()?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
        let request = Request::get(path).header("host", address.to_string());
        let answer = async {
            let answer =
                sender.send_request(request.body(Empty::<Bytes>::new()).ok()?).await.ok()?;
            let is_fine = answer.status().is_success();
            let body = answer.into_body().collect().await.ok()?.to_bytes();
            is_fine.then(|| String::from_utf8_lossy(&body).into_owned())
        };
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            answer = &mut answer => answer,
            _ = connection => answer.await,
        }
    };
    timeout(Duration::from_secs(10), request).await.ok().flatten()
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => {
                fs::copy(entry.path(), target)?;
            }
        }
    }
    Ok(())
}
