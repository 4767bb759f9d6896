//! Programs that are installed, or not: then which Debian package brings them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Dapr's own module names a later one, which this one fetches by itself.
const GO: (u32, u32) = (1, 24);
const JAVA: u32 = 17;

/// What parts are built and run with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    Go,
    Java,
    Maven,
    Redis,
    Postgres,
    Python,
    Node,
    Npm,
}

impl Tool {
    /// What to tell a person; none when it is there.
    pub fn missing(self) -> Option<String> {
        match self {
            Self::Go => match go() {
                Some(version) if version >= GO => None,
                Some((major, minor)) => Some(format!(
                    "Go 1.24 or later, which builds Dapr: `go` is {major}.{minor} (Debian: \
                     golang-go where it is new enough, else golang-1.24-go of the backports, or \
                     https://go.dev/dl)"
                )),
                None => Some(
                    "Go 1.24 or later, which builds Dapr: there is no `go` (Debian: golang-go \
                     where it is new enough, else golang-1.24-go of the backports, or \
                     https://go.dev/dl)"
                        .to_owned(),
                ),
            },
            Self::Java => match java() {
                Some(version) if version >= JAVA => None,
                Some(version) => Some(format!(
                    "Java 17 or later, which runs Kafka: `java` is {version} (Debian: \
                     openjdk-17-jre-headless)"
                )),
                None => Some(
                    "Java 17 or later, which runs Kafka: there is no `java` (Debian: \
                     openjdk-17-jre-headless)"
                        .to_owned(),
                ),
            },
            Self::Maven => lacks("mvn", "Maven, which fetches Kafka", "maven"),
            Self::Python => {
                said("python3", &["-c", "import ensurepip, venv"]).is_none().then(|| {
                    "Python with venv, for Dapr's SDK: `python3` cannot make one (Debian: \
                 python3-venv)"
                        .to_owned()
                })
            }
            Self::Node => lacks("node", "Node.js, for Dapr's SDK", "nodejs"),
            Self::Npm => lacks("npm", "npm, which fetches Dapr's SDK", "npm"),
            Self::Redis => lacks("redis-server", "Redis", "redis-server"),
            Self::Postgres => (!wharf_test_postgres::is_installed())
                .then(|| "PostgreSQL: there is no `postgres` (Debian: postgresql)".to_owned()),
        }
    }
}

fn lacks(program: &str, what: &str, package: &str) -> Option<String> {
    let is_there = on_path(program).is_some();
    (!is_there).then(|| format!("{what}: there is no `{program}` (Debian: {package})"))
}

/// The first of this name.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// From `go version go1.26.8 linux/amd64`.
fn go() -> Option<(u32, u32)> {
    let said = said("go", &["version"])?;
    let version = said.split_whitespace().nth(2)?.strip_prefix("go")?.to_owned();
    let mut numbers = version.split(['.', 'r', 'b']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// From `openjdk 17.0.15 2025-04-15`.
fn java() -> Option<u32> {
    let said = said("java", &["--version"])?;
    said.split_whitespace().nth(1)?.split('.').next()?.parse().ok()
}

fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
