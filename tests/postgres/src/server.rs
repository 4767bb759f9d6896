//! Starts a server from installed binaries, in a folder of its own.

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::binaries::{MISSING, binaries};

/// How long a start may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether what is committed survives a crash of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// As in production: for benchmarks.
    Full,
    /// Nothing is synced to disk: for tests, which kill hosts, not machines.
    None,
}

/// A running server. It ends, with its folder, when this is dropped, and when this process ends in
/// any way.
#[derive(Debug)]
pub struct Server {
    /// Ends the server when its standard input closes.
    keeper: Child,
    port: u16,
    folder: TempDir,
    durability: Durability,
}

impl Server {
    /// Fails with what is missing, in words.
    pub fn start(durability: Durability) -> Result<Self, String> {
        let binaries = binaries().ok_or(MISSING)?;
        let user = user()?;
        let folder = TempDir::with_prefix("wharf-postgres-");
        let folder = folder.map_err(|error| format!("no temporary folder: {error}"))?;
        if let Some(user) = &user {
            chown(folder.path(), Some(user.id), Some(user.group))
                .map_err(|error| format!("{} cannot be given away: {error}", user.name))?;
        }
        let data = folder.path().join("data");
        let initdb = "\"$0/initdb\" -D \"$1\" -U wharf -A trust -E UTF8 --locale=C --no-sync";
        let mut initialise = shell(user.as_ref(), initdb);
        let made = initialise.arg(&binaries).arg(&data).output();
        let made = made.map_err(|error| format!("initdb cannot be run: {error}"))?;
        if !made.status.success() {
            return Err(format!("initdb failed: {}", String::from_utf8_lossy(&made.stderr)));
        }
        let port = free_port().map_err(|error| format!("no free port: {error}"))?;
        let keeper = run(&data, port, durability)?;
        let mut server = Self { keeper, port, folder, durability };
        server.wait()?;
        Ok(server)
    }

    /// Stops it; connections are cut. What it has stays.
    pub fn stop(&mut self) {
        if let Some(mut keeper) = self.keeper.stdin.take() {
            // One that is gone has stopped.
            let _gone = keeper.write_all(b"\n");
        }
        let _status = self.keeper.wait();
    }

    /// Starts it where it was, after [`stop`](Self::stop).
    pub fn start_again(&mut self) -> Result<(), String> {
        self.keeper = run(&self.folder.path().join("data"), self.port, self.durability)?;
        self.wait()
    }

    /// Its database `postgres`, as its superuser.
    pub fn url(&self) -> String {
        format!("postgres://wharf@127.0.0.1:{}/postgres", self.port)
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of its first process, the parent of all others.
    pub fn pid(&self) -> Option<u32> {
        let file = fs::read_to_string(self.folder.path().join("data/postmaster.pid")).ok()?;
        file.lines().next()?.trim().parse().ok()
    }

    fn wait(&mut self) -> Result<(), String> {
        let started = Instant::now();
        while !self.is_ready() {
            let ended = self.keeper.try_wait().is_ok_and(|status| status.is_some());
            if ended || started.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                return Err(format!("PostgreSQL did not start: {log}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The eighth line of its file of locks says `ready`.
    fn is_ready(&self) -> bool {
        let file = fs::read_to_string(self.folder.path().join("data/postmaster.pid"));
        file.is_ok_and(|file| file.lines().nth(7).is_some_and(|line| line.trim() == "ready"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its folder goes next: it must not write there any more.
        self.stop();
    }
}

/// The server, as a child of a shell that ends it when told by a line. Once nobody holds its standard
/// input, its folder goes too: the process that started it did not come to that.
fn run(data: &Path, port: u16, durability: Durability) -> Result<Child, String> {
    let sync = match durability {
        Durability::Full => "",
        // `synchronous_commit` stays on: hosts insist on it, and without fsync it costs little.
        Durability::None => "-c fsync=off -c full_page_writes=off",
    };
    let keeper = format!(
        "\"$0/postgres\" -D \"$1\" -p {port} -c listen_addresses=127.0.0.1 \
         -c unix_socket_directories= -c max_connections=500 -c shared_buffers=256MB {sync} \
         >>\"$1/../log\" 2>&1 & server=$!; read -r _; told=$?; kill -INT $server; wait $server; \
         [ $told = 0 ] || rm -rf \"${{1%/data}}\""
    );
    let binaries = binaries().ok_or(MISSING)?;
    let mut keeper = shell(user()?.as_ref(), &keeper);
    // What ends the tests from a terminal must not end the keeper before its server.
    keeper.process_group(0);
    let keeper = keeper.arg(&binaries).arg(data).stdin(Stdio::piped()).spawn();
    keeper.map_err(|error| format!("postgres cannot be run: {error}"))
}

/// Who runs it: it refuses to run as root.
#[derive(Debug)]
struct User {
    name: String,
    id: u32,
    group: u32,
}

fn user() -> Result<Option<User>, String> {
    let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !root {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        let id = fields.next()?.parse().ok()?;
        Some(User { name: name.to_owned(), id, group: fields.next()?.parse().ok()? })
    };
    let user = named("postgres").or_else(|| named("nobody"));
    user.map(Some).ok_or_else(|| {
        "PostgreSQL refuses to run as root, and there is no user `postgres` to run it as".to_owned()
    })
}

/// A shell as that user. Its `$0`, `$1` and so on are added as arguments.
fn shell(user: Option<&User>, script: &str) -> Command {
    let mut command = match user {
        None => Command::new("sh"),
        Some(user) => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", &user.id.to_string(), "--regid", &user.group.to_string()]);
            command.args(["--clear-groups", "sh"]);
            command
        }
    };
    command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.current_dir("/");
    command
}

/// Below the ports of outgoing connections: one of those could take it while the server is away.
fn free_port() -> io::Result<u16> {
    let first = RandomState::new().hash_one("port") % 2_000;
    let mut ports =
        (0..2_000).filter_map(|next| u16::try_from(10_000 + (first + next) % 2_000).ok());
    let free = ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.ok_or_else(|| io::Error::other("none of 10000 to 12000"))
}
