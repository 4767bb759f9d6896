//! Dapr's scheduler, which keeps jobs in its own etcd.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use crate::parts;
use crate::port;
use crate::process::Process;
use crate::yard::Yard;

/// On a busy machine; etcd syncs to disk.
const PATIENCE: Duration = Duration::from_secs(240);

/// A scheduler that runs alone. What it was told survives a restart.
#[derive(Debug)]
pub struct Scheduler {
    process: Process,
    port: u16,
    health: u16,
}

impl Scheduler {
    pub async fn start(yard: &Yard) -> anyhow::Result<Self> {
        let folder = yard.folder("scheduler")?;
        let identity = yard.folder("scheduler/identity")?;
        fs::set_permissions(&identity, fs::Permissions::from_mode(0o700))?;
        let (port, health) = (port::free()?, port::free()?);
        let (peers, name) = (port::free()?, "dapr-scheduler-server-0");
        let command = [
            parts::scheduler()?.display().to_string(),
            format!("--id={name}"),
            format!("--port={port}"),
            "--listen-address=127.0.0.1".to_owned(),
            format!("--healthz-port={health}"),
            "--healthz-listen-address=127.0.0.1".to_owned(),
            format!("--metrics-port={}", port::free()?),
            format!("--etcd-data-dir={}", folder.join("etcd").display()),
            format!("--etcd-client-port={}", port::free()?),
            format!("--etcd-initial-cluster={name}=http://127.0.0.1:{peers}"),
            format!("--identity-directory-write={}", identity.display()),
        ];
        let process = Process::start(name, &command, &[], &folder, &yard.log("scheduler"))?;
        let mut scheduler = Self { process, port, health };
        scheduler.wait().await?;
        Ok(scheduler)
    }

    /// What daprd is told.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()
    }

    /// Starts it on what it kept.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        self.process.start_again()?;
        self.wait().await
    }

    async fn wait(&mut self) -> anyhow::Result<()> {
        let url = format!("http://127.0.0.1:{}/healthz", self.health);
        self.process.until_success(&url, PATIENCE).await
    }
}
