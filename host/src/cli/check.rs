//! `wharf check`: every problem of manifests, contracts and Dapr's own files, with file and line; and
//! of components that are built, whether this host can run them.

mod dapr;

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

/// Find every problem of components, contracts and Dapr's files
///
/// A PATH is a component's or a contract's folder, a folder of such folders, or one with Dapr's YAML
/// files in it or below it; those of one folder are taken to be of one daprd. Nothing is built; a
/// component that was built before is checked too. SQL is checked for SQLite and for PostgreSQL,
/// unless the manifest gives a statement for one of them alone. The settings must fit the contracts:
/// a dedup window that is shorter than a topic keeps its events is a problem. In Dapr's files, what
/// daprd ignores or refuses and what loses events are problems; a folder that lacks a pubsub, store or
/// binding of a contract gets a warning, and so does a topic that no Subscription names where the
/// configuration leaves subscriptions to files. The contracts are those among the PATHs, else those
/// of the configuration.
///
/// The exit code is 1 when there is a problem. Warnings alone are none.
#[derive(Args)]
#[command(after_help = "Examples:
  wharf check                       everything in components/, contracts/ and dapr/
  wharf check contracts/cloudevents
  wharf check dapr                  Dapr's components, subscriptions, resiliency, configuration
  wharf check dapr/local contracts/cloudevents
                                    the same of one daprd, for a host with this contract
  wharf check --json components")]
pub struct Check {
    /// What to check [default: components contracts, and dapr where it is]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// A configuration file, such as deploy/wharf.toml, which has every setting
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
        let paths = if self.paths.is_empty() { usual() } else { self.paths };
        let (mut folders, mut resources) = (Vec::new(), Vec::new());
        for path in &paths {
            let (found, dapr) = (below(path), dapr::folders(path));
            problems.extend((found.is_empty() && dapr.is_empty()).then(|| nothing(path)));
            folders.extend(found);
            resources.extend(dapr);
        }
        let sandbox = Sandbox::new(SandboxConfig::default())?;
        for folder in &folders {
            problems.extend(check(folder, &sandbox).await);
        }
        problems.extend(together(&folders, &config));
        let files = resources.iter().map(dapr::Folder::len).sum::<usize>();
        problems.extend(dapr::check(&resources, &folders, &config));
        let checked = folders.len() + files;
        let errors = problems.iter().filter(|problem| problem.is_error()).count();
        if self.json {
            print::json(&json!({ "checked": checked, "problems": problems }))?;
        } else if problems.is_empty() {
            print::line(format!("{checked} checked, no problems"));
        } else {
            print::problems(&problems);
        }
        Ok(if errors == 0 { Finding::Nothing } else { Finding::Something })
    }
}

/// What is checked when nothing is named.
fn usual() -> Vec<PathBuf> {
    let dapr = Some("dapr").filter(|dapr| Path::new(dapr).is_dir());
    ["components", "contracts"].into_iter().chain(dapr).map(PathBuf::from).collect()
}

/// The folders of components and contracts at `path` or right below it.
fn below(path: &Path) -> Vec<PathBuf> {
    if is_component(path) || path.join("contract.toml").is_file() {
        return vec![path.to_owned()];
    }
    let below = [load::component_folders(path), load::contract_folders(path)];
    below.into_iter().flatten().flatten().collect()
}

fn nothing(path: &Path) -> Problem {
    let what = match path {
        path if !path.exists() => "does not exist",
        path if path.is_file() => "is a file, and none of Dapr's",
        _ => "holds no component, no contract and no file of Dapr's",
    };
    let problem = Problem::in_file(path, what);
    problem.help("name a folder with a component.toml, a contract.toml or Dapr's YAML files")
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
