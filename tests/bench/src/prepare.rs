//! Everything that must be built or installed before a contestant can start. What Python and Node
//! need goes to the user's cache folder, outside the clone.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::{env, fs};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use wharf_test_real::say;

const WASM: &str = "wasm32-wasip2";

/// Programs and components.
pub struct Built {
    pub wharf: PathBuf,
    pub native: PathBuf,
    pub parts: PathBuf,
    /// `components/audit`.
    pub audit: PathBuf,
    /// `guest`: audit, which also publishes.
    pub publishing: PathBuf,
}

/// The workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_owned()
}

/// This package.
pub fn package() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

impl Built {
    /// Builds them as releases, in the target folder that this program was built in.
    pub async fn build(wanted: bool) -> anyhow::Result<Self> {
        let program = env::current_exe()?;
        let beside = program.parent().context("a program is in a folder")?;
        let target = beside.parent().context("cargo builds into a target folder")?;
        // For work on the benchmark itself, a debug build finds others with --no-build.
        let programs = if wanted { &target.join("release") } else { beside };
        let wasm = target.join("guests");
        if wanted {
            cargo(
                target,
                &[
                    "--package=wharf",
                    "--bin=wharf",
                    "--package=wharf-bench",
                    "--bin=wharf-bench-native",
                    "--bin=wharf-bench-parts",
                ],
            )
            .await?;
            let target = format!("--target={WASM}");
            cargo(&wasm, &[&target, "--package=audit", "--package=wharf-bench-guest"]).await?;
        }
        let component = |name: &str| wasm.join(WASM).join("release").join(name);
        let built = Self {
            wharf: programs.join("wharf"),
            native: programs.join("wharf-bench-native"),
            parts: programs.join("wharf-bench-parts"),
            audit: component("audit.wasm"),
            publishing: component("wharf_bench_guest.wasm"),
        };
        for file in [&built.wharf, &built.native, &built.parts, &built.audit, &built.publishing] {
            if !file.is_file() {
                bail!("{} is not there; run it without --no-build", file.display());
            }
        }
        Ok(built)
    }
}

async fn cargo(target: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::from(wharf_test_real::cargo());
    command.args(["build", "--release", "--locked", "--target-dir"]).arg(target).args(arguments);
    // They would hide the flags that components are built with.
    for variable in ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        command.env_remove(variable);
    }
    run(command.current_dir(root()), "build").await
}

/// The folder with a Python that has what `peers/fastapi` needs.
pub async fn python() -> anyhow::Result<PathBuf> {
    let requirements = package().join("peers/fastapi/requirements.txt");
    installed("fastapi", &[&requirements], async |folder| {
        let python = if is_there("python3").await { "python3" } else { "python" };
        if !is_there(python).await {
            bail!("Python is not installed");
        }
        let venv = folder.join("venv");
        run(Command::new(python).args(["-m", "venv"]).arg(&venv), "make a venv").await?;
        let mut pip = Command::new(venv.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
        run(pip.arg(&requirements), "install the requirements with pip").await
    })
    .await
    .map(|folder| folder.join("venv"))
}

/// A copy of `peers/express` that has what it needs.
pub async fn node() -> anyhow::Result<PathBuf> {
    let source = package().join("peers/express");
    let files = ["package.json", "package-lock.json", "app.js"].map(|name| source.join(name));
    installed("express", &[&files[0], &files[1], &files[2]], async |folder| {
        for program in ["node", "npm"] {
            if !is_there(program).await {
                bail!("{program} is not installed");
            }
        }
        for file in &files {
            let name = file.file_name().context("a file has a name")?;
            fs::copy(file, folder.join(name))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(&folder);
        run(&mut npm, "install the packages with npm").await
    })
    .await
}

/// A folder in the cache whose name depends on what went in. It gets its name when it is whole.
async fn installed(
    name: &str,
    inputs: &[&Path],
    install: impl AsyncFnOnce(PathBuf) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    let mut hash = Sha256::new();
    for input in inputs {
        hash.update(fs::read(input).with_context(|| input.display().to_string())?);
    }
    let hash: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let cache = cache().context("neither XDG_CACHE_HOME nor HOME says where to install")?;
    let folder = cache.join(format!("{name}-{hash}"));
    let whole = folder.join("installed");
    if !whole.is_file() {
        say::note(format!("installing what {name} needs, in {}", folder.display()));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        install(folder.clone()).await?;
        fs::write(whole, "")?;
    }
    Ok(folder)
}

fn cache() -> Option<PathBuf> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let caches = env::var_os("XDG_CACHE_HOME").and_then(absolute);
    let caches = caches.or_else(|| Some(absolute(env::var_os("HOME")?)?.join(".cache")));
    Some(caches?.join("wharf/bench"))
}

async fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}

/// What it prints is progress, not the result.
async fn run(command: &mut Command, what: &str) -> anyhow::Result<()> {
    let program = command.as_std().get_program().to_owned();
    command.stdin(Stdio::null()).stdout(std::io::stderr()).kill_on_drop(true);
    let status = command.status().await;
    match status.with_context(|| format!("{} cannot be run", program.display()))?.success() {
        true => Ok(()),
        false => bail!("cannot {what}; {} said above why", program.display()),
    }
}
