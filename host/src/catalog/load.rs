//! Makes a catalog from component folders and contracts: reads, checks, compiles. Every fault is
//! collected, so that one run shows them all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::catalog::{Catalog, prepare, unknown};
use crate::clock::Timestamp;
use crate::contract::Contracts;
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
    /// Those of every database that it knows: what is offered is the same wherever it runs.
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
        let mut add = |part: &[u8]| {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        };
        add(&wasm);
        add(text.as_bytes());
        // A script under another name, or for another database, is another migration.
        for Script { database, migration: Migration { set, name, sql }, .. } in &migrations {
            for part in [&database.to_string(), set, name, sql] {
                add(part.as_bytes());
            }
        }
        let digest = crate::name::hex(&hasher.finalize());
        Self { file, manifest, text, wasm, migrations, digest }
    }

    /// In the order in which they are applied.
    pub fn migrations_for(&self, database: Database) -> impl Iterator<Item = &Migration> {
        let scripts = self.migrations.iter().filter(move |script| script.database == database);
        scripts.map(|script| &script.migration)
    }
}

/// A migration, the database that it is for, and the file that it was read from.
pub struct Script {
    pub file: PathBuf,
    pub database: Database,
    pub migration: Migration,
}

/// The sub-folders that hold a `component.toml`, by name.
pub fn component_folders(folder: &Path) -> Result<Vec<PathBuf>, Vec<Problem>> {
    folders_with(folder, "component.toml")
}

/// The same, and the bundles (`*.tar`) that lie beside them.
pub fn prebuilt(folder: &Path) -> Result<Vec<PathBuf>, Vec<Problem>> {
    let is_bundle = |path: &Path| path.extension().is_some_and(|ending| ending == "tar");
    entries_where(folder, |path| path.join("component.toml").is_file() || is_bundle(path))
}

/// The sub-folders that hold a `contract.toml`, by name.
pub fn contract_folders(folder: &Path) -> Result<Vec<PathBuf>, Vec<Problem>> {
    folders_with(folder, "contract.toml")
}

fn folders_with(folder: &Path, file: &str) -> Result<Vec<PathBuf>, Vec<Problem>> {
    entries_where(folder, |path| path.join(file).is_file())
}

fn entries_where(
    folder: &Path,
    is_wanted: impl Fn(&Path) -> bool,
) -> Result<Vec<PathBuf>, Vec<Problem>> {
    let entries = std::fs::read_dir(folder).map_err(|error| {
        let problem = Problem::in_file(folder, format!("cannot be read: {error}"));
        vec![problem.help("run it where `components/` and `contracts/` are, or name the folder")]
    })?;
    let mut found: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_wanted(path))
        .collect();
    found.sort();
    Ok(found)
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

/// What is wrong with a component's SQL and migrations for a database, without its wasm and without
/// the database.
pub fn check(folder: &Path, manifest: &Manifest, database: Database) -> Vec<Problem> {
    match migrations(folder, manifest) {
        Ok(scripts) => prepare::ungranted(manifest, &scripts, database),
        Err(problems) => problems,
    }
}

/// The same for every database that the manifest gives statements for. What is so for one alone is
/// told as that.
pub fn check_everywhere(folder: &Path, manifest: &Manifest) -> Vec<Problem> {
    let mut found = Database::ALL.map(|database| {
        let mut given = manifest.clone();
        given.sql.retain(|_, statement| statement.text.of(database).is_some());
        (database, check(folder, &given, database))
    });
    let [(_, sqlite), (_, postgres)] = &mut found;
    let on_both: Vec<_> = sqlite.extract_if(.., |problem| postgres.contains(problem)).collect();
    postgres.retain(|problem| !on_both.contains(problem));
    let on_one = found.into_iter().flat_map(|(database, problems)| {
        let told = move |problem: Problem| Problem {
            message: format!("{} (on {database})", problem.message),
            ..problem
        };
        problems.into_iter().map(told)
    });
    on_both.into_iter().chain(on_one).collect()
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
    let migrations = migrations(folder, &manifest)?;
    Ok(Offer::new(file, manifest, text, built, migrations))
}

/// The scripts of each migrations folder, for each database in the order of their names.
fn migrations(folder: &Path, manifest: &Manifest) -> Result<Vec<Script>, Vec<Problem>> {
    let mut all = Vec::new();
    for database in Database::ALL {
        for set in &manifest.migrations {
            for file in scripts(&folder.join(set).join(database.to_string()))? {
                let migration = migration(folder, set, &file)?;
                all.push(Script { file, database, migration });
            }
        }
    }
    Ok(all)
}

fn scripts(folder: &Path) -> Result<Vec<PathBuf>, Vec<Problem>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    Ok(files)
}

/// A set is named by the folder that holds it, so that components can share one.
fn migration(folder: &Path, set: &Path, file: &Path) -> Result<Migration, Vec<Problem>> {
    let sql = std::fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
    let owner = folder.join(set);
    let owner = owner.canonicalize().unwrap_or(owner);
    let owner = owner.parent().and_then(Path::file_name).unwrap_or_default();
    let name = file.file_name().unwrap_or_default();
    let text = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
    Ok(Migration { set: text(owner), name: text(name), sql })
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
    let database = ledger.database();
    let mut problems = refused(&offers, database);
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
        match prepare::compile(offer, sandbox, database).await {
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
fn refused(offers: &[Offer], database: Database) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut files = BTreeMap::new();
    for Offer { file, manifest, migrations, .. } in offers {
        if let Some(first) = files.insert(&manifest.name, file) {
            let message =
                format!("component `{}` is also offered by {}", manifest.name, first.display());
            problems.push(Problem::in_file(file, message).help("name each component once"));
        }
        problems.extend(prepare::ungranted(manifest, migrations, database));
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
        let file_of_script = Path::new(folder).join("1.sql");
        let script = Script { file: file_of_script, database: Database::Sqlite, migration };
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
    fn each_database_is_checked_by_what_is_said_for_it() {
        let folder = TempDir::new().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let manifest = |sql: &str| {
            let text = format!(
                "name = \"a\"\nversion = \"1\"\n[[on]]\nevent = \"x\"\n\
                 [grants]\ntables = {{ t = \"write\" }}\n[sql.s]\nquery = {sql}\n"
            );
            Manifest::parse(&folder.path().join("component.toml"), &text).unwrap()
        };
        write("migrations/sqlite/1.sql", "CREATE TABLE t (a TEXT)");
        write("migrations/postgres/1.sql", "CREATE TABLE other (a TEXT)");
        let sound = manifest("{ sqlite = \"SELECT a FROM t\" }");
        let check = |manifest, database| check(folder.path(), manifest, database);
        let everywhere = |manifest| -> Vec<_> {
            let problems = check_everywhere(folder.path(), manifest);
            problems.into_iter().map(|problem| problem.message).collect()
        };
        assert_eq!(check(&sound, Database::Sqlite), []);
        let [statement, migration] = &check(&sound, Database::Postgres)[..] else { panic!() };
        assert!(statement.message.contains("no text for postgres"), "{statement}");
        assert!(migration.message.contains("write access to table `other`"), "{migration}");
        // It gives no text for PostgreSQL on purpose.
        let [migration] = &everywhere(&sound)[..] else { panic!() };
        assert!(
            migration.contains("`other`") && migration.ends_with("(on postgres)"),
            "{migration}"
        );

        write("migrations/postgres/1.sql", "CREATE TABLE t (a TEXT)");
        assert_eq!(everywhere(&sound), Vec::<String>::new());
        let [told_once] = &everywhere(&manifest("\"SELECT a FROM other\""))[..] else { panic!() };
        assert!(told_once.contains("read access to table `other`"), "{told_once}");
        assert!(!told_once.contains("(on"), "{told_once}");
    }

    #[test]
    fn every_part_counts_in_the_digest() {
        let digest_on = |database, wasm: &[u8], query: &str, set: &str, name: &str, sql: &str| {
            let Offer { file, manifest, text, .. } = offer("a", "a", query);
            let migration = Migration { set: set.into(), name: name.into(), sql: sql.into() };
            let script = Script { file: PathBuf::from("1.sql"), database, migration };
            Offer::new(file, manifest, text, wasm.to_vec(), vec![script]).digest
        };
        let digest = |wasm: &[u8], query: &str, set: &str, name: &str, sql: &str| {
            digest_on(Database::Sqlite, wasm, query, set, name, sql)
        };
        let digests = [
            digest(b"w", "SELECT 1", "s", "n", "sql"),
            digest(b"x", "SELECT 1", "s", "n", "sql"),
            digest(b"w", "SELECT 2", "s", "n", "sql"),
            digest(b"w", "SELECT 1", "t", "n", "sql"),
            digest(b"w", "SELECT 1", "s", "m", "sql"),
            digest(b"w", "SELECT 1", "s", "n", "other"),
            digest(b"w", "SELECT 1", "sn", "", "sql"),
            digest_on(Database::Postgres, b"w", "SELECT 1", "s", "n", "sql"),
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
