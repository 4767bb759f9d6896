//! Recordings: written in batches, outside of any commit. Losing one loses no effect.

use std::collections::BTreeSet;

use serde::Serialize;
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::Fault;
use super::row::{self, json, micros, time};
use crate::delivery::DeliveryId;
use crate::ledger::error::LedgerError;
use crate::ledger::record::Recording;
use crate::name::hex;

/// Within the caller's transaction: adds these, and lets go of what is beyond the newest `keep` of
/// each component, successes and failures apart. A run that is recorded again takes the place of
/// the earlier one.
pub async fn add(
    connection: &mut SqliteConnection,
    recordings: &[Recording],
    (successes, failures): (u32, u32),
) -> Result<(), Fault> {
    #[derive(Serialize)]
    struct NewRow<'a> {
        component: &'a str,
        key: String,
        attempt: u32,
        failed: bool,
        digest: &'a str,
        at: i64,
        fuel: i64,
        micros: i64,
        body: &'a str,
    }
    let counted = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let rows: Vec<_> = recordings
        .iter()
        .map(|recording| NewRow {
            component: recording.id.component.as_str(),
            key: hex(&recording.id.key.0),
            attempt: recording.attempt,
            failed: recording.failed,
            digest: &recording.digest,
            at: micros(recording.at),
            fuel: counted(recording.fuel),
            micros: counted(recording.micros),
            body: &recording.body,
        })
        .collect();
    let rows = json(&rows)?;
    sqlx::query(
        "INSERT OR REPLACE INTO wharf_recordings \
             (component, key, attempt, failed, digest, recorded_at, fuel, micros, body) \
         SELECT value->>'component', unhex(value->>'key'), value->>'attempt', value->>'failed', \
             value->>'digest', value->>'at', value->>'fuel', value->>'micros', value->>'body' \
         FROM json_each(?1)",
    )
    .bind(rows.as_str())
    .execute(&mut *connection)
    .await?;
    for (failed, most) in [(false, successes), (true, failures)] {
        let of = recordings.iter().filter(|recording| recording.failed == failed);
        let components: BTreeSet<_> = of.map(|recording| &recording.id.component).collect();
        if !components.is_empty() {
            let_go(connection, &json(&components)?, failed, most).await?;
        }
    }
    Ok(())
}

/// What is beyond the newest of each of these components.
async fn let_go(
    connection: &mut SqliteConnection,
    components: &str,
    failed: bool,
    keep: u32,
) -> Result<(), Fault> {
    sqlx::query(
        "DELETE FROM wharf_recordings WHERE sequence IN ( \
             SELECT r.sequence FROM json_each(?1) touched \
             JOIN wharf_recordings r ON r.component = touched.value AND r.failed = ?2 \
             WHERE r.sequence <= (SELECT o.sequence FROM wharf_recordings o \
                 WHERE o.component = touched.value AND o.failed = ?2 \
                 ORDER BY o.sequence DESC LIMIT 1 OFFSET ?3))",
    )
    .bind(components)
    .bind(failed)
    .bind(keep)
    .execute(connection)
    .await?;
    Ok(())
}

/// The last recorded run of a delivery.
pub async fn last(
    connection: &mut SqliteConnection,
    id: &DeliveryId,
) -> Result<Option<Recording>, LedgerError> {
    let found = sqlx::query(
        "SELECT component, key, attempt, failed, digest, recorded_at, fuel, micros, body \
         FROM wharf_recordings WHERE component = ?1 AND key = ?2 ORDER BY sequence DESC LIMIT 1",
    )
    .bind(id.component.as_str())
    .bind(id.key.0.as_slice())
    .fetch_optional(connection)
    .await?;
    let counted = |number: i64| u64::try_from(number).unwrap_or_default();
    found
        .map(|row| {
            Ok(Recording {
                id: row::id(&row)?,
                attempt: row::count(&row, "attempt")?,
                failed: row.try_get("failed")?,
                digest: row.try_get("digest")?,
                at: time(row.try_get("recorded_at")?)?,
                fuel: counted(row.try_get("fuel")?),
                micros: counted(row.try_get("micros")?),
                body: row.try_get("body")?,
            })
        })
        .transpose()
}
