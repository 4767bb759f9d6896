//! What ran when.

use super::row;
use crate::ledger::database::{Connection, Row, args};
use crate::ledger::error::LedgerError;
use crate::ledger::fault::Fault;
use crate::ledger::release::{NewRelease, Release};
use crate::name::ComponentId;

/// How many releases of a component keep their bundle; older rows only tell of it.
const KEPT: u32 = 10;

/// Within the caller's transaction. Says whether it is another one than the newest; the same one
/// again is not written.
pub async fn record(connection: &mut Connection, release: &NewRelease) -> Result<bool, Fault> {
    let NewRelease { component, digest, version, bundle, at, why } = release;
    let sql = "INSERT INTO wharf_releases (component, digest, version, bundle, at, why) \
               SELECT $1, $2, $3, $4, $5, $6 WHERE $2 IS DISTINCT FROM ( \
                   SELECT digest FROM wharf_releases WHERE component = $1 \
                   ORDER BY sequence DESC LIMIT 1)";
    let args = args![
        component.as_str(),
        digest,
        version,
        bundle.as_slice(),
        row::micros(*at),
        why.as_str(),
    ];
    if connection.execute(sql, args).await? == 0 {
        return Ok(false);
    }
    let sql = "UPDATE wharf_releases SET bundle = NULL WHERE component = $1 AND bundle IS NOT NULL \
               AND sequence NOT IN ( \
                   SELECT sequence FROM wharf_releases WHERE component = $1 \
                   ORDER BY sequence DESC LIMIT $2)";
    connection.execute(sql, args![component.as_str(), KEPT]).await?;
    Ok(true)
}

/// Newest first.
pub async fn releases(
    connection: &mut Connection,
    component: &ComponentId,
    limit: u32,
) -> Result<Vec<Release>, LedgerError> {
    let sql = "SELECT digest, version, at, why FROM wharf_releases WHERE component = $1 \
               ORDER BY sequence DESC LIMIT $2";
    let rows = connection.fetch_all(sql, args![component.as_str(), limit]).await?;
    rows.iter().map(release).collect()
}

/// The newest that is kept of a release.
pub async fn bundle(
    connection: &mut Connection,
    component: &ComponentId,
    digest: &str,
) -> Result<Option<Vec<u8>>, LedgerError> {
    let sql = "SELECT bundle FROM wharf_releases \
               WHERE component = $1 AND digest = $2 AND bundle IS NOT NULL \
               ORDER BY sequence DESC LIMIT 1";
    let found = connection.fetch_optional(sql, args![component.as_str(), digest]).await?;
    Ok(found.map(|row| row.get("bundle")).transpose()?)
}

fn release(row: &Row) -> Result<Release, LedgerError> {
    let why = row.get::<&str>("why")?.parse();
    Ok(Release {
        digest: row.get("digest")?,
        version: row.get("version")?,
        at: row::time(row.get("at")?)?,
        why: why.map_err(LedgerError::Unreadable)?,
    })
}
