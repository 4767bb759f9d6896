//! How each contestant is started, and what measures Wharf's parts.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;
use wharf_test_real::{Process, foreign};

use super::{Dapr, Database, Kind, Ports, Surroundings, Tables};
use crate::prepare::{self, Built, package, root};

/// Connections to PostgreSQL, for each of those that let us choose.
const CONNECTIONS: usize = 16;

pub struct Program {
    command: Vec<OsString>,
    variables: Vec<(&'static str, String)>,
    folder: PathBuf,
}

impl Program {
    /// One with its own files in `folder`.
    pub async fn of(
        kind: Kind,
        around: &Surroundings<'_>,
        folder: &Path,
        tables: &Tables,
        ports: Ports,
    ) -> anyhow::Result<Self> {
        let native = |promise| native(&around.built.native, folder, tables, ports, promise);
        Ok(match kind {
            Kind::Wharf | Kind::WharfPublish => wharf(kind, around.built, folder, tables, ports)?,
            Kind::NativeInsert => native("insert"),
            Kind::NativeInbox => native("inbox"),
            Kind::NativeOutbox => native("outbox"),
            Kind::Fastapi => fastapi(&prepare::python().await?, tables, ports),
            Kind::Express => express(prepare::node().await?, tables, ports),
        })
    }

    /// What measures Wharf's parts, in a folder of its own.
    pub async fn parts(
        database: Database,
        kind: Kind,
        around: &Surroundings<'_>,
    ) -> anyhow::Result<Self> {
        let name = format!("parts-{}-{}", kind.name(), database.name().to_lowercase());
        let folder = around.place.join(&name);
        wharf_folder(kind, &folder, around.built)?;
        let mut command = vec![around.built.parts.clone().into_os_string()];
        let tables = match (database, around.server) {
            (Database::Postgres, Some(server)) => {
                command.extend(["--server".into(), server.id().to_string().into()]);
                Tables::Postgres(server.create(&name).await?)
            }
            _ => Tables::Sqlite(folder.join("data/ledger.db")),
        };
        Ok(Self { command, variables: wharf_variables(&folder, &tables), folder })
    }

    pub fn start(&self, name: &str, log: &Path) -> anyhow::Result<Process> {
        Process::start(name, &self.command, &self.variables, &self.folder, log)
    }

    /// For one whose output is read.
    pub fn command(&self) -> Command {
        let mut parts = self.command.iter();
        let mut command = Command::new(parts.next().cloned().unwrap_or_default());
        for name in foreign() {
            command.env_remove(name);
        }
        command.args(parts).envs(self.variables.iter().cloned()).current_dir(&self.folder);
        command.kill_on_drop(true);
        command
    }
}

fn wharf(
    kind: Kind,
    built: &Built,
    folder: &Path,
    tables: &Tables,
    ports: Ports,
) -> anyhow::Result<Program> {
    wharf_folder(kind, folder, built)?;
    let mut variables = wharf_variables(folder, tables);
    let local = |port: u16| format!("127.0.0.1:{port}");
    variables.push(("WHARF_INGRESS__ADDRESS", local(ports.ingress)));
    variables.push(("WHARF_ADMIN__ADDRESS", local(ports.admin)));
    let mut command = vec![built.wharf.clone().into_os_string()];
    match ports.dapr {
        Dapr::Embedded(port) => {
            command.extend(["dev", "--no-build"].map(OsString::from));
            variables.push(("WHARF_DAPR__ADDRESS", local(port)));
        }
        Dapr::Sidecar(port) => {
            command.push("serve".into());
            variables.push(("WHARF_BACKEND", "dapr".to_owned()));
            variables.push(("DAPR_HTTP_PORT", port.to_string()));
        }
    }
    Ok(Program { command, variables, folder: folder.to_owned() })
}

/// A project folder as Wharf wants it, with one component, built.
fn wharf_folder(kind: Kind, folder: &Path, built: &Built) -> anyhow::Result<()> {
    let audit = root().join("components/audit");
    let (source, wasm) = match kind {
        Kind::WharfPublish => (package().join("guest"), &built.publishing),
        _ => (audit.clone(), &built.audit),
    };
    let component = folder.join("components/audit");
    fs::create_dir_all(&component)?;
    fs::copy(source.join("component.toml"), component.join("component.toml"))?;
    fs::copy(wasm, component.join("audit.wasm"))?;
    copy(&audit.join("migrations"), &component.join("migrations"))?;
    let contract = folder.join("contracts/cloudevents");
    copy(&root().join("contracts/cloudevents"), &contract)?;
    if kind == Kind::WharfPublish {
        let file = contract.join("contract.toml");
        let echoes = fs::read_to_string(source.join("echoes.toml"))?;
        fs::write(&file, fs::read_to_string(&file)? + &echoes)?;
    }
    Ok(())
}

/// How Wharf is told where everything is, for a host or for what measures its parts.
fn wharf_variables(folder: &Path, tables: &Tables) -> Vec<(&'static str, String)> {
    let own = |name: &str| folder.join(name).display().to_string();
    let mut variables = vec![
        ("WHARF_DATA", own("data")),
        ("WHARF_CACHE", own("cache")),
        // As in production: a line for each delivery.
        ("RUST_LOG", "info".to_owned()),
    ];
    if let Tables::Postgres(url) = tables {
        variables.push(("DATABASE_URL", url.clone()));
    }
    variables
}

fn native(program: &Path, folder: &Path, tables: &Tables, ports: Ports, promise: &str) -> Program {
    let mut command = vec![program.as_os_str().to_owned()];
    let listen = format!("127.0.0.1:{}", ports.ingress);
    let (database, connections) = (tables.url(), CONNECTIONS.to_string());
    let arguments = [
        ["--listen", &listen],
        ["--database", &database],
        ["--connections", &connections],
        ["--promise", promise],
    ];
    command.extend(arguments.concat().iter().map(OsString::from));
    Program { command, variables: Vec::new(), folder: folder.to_owned() }
}

/// Workers and connections of a runtime whose processes use one core each.
fn workers() -> (usize, usize) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores, (CONNECTIONS / cores).max(1))
}

fn fastapi(venv: &Path, tables: &Tables, ports: Ports) -> Program {
    let (workers, connections) = workers();
    let (port, workers) = (ports.ingress.to_string(), workers.to_string());
    let arguments = [
        "-m",
        "uvicorn",
        "app:app",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
        "--workers",
        &workers,
        "--no-access-log",
        "--log-level",
        "warning",
    ];
    let mut command = vec![venv.join("bin/python").into_os_string()];
    command.extend(arguments.map(OsString::from));
    let variables = vec![
        ("DATABASE_URL", tables.url()),
        ("CONNECTIONS", connections.to_string()),
        // Nothing is left in the clone.
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
    ];
    Program { command, variables, folder: package().join("peers/fastapi") }
}

fn express(folder: PathBuf, tables: &Tables, ports: Ports) -> Program {
    let (workers, connections) = workers();
    let variables = vec![
        ("NODE_ENV", "production".to_owned()),
        ("DATABASE_URL", tables.url()),
        ("CONNECTIONS", connections.to_string()),
        ("PORT", ports.ingress.to_string()),
        ("WORKERS", workers.to_string()),
    ];
    Program { command: ["node", "app.js"].map(OsString::from).to_vec(), variables, folder }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => {
                fs::copy(entry.path(), target)?;
            }
        }
    }
    Ok(())
}
