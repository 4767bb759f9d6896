//! A Kafka broker, which is its own controller.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;

use crate::parts;
use crate::port;
use crate::process::Process;
use crate::yard::Yard;

/// On a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);
const STOP: Duration = Duration::from_secs(60);

/// Starts fast, and is small.
const JAVA: [&str; 5] = [
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
];

/// A broker of its own. What it has survives a restart.
#[derive(Debug)]
pub struct Kafka {
    process: Process,
    port: u16,
}

impl Kafka {
    /// `partitions` is how many each topic gets; one is made when it is first written or read.
    pub async fn start(yard: &Yard, partitions: u16) -> anyhow::Result<Self> {
        let folder = yard.folder("kafka")?;
        let port = port::free()?;
        let text = properties(port, port::free()?, partitions, &folder.join("topics"));
        let file = yard.write("kafka/server.properties", &text)?;
        let log = yard.log("kafka");
        format_storage(&folder, &file, &log).await?;
        let command = java("kafka.Kafka", &[&file.display().to_string()])?;
        let process = Process::start("kafka", &command, &[], &folder, &log)?;
        let mut kafka = Self { process, port };
        kafka.wait().await?;
        Ok(kafka)
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A Dapr pubsub on it. A new consumer group begins with the oldest event.
    pub fn pubsub(&self, name: &str) -> String {
        self.pubsub_with(name, &[])
    }

    /// The same with further metadata.
    pub fn pubsub_with(&self, name: &str, metadata: &[(&str, &str)]) -> String {
        let brokers = self.address();
        let own = [
            ("brokers", &*brokers),
            ("authType", "none"),
            ("initialOffset", "oldest"),
            ("version", "3.9.0"),
        ];
        crate::daprd::component(name, "pubsub.kafka", &[&own, metadata].concat())
    }

    /// The id of its process.
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Kills it.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()
    }

    /// Stops it as an operator does.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.process.stop(STOP).await?;
        Ok(())
    }

    /// Starts it on what it kept.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        self.process.start_again()?;
        self.wait().await
    }

    async fn wait(&mut self) -> anyhow::Result<()> {
        let address = self.address();
        self.process.until_listening(&address, PATIENCE).await
    }
}

async fn format_storage(folder: &Path, file: &Path, log: &Path) -> anyhow::Result<()> {
    let file = file.display().to_string();
    let arguments = ["format", "-t", "V2hhcmZXaGFyZldoYXJmVw", "-c", &*file];
    let command = java("kafka.tools.StorageTool", &arguments)?;
    let mut tool = Process::start("kafka's StorageTool", &command, &[], folder, log)?;
    match tool.wait(PATIENCE).await?.success() {
        true => Ok(()),
        false => bail!("Kafka's storage cannot be formatted:\n{}", tool.said()),
    }
}

fn java(class: &str, arguments: &[&str]) -> anyhow::Result<Vec<String>> {
    let library: PathBuf = parts::kafka()?;
    let mut command = vec!["java".to_owned()];
    command.extend(JAVA.map(str::to_owned));
    command.extend(["-cp".to_owned(), format!("{}/*", library.display()), class.to_owned()]);
    command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    Ok(command)
}

fn properties(port: u16, controller: u16, partitions: u16, topics: &Path) -> String {
    let topics = topics.display();
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         inter.broker.listener.name=PLAINTEXT\n\
         log.dirs={topics}\n\
         num.partitions={partitions}\n\
         auto.create.topics.enable=true\n\
         offsets.topic.num.partitions=1\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n\
         broker.heartbeat.interval.ms=500\n\
         broker.session.timeout.ms=3000\n"
    )
}
