//! The benchmark's own PostgreSQL, which syncs what it acknowledges, with a database for each
//! contestant.

use std::str::FromStr as _;

use anyhow::{Context as _, anyhow};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, PgConnection, Row as _};
use wharf_test_postgres::Durability;

pub struct Server {
    server: wharf_test_postgres::Server,
    id: u32,
    version: String,
}

impl Server {
    pub async fn start() -> anyhow::Result<Self> {
        // Nothing else runs yet that this could hold up.
        let server = wharf_test_postgres::Server::start(Durability::Full);
        let server = server.map_err(|error| {
            anyhow!("{error}; the benchmark starts its own, and does not look at DATABASE_URL")
        })?;
        let id = server.pid().context("PostgreSQL does not say its process id")?;
        let mut connection = connect(&server.url()).await?;
        let version = connection.fetch_one("SHOW server_version").await?.try_get(0)?;
        Ok(Self { server, id, version })
    }

    /// The parent of all its processes.
    pub fn id(&self) -> u32 {
        self.id
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    /// Makes a database, and gives its URL.
    pub async fn create(&self, name: &str) -> anyhow::Result<String> {
        let mut connection = connect(&self.server.url()).await?;
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE \"{name}\""))).await?;
        Ok(format!("postgres://wharf@127.0.0.1:{}/{name}", self.server.port()))
    }

    /// What was written by one contestant is not left for another to wait for.
    pub async fn checkpoint(&self) -> anyhow::Result<()> {
        connect(&self.server.url()).await?.execute("CHECKPOINT").await?;
        Ok(())
    }
}

async fn connect(url: &str) -> sqlx::Result<PgConnection> {
    PgConnectOptions::from_str(url)?.disable_statement_logging().connect().await
}
