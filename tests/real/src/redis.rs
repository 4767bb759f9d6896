//! A Redis that keeps nothing on disk.

use std::ffi::OsStr;
use std::time::Duration;

use crate::parts;
use crate::port;
use crate::process::Process;
use crate::yard::Yard;

const PATIENCE: Duration = Duration::from_secs(240);

/// A server of its own. What it had is gone when it is killed.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    port: u16,
}

impl Redis {
    pub async fn start(yard: &Yard) -> anyhow::Result<Self> {
        let port = port::free()?;
        let server = parts::redis()?;
        let arguments = format!("--port {port} --bind 127.0.0.1 --appendonly no --save");
        let arguments = arguments.split(' ').map(OsStr::new);
        let command: Vec<_> =
            [server.as_os_str()].into_iter().chain(arguments).chain([OsStr::new("")]).collect();
        let folder = yard.folder("redis")?;
        let process = Process::start("redis-server", &command, &[], &folder, &yard.log("redis"))?;
        let mut redis = Self { process, port };
        redis.wait().await?;
        Ok(redis)
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A Dapr state store in it.
    pub fn state_store(&self, name: &str) -> String {
        self.component(name, "state.redis")
    }

    /// A Dapr pubsub in it.
    pub fn pubsub(&self, name: &str) -> String {
        self.component(name, "pubsub.redis")
    }

    fn component(&self, name: &str, ty: &str) -> String {
        let host = self.address();
        crate::daprd::component(name, ty, &[("redisHost", &host)])
    }

    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()
    }

    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        self.process.start_again()?;
        self.wait().await
    }

    async fn wait(&mut self) -> anyhow::Result<()> {
        let address = self.address();
        self.process.until_listening(&address, PATIENCE).await
    }
}
