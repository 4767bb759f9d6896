//! Builds components: adds the Rust target when it is missing, runs each manifest's build command,
//! and finds what it made.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::cli::print;
use crate::manifest::{Build, Manifest};

/// What plain `cargo build` makes components for.
const TARGET: &str = "wasm32-wasip2";

/// How long the rest of a build's output may take to be read after its end.
const REST: Duration = Duration::from_secs(1);

/// Builds every component, or only looks for what was built before.
pub async fn components(
    found: &[(PathBuf, Manifest)],
    build: bool,
) -> anyhow::Result<Vec<PathBuf>> {
    let mut built = Vec::new();
    let many = found.len();
    for (number, (folder, manifest)) in found.iter().enumerate() {
        built.push(
            numbered(folder, manifest, build, &format!(" ({} of {many})", number + 1)).await?,
        );
    }
    Ok(built)
}

/// Builds one, or only looks for it; gives where its wasm is, or should be. Dropped, it ends the
/// build with everything that the command has started.
pub async fn component(folder: &Path, manifest: &Manifest, build: bool) -> anyhow::Result<PathBuf> {
    numbered(folder, manifest, build, "").await
}

/// `number` says which of how many it is.
async fn numbered(
    folder: &Path,
    manifest: &Manifest,
    build: bool,
    number: &str,
) -> anyhow::Result<PathBuf> {
    if let Some(recipe) = manifest.build.as_ref().filter(|_| build) {
        if recipe.command.contains(TARGET) {
            ensure_target().await?;
        }
        run(folder, manifest, recipe, number).await?;
    }
    Ok(output(folder, manifest).await)
}

/// Where rustup is told not to install by itself, `targets` of rust-toolchain.toml counts for nothing.
async fn ensure_target() -> anyhow::Result<()> {
    let libraries = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .kill_on_drop(true)
        .output()
        .await
        .context("`rustc` cannot be run; install Rust with rustup")?;
    let folder = String::from_utf8_lossy(&libraries.stdout).trim().to_owned();
    if libraries.status.success() && Path::new(&folder).is_dir() {
        return Ok(());
    }
    print::note(format!("the Rust target {TARGET} is missing; adding it with rustup"));
    let added = Command::new("rustup").args(["target", "add", TARGET]).status().await;
    match added {
        Ok(status) if status.success() => Ok(()),
        _ => bail!("the Rust target {TARGET} is missing; run `rustup target add {TARGET}`"),
    }
}

/// Shows the last line of what the command writes; all of it when the command fails.
async fn run(
    folder: &Path,
    manifest: &Manifest,
    recipe: &Build,
    number: &str,
) -> anyhow::Result<()> {
    let (name, command, started) = (&manifest.name, &recipe.command, Instant::now());
    let style = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}")?;
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.set_message(format!("building {name}{number}"));
    if bar.is_hidden() {
        print::note(format!("building {name}{number} with `{command}`"));
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    let script = format!("exec 2>&1\n{command}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped());
    shell.process_group(0);
    for (variable, _) in std::env::vars_os().filter(|(name, _)| is_of_outer_build(name)) {
        shell.env_remove(variable);
    }
    let mut child = shell.spawn().with_context(|| format!("`{command}` cannot be run"))?;
    let group = Group::led_by(&child);
    let mut written = Vec::new();
    let status = followed(&mut child, |line| {
        bar.set_message(format!("building {name}{number}: {}", line.trim_start()));
        written.push(line);
    })
    .await?;
    group.ended();
    bar.finish_and_clear();
    if status.success() {
        print::note(format!("built {name} in {:.1} s", started.elapsed().as_secs_f64()));
        return Ok(());
    }
    bail!("component `{name}` does not build with `{command}`:\n{}", written.join("\n").trim_end())
}

/// Waits for its end, and gives each line that it writes. What it leaves running may hold its output
/// open for as long as it likes.
async fn followed(child: &mut Child, mut line: impl FnMut(String)) -> anyhow::Result<ExitStatus> {
    let output = child.stdout.take();
    let mut reading = pin!(async {
        let Some(output) = output else { return Ok(()) };
        let mut lines = BufReader::new(output).split(b'\n');
        while let Some(next) = lines.next_segment().await? {
            line(String::from_utf8_lossy(&next).trim_end().to_owned());
        }
        std::io::Result::Ok(())
    });
    tokio::select! {
        read = &mut reading => {
            read?;
            Ok(child.wait().await?)
        }
        status = child.wait() => {
            if let Ok(read) = timeout(REST, reading).await {
                read?;
            }
            Ok(status?)
        }
    }
}

/// A build's processes: they end with a build that is given up.
struct Group(Option<Pid>);

impl Group {
    /// The command leads a group of its own, so that Ctrl-C reaches the host alone.
    fn led_by(child: &Child) -> Self {
        let leader = child.id().and_then(|id| i32::try_from(id).ok());
        Self(leader.and_then(Pid::from_raw))
    }

    /// The leader is waited for: its number may be given to others.
    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0
            && let Err(error) = kill_process_group(leader, Signal::KILL)
        {
            tracing::debug!(%error, "a build could not be ended");
        }
    }
}

/// What `cargo run` says about the host itself must not reach the build of a component.
fn is_of_outer_build(variable: &OsStr) -> bool {
    let name = variable.to_string_lossy();
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "OUT_DIR"
}

/// The built wasm: under cargo's target folder, else beside the manifest, as a component comes that
/// was built elsewhere. It may not be there.
pub async fn output(folder: &Path, manifest: &Manifest) -> PathBuf {
    let Some(recipe) = &manifest.build else {
        return folder.join(format!("{}.wasm", manifest.name));
    };
    let beside = folder.join(&recipe.output);
    match target_folder(folder).await {
        Ok(target) => {
            let built = target.join(TARGET).join("release").join(&recipe.output);
            if built.is_file() || !beside.is_file() { built } else { beside }
        }
        Err(error) => {
            tracing::debug!(%error, "no target folder of cargo");
            beside
        }
    }
}

async fn target_folder(folder: &Path) -> anyhow::Result<PathBuf> {
    let metadata = Command::new("cargo")
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(folder)
        .kill_on_drop(true)
        .output()
        .await
        .context("`cargo metadata` cannot be run")?;
    let error = String::from_utf8_lossy(&metadata.stderr);
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout)
        .with_context(|| format!("`cargo metadata` failed: {}", error.trim_end()))?;
    let folder = metadata.get("target_directory").and_then(serde_json::Value::as_str);
    Ok(PathBuf::from(folder.context("`cargo metadata` names no target folder")?))
}
