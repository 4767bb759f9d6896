//! The parts: what each needs on this machine, where it is, and how it is built when it is not there.

mod dapr;
mod kafka;
mod run;
mod sdks;
mod tool;

use std::path::PathBuf;

use anyhow::bail;

use crate::cache;
use tool::Tool;

/// Dapr and Kafka, each with its version.
pub const VERSIONS: [&str; 2] = [dapr::NAME, kafka::NAME];

/// What tests may need. Several programs may be of one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// daprd and scheduler 1.18.1, built with Go.
    Dapr,
    /// Dapr's command line 1.16.5, built with Go.
    DaprCli,
    /// The broker 4.1.0, fetched with Maven, run with Java.
    Kafka,
    /// As it is installed.
    Redis,
    /// As it is installed.
    Postgres,
    /// The `dapr` package, from PyPI.
    PythonSdk,
    /// The `@dapr/dapr` package, from npm.
    JavascriptSdk,
}

impl Part {
    /// What it takes to run it, and to build it if that is to be done.
    fn tools(self) -> Vec<Tool> {
        let is_built = |name: &str| cache::folder(name).is_ok_and(|folder| folder.is_dir());
        match self {
            Self::Dapr if is_built(dapr::NAME) => vec![],
            Self::DaprCli if is_built(dapr::CLI_NAME) => vec![],
            Self::Dapr | Self::DaprCli => vec![Tool::Go],
            Self::Kafka if is_built(kafka::NAME) => vec![Tool::Java],
            Self::Kafka => vec![Tool::Java, Tool::Maven],
            Self::Redis => vec![Tool::Redis],
            Self::Postgres => vec![Tool::Postgres],
            Self::PythonSdk => vec![Tool::Python],
            Self::JavascriptSdk if is_built(&sdks::javascript_name()) => vec![Tool::Node],
            Self::JavascriptSdk => vec![Tool::Node, Tool::Npm],
        }
    }

    fn build(self) -> anyhow::Result<()> {
        match self {
            Self::Dapr => dapr::built().map(drop),
            Self::DaprCli => dapr::command_line().map(drop),
            Self::Kafka => kafka::built().map(drop),
            Self::Redis | Self::Postgres => Ok(()),
            Self::PythonSdk => sdks::python().map(drop),
            Self::JavascriptSdk => sdks::javascript().map(drop),
        }
    }
}

/// Builds what is not built yet, which takes minutes the first time. Fails with everything that is
/// missing, and what brings it, before it begins.
pub fn ready(wanted: &[Part]) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for tool in wanted.iter().flat_map(|part| part.tools()) {
        match tool.missing() {
            Some(line) if !missing.contains(&line) => missing.push(line),
            Some(_) | None => {}
        }
    }
    if !missing.is_empty() {
        bail!("this machine lacks:\n  {}", missing.join("\n  "));
    }
    wanted.iter().try_for_each(|part| part.build())
}

/// The program `daprd`.
pub fn daprd() -> anyhow::Result<PathBuf> {
    Ok(dapr::built()?.join("daprd"))
}

/// The program `scheduler`.
pub fn scheduler() -> anyhow::Result<PathBuf> {
    Ok(dapr::built()?.join("scheduler"))
}

/// Dapr's command line, the program `dapr`.
pub fn dapr() -> anyhow::Result<PathBuf> {
    Ok(dapr::command_line()?.join("dapr"))
}

/// The folder with Kafka's archives for Java.
pub fn kafka() -> anyhow::Result<PathBuf> {
    Ok(kafka::built()?.join("lib"))
}

/// The program `redis-server`.
pub fn redis() -> anyhow::Result<PathBuf> {
    match tool::on_path("redis-server") {
        Some(path) => Ok(path),
        None => bail!("{}", Tool::Redis.missing().unwrap_or_default()),
    }
}

/// The folder with `venv/` and `publish.py`, which publishes with the SDK for Python.
pub fn python() -> anyhow::Result<PathBuf> {
    sdks::python()
}

/// The folder with `publish.js`, which publishes with the SDK for JavaScript.
pub fn javascript() -> anyhow::Result<PathBuf> {
    sdks::javascript()
}
