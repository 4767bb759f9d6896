//! A program that this one started, with whatever that program starts. None of them outlives the
//! benchmark, however it ends.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// How long a program may take to stop by itself.
const STOP: Duration = Duration::from_secs(15);
/// How often a program that is starting is asked whether it is there.
const ASK: Duration = Duration::from_millis(20);

pub struct Process {
    name: String,
    child: Child,
    leader: Pid,
    log: PathBuf,
}

impl Process {
    /// Starts a command as the leader of a group of its own, so that Ctrl-C reaches only us. What
    /// it writes goes to `log`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let file = File::create(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let program = command.as_std().get_program().to_owned();
        let child = command.spawn();
        let child = child.with_context(|| format!("{} cannot be started", program.display()))?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let leader = id.context("a process that was just started has an id")?;
        Ok(Self { name: name.to_owned(), child, leader, log: log.to_owned() })
    }

    pub fn id(&self) -> u32 {
        self.leader.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits until a question is answered with yes. Fails when the program ends before, or takes
    /// longer than `patience`.
    pub async fn until(
        &mut self,
        patience: Duration,
        mut question: impl AsyncFnMut() -> bool,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        while !question().await {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}; it said:\n{}", self.name, self.said());
            }
            if began.elapsed() > patience {
                bail!("{} is not there after {patience:?}; it said:\n{}", self.name, self.said());
            }
            sleep(ASK).await;
        }
        Ok(())
    }

    /// Asks it to stop with a signal, and waits for its end.
    pub async fn stop(mut self, signal: Signal) -> anyhow::Result<()> {
        if kill_process(self.leader, signal).is_ok()
            && timeout(STOP, self.child.wait()).await.is_err()
        {
            bail!("{} did not stop within {STOP:?}, and is ended", self.name);
        }
        Ok(())
    }

    /// The end of what it has written.
    pub fn said(&self) -> String {
        let said = fs::read(&self.log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<_> = said.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }
}

/// A port that was free just now.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nobody is left of a group that has stopped.
        _ = kill_process_group(self.leader, Signal::KILL);
    }
}
