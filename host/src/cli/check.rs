//! `wharf check`: every problem of manifests and contracts, with file and line.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::catalog::load;
use crate::cli::{Finding, print};
use crate::contract;
use crate::problem::Problem;

/// Find every problem of components and contracts
///
/// A PATH is a component's or a contract's folder, or a folder of such folders.
#[derive(Args)]
#[command(after_help = "Examples:
  wharf check                       everything in components/ and contracts/
  wharf check contracts/cloudevents
  wharf check --json components")]
pub struct Check {
    /// Folders to check
    #[arg(value_name = "PATH", default_values = ["components", "contracts"])]
    paths: Vec<PathBuf>,
    /// Print the problems as JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub fn run(self) -> anyhow::Result<Finding> {
        let (mut checked, mut problems) = (0, Vec::new());
        for path in &self.paths {
            checked += check(path, &mut problems);
        }
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

/// Gives how many components and contracts were found below `path`.
fn check(path: &Path, problems: &mut Vec<Problem>) -> usize {
    if path.join("component.toml").is_file() {
        problems.extend(component(path));
        return 1;
    }
    if path.join("contract.toml").is_file() {
        problems.extend(contract::check(path));
        return 1;
    }
    let below = [load::component_folders(path), load::contract_folders(path)];
    let below: Vec<_> = below.into_iter().flatten().flatten().collect();
    if below.is_empty() {
        let problem = Problem::in_file(path, "holds no component and no contract");
        problems.push(problem.help("name a folder with a component.toml or a contract.toml"));
    }
    below.iter().map(|folder| check(folder, problems)).sum()
}

fn component(folder: &Path) -> Vec<Problem> {
    match load::read_manifest(folder) {
        Ok(manifest) => load::check(folder, &manifest),
        Err(problems) => problems,
    }
}
