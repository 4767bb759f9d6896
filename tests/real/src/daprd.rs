//! A sidecar.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::http;
use crate::parts;
use crate::port;
use crate::process::Process;
use crate::yard::Yard;

/// On a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);
/// It waits for what is in progress itself, for less.
const STOP: Duration = Duration::from_secs(60);

/// What a daprd is told.
#[derive(Debug, Clone)]
pub struct Sidecar {
    pub app_id: String,
    /// What its log is named by: several may have one app id.
    pub name: String,
    /// Components, subscriptions and resiliency, as YAML files.
    pub resources: PathBuf,
    /// The file of its Configuration.
    pub config: Option<PathBuf>,
    /// Where its app listens on 127.0.0.1; none: it has no app.
    pub app_port: Option<u16>,
    /// The path that it asks each second whether the app is healthy; none: it does not ask.
    pub health: Option<String>,
    /// Of a scheduler; none: it has no jobs.
    pub scheduler: Option<String>,
    /// Such as `APP_API_TOKEN`.
    pub variables: Vec<(&'static str, String)>,
    /// Further flags.
    pub flags: Vec<String>,
}

impl Sidecar {
    /// With neither an app nor a scheduler.
    pub fn of(app_id: &str, resources: PathBuf) -> Self {
        Self {
            app_id: app_id.to_owned(),
            name: app_id.to_owned(),
            resources,
            config: None,
            app_port: None,
            health: None,
            scheduler: None,
            variables: Vec::new(),
            flags: Vec::new(),
        }
    }
}

/// A running daprd. It keeps its ports when it is started again.
#[derive(Debug)]
pub struct Daprd {
    pub process: Process,
    http: u16,
    grpc: u16,
    metrics: u16,
}

impl Daprd {
    /// Starts it, and waits until its API serves: that does not wait for the app.
    pub async fn start(yard: &Yard, sidecar: Sidecar) -> anyhow::Result<Self> {
        let (http, grpc, metrics) = (port::free()?, port::free()?, port::free()?);
        let mut command = vec![
            parts::daprd()?.display().to_string(),
            "--mode=standalone".to_owned(),
            format!("--app-id={}", sidecar.app_id),
            format!("--dapr-http-port={http}"),
            format!("--dapr-grpc-port={grpc}"),
            format!("--dapr-internal-grpc-port={}", port::free()?),
            "--dapr-listen-addresses=127.0.0.1".to_owned(),
            "--dapr-internal-grpc-listen-address=127.0.0.1".to_owned(),
            format!("--metrics-port={metrics}"),
            "--metrics-listen-address=127.0.0.1".to_owned(),
            format!("--resources-path={}", sidecar.resources.display()),
            format!("--scheduler-host-address={}", sidecar.scheduler.unwrap_or_default()),
            "--dapr-graceful-shutdown-seconds=30".to_owned(),
            "--enable-profiling=false".to_owned(),
        ];
        command.extend(sidecar.config.map(|file| format!("--config={}", file.display())));
        if let Some(port) = sidecar.app_port {
            command.extend([format!("--app-port={port}"), "--app-protocol=http".to_owned()]);
        }
        if let Some(path) = sidecar.health {
            command.extend([
                "--enable-app-health-check=true".to_owned(),
                format!("--app-health-check-path={path}"),
                "--app-health-probe-interval=1".to_owned(),
                "--app-health-threshold=1".to_owned(),
            ]);
        }
        command.extend(sidecar.flags);
        let mut variables = sidecar.variables;
        variables.push(("DAPR_HOST_IP", "127.0.0.1".to_owned()));
        let name = format!("daprd of {}", sidecar.name);
        let (folder, log) = (yard.path("."), yard.log(&format!("daprd-{}", sidecar.name)));
        let process = Process::start(&name, &command, &variables, &folder, &log)?;
        let mut daprd = Self { process, http, grpc, metrics };
        daprd.wait().await?;
        Ok(daprd)
    }

    /// Of its API: `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// Of its API.
    pub fn port(&self) -> u16 {
        self.http
    }

    /// Of its API over gRPC.
    pub fn grpc_port(&self) -> u16 {
        self.grpc
    }

    /// Of one of its own metrics, the sum over all labels.
    pub async fn count(&self, name: &str) -> anyhow::Result<f64> {
        http::count(&format!("http://127.0.0.1:{}/metrics", self.metrics), name).await
    }

    /// Waits until it is done with its start, its components and its app's answers included.
    pub async fn healthy(&mut self) -> anyhow::Result<()> {
        let url = format!("{}/v1.0/healthz", self.url());
        self.process.until_success(&url, PATIENCE).await
    }

    /// Kills it.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()
    }

    /// Stops it as an orchestrator does.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.process.stop(STOP).await?;
        Ok(())
    }

    /// Starts it as the first time, and waits until its API serves.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        self.process.start_again()?;
        self.wait().await
    }

    async fn wait(&mut self) -> anyhow::Result<()> {
        let url = format!("{}/v1.0/healthz/outbound", self.url());
        self.process.until_success(&url, PATIENCE).await
    }
}

/// A Dapr component as YAML, every value of its metadata as text.
pub fn component(name: &str, ty: &str, metadata: &[(&str, &str)]) -> String {
    let mut text = format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: {name}\n\
         spec:\n  type: {ty}\n  version: v1\n  metadata:"
    );
    for (key, value) in metadata {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        // Writing to a string cannot fail.
        _ = write!(text, "\n  - name: {key}\n    value: \"{value}\"");
    }
    if metadata.is_empty() {
        text.push_str(" []");
    }
    text.push('\n');
    text
}

/// The resiliency policy that Wharf asks for, as YAML: whatever a pubsub delivers and the app does not
/// take comes again every second, for ever.
pub fn retried_for_ever(pubsub: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata:\n  name: for-ever\nspec:\n  \
         policies:\n    retries:\n      forever: {{ policy: constant, duration: 1s, maxRetries: -1 }}\n  \
         targets:\n    components:\n      {pubsub}: {{ inbound: {{ retry: forever }} }}\n"
    )
}
