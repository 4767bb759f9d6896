//! Migrations, the host's own and the components', remembered by what they said: one that is
//! changed after it was applied would mean two databases that only look alike.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::writer::Writer;
use crate::ledger::database::{Connection, args};
use crate::ledger::error::{LedgerError, MigrateError};
use crate::ledger::fault::Fault;
use crate::manifest::Database;

/// SQL that is applied once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Who it belongs to, such as the folder that components share; names are unique within it.
    pub set: String,
    pub name: String,
    pub sql: String,
}

/// A statement that must fit the tables, of a component that runs or is about to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitting {
    /// What it is called where it does not.
    pub name: String,
    pub sql: Arc<str>,
}

/// The host's own tables.
pub fn own(database: Database) -> Vec<Migration> {
    const SQLITE: [(&str, &str); 7] = [
        (
            "0001_deliveries_and_outbox",
            include_str!("../../../migrations/sqlite/0001_deliveries_and_outbox.sql"),
        ),
        ("0002_every_effect", include_str!("../../../migrations/sqlite/0002_every_effect.sql")),
        ("0003_recordings", include_str!("../../../migrations/sqlite/0003_recordings.sql")),
        ("0004_releases", include_str!("../../../migrations/sqlite/0004_releases.sql")),
        ("0005_pruning", include_str!("../../../migrations/sqlite/0005_pruning.sql")),
        (
            "0006_digest_as_bytes",
            include_str!("../../../migrations/sqlite/0006_digest_as_bytes.sql"),
        ),
        ("0007_behind", include_str!("../../../migrations/sqlite/0007_behind.sql")),
    ];
    const POSTGRES: [(&str, &str); 5] = [
        ("0001_ledger", include_str!("../../../migrations/postgres/0001_ledger.sql")),
        ("0002_pruning", include_str!("../../../migrations/postgres/0002_pruning.sql")),
        ("0003_upkeep", include_str!("../../../migrations/postgres/0003_upkeep.sql")),
        (
            "0004_digest_as_bytes",
            include_str!("../../../migrations/postgres/0004_digest_as_bytes.sql"),
        ),
        ("0005_behind", include_str!("../../../migrations/postgres/0005_behind.sql")),
    ];
    let own = |(name, sql): &(&str, &str)| Migration {
        set: "wharf".into(),
        name: (*name).into(),
        sql: (*sql).into(),
    };
    match database {
        Database::Sqlite => SQLITE.iter().map(own).collect(),
        Database::Postgres => POSTGRES.iter().map(own).collect(),
    }
}

/// Applies, in one transaction and in this order, those that are not applied yet; gives their names.
/// Takes them back unless all the statements fit then.
pub async fn migrate(
    writer: &mut Writer,
    migrations: &[Migration],
    statements: &[Fitting],
) -> Result<Vec<String>, MigrateError> {
    let connection = writer.begin().await?;
    let result = match apply_all(connection, migrations).await {
        Ok(applied) => fit(connection, statements).await.map(|()| applied),
        Err(error) => Err(error),
    };
    // The commit must not come between a migration's own error and the caller.
    let (outcome, applied) = match result {
        Ok(applied) => (Ok(()), Ok(applied)),
        Err(error) => {
            let fault = Fault::Own { statement: None, error: error.to_string() };
            (Err(fault), Err(error))
        }
    };
    let ended = writer.end(outcome).await;
    let applied = applied?;
    ended.map_err(LedgerError::from)?;
    Ok(applied)
}

async fn apply_all(
    connection: &mut Connection,
    migrations: &[Migration],
) -> Result<Vec<String>, MigrateError> {
    alone(connection).await.map_err(LedgerError::from)?;
    let sql = "CREATE TABLE IF NOT EXISTS wharf_migrations ( \
                   set_name TEXT NOT NULL, name TEXT NOT NULL, checksum TEXT NOT NULL, \
                   PRIMARY KEY (set_name, name))";
    connection.execute(sql, args![]).await.map_err(LedgerError::from)?;
    let mut applied = Vec::new();
    for migration in migrations {
        if apply(connection, migration).await? {
            applied.push(format!("{}/{}", migration.set, migration.name));
        }
    }
    Ok(applied)
}

/// One host at a time, for as long as it takes. SQLite has one writer in any case.
async fn alone(connection: &mut Connection) -> Result<(), sqlx::Error> {
    match connection.database() {
        Database::Sqlite => Ok(()),
        Database::Postgres => {
            connection
                .script(
                    "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '60s'; \
                     SELECT pg_advisory_xact_lock(hashtext(current_schema() || '.wharf'));",
                )
                .await
        }
    }
}

async fn fit(connection: &mut Connection, statements: &[Fitting]) -> Result<(), MigrateError> {
    // One that is cached would be taken for fitting, as it was prepared for the tables before.
    connection.forget_statements().await.map_err(LedgerError::from)?;
    for Fitting { name, sql } in statements {
        let prepared = connection.prepare(sql).await.map_err(Fault::from);
        prepared.map_err(|fault| match fault {
            Fault::Own { error, .. } => MigrateError::Statement { statement: name.clone(), error },
            other => LedgerError::from(other).into(),
        })?;
    }
    Ok(())
}

async fn apply(connection: &mut Connection, migration: &Migration) -> Result<bool, MigrateError> {
    let Migration { set, name, sql } = migration;
    let checksum = checksum(sql);
    match known(connection, set, name).await? {
        Some(known) if known == checksum => return Ok(false),
        Some(_) => return Err(MigrateError::Changed { set: set.clone(), name: name.clone() }),
        None => {}
    }
    connection.script(sql).await.map_err(|error| match Fault::from(error) {
        Fault::Own { error, .. } => {
            MigrateError::Failed { set: set.clone(), name: name.clone(), error }
        }
        other => LedgerError::from(other).into(),
    })?;
    let insert = "INSERT INTO wharf_migrations (set_name, name, checksum) VALUES ($1, $2, $3)";
    connection.execute(insert, args![set, name, &checksum]).await.map_err(LedgerError::from)?;
    Ok(true)
}

async fn known(
    connection: &mut Connection,
    set: &str,
    name: &str,
) -> Result<Option<String>, LedgerError> {
    let sql = "SELECT checksum FROM wharf_migrations WHERE set_name = $1 AND name = $2";
    let row = connection.fetch_optional(sql, args![set, name]).await?;
    Ok(row.map(|row| row.get("checksum")).transpose()?)
}

fn checksum(sql: &str) -> String {
    crate::name::hex(&Sha256::digest(sql.as_bytes()))
}
