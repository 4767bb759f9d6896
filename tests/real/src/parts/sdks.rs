//! Installs Dapr's SDKs with what they need, each in a folder of its own.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::process::Command;

use super::run::run;
use crate::cache;

const REQUIREMENTS: &str = include_str!("../../sdks/python/requirements.txt");
const PUBLISH_PY: &str = include_str!("../../sdks/python/publish.py");
const PACKAGE: &str = include_str!("../../sdks/javascript/package.json");
const LOCK: &str = include_str!("../../sdks/javascript/package-lock.json");
const PUBLISH_JS: &str = include_str!("../../sdks/javascript/publish.js");

/// Python's, with `publish.py`.
pub fn python() -> anyhow::Result<PathBuf> {
    cache::made(&python_name(), |folder| {
        fs::write(folder.join("requirements.txt"), REQUIREMENTS)?;
        fs::write(folder.join("publish.py"), PUBLISH_PY)?;
        let mut venv = Command::new("python3");
        run(venv.args(["-m", "venv"]).arg(folder.join("venv")), "making a venv")?;
        let mut pip = Command::new(folder.join("venv/bin/python"));
        pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--requirement"]);
        run(pip.arg(folder.join("requirements.txt")), "installing Dapr's SDK for Python")
    })
}

/// Node's, with `publish.js`.
pub fn javascript() -> anyhow::Result<PathBuf> {
    cache::made(&javascript_name(), |folder| {
        fs::write(folder.join("package.json"), PACKAGE)?;
        fs::write(folder.join("package-lock.json"), LOCK)?;
        fs::write(folder.join("publish.js"), PUBLISH_JS)?;
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(folder);
        run(&mut npm, "installing Dapr's SDK for JavaScript")
    })
}

pub fn python_name() -> String {
    name("python", &[REQUIREMENTS, PUBLISH_PY])
}

pub fn javascript_name() -> String {
    name("javascript", &[PACKAGE, LOCK, PUBLISH_JS])
}

/// Another one when something in it changes.
fn name(language: &str, files: &[&str]) -> String {
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    format!("sdk-{language}-{:016x}", hasher.finish())
}
