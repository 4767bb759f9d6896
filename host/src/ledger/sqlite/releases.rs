//! What ran when.

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::{Fault, row};
use crate::ledger::error::LedgerError;
use crate::ledger::release::{NewRelease, Release};
use crate::name::ComponentId;

/// How many releases of a component keep their bundle; older rows only tell of it.
const KEPT: u32 = 10;

/// Within the caller's transaction. Says whether it is another one than the newest; the same one
/// again is not written.
pub async fn record(
    connection: &mut SqliteConnection,
    release: &NewRelease,
) -> Result<bool, Fault> {
    let NewRelease { component, digest, version, bundle, at, why } = release;
    let written = sqlx::query(
        "INSERT INTO wharf_releases (component, digest, version, bundle, at, why) \
         SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE ?2 IS NOT ( \
             SELECT digest FROM wharf_releases WHERE component = ?1 \
             ORDER BY sequence DESC LIMIT 1)",
    )
    .bind(component.as_str())
    .bind(digest)
    .bind(version)
    .bind(bundle)
    .bind(row::micros(*at))
    .bind(why.as_str())
    .execute(&mut *connection)
    .await?;
    if written.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(
        "UPDATE wharf_releases SET bundle = NULL WHERE component = ?1 AND bundle IS NOT NULL \
         AND sequence NOT IN ( \
             SELECT sequence FROM wharf_releases WHERE component = ?1 \
             ORDER BY sequence DESC LIMIT ?2)",
    )
    .bind(component.as_str())
    .bind(KEPT)
    .execute(connection)
    .await?;
    Ok(true)
}

/// Newest first.
pub async fn releases(
    connection: &mut SqliteConnection,
    component: &ComponentId,
    limit: u32,
) -> Result<Vec<Release>, LedgerError> {
    let rows = sqlx::query(
        "SELECT digest, version, at, why FROM wharf_releases WHERE component = ?1 \
         ORDER BY sequence DESC LIMIT ?2",
    )
    .bind(component.as_str())
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter().map(release).collect()
}

/// The newest that is kept of a release.
pub async fn bundle(
    connection: &mut SqliteConnection,
    component: &ComponentId,
    digest: &str,
) -> Result<Option<Vec<u8>>, LedgerError> {
    let found = sqlx::query(
        "SELECT bundle FROM wharf_releases \
         WHERE component = ?1 AND digest = ?2 AND bundle IS NOT NULL \
         ORDER BY sequence DESC LIMIT 1",
    )
    .bind(component.as_str())
    .bind(digest)
    .fetch_optional(connection)
    .await?;
    Ok(found.map(|row| row.try_get("bundle")).transpose()?)
}

fn release(row: &SqliteRow) -> Result<Release, LedgerError> {
    let why = row.try_get::<&str, _>("why")?.parse();
    Ok(Release {
        digest: row.try_get("digest")?,
        version: row.try_get("version")?,
        at: row::time(row.try_get("at")?)?,
        why: why.map_err(LedgerError::Unreadable)?,
    })
}
