//! A program that a test started. It ends with this value, and with this process, however that ends:
//! a second shell waits for the end of a pipe that only this process holds, and kills it then.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::http;

/// How often something that is awaited is asked for.
const ASK: Duration = Duration::from_millis(20);

/// Whose variables could change what a program does.
const FOREIGN: [&str; 8] =
    ["CARGO", "RUST", "WHARF_", "DAPR_", "APP_", "DATABASE_URL", "OTEL_", "KAFKA_"];

/// Variables of this process that could change what another program does.
pub fn foreign() -> impl Iterator<Item = OsString> {
    let names = std::env::vars_os().map(|(name, _)| name);
    names.filter(|name| FOREIGN.iter().any(|foreign| name.to_string_lossy().starts_with(foreign)))
}

/// `exec` makes the shell the program: its process id and its end are the program's.
const WATCHED: &str = "exec 3<&0 </dev/null; \
    (read -r _ <&3 || kill -9 -$$) >/dev/null 2>&1 & exec 3<&-; exec \"$@\"";

/// A program that runs, has ended, or was ended; it can be started again.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(String, String)>,
    folder: PathBuf,
    running: Option<Child>,
}

impl Process {
    /// Starts a command. What it writes is added to `log`; `folder` is where it runs.
    pub fn start(
        name: &str,
        command: &[impl AsRef<OsStr>],
        variables: &[(&str, String)],
        folder: &Path,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let mut process = Self {
            name: name.to_owned(),
            log: log.to_owned(),
            arguments: command.iter().map(|part| part.as_ref().to_owned()).collect(),
            variables: variables.iter().map(|(key, to)| ((*key).to_owned(), to.clone())).collect(),
            folder: folder.to_owned(),
            running: None,
        };
        process.start_again()?;
        Ok(process)
    }

    /// Starts it as the first time. It must not run.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        if self.is_running() {
            bail!("{} runs already; end it before it is started again", self.name);
        }
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new("sh");
        command.args(["-c", WATCHED, "sh"]).args(&self.arguments).current_dir(&self.folder);
        for name in foreign() {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().cloned());
        // A group of its own: Ctrl-C reaches only this process, whose end is theirs.
        command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let child = command.spawn();
        self.running = Some(child.with_context(|| format!("{} cannot be started", self.name))?);
        Ok(())
    }

    /// The id of its process, when it was started and nobody has ended it.
    pub fn id(&self) -> Option<u32> {
        self.running.as_ref().map(Child::id)
    }

    pub fn is_running(&mut self) -> bool {
        self.ended().is_none()
    }

    /// How it ended, if it has. One that was ended by this process has no status left.
    fn ended(&mut self) -> Option<Option<ExitStatus>> {
        match &mut self.running {
            None => Some(None),
            Some(child) => child.try_wait().ok().flatten().map(Some),
        }
    }

    /// Waits until a question is answered with yes. Fails when the program ends before, or it takes
    /// longer than `patience`.
    pub async fn until(
        &mut self,
        what: &str,
        patience: Duration,
        mut question: impl AsyncFnMut() -> bool,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        while !question().await {
            if let Some(status) = self.ended() {
                let status = status.map(|status| status.to_string()).unwrap_or_default();
                bail!("{} ended ({status}) before {what}; it said:\n{}", self.name, self.said());
            }
            if began.elapsed() > patience {
                bail!("{}: not {what} after {patience:?}; it said:\n{}", self.name, self.said());
            }
            sleep(ASK).await;
        }
        Ok(())
    }

    /// Waits until a URL answers with success.
    pub async fn until_success(&mut self, url: &str, patience: Duration) -> anyhow::Result<()> {
        let what = format!("answering {url}");
        self.until(&what, patience, async || http::is_success(url).await).await
    }

    /// Waits until it accepts connections at `host:port`.
    pub async fn until_listening(
        &mut self,
        address: &str,
        patience: Duration,
    ) -> anyhow::Result<()> {
        let accepts = async || TcpStream::connect(address).await.is_ok();
        self.until("listening", patience, accepts).await
    }

    /// Sends a signal, such as `Signal::STOP`.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self.pid().with_context(|| format!("{} does not run", self.name))?;
        kill_process(pid, signal).with_context(|| format!("no signal reaches {}", self.name))
    }

    /// Kills it, as the system does when memory is short. It is gone when this returns.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if !self.is_running() {
            bail!("{} ended by itself before it was killed; it said:\n{}", self.name, self.said());
        }
        self.end();
        Ok(())
    }

    /// Asks it to stop with SIGTERM, and waits for its end.
    pub async fn stop(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(patience).await
    }

    /// Waits for its end.
    pub async fn wait(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(Some(status)) = self.ended() {
                self.end();
                return Ok(status);
            }
            if began.elapsed() > patience {
                bail!("{} did not end in {patience:?}; it said:\n{}", self.name, self.said());
            }
            sleep(ASK).await;
        }
    }

    /// The end of what it has written.
    pub fn said(&self) -> String {
        let said = fs::read(&self.log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<_> = said.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }

    /// All that it has written.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.id()?).ok()?)
    }

    fn end(&mut self) {
        let pid = self.pid();
        let Some(mut child) = self.running.take() else { return };
        if let Some(mut pipe) = child.stdin.take() {
            // The watcher need not kill: by then the process id may be another's.
            _ = pipe.write_all(b"\n");
        }
        // It may have ended, and its group with it.
        _ = pid.map(|pid| kill_process_group(pid, Signal::KILL));
        _ = child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
