//! Dapr's files. Those of a folder are read together, as by one daprd; daprd reads no folder below
//! the one that it is given.

use std::path::{Path, PathBuf};

use crate::catalog::load;
use crate::config::Config;
use crate::contract::Contracts;
use crate::problem::Problem;
use crate::sidecar::{self, Host};

/// How far below a given folder files are looked for.
const DEPTH: usize = 4;

/// The files of one daprd.
#[derive(Default)]
pub struct Folder {
    files: Vec<(PathBuf, String)>,
    /// What is no text.
    unreadable: Vec<Problem>,
    /// Where one file was named: only its problems are of interest.
    only: Option<PathBuf>,
}

impl Folder {
    /// How many files are checked.
    pub fn len(&self) -> usize {
        if self.only.is_some() { 1 } else { self.files.len() + self.unreadable.len() }
    }
}

/// The folders with Dapr's files at `path` and below it.
pub fn folders(path: &Path) -> Vec<Folder> {
    if path.is_file() {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let found = files(folder.unwrap_or(Path::new(".")));
        let same = |file: &&PathBuf| file.file_name() == path.file_name();
        let unreadable = found.unreadable.iter().map(|problem| &problem.file);
        let only = found.files.iter().map(|(file, _)| file).chain(unreadable).find(same).cloned();
        let only = only.map(|only| Folder { only: Some(only), ..found });
        return only.into_iter().collect();
    }
    let mut found = Vec::new();
    collect(path, DEPTH, &mut found);
    found
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<Folder>) {
    let own = files(folder);
    // Other YAML is nothing of daprd's, whatever is wrong with it.
    if own.files.iter().any(|(_, text)| sidecar::is_dapr(text)) {
        found.push(own);
    }
    let looked_into =
        |path: &PathBuf| path.is_dir() && !is_hidden(path) && !path.ends_with("target");
    for below in entries(folder).into_iter().filter(looked_into) {
        if depth > 0 && !below.is_symlink() {
            collect(&below, depth - 1, found);
        }
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// Those that daprd would read, and that have something of Dapr in them or cannot be read.
fn files(folder: &Path) -> Folder {
    let yaml = |path: &PathBuf| {
        let extension = path.extension().filter(|_| !is_hidden(path));
        extension.is_some_and(|extension| extension == "yaml" || extension == "yml")
    };
    let mut found = Folder::default();
    for path in entries(folder).into_iter().filter(yaml).filter(|path| !path.is_dir()) {
        match read(&path) {
            Ok(text) if sidecar::is_dapr(&text) || sidecar::is_unreadable(&text) => {
                found.files.push((path, text));
            }
            Ok(_) => {}
            Err(problem) => found.unreadable.push(problem),
        }
    }
    found
}

fn read(path: &Path) -> Result<String, Problem> {
    let bytes = std::fs::read(path)
        .map_err(|error| Problem::in_file(path, format!("it cannot be read: {error}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes());
        let says = "daprd leaves this out: it is no UTF-8 from here on";
        Problem::at(path, &text, at..at, says).help("save it as UTF-8")
    })
}

/// In the order of their names, as daprd reads them.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Every problem, as seen by a host with these settings. Its contracts are those that are checked
/// with the files, else those of the configuration.
pub fn check(resources: &[Folder], checked: &[PathBuf], config: &Config) -> Vec<Problem> {
    let named: Vec<_> =
        checked.iter().filter(|path| path.join("contract.toml").is_file()).cloned().collect();
    let configured = || load::contract_folders(&config.contracts).unwrap_or_default();
    let folders = if named.is_empty() { configured() } else { named };
    // What is wrong with a contract is told where it is checked.
    let contracts = Contracts::load(&folders).unwrap_or_default();
    let subscriptions = config.ingress.subscriptions;
    let host = Host { app_id: &config.service, contracts: &contracts, subscriptions };
    let of = |folder: &Folder| {
        let mut problems = sidecar::check(&folder.files, host);
        problems.extend(folder.unreadable.iter().cloned());
        if let Some(only) = &folder.only {
            problems.retain(|problem| problem.file == *only);
        }
        problems
    };
    let mut problems: Vec<_> = resources.iter().flat_map(of).collect();
    // One file that is named says nothing of the others.
    if resources.iter().all(|folder| folder.only.is_none()) {
        let files: Vec<_> = resources.iter().map(|folder| folder.files.as_slice()).collect();
        problems.extend(sidecar::undeclared(&files, host));
    }
    problems
}
