//! Makes a catalog from component folders and contracts: reads, checks, compiles. Every fault is
//! collected, so that one run shows them all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::catalog::{Catalog, prepare, unknown};
use crate::clock::Timestamp;
use crate::contract::Contracts;
use crate::grant;
use crate::ledger::{Ledger, Migration, Why};
use crate::manifest::{Database, Manifest};
use crate::problem::Problem;
use crate::runtime::Sandbox;

/// A component as its files offer it, read but not yet trusted.
pub struct Offer {
    /// The manifest's file, for messages.
    pub file: PathBuf,
    pub manifest: Manifest,
    /// The manifest as written.
    pub text: String,
    pub wasm: Vec<u8>,
    pub migrations: Vec<Script>,
    /// SHA-256 of wasm, manifest and migrations with their names, hexadecimal.
    pub digest: String,
}

impl Offer {
    /// What was read, with its digest.
    pub fn new(
        file: PathBuf,
        manifest: Manifest,
        text: String,
        wasm: Vec<u8>,
        migrations: Vec<Script>,
    ) -> Self {
        let mut hasher = Sha256::new();
        // A script under another name is another migration.
        let scripts = migrations.iter().flat_map(|Script { migration, .. }| {
            [&migration.set, &migration.name, &migration.sql].map(|part| part.as_bytes())
        });
        for part in [wasm.as_slice(), text.as_bytes()].into_iter().chain(scripts) {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let digest = crate::name::hex(&hasher.finalize());
        Self { file, manifest, text, wasm, migrations, digest }
    }
}

/// A migration and the file that it was read from.
pub struct Script {
    pub file: PathBuf,
    pub migration: Migration,
}

/// The sub-folders that hold a `component.toml`, by name.
pub fn component_folders(folder: &Path) -> Result<Vec<PathBuf>, Vec<Problem>> {
    folders_with(folder, "component.toml")
}

/// The sub-folders that hold a `contract.toml`, by name.
pub fn contract_folders(folder: &Path) -> Result<Vec<PathBuf>, Vec<Problem>> {
    folders_with(folder, "contract.toml")
}

fn folders_with(folder: &Path, file: &str) -> Result<Vec<PathBuf>, Vec<Problem>> {
    let entries = std::fs::read_dir(folder).map_err(|error| {
        let problem = Problem::in_file(folder, format!("cannot be read: {error}"));
        vec![problem.help("run it where `components/` and `contracts/` are, or name the folder")]
    })?;
    let mut folders: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join(file).is_file())
        .collect();
    folders.sort();
    Ok(folders)
}

/// Reads a component's manifest.
pub fn read_manifest(folder: &Path) -> Result<Manifest, Vec<Problem>> {
    manifest_and_text(folder).map(|(manifest, _)| manifest)
}

fn manifest_and_text(folder: &Path) -> Result<(Manifest, String), Vec<Problem>> {
    let file = folder.join("component.toml");
    let text = std::fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
    Ok((Manifest::parse(&file, &text)?, text))
}

/// What is wrong with a component's SQL and migrations, without its wasm and without a database.
pub fn check(folder: &Path, manifest: &Manifest) -> Vec<Problem> {
    let mut problems = match migrations(folder, manifest, Database::Sqlite) {
        Ok(scripts) => prepare::ungranted(manifest, &scripts),
        Err(problems) => problems,
    };
    match migrations(folder, manifest, Database::Postgres) {
        Ok(scripts) => problems.extend(scripts.iter().flat_map(|Script { file, migration }| {
            let granted = grant::migration(manifest, file, &migration.sql, Database::Postgres);
            granted.err().unwrap_or_default()
        })),
        Err(found) => problems.extend(found),
    }
    problems
}

/// Reads what a component's folder and its built wasm offer.
pub fn read(folder: &Path, wasm: &Path) -> Result<Offer, Vec<Problem>> {
    let file = folder.join("component.toml");
    let (manifest, text) = manifest_and_text(folder)?;
    let built = std::fs::read(wasm).map_err(|error| {
        let problem =
            Problem::in_file(&file, format!("its wasm {} cannot be read: {error}", wasm.display()));
        let help =
            manifest.build.as_ref().map(|build| format!("build it with `{}`", build.command));
        vec![problem.help(help.unwrap_or_else(|| "put the built component there".to_owned()))]
    })?;
    let migrations = migrations(folder, &manifest, Database::Sqlite)?;
    Ok(Offer::new(file, manifest, text, built, migrations))
}

/// The scripts of each migrations folder, for one database, in the order of their names.
fn migrations(
    folder: &Path,
    manifest: &Manifest,
    database: Database,
) -> Result<Vec<Script>, Vec<Problem>> {
    let mut all = Vec::new();
    for set in &manifest.migrations {
        let scripts = folder.join(set).join(database.to_string());
        if !scripts.is_dir() {
            continue;
        }
        let entries = std::fs::read_dir(&scripts).map_err(|error| unreadable(&scripts, &error))?;
        let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
        files.sort();
        for file in files {
            all.push(migration(folder, set, &file)?);
        }
    }
    Ok(all)
}

/// A set is named by the folder that holds it, so that components can share one.
fn migration(folder: &Path, set: &Path, file: &Path) -> Result<Script, Vec<Problem>> {
    let sql = std::fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
    let owner = folder.join(set);
    let owner = owner.canonicalize().unwrap_or(owner);
    let owner = owner.parent().and_then(Path::file_name).unwrap_or_default();
    let name = file.file_name().unwrap_or_default();
    let text = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
    let migration = Migration { set: text(owner), name: text(name), sql };
    Ok(Script { file: file.to_owned(), migration })
}

/// Compiles the offers, applies their migrations, remembers them as running, and puts everything
/// together. Nothing is applied unless everything is granted and compiles, and every statement fits
/// the tables that come of it: what a migration did cannot be taken back.
pub async fn load(
    contracts: Contracts,
    offers: Vec<Offer>,
    sandbox: &Sandbox,
    ledger: &Ledger,
    at: Timestamp,
) -> Result<Catalog, Vec<Problem>> {
    let mut problems = refused(&offers);
    if !problems.is_empty() {
        return Err(problems);
    }
    let manifests: Vec<_> = offers.iter().map(|offer| &offer.manifest).collect();
    for problem in unknown::names(&manifests, &contracts) {
        tracing::warn!("{problem}");
    }
    let offers: Vec<_> = offers.into_iter().map(Arc::new).collect();
    let mut components = Vec::new();
    for offer in &offers {
        match prepare::compile(offer, sandbox).await {
            Ok(component) => components.push(component),
            Err(found) => problems.extend(found),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let together: Vec<_> = offers.iter().map(|offer| &**offer).collect();
    prepare::adopt_together(&together, &[], ledger, at, Why::Start).await?;
    Ok(Catalog::new(contracts, components))
}

/// What is wrong with the offers before anything is done with them.
fn refused(offers: &[Offer]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut files = BTreeMap::new();
    for Offer { file, manifest, migrations, .. } in offers {
        if let Some(first) = files.insert(&manifest.name, file) {
            let message =
                format!("component `{}` is also offered by {}", manifest.name, first.display());
            problems.push(Problem::in_file(file, message).help("name each component once"));
        }
        problems.extend(prepare::ungranted(manifest, migrations));
    }
    problems
}

fn unreadable(path: &Path, error: &std::io::Error) -> Vec<Problem> {
    vec![Problem::in_file(path, format!("cannot be read: {error}"))]
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::clock::{Clock as _, ManualClock};
    use crate::ledger::LedgerOptions;
    use crate::runtime::SandboxConfig;

    /// A component with a table, which no wasm could be compiled for.
    fn offer(folder: &str, name: &str, query: &str) -> Offer {
        let file = Path::new(folder).join("component.toml");
        let text = format!(
            "name = \"{name}\"\nversion = \"1\"\n[[on]]\nevent = \"x\"\n\
             [grants]\ntables = {{ t = \"write\" }}\n[sql.s]\nquery = \"{query}\"\n"
        );
        let manifest = Manifest::parse(&file, &text).unwrap();
        let sql = "CREATE TABLE t (a TEXT)".to_owned();
        let migration = Migration { set: name.to_owned(), name: "1".into(), sql };
        let script = Script { file: Path::new(folder).join("1.sql"), migration };
        Offer::new(file, manifest, text, Vec::new(), vec![script])
    }

    async fn problems(offers: Vec<Offer>) -> (Vec<String>, bool) {
        let (folder, tasks) = (TempDir::new().unwrap(), TaskTracker::new());
        let options = LedgerOptions::at(folder.path().join("ledger.db"));
        let stop = CancellationToken::new();
        let ledger = Ledger::open(options, &tasks, stop.clone()).await.unwrap();
        let sandbox = Sandbox::new(SandboxConfig::default()).unwrap();
        let loaded =
            load(Contracts::default(), offers, &sandbox, &ledger, ManualClock::default().now())
                .await;
        let applied = ledger.prepare("SELECT a FROM t").await.is_ok();
        stop.cancel();
        let problems = loaded.err().unwrap_or_default();
        (problems.iter().map(ToString::to_string).collect(), applied)
    }

    #[tokio::test]
    async fn nothing_is_applied_unless_all_is_granted_and_compiles() {
        let sound = || offer("a", "a", "SELECT a FROM t");
        let (problems, applied) =
            self::problems(vec![sound(), offer("b", "b", "SELECT a FROM other")]).await;
        assert!(problems.concat().contains("read access to table `other`"), "{problems:?}");
        assert!(!applied);
        let (problems, applied) = self::problems(vec![sound()]).await;
        assert!(problems.concat().contains("not a WebAssembly component"), "{problems:?}");
        assert!(!applied);
    }

    #[test]
    fn every_part_counts_in_the_digest() {
        let digest = |wasm: &[u8], query: &str, set: &str, name: &str, sql: &str| {
            let Offer { file, manifest, text, .. } = offer("a", "a", query);
            let migration = Migration { set: set.into(), name: name.into(), sql: sql.into() };
            let script = Script { file: PathBuf::from("1.sql"), migration };
            Offer::new(file, manifest, text, wasm.to_vec(), vec![script]).digest
        };
        let digests = [
            digest(b"w", "SELECT 1", "s", "n", "sql"),
            digest(b"x", "SELECT 1", "s", "n", "sql"),
            digest(b"w", "SELECT 2", "s", "n", "sql"),
            digest(b"w", "SELECT 1", "t", "n", "sql"),
            digest(b"w", "SELECT 1", "s", "m", "sql"),
            digest(b"w", "SELECT 1", "s", "n", "other"),
            digest(b"w", "SELECT 1", "sn", "", "sql"),
        ];
        let different: std::collections::BTreeSet<_> = digests.iter().collect();
        assert_eq!(different.len(), digests.len(), "{digests:?}");
        assert_eq!(digests[0], digest(b"w", "SELECT 1", "s", "n", "sql"));
    }

    #[tokio::test]
    async fn a_name_that_is_offered_twice_is_told_with_both_files() {
        let offers = vec![offer("one", "a", "SELECT 1"), offer("two", "a", "SELECT 1")];
        let (problems, _) = problems(offers).await;
        let problem = problems.concat();
        for says in ["two/component.toml", "component `a` is also offered by one/component.toml"] {
            assert!(problem.contains(says), "{problem}");
        }
    }
}
