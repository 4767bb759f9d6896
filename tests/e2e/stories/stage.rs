//! What stories have in common: Wharf's own program, and waiting.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// How long something may take that comes by itself.
pub const PATIENCE: Duration = Duration::from_secs(60);
const ASK: Duration = Duration::from_millis(50);

/// The program that stories start: the host's own, built as this one was.
pub fn host_program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.with_file_name("wharf-e2e-host"))
}

/// Builds it, into the folder that this program was built in.
pub fn build_host() -> anyhow::Result<()> {
    let program = host_program()?;
    let target = program.ancestors().nth(2).context("cargo builds into a target folder")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("a workspace")?;
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--locked", "--quiet", "--package", "wharf-e2e"]);
    command.args(["--bin", "wharf-e2e-host", "--target-dir"]).arg(target);
    let status = command.current_dir(root).stdin(Stdio::null()).status();
    match status.context("cargo cannot be run")?.success() {
        true => Ok(()),
        false => bail!("the host cannot be built; cargo said above why"),
    }
}

/// Asks until there is an answer. Fails with the last reason why there was none.
pub async fn eventually<T, F: Future<Output = Result<T, String>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(why) if began.elapsed() > PATIENCE => {
                bail!("not after {PATIENCE:?}: {what}; {why}");
            }
            Err(_) => tokio::time::sleep(ASK).await,
        }
    }
}
