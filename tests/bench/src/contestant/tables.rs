//! Where a contestant's rows are.

use std::fs;
use std::path::PathBuf;
use std::str::FromStr as _;

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Row as _};

use crate::prepare::{package, root};

#[derive(Clone)]
pub enum Tables {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Tables {
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(file) => format!("sqlite:{}", file.display()),
            Self::Postgres(url) => url.clone(),
        }
    }

    /// Makes what is Wharf's own in a wharf: the audit component's table, and an inbox and an outbox.
    pub async fn make(&self) -> anyhow::Result<()> {
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

    /// How many rows there are, after the word FROM.
    pub async fn count(&self, from: &str) -> anyhow::Result<u64> {
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
