//! `wharf check`: every problem of manifests and contracts, with file and line; and of components
//! that are built, whether this host can run them.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;
use serde_json::json;

use crate::catalog::{load, unknown};
use crate::cli::{Finding, build, print};
use crate::config::Config;
use crate::contract::{self, Contracts};
use crate::manifest::Manifest;
use crate::problem::Problem;
use crate::runtime::{Sandbox, SandboxConfig};

/// Find every problem of components and contracts
///
/// A PATH is a component's or a contract's folder, or a folder of such folders. Nothing is built; a
/// component that was built before is checked too. SQL is checked for SQLite and for PostgreSQL,
/// unless the manifest gives a statement for one of them alone. The settings must fit the contracts:
/// a dedup window that is shorter than a topic keeps its events is a problem.
#[derive(Args)]
#[command(after_help = "Examples:
  wharf check                       everything in components/ and contracts/
  wharf check contracts/cloudevents
  wharf check --json components")]
pub struct Check {
    /// Folders to check
    #[arg(value_name = "PATH", default_values = ["components", "contracts"])]
    paths: Vec<PathBuf>,
    /// A configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the problems as JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub async fn run(self) -> anyhow::Result<Finding> {
        let config = Config::load(self.config.as_deref()).map_err(|error| anyhow!("{error}"))?;
        let mut problems = Vec::new();
        let folders: Vec<_> =
            self.paths.iter().flat_map(|path| folders(path, &mut problems)).collect();
        let sandbox = Sandbox::new(SandboxConfig::default())?;
        for folder in &folders {
            problems.extend(check(folder, &sandbox).await);
        }
        problems.extend(together(&folders, &config));
        let checked = folders.len();
        if self.json {
            print::json(&json!({ "checked": checked, "problems": problems }))?;
        } else if problems.is_empty() {
            print::line(format!("{checked} checked, no problems"));
        } else {
            print::problems(&problems);
        }
        Ok(if problems.is_empty() { Finding::Nothing } else { Finding::Something })
    }
}

/// The folders of components and contracts at `path` or right below it.
fn folders(path: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    if is_component(path) || path.join("contract.toml").is_file() {
        return vec![path.to_owned()];
    }
    let below = [load::component_folders(path), load::contract_folders(path)];
    let below: Vec<_> = below.into_iter().flatten().flatten().collect();
    if below.is_empty() {
        let what = match path {
            path if !path.exists() => "does not exist",
            path if path.is_file() => "is a file, not a folder",
            _ => "holds no component and no contract",
        };
        let problem = Problem::in_file(path, what);
        problems.push(problem.help("name a folder with a component.toml or a contract.toml"));
    }
    below
}

/// What only shows beside contracts: names that none of them knows, and settings that do not fit.
fn together(folders: &[PathBuf], config: &Config) -> Vec<Problem> {
    let (components, contracts): (Vec<_>, Vec<_>) =
        folders.iter().cloned().partition(|folder| is_component(folder));
    let Ok(contracts) = Contracts::load(&contracts) else { return Vec::new() };
    if contracts.iter().next().is_none() {
        return Vec::new();
    }
    let manifests: Vec<_> =
        components.iter().filter_map(|folder| load::read_manifest(folder).ok()).collect();
    let mut problems = unknown::names(&manifests.iter().collect::<Vec<_>>(), &contracts);
    problems.extend(contracts.dedup_window(config.ledger.dedup_window).err());
    problems
}

fn is_component(folder: &Path) -> bool {
    folder.join("component.toml").is_file()
}

async fn check(folder: &Path, sandbox: &Sandbox) -> Vec<Problem> {
    if is_component(folder) { component(folder, sandbox).await } else { contract::check(folder) }
}

async fn component(folder: &Path, sandbox: &Sandbox) -> Vec<Problem> {
    let manifest = match load::read_manifest(folder) {
        Ok(manifest) => manifest,
        Err(problems) => return problems,
    };
    let mut problems = load::check_everywhere(folder, &manifest);
    let file = build::output(folder, &manifest).await;
    if let Ok(wasm) = std::fs::read(&file) {
        problems.extend(built(&file, &wasm, &manifest, sandbox));
    }
    problems
}

/// What keeps this host from running a built component.
fn built(file: &Path, wasm: &[u8], manifest: &Manifest, sandbox: &Sandbox) -> Vec<Problem> {
    let found = match sandbox.inspect(wasm) {
        Ok(found) => found,
        Err(error) => {
            let problem = Problem::in_file(file, format!("{error:#}"));
            return vec![problem.help("build it for the target wasm32-wasip2")];
        }
    };
    let missing = found.imports.iter().filter_map(|import| {
        let why = match import.missing {
            Some(why) => why.to_owned(),
            None => import.ungranted(manifest)?,
        };
        Some(Problem::in_file(file, format!("imports `{}`, which {why}", import.name)))
    });
    let fault = found.fault.as_ref().map(|fault| {
        Problem::in_file(file, format!("does not fit the world `wharf:worker/worker`: {fault}"))
    });
    missing.chain(fault).collect()
}
