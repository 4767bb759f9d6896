//! `wharf inspect`: what a built component imports and exports, and what its manifest grants.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::cli::{Finding, print};
use crate::runtime::{Sandbox, SandboxConfig};

/// Show what a built component imports and exports
#[derive(Args)]
#[command(after_help = "Examples:
  wharf inspect target/wasm32-wasip2/release/audit.wasm
  wharf inspect --json audit.wasm")]
pub struct Inspect {
    /// A component's .wasm file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub fn run(self) -> anyhow::Result<Finding> {
        let name = self.file.display();
        let wasm = std::fs::read(&self.file).with_context(|| format!("{name} cannot be read"))?;
        let found = Sandbox::new(SandboxConfig::default())?.inspect(&wasm)?;
        if self.json {
            print::json(&found)?;
            return Ok(Finding::Nothing);
        }
        print::line(format!("{name}"));
        Ok(Finding::Nothing)
    }
}
