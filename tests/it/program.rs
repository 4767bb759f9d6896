//! The real program, as a process in a folder of its own: what people and operating systems meet.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;
use std::{fs, io};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use wharf_tests::built;
pub use wharf_tests::folder::copy;
use wharf_tests::host::root;

/// A start compiles the component; a machine that is busy with other tests is slow at that.
const PATIENCE: Duration = Duration::from_secs(300);

/// A folder with the audit component, built, as `wharf dev` wants it.
pub struct Place {
    folder: TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Place {
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let place = Self { folder, variables: Vec::new() };
        place.component("audit", built::AUDIT, "");
        copy(
            &root().join("components/audit/migrations"),
            &place.path("components/audit/migrations"),
        );
        let manifest = fs::read_to_string(root().join("components/audit/component.toml")).unwrap();
        place.write("components/audit/component.toml", &manifest);
        place.with("WHARF_CONTRACTS", root().join("contracts").display())
    }

    /// Sets an environment variable for every run.
    pub fn with(self, variable: &'static str, value: impl std::fmt::Display) -> Self {
        let mut this = self.without(variable);
        this.variables.push((variable, value.to_string()));
        this
    }

    /// As if it had not been set.
    pub fn without(mut self, variable: &str) -> Self {
        self.variables.retain(|(name, _)| *name != variable);
        self
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Replaces a part of a file, which must be there.
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(path)).unwrap();
        assert!(text.contains(from), "{path} does not hold `{from}`");
        self.write(path, &text.replace(from, to));
    }

    /// Puts a component there, its wasm beside the manifest.
    pub fn component(&self, name: &str, wasm: &str, manifest: &str) {
        self.write(&format!("components/{name}/component.toml"), manifest);
        fs::copy(wasm, self.path(&format!("components/{name}/{name}.wasm"))).unwrap();
    }

    /// A contract, instead of all that come with Wharf; again, and both are there.
    pub fn contract(self, name: &str, text: &str) -> Self {
        self.write(&format!("contracts/{name}/contract.toml"), text);
        self.own()
    }

    /// The same for one that comes with Wharf.
    pub fn known_contract(self, name: &str) -> Self {
        let contract = format!("contracts/{name}");
        copy(&root().join(&contract), &self.path(&contract));
        self.own()
    }

    /// An own copy of the contracts, to be changed.
    pub fn own_contracts(self) -> Self {
        copy(&root().join("contracts"), &self.path("contracts"));
        self.own()
    }

    fn own(self) -> Self {
        self.without("WHARF_CONTRACTS")
    }

    /// Puts a program before all others in `PATH`.
    pub fn program(self, name: &str, script: &str) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        self.write(&format!("bin/{name}"), &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(self.path(&format!("bin/{name}")), fs::Permissions::from_mode(0o755))
            .unwrap();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = format!("{}:{}", self.path("bin").display(), path.to_string_lossy());
        self.with("PATH", path)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf-tested"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            // Where the toolchain is.
            if ["CARGO_HOME", "RUSTUP_HOME"].contains(&name.as_ref()) {
                continue;
            }
            if ["CARGO", "RUST", "WHARF_", "DAPR_", "APP_"].iter().any(|own| name.starts_with(own))
            {
                command.env_remove(name.as_ref());
            }
        }
        for listener in ["WHARF_INGRESS__ADDRESS", "WHARF_ADMIN__ADDRESS", "WHARF_DAPR__ADDRESS"] {
            command.env(listener, "127.0.0.1:0");
        }
        // A ledger of its own, not the tests' database.
        command.env_remove("DATABASE_URL");
        // Not the one of whoever runs the tests.
        command.env("XDG_CACHE_HOME", self.path("caches"));
        command.envs(self.variables.iter().cloned()).args(arguments);
        command.current_dir(self.folder.path()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.command(arguments).output()).await
    }

    /// Runs a command whose output nobody reads.
    pub async fn run_unread(&self, arguments: &[&str]) -> Ended {
        let mut command = self.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        ended(child.wait_with_output()).await
    }

    /// Starts `wharf dev` with what is built, and waits until it has said what listens where.
    pub async fn start(&self) -> Running {
        self.start_with(&["dev", "--no-build"]).await
    }

    /// The same, building components first.
    pub async fn start_building(&self) -> Running {
        self.start_with(&["dev"]).await
    }

    /// Starts `wharf serve` with what is built, and waits until it has said what listens where.
    pub async fn serve(&self) -> Running {
        let mut child = self.spawn(&["serve"]);
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut greeting = String::new();
        until("it serves", async || {
            let said = self.stderr();
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{said}");
            greeting =
                said.lines().rfind(|line| line.contains("serving")).unwrap_or_default().into();
            !greeting.is_empty()
        })
        .await;
        let address = |what: &str| -> SocketAddr {
            let (_, rest) = greeting.split_once(what).unwrap();
            rest.split(['"', ' ']).next().unwrap().parse().unwrap()
        };
        let (dapr, ingress) = (address("dapr=\"http://"), address("ingress="));
        Running { child, dapr, ingress, admin: address("admin="), greeting, _stdout: stdout }
    }

    /// Kills a start at some moment, most likely before it serves.
    pub async fn start_and_kill(&self, after: Duration) {
        let mut child = self.spawn(&["dev", "--no-build"]);
        tokio::time::sleep(after).await;
        child.kill().await.unwrap();
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        let stderr = fs::File::options().create(true).append(true).open(self.path(".stderr"));
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(stderr.unwrap());
        command.spawn().unwrap()
    }

    async fn start_with(&self, arguments: &[&str]) -> Running {
        let mut child = self.spawn(arguments);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let greeting = tokio::time::timeout(PATIENCE, greeting(&mut lines)).await;
        let greeting = greeting.ok().flatten().unwrap_or_else(|| panic!("{}", self.stderr()));
        let address = |what: &str| -> SocketAddr {
            let line = greeting.lines().find(|line| line.trim_start().starts_with(what)).unwrap();
            let rest = line.split_once("http://").unwrap().1;
            rest.split_whitespace().next().unwrap().parse().unwrap()
        };
        let (dapr, ingress, admin) = (address("dapr"), address("ingress"), address("admin"));
        Running { child, dapr, ingress, admin, greeting, _stdout: lines }
    }

    /// What all starts have logged.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.path(".stderr")).unwrap_or_default()
    }
}

/// A command that is through.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Everything that it must have said, on stderr, with exit code 1.
    #[track_caller]
    pub fn failed_with(&self, said: &[&str]) {
        self.ended_with(1, said);
    }

    /// The same with another exit code.
    #[track_caller]
    pub fn ended_with(&self, code: i32, said: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for part in said {
            assert!(self.stderr.contains(part), "no `{part}` in:\n{}", self.stderr);
        }
    }

    /// What a command prints for programs.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

async fn ended(running: impl Future<Output = io::Result<Output>>) -> Ended {
    let output = tokio::time::timeout(PATIENCE, running).await;
    let output = output.expect("the command ends by itself").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(!stdout.contains('\x1b') && !stderr.contains('\x1b'), "colours in a pipe: {stderr}");
    Ended { code: output.status.code(), stdout, stderr }
}

/// `wharf dev` or `wharf serve`, running.
pub struct Running {
    child: Child,
    pub dapr: SocketAddr,
    pub ingress: SocketAddr,
    pub admin: SocketAddr,
    /// What it printed.
    pub greeting: String,
    /// Stays open: it may print more.
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Sends SIGKILL, and waits until the process is gone.
    pub async fn kill(mut self) {
        use std::os::unix::process::ExitStatusExt as _;
        self.child.start_kill().unwrap();
        assert_eq!(self.child.wait().await.unwrap().signal(), Some(9), "it ended by itself before");
    }

    /// Sends a signal, such as `TERM`, and waits for the end.
    pub async fn signal(mut self, signal: &str) -> ExitStatus {
        self.send(signal).await;
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it stops").unwrap()
    }

    /// Waits for its end by itself, and gives the signal that it died of.
    pub async fn died(&mut self) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt as _;
        tokio::time::timeout(PATIENCE, self.child.wait()).await.ok()?.unwrap().signal()
    }

    /// Sends a signal, such as `STOP`.
    pub async fn send(&self, signal: &str) {
        let process = self.process().to_string();
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {process}")]).status();
        assert!(sent.await.unwrap().success());
    }

    pub fn process(&self) -> u32 {
        self.child.id().expect("it still runs")
    }

    /// Its memory that is not swapped out, in bytes; Linux only.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Asks the admin API.
    pub async fn admin(&self, path: &str) -> String {
        let answer = reqwest::get(format!("http://{}{path}", self.admin)).await.unwrap();
        answer.error_for_status().unwrap().text().await.unwrap()
    }
}

/// Asks until the answer is yes.
pub async fn until(what: &str, mut question: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !question().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answered = tokio::time::timeout(PATIENCE, asking).await;
    assert!(answered.is_ok(), "this did not happen: {what}");
}

/// Up to the last line that it prints before it serves.
async fn greeting(lines: &mut Lines<BufReader<ChildStdout>>) -> Option<String> {
    let mut text = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        text.push_str(&line);
        text.push('\n');
        if line.contains("curl") && line.ends_with("/deliveries") {
            return Some(text);
        }
    }
    None
}
