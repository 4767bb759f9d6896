//! Who takes part, and one of them while it runs.

mod program;
mod tables;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use tokio::time::sleep;
use wharf_test_real::{Process, http, port};

pub use program::Program;
pub use tables::Tables;

use crate::postgres::Server;
use crate::prepare::Built;

/// How long a start may take; one compiles components.
const START: Duration = Duration::from_secs(90);
/// How long a program may take to stop by itself.
const STOP: Duration = Duration::from_secs(15);
/// How long what was acknowledged may take until it is in its table, and published.
const SETTLE: Duration = Duration::from_secs(60);

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

/// Who is compared with whom, of those that took part.
pub fn pairs(kinds: &[Kind]) -> Vec<(Kind, Kind)> {
    let others = kinds.iter().filter(|kind| !kind.is_wharf());
    let pairs = others.map(|other| (Kind::Wharf, *other));
    let pairs = pairs.chain([(Kind::WharfPublish, Kind::NativeOutbox)]);
    pairs.filter(|(one, other)| kinds.contains(one) && kinds.contains(other)).collect()
}

/// What contestants are started with.
pub struct Surroundings<'a> {
    pub built: &'a Built,
    pub server: Option<&'a Server>,
    /// A folder for files.
    pub place: &'a Path,
}

/// What takes the events that Wharf publishes, and its port.
#[derive(Debug, Clone, Copy)]
pub enum Dapr {
    /// In its own process.
    Embedded(u16),
    Sidecar(u16),
}

/// Of 127.0.0.1.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// Where it takes callbacks.
    pub ingress: u16,
    /// Wharf's, which says whether anything is left to do.
    pub admin: u16,
    pub dapr: Dapr,
}

/// One of them, running.
pub struct Contestant {
    pub kind: Kind,
    pub database: Database,
    process: Process,
    pub ports: Ports,
    pub tables: Tables,
    pub folder: PathBuf,
}

impl Ports {
    /// Of one that has no sidecar.
    pub fn embedded() -> anyhow::Result<Self> {
        let dapr = Dapr::Embedded(port::free()?);
        Ok(Self { ingress: port::free()?, admin: port::free()?, dapr })
    }
}

impl Contestant {
    pub async fn start(
        kind: Kind,
        database: Database,
        around: &Surroundings<'_>,
        ports: Ports,
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
        if !kind.is_wharf() {
            tables.make().await?;
        }
        let program = Program::of(kind, around, &folder, &tables, ports).await?;
        let mut process = program.start(kind.name(), &folder.join("log"))?;
        let health = format!("http://127.0.0.1:{}/health", ports.ingress);
        process.until_success(&health, START).await?;
        let contestant = Self { kind, database, process, ports, tables, folder };
        if kind.is_wharf() && contestant.tables.count("audit_log").await.is_err() {
            bail!("this Wharf does not keep its ledger in {}", database.name());
        }
        Ok(contestant)
    }

    /// Its process.
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// The end of what it has written.
    pub fn said(&self) -> String {
        self.process.said()
    }

    /// Whether Wharf says that nothing is parked, dead or to publish; others leave nothing.
    pub async fn is_idle(&self) -> bool {
        for metric in ["wharf_deliveries", "wharf_outbox"] {
            if !self.sum(metric).await.is_ok_and(|left| left == 0.0) {
                return false;
            }
        }
        true
    }

    /// What Wharf has published; others publish nothing.
    pub async fn published(&self) -> anyhow::Result<f64> {
        match self.kind {
            Kind::WharfPublish => self.sum("events_published_total").await,
            _ => Ok(0.0),
        }
    }

    /// Of one of Wharf's metrics, over all labels.
    async fn sum(&self, metric: &str) -> anyhow::Result<f64> {
        if !self.kind.is_wharf() {
            return Ok(0.0);
        }
        let metrics = format!("http://127.0.0.1:{}/metrics", self.ports.admin);
        http::count(&metrics, metric).await.context("wharf gives no metrics")
    }

    /// Waits until it is idle.
    pub async fn drain(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        while !self.is_idle().await {
            if began.elapsed() > SETTLE {
                bail!("{} did not finish; it said:\n{}", self.kind.name(), self.said());
            }
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.process.stop(STOP).await?;
        Ok(())
    }
}
