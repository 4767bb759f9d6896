//! Recordings: written in batches, outside of any commit. Losing one loses no effect.

use std::collections::{BTreeSet, HashSet};

use super::row::{self, micros, time};
use crate::delivery::DeliveryId;
use crate::ledger::database::{Connection, args};
use crate::ledger::error::LedgerError;
use crate::ledger::fault::Fault;
use crate::ledger::record::Recording;
use crate::ledger::rows::Rows;
use crate::name::ComponentId;

/// Within the caller's transaction: adds these, and lets go of what is beyond the newest `keep` of
/// each component, successes and failures apart. A run that is recorded again takes the place of
/// the earlier one.
pub async fn add(
    connection: &mut Connection,
    recordings: &[Recording],
    (successes, failures): (u32, u32),
) -> Result<(), Fault> {
    let counted = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    // The last of the same delivery and attempt: PostgreSQL writes no row twice in one statement.
    let mut seen = HashSet::new();
    let newest = recordings.iter().rev();
    let newest = newest.filter(|one| seen.insert((&one.id.component, one.id.key, one.attempt)));
    let mut newest: Vec<_> = newest.collect();
    newest.reverse();
    let all = || newest.iter();
    let rows = Rows::new()
        .text("component", all().map(|one| one.id.component.as_str()))
        .bytes("key", all().map(|one| one.id.key.0.as_slice()))
        .integer("attempt", all().map(|one| one.attempt.into()))
        .integer("failed", all().map(|one| one.failed.into()))
        .text("digest", all().map(|one| one.digest.as_str()))
        .integer("recorded_at", all().map(|one| micros(one.at)))
        .integer("fuel", all().map(|one| counted(one.fuel)))
        .integer("micros", all().map(|one| counted(one.micros)))
        .text("body", all().map(|one| one.body.as_str()));
    let sql = "INSERT INTO wharf_recordings \
                   (component, key, attempt, failed, digest, recorded_at, fuel, micros, body) \
               SELECT component, key, attempt, failed, digest, recorded_at, fuel, micros, body \
               FROM {rows} AS new WHERE true \
               ON CONFLICT (component, key, attempt) DO UPDATE SET failed = excluded.failed, \
                   digest = excluded.digest, recorded_at = excluded.recorded_at, \
                   fuel = excluded.fuel, micros = excluded.micros, body = excluded.body";
    connection.execute(sql, args![rows]).await?;
    for (failed, most) in [(false, successes), (true, failures)] {
        let of = recordings.iter().filter(|recording| recording.failed == failed);
        let components: BTreeSet<_> = of.map(|recording| &recording.id.component).collect();
        if !components.is_empty() {
            let_go(connection, components, failed, most).await?;
        }
    }
    Ok(())
}

/// What is beyond the newest of each of these components.
async fn let_go(
    connection: &mut Connection,
    components: BTreeSet<&ComponentId>,
    failed: bool,
    keep: u32,
) -> Result<(), Fault> {
    let components = components.into_iter().map(|component| component.as_str());
    let sql = "DELETE FROM wharf_recordings WHERE sequence IN ( \
                   SELECT r.sequence FROM {rows} AS touched \
                   JOIN wharf_recordings r ON r.component = touched.component AND r.failed = $1 \
                   WHERE r.sequence <= (SELECT o.sequence FROM wharf_recordings o \
                       WHERE o.component = touched.component AND o.failed = $1 \
                       ORDER BY o.sequence DESC LIMIT 1 OFFSET $2))";
    let rows = Rows::new().text("component", components);
    connection.execute(sql, args![i64::from(failed), keep, rows]).await?;
    Ok(())
}

/// The last recorded run of a delivery.
pub async fn last(
    connection: &mut Connection,
    id: &DeliveryId,
) -> Result<Option<Recording>, LedgerError> {
    let sql = "SELECT component, key, attempt, failed, digest, recorded_at, fuel, micros, body \
               FROM wharf_recordings WHERE component = $1 AND key = $2 \
               ORDER BY sequence DESC LIMIT 1";
    let args = args![id.component.as_str(), id.key.0.as_slice()];
    let found = connection.fetch_optional(sql, args).await?;
    let counted = |number: i64| u64::try_from(number).unwrap_or_default();
    found
        .map(|row| {
            Ok(Recording {
                id: row::id(&row)?,
                attempt: row::count(&row, "attempt")?,
                failed: row::flag(&row, "failed")?,
                digest: row.get("digest")?,
                at: time(row.get("recorded_at")?)?,
                fuel: counted(row.get("fuel")?),
                micros: counted(row.get("micros")?),
                body: row.get("body")?,
            })
        })
        .transpose()
}
