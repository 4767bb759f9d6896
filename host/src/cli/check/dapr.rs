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
pub struct Folder {
    files: Vec<(PathBuf, String)>,
    /// Where one file was named: only its problems are of interest.
    only: Option<PathBuf>,
}

impl Folder {
    /// How many files are checked.
    pub fn len(&self) -> usize {
        if self.only.is_some() { 1 } else { self.files.len() }
    }
}

/// The folders with Dapr's files at `path` and below it.
pub fn folders(path: &Path) -> Vec<Folder> {
    if path.is_file() {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let files = files(folder.unwrap_or(Path::new(".")));
        let same = |file: &PathBuf| file.file_name() == path.file_name();
        let only = files.iter().map(|(file, _)| file).find(|file| same(file)).cloned();
        return only.map(|only| Folder { files, only: Some(only) }).into_iter().collect();
    }
    let mut found = Vec::new();
    collect(path, DEPTH, &mut found);
    found
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<Folder>) {
    let files = files(folder);
    if !files.is_empty() {
        found.push(Folder { files, only: None });
    }
    let hidden = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with('.') || name == "target"
    };
    for below in entries(folder).into_iter().filter(|path| path.is_dir() && !hidden(path)) {
        if depth > 0 && !below.is_symlink() {
            collect(&below, depth - 1, found);
        }
    }
}

/// Those that daprd would read, and that have something of Dapr in them.
fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    let yaml = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
    };
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).ok()?;
        sidecar::is_dapr(&text).then_some((path, text))
    };
    entries(folder).into_iter().filter(yaml).filter_map(read).collect()
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
    let host = Host { app_id: &config.service, contracts: &contracts };
    let of = |folder: &Folder| {
        let mut problems = sidecar::check(&folder.files, host);
        if let Some(only) = &folder.only {
            problems.retain(|problem| problem.file == *only);
        }
        problems
    };
    resources.iter().flat_map(of).collect()
}
