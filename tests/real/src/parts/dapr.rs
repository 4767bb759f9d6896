//! Builds daprd and scheduler from the Go modules of one release, with that release's own list of
//! checksums: in the module's folder, which is read-only.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::run::{answer, run};
use crate::cache;

/// Some modules that 1.18.2 and 1.18.3 need are not public; those of this one are.
const VERSION: &str = "1.18.1";
pub const NAME: &str = "dapr-1.18.1";

/// The release names 0.12.5 of it, which is not public.
const CRON: &str = "github.com/diagridio/go-etcd-cron@v0.12.6";

/// The folder with both programs.
pub fn built() -> anyhow::Result<PathBuf> {
    cache::made(NAME, |folder| {
        let source = source()?;
        daprd(&source, folder)?;
        scheduler(&source, folder)
    })
}

fn source() -> anyhow::Result<PathBuf> {
    let mut command = Command::new("go");
    command.args(["mod", "download", "-json", &format!("github.com/dapr/dapr@v{VERSION}")]);
    let answer = answer(&mut command, "fetching the source of Dapr")?;
    // One line of a JSON object says where it is.
    let folder = answer.lines().find_map(|line| line.trim().strip_prefix("\"Dir\": \""));
    let folder = folder.and_then(|rest| rest.strip_suffix("\","));
    folder.map(PathBuf::from).context("`go mod download` does not say where it put Dapr")
}

fn daprd(source: &Path, folder: &Path) -> anyhow::Result<()> {
    let flags = format!("-s -w -X github.com/dapr/dapr/pkg/buildinfo.version={VERSION}");
    let mut command = go_build(source);
    command.args(["-tags", "stablecomponents", "-ldflags", &flags, "-o"]);
    run(command.arg(folder.join("daprd")).arg("./cmd/daprd"), &format!("building daprd {VERSION}"))
}

fn scheduler(source: &Path, folder: &Path) -> anyhow::Result<()> {
    let own = folder.join("module");
    fs::create_dir(&own)?;
    for name in ["go.mod", "go.sum"] {
        // Not a copy: those of the module are read-only.
        fs::write(own.join(name), fs::read(source.join(name))?)?;
    }
    let module = own.join("go.mod");
    let mut command = Command::new("go");
    command.args(["mod", "edit", &format!("-require={CRON}")]).arg(&module);
    run(&mut command, "changing the scheduler's modules")?;
    let mut command = go_build(source);
    command.args(["-mod=mod", "-ldflags", "-s -w", "-modfile"]).arg(&module).arg("-o");
    let program = folder.join("scheduler");
    run(command.arg(program).arg("./cmd/scheduler"), &format!("building scheduler {VERSION}"))
}

/// It names each package as it comes to it.
fn go_build(source: &Path) -> Command {
    let mut command = Command::new("go");
    command.args(["build", "-v", "-trimpath"]).current_dir(source);
    command.env("CGO_ENABLED", "0").env_remove("GOFLAGS").env_remove("GOOS").env_remove("GOARCH");
    command
}
