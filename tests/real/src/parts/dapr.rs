//! Builds daprd, scheduler and the command line from Go modules, each with its release's own list of
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

/// The newest command line that the proxy has whole; it runs any daprd.
const CLI_VERSION: &str = "1.16.5";
pub const CLI_NAME: &str = "dapr-cli-1.16.5";

/// The command line names 1.16.3 of it, which is not public.
const CONTRIB: &str = "github.com/dapr/components-contrib@v1.16.5";

/// The release names 0.12.5 of it, which is not public.
const CRON: &str = "github.com/diagridio/go-etcd-cron@v0.12.6";

/// The folder with both programs.
pub fn built() -> anyhow::Result<PathBuf> {
    cache::made(NAME, |folder| {
        let source = source(&format!("github.com/dapr/dapr@v{VERSION}"))?;
        daprd(&source, folder)?;
        scheduler(&source, folder)
    })
}

/// The folder with Dapr's command line, the program `dapr`.
pub fn command_line() -> anyhow::Result<PathBuf> {
    cache::made(CLI_NAME, |folder| {
        let source = source(&format!("github.com/dapr/cli@v{CLI_VERSION}"))?;
        let flags = format!("-s -w -X main.version={CLI_VERSION}");
        let mut command = go_build(&source);
        command.arg("-modfile").arg(modules(&source, folder, CONTRIB)?);
        command.args(["-mod=mod", "-ldflags", &flags, "-o"]).arg(folder.join("dapr")).arg(".");
        run(&mut command, &format!("building Dapr's command line {CLI_VERSION}"))
    })
}

/// A module's folder.
fn source(module: &str) -> anyhow::Result<PathBuf> {
    let mut command = Command::new("go");
    command.args(["mod", "download", "-json", module]);
    let answer = answer(&mut command, &format!("fetching {module}"))?;
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
    let mut command = go_build(source);
    command.arg("-modfile").arg(modules(source, folder, CRON)?);
    command.args(["-mod=mod", "-ldflags", "-s -w", "-o"]).arg(folder.join("scheduler"));
    run(command.arg("./cmd/scheduler"), &format!("building scheduler {VERSION}"))
}

/// A release's list of modules, with another version of one of them.
fn modules(source: &Path, folder: &Path, other: &str) -> anyhow::Result<PathBuf> {
    let own = folder.join("module");
    fs::create_dir(&own)?;
    for name in ["go.mod", "go.sum"] {
        // Not a copy: those of the module are read-only.
        fs::write(own.join(name), fs::read(source.join(name))?)?;
    }
    let module = own.join("go.mod");
    let mut command = Command::new("go");
    command.args(["mod", "edit", &format!("-require={other}")]).arg(&module);
    run(&mut command, &format!("changing its modules to {other}"))?;
    Ok(module)
}

/// It names each package as it comes to it.
fn go_build(source: &Path) -> Command {
    let mut command = Command::new("go");
    command.args(["build", "-v", "-trimpath"]).current_dir(source);
    command.env("CGO_ENABLED", "0").env_remove("GOFLAGS").env_remove("GOOS").env_remove("GOARCH");
    command
}
