//! `wharf inspect`: what a built component imports and exports, which imports need a grant in its
//! manifest, and whether this host can run it.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::cli::{Finding, print};
use crate::runtime::{Import, Inspection, Sandbox, SandboxConfig};

/// Show what a built component imports and exports
///
/// The exit code is 1 when this host cannot run it.
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
        if !wasm.starts_with(b"\0asm") {
            bail!("{name} is not a WebAssembly component; name one built for wasm32-wasip2");
        }
        let found = Sandbox::new(SandboxConfig::default())?.inspect(&wasm);
        let found = found.with_context(|| {
            format!("{name} cannot be inspected; name a component built for wasm32-wasip2")
        })?;
        if self.json {
            print::json(&found)?;
        } else {
            print::line(format!("{name}\n{}", described(&found)));
        }
        let missing = found.imports.iter().any(|import| import.missing.is_some());
        let runs = found.fault.is_none() && !missing;
        Ok(if runs { Finding::Nothing } else { Finding::Something })
    }
}

fn described(found: &Inspection) -> String {
    let import = |Import { name, missing, grant }: &Import| match (missing, grant) {
        (None, None) => format!("  {name}"),
        (None, Some(section)) => format!("  {name}: needs {section}"),
        (Some(why), _) => format!("  {name}: cannot be had; {why}"),
    };
    let section = |title: &str, names: Vec<String>| {
        let names = if names.is_empty() { "  nothing".to_owned() } else { names.join("\n") };
        format!("{title}\n{names}")
    };
    let imports = section("imports", found.imports.iter().map(import).collect());
    let exports = found.exports.iter().map(|name| format!("  {name}"));
    let exports = section("exports", exports.collect());
    match &found.fault {
        None => format!("{imports}\n{exports}"),
        Some(fault) => format!("{imports}\n{exports}\ndoes not fit the world: {fault}"),
    }
}
