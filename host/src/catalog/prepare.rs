//! What an offer goes through before it runs, beside what runs now: its grants are checked, it is
//! compiled, and its tables and release are written.

use std::sync::Arc;

use super::bundle;
use super::load::{Offer, Script};
use crate::clock::Timestamp;
use crate::grant;
use crate::ledger::{Fitting, Ledger, NewRelease, Why};
use crate::manifest::{Database, Manifest};
use crate::problem::Problem;
use crate::runtime::{Component, Sandbox};

/// What a component's SQL reaches beyond its grants.
pub fn ungranted(manifest: &Manifest, migrations: &[Script]) -> Vec<Problem> {
    let statements = manifest.sql.iter().map(|(name, statement)| {
        let check = |database| grant::statement(manifest, name, statement, database).err();
        let problems = statement.text.checked_for().iter().copied().filter_map(check);
        problems.flatten().collect::<Vec<_>>()
    });
    let scripts = migrations.iter().filter_map(|Script { file, migration }| {
        grant::migration(manifest, file, &migration.sql, Database::Sqlite).err()
    });
    statements.chain(scripts).flatten().collect()
}

/// Checks its world and its imports too. Changes nothing.
pub async fn compile(offer: &Arc<Offer>, sandbox: &Sandbox) -> Result<Component, Vec<Problem>> {
    let (sandbox, offered) = (sandbox.clone(), Arc::clone(offer));
    // Compiling takes a while and must not hold up the runtime's other work.
    let compiled = tokio::task::spawn_blocking(move || {
        sandbox.load(offered.manifest.clone(), &offered.wasm, offered.digest.clone())
    });
    let fault = |message: String| vec![Problem::in_file(&offer.file, message)];
    compiled
        .await
        .map_err(|error| fault(format!("compiling it failed: {error}")))?
        .map_err(|error| fault(error.to_string()))
}

/// Applies its migrations, if afterwards its own statements and those of what runs fit the tables;
/// else none. Then remembers it as running. Gives the names of the migrations that were new.
pub async fn adopt(
    offer: &Offer,
    running: &[&Manifest],
    ledger: &Ledger,
    at: Timestamp,
    why: Why,
) -> Result<Vec<String>, Vec<Problem>> {
    let fault = |message: String| vec![Problem::in_file(&offer.file, message)];
    let manifest = &offer.manifest;
    let bundle = bundle::pack(offer).map_err(|error| fault(format!("{error:#}")))?;
    let of_running = running.iter().flat_map(|running| {
        let named = format!(" of the running `{}`", running.name);
        fitting(running, &named)
    });
    let statements = fitting(manifest, "").into_iter().chain(of_running).collect();
    let migrations = offer.migrations.iter().map(|script| script.migration.clone()).collect();
    let applied = ledger.migrate_fitting(migrations, statements).await;
    let applied = applied.map_err(|error| fault(error.to_string()))?;
    if !applied.is_empty() {
        tracing::info!(component = %manifest.name, ?applied, "migrations applied");
    }
    let release = NewRelease {
        component: manifest.name.clone(),
        digest: offer.digest.clone(),
        version: manifest.version.clone(),
        bundle,
        at,
        why,
    };
    ledger.record_release(release).await.map_err(|error| fault(error.to_string()))?;
    Ok(applied)
}

/// A manifest's statements. What is not granted was refused before.
fn fitting(manifest: &Manifest, whose: &str) -> Vec<Fitting> {
    let permitted = manifest.sql.iter().filter_map(|(name, statement)| {
        let permitted = grant::statement(manifest, name, statement, Database::Sqlite).ok()?;
        Some(Fitting { name: format!("[sql.{name}]{whose}"), sql: permitted.sql })
    });
    permitted.collect()
}
