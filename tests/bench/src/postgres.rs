//! A PostgreSQL server of the benchmark's own, on a free port, that keeps what it acknowledges: fsync
//! and everything else is as it comes.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, PgConnection, Row as _};
use tempfile::TempDir;
use tokio::process::Command;

use crate::process::Process;

/// Where Debian, macOS and others keep what is not in the `PATH`.
const FOLDERS: [&str; 3] =
    ["/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/pgsql-*/bin"];
const PATIENCE: Duration = Duration::from_secs(60);
const CONNECTIONS: usize = 300;

pub struct Server {
    process: Process,
    address: SocketAddr,
    version: String,
    /// Goes after the server.
    _folder: TempDir,
}

impl Server {
    /// Makes a cluster in a folder of its own below `place`, and starts it.
    pub async fn start(place: &Path) -> anyhow::Result<Self> {
        let programs = programs()?;
        let user = User::allowed()?;
        let folder = TempDir::with_prefix_in("wharf-bench-postgres-", place)?;
        user.owns(folder.path())?;
        let cluster = folder.path().join("data");
        let mut initdb = user.command(&programs.join("initdb"), folder.path());
        initdb.args(["--auth=trust", "--username=wharf", "--no-sync", "--pgdata"]).arg(&cluster);
        let made = initdb.output().await.context("initdb cannot be run")?;
        if !made.status.success() {
            bail!("initdb failed: {}", String::from_utf8_lossy(&made.stderr).trim_end());
        }
        let address = free_address()?;
        let mut command = user.command(&programs.join("postgres"), folder.path());
        command.arg("-D").arg(&cluster).arg("-k").arg(folder.path());
        for setting in [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", address.port()),
            format!("max_connections={CONNECTIONS}"),
        ] {
            command.arg("-c").arg(setting);
        }
        let log = folder.path().join("log");
        let mut process = Process::start("PostgreSQL", command, &log)?;
        process.until(PATIENCE, async || connect(address, "postgres").await.is_ok()).await?;
        let mut connection = connect(address, "postgres").await?;
        let version = connection.fetch_one("SHOW server_version").await?.try_get(0)?;
        Ok(Self { process, address, version, _folder: folder })
    }

    /// The postmaster.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    /// Makes a database, and gives its URL.
    pub async fn create(&self, name: &str) -> anyhow::Result<String> {
        let mut connection = connect(self.address, "postgres").await?;
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE \"{name}\""))).await?;
        Ok(format!("postgres://wharf@{}/{name}", self.address))
    }

    /// What was written by one contestant is not left for another to wait for.
    pub async fn checkpoint(&self) -> anyhow::Result<()> {
        connect(self.address, "postgres").await?.execute("CHECKPOINT").await?;
        Ok(())
    }

    pub async fn stop(self) -> anyhow::Result<()> {
        // A fast shutdown: whoever is connected is turned out.
        self.process.stop(Signal::INT).await
    }
}

async fn connect(address: SocketAddr, database: &str) -> sqlx::Result<PgConnection> {
    let url = format!("postgres://wharf@{address}/{database}");
    PgConnectOptions::from_str(&url)?.disable_statement_logging().connect().await
}

/// A port that was free just now.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}

/// The folder with `initdb` and `postgres`; of several versions the newest.
fn programs() -> anyhow::Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(&path).find(|folder| folder.join("initdb").is_file());
    let newest = FOLDERS
        .iter()
        .flat_map(|pattern| matching(pattern))
        .filter(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file());
    in_path.or_else(|| newest.max_by_key(|folder| version(folder))).context(
        "PostgreSQL is not installed: no `initdb` in the PATH, nor where it is usually kept; install it, \
         or leave it out with `--databases sqlite`",
    )
}

/// Folders that a pattern with one `*` stands for.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return Vec::new() };
    let (folder, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    named.map(|entry| PathBuf::from(format!("{}{after}", entry.path().display()))).collect()
}

fn version(folder: &Path) -> u32 {
    let digits = folder.to_string_lossy().chars().filter(char::is_ascii_digit).collect::<String>();
    digits.parse().unwrap_or_default()
}

/// Who runs the server: it refuses to be root.
enum User {
    Myself,
    Other { id: u32, group: u32 },
}

impl User {
    fn allowed() -> anyhow::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Myself);
        }
        let users = fs::read_to_string("/etc/passwd")?;
        let find = |name: &str| {
            let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
            let mut of_name = fields.filter(|fields| fields.first() == Some(&name));
            let fields = of_name.next()?;
            Some(Self::Other {
                id: fields.get(2)?.parse().ok()?,
                group: fields.get(3)?.parse().ok()?,
            })
        };
        find("postgres").or_else(|| find("nobody")).context(
            "PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody`",
        )
    }

    fn owns(&self, folder: &Path) -> anyhow::Result<()> {
        match self {
            Self::Myself => Ok(()),
            Self::Other { id, group } => Ok(chown(folder, Some(*id), Some(*group))?),
        }
    }

    fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder).kill_on_drop(true);
        match self {
            Self::Myself => {}
            Self::Other { id, group } => {
                command.uid(*id).gid(*group);
            }
        }
        command
    }
}
