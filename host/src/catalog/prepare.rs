//! What an offer goes through before it runs, beside what runs now: its grants are checked, it is
//! compiled, and its tables and release are written.

use std::sync::Arc;

use super::bundle;
use super::load::{Offer, Script};
use crate::clock::Timestamp;
use crate::grant;
use crate::ledger::{Fitting, Ledger, MigrateError, Migration, NewRelease, Why};
use crate::manifest::{Database, Manifest};
use crate::problem::Problem;
use crate::runtime::{Component, Sandbox};

/// What a component's SQL reaches beyond its grants on one database, or lacks for it. What it says
/// for the other one does not keep it from running here.
pub fn ungranted(manifest: &Manifest, migrations: &[Script], database: Database) -> Vec<Problem> {
    let statements = manifest.sql.iter().filter_map(|(name, statement)| {
        grant::statement(manifest, name, statement, database).err()
    });
    let scripts = migrations.iter().filter(|script| script.database == database);
    let scripts = scripts.filter_map(|Script { file, migration, .. }| {
        grant::migration(manifest, file, &migration.sql, database).err()
    });
    statements.chain(scripts).flatten().collect()
}

/// Checks its world and its imports too. Changes nothing.
pub async fn compile(
    offer: &Arc<Offer>,
    sandbox: &Sandbox,
    database: Database,
) -> Result<Component, Vec<Problem>> {
    let (sandbox, offered) = (sandbox.clone(), Arc::clone(offer));
    // Compiling takes a while and must not hold up the runtime's other work.
    let compiled = tokio::task::spawn_blocking(move || {
        let Offer { manifest, wasm, digest, .. } = &*offered;
        sandbox.load(manifest.clone(), wasm, digest.clone(), database)
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
    adopt_together(&[offer], running, ledger, at, why).await
}

/// The same for offers that come together: all of their migrations are applied, in this order, or
/// none. What one of them adds to the tables may be what another one reads.
pub async fn adopt_together(
    offers: &[&Offer],
    running: &[&Manifest],
    ledger: &Ledger,
    at: Timestamp,
    why: Why,
) -> Result<Vec<String>, Vec<Problem>> {
    let releases = offers.iter().map(|offer| release(offer, at, why));
    let releases = releases.collect::<Result<Vec<_>, _>>()?;
    let database = ledger.database();
    let migrations = offers.iter().flat_map(|offer| offer.migrations_for(database)).cloned();
    let migrations = migrations.collect();
    let of_offers = offers.iter().flat_map(|offer| fitting(&offer.manifest, "", database));
    let of_running = running.iter().flat_map(|running| fitting(running, "the running ", database));
    let statements = of_offers.chain(of_running).collect();
    let applied = ledger.migrate_fitting(migrations, statements).await;
    let applied = applied.map_err(|error| {
        let file =
            blamed(offers, &error, database).map(|offer| offer.file.clone()).unwrap_or_default();
        vec![Problem::in_file(file, error.to_string())]
    })?;
    if !applied.is_empty() {
        tracing::info!(?applied, "migrations applied");
    }
    for (offer, release) in offers.iter().zip(releases) {
        let recorded = ledger.record_release(release).await;
        recorded.map_err(|error| vec![Problem::in_file(&offer.file, error.to_string())])?;
    }
    Ok(applied)
}

fn release(offer: &Offer, at: Timestamp, why: Why) -> Result<NewRelease, Vec<Problem>> {
    let bundle = bundle::pack(offer)
        .map_err(|error| vec![Problem::in_file(&offer.file, format!("{error:#}"))])?;
    Ok(NewRelease {
        component: offer.manifest.name.clone(),
        digest: offer.digest.clone(),
        version: offer.manifest.version.clone(),
        bundle,
        at,
        why,
    })
}

/// A manifest's statements. What is not granted was refused before.
fn fitting(manifest: &Manifest, state: &str, database: Database) -> impl Iterator<Item = Fitting> {
    manifest.sql.iter().filter_map(move |(name, statement)| {
        let permitted = grant::statement(manifest, name, statement, database).ok()?;
        let name = format!("[sql.{name}] of {state}`{}`", manifest.name);
        Some(Fitting { name, sql: permitted.sql })
    })
}

/// Whose file tells where the error comes from: the first one's when it is none's alone.
fn blamed<'a>(offers: &[&'a Offer], error: &MigrateError, database: Database) -> Option<&'a Offer> {
    let is_at_fault = |offer: &&&Offer| match error {
        MigrateError::Statement { statement, .. } => {
            fitting(&offer.manifest, "", database).any(|fitting| fitting.name == *statement)
        }
        MigrateError::Changed { set, name } | MigrateError::Failed { set, name, .. } => {
            let is_it = |m: &Migration| (&m.set, &m.name) == (set, name);
            offer.migrations_for(database).any(is_it)
        }
        MigrateError::Ledger(_) => false,
    };
    offers.iter().find(is_at_fault).or(offers.first()).copied()
}
