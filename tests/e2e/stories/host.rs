//! Wharf's own program, and the code that it compiles.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};

/// The host's own program, built as this one was.
pub fn program() -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("wharf-e2e-host"))
}

/// Where all hosts keep compiled components, so that each is compiled once.
pub fn compiled() -> PathBuf {
    let beside = std::env::current_exe().unwrap_or_default();
    beside.with_file_name("wharf-e2e-compiled")
}

/// Builds the program into the folder that this one was built in.
pub fn build() -> anyhow::Result<()> {
    let program = program()?;
    let target = program.ancestors().nth(2).context("cargo builds into a target folder")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("a workspace")?;
    let mut command = wharf_test_real::cargo();
    command.args(["build", "--locked", "--quiet", "--package", "wharf-e2e"]);
    command.args(["--bin", "wharf-e2e-host", "--target-dir"]).arg(target);
    let status = command.current_dir(root).stdin(Stdio::null()).status();
    match status.context("cargo cannot be run")?.success() {
        true => Ok(()),
        false => bail!("the host cannot be built; cargo said above why"),
    }
}
