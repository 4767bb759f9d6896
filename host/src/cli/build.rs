//! Builds components: adds the Rust target when it is missing, runs each manifest's build command,
//! and finds what it made.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use indicatif::ProgressBar;
use tokio::process::Command;

use crate::cli::print;
use crate::manifest::{Build, Manifest};

/// What plain `cargo build` makes components for.
const TARGET: &str = "wasm32-wasip2";

/// Builds every component, or only looks for what was built before.
pub async fn components(
    found: &[(PathBuf, Manifest)],
    build: bool,
) -> anyhow::Result<Vec<PathBuf>> {
    if build && found.iter().any(|(_, manifest)| needs_target(manifest)) {
        ensure_target().await?;
    }
    let mut built = Vec::new();
    for (folder, manifest) in found {
        let Some(recipe) = &manifest.build else {
            built.push(folder.join(format!("{}.wasm", manifest.name)));
            continue;
        };
        if build {
            run(folder, manifest, recipe).await?;
        }
        built.push(output(folder, recipe).await?);
    }
    Ok(built)
}

fn needs_target(manifest: &Manifest) -> bool {
    manifest.build.as_ref().is_some_and(|recipe| recipe.command.contains(TARGET))
}

/// Where rustup is told not to install by itself, `targets` of rust-toolchain.toml counts for nothing.
async fn ensure_target() -> anyhow::Result<()> {
    let libraries = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
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

async fn run(folder: &Path, manifest: &Manifest, recipe: &Build) -> anyhow::Result<()> {
    let command = &recipe.command;
    let bar = ProgressBar::new_spinner().with_message(format!("building {}", manifest.name));
    bar.enable_steady_tick(Duration::from_millis(100));
    let output = Command::new("sh").args(["-c", command]).current_dir(folder).output().await;
    bar.finish_and_clear();
    let output = output.with_context(|| format!("`{command}` cannot be run"))?;
    if output.status.success() {
        print::note(format!("built {}", manifest.name));
        return Ok(());
    }
    bail!(
        "component `{}` does not build with `{command}`:\n{}",
        manifest.name,
        String::from_utf8_lossy(&output.stderr).trim_end()
    )
}

/// The built wasm: beside the manifest, or under cargo's target folder.
async fn output(folder: &Path, recipe: &Build) -> anyhow::Result<PathBuf> {
    let beside = folder.join(&recipe.output);
    if beside.is_file() {
        return Ok(beside);
    }
    Ok(target_folder(folder).await?.join(TARGET).join("release").join(&recipe.output))
}

async fn target_folder(folder: &Path) -> anyhow::Result<PathBuf> {
    let metadata = Command::new("cargo")
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(folder)
        .output()
        .await
        .context("`cargo metadata` cannot be run")?;
    let error = String::from_utf8_lossy(&metadata.stderr);
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout)
        .with_context(|| format!("`cargo metadata` failed: {}", error.trim_end()))?;
    let folder = metadata.get("target_directory").and_then(serde_json::Value::as_str);
    Ok(PathBuf::from(folder.context("`cargo metadata` names no target folder")?))
}
