//! What the operator decides. Every key has a default that is safe on a developer's machine and
//! can be overridden by an environment variable: `[ingress] address` by `WHARF_INGRESS__ADDRESS`.

mod checked;
mod hidden;
mod seconds;
#[cfg(test)]
mod tests;
mod variable;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Env, Format as _, Serialized, Toml};
use serde::{Deserialize, Serialize};

use crate::manifest::Database;

use hidden::is_hidden;
use variable::{SECRET_PREFIX, variable};

pub use variable::{secret, secret_variable};

/// The whole configuration, by section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The name that `GET /health` and the embedded Dapr report; Dapr's app id.
    pub service: String,
    /// Which Dapr it has. `wharf dev` has the embedded one, whatever this says.
    pub backend: BackendKind,
    /// Where the ledger and the embedded Dapr keep their files.
    pub data: PathBuf,
    /// Where compiled components are kept; when left out, `wharf/compiled` in the user's cache folder
    /// (`XDG_CACHE_HOME`, else `~/.cache`), or `cache` in the data folder where neither is known.
    /// What is found there is run: it must belong to this program's user, with mode 700, and never
    /// come with a repository.
    pub cache: Option<PathBuf>,
    /// How long a stop waits for what is in progress, in seconds. All of a stop takes ten more at
    /// most: an orchestrator must wait that long before it kills.
    #[serde(with = "seconds")]
    pub drain: Duration,
    /// A folder whose sub-folders are contracts.
    pub contracts: PathBuf,
    /// A folder whose sub-folders are components, and whose `*.tar` are bundles of such.
    pub components: PathBuf,
    pub ingress: Ingress,
    pub admin: Admin,
    pub dapr: Dapr,
    pub ledger: Ledger,
    pub relay: Relay,
}

/// The two implementations of Dapr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// A sidecar beside the host.
    Dapr,
    /// The one that plays daprd in this process.
    Embedded,
}

/// The listener that only daprd calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ingress {
    pub address: SocketAddr,
    /// Bytes of one event. A larger one is kept as dead with its beginning only: it would block its
    /// partition for ever.
    pub max_body: usize,
    /// Events in progress at a time, 1 or more; what comes beyond is answered RETRY at once.
    pub max_events: usize,
    /// Bytes of callbacks in progress at a time, as they came; the host holds a few times that. One
    /// callback alone may be larger.
    pub max_bytes: usize,
    /// How long a delivery waits for the ledger to say that it is written, in seconds; then the answer
    /// is RETRY.
    #[serde(with = "seconds")]
    pub patience: Duration,
    /// Checked against the `dapr-api-token` header when set. Also `APP_API_TOKEN`.
    pub token: Option<String>,
    /// Who says what daprd subscribes to.
    pub subscriptions: Subscriptions,
}

/// Who says what daprd subscribes to. Not both: daprd would ignore one of them without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subscriptions {
    /// The host, when daprd asks: every topic of the active contracts.
    Programmatic,
    /// Files of daprd's; the host names none.
    Declarative,
}

/// The listener that people and tools call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    pub address: SocketAddr,
    /// Required beyond loopback.
    pub token: Option<String>,
}

/// The Dapr HTTP API: the sidecar's, or the embedded one's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dapr {
    /// Where the sidecar is. Also `DAPR_HTTP_ENDPOINT`, or `DAPR_HTTP_PORT` of this machine; plain
    /// `http://`.
    pub endpoint: String,
    /// Where the embedded Dapr listens.
    pub address: SocketAddr,
    /// What is sent to the sidecar, and asked of the embedded one's callers, as `dapr-api-token`.
    /// Also `DAPR_API_TOKEN`.
    pub token: Option<String>,
    /// Where the output binding `notify-http` posts to; plain `http://`.
    pub notify_url: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ledger {
    /// PostgreSQL, as `postgres://user:password@host:port/database`; also `DATABASE_URL`. None: the
    /// SQLite file `ledger.db` in the data folder.
    pub url: Option<String>,
    /// How many groups are committed to PostgreSQL at a time, 1 or more.
    pub committers: usize,
    /// How long a parked delivery stays claimed by the host that runs it.
    #[serde(with = "seconds")]
    pub lease: Duration,
    /// How long a write waits for another process that holds the database, or a row of it.
    #[serde(with = "seconds")]
    pub busy_timeout: Duration,
    /// How long one statement may run, more than nothing: a component's query, and on SQLite all
    /// statements of a commit together. PostgreSQL ends a host's transaction that is idle for as
    /// long, and one that is silent for two seconds more is taken to be gone.
    #[serde(with = "seconds")]
    pub query_timeout: Duration,
    /// How long an event that was handled is known, so that it is not handled again, in seconds;
    /// counted from when it came in. None: a day longer than the longest that a topic of an active
    /// contract keeps its events. Shorter than that is refused: a broker could deliver an event when
    /// it is forgotten. All hosts of one ledger have the same.
    #[serde(with = "seconds::optional")]
    pub dedup_window: Option<Duration>,
    /// SQLite's `max_page_count`: the ledger refuses to grow past it. None: no limit.
    pub max_page_count: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Relay {
    /// How long an effect stays claimed by the host that performs it.
    #[serde(with = "seconds")]
    pub lease: Duration,
    /// Effects claimed at once, 1 or more.
    pub batch: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            service: "wharf".to_owned(),
            backend: BackendKind::Embedded,
            data: PathBuf::from(".wharf"),
            cache: None,
            drain: Duration::from_secs(15),
            contracts: PathBuf::from("contracts"),
            components: PathBuf::from("components"),
            ingress: Ingress::default(),
            admin: Admin::default(),
            dapr: Dapr::default(),
            ledger: Ledger::default(),
            relay: Relay::default(),
        }
    }
}

impl Default for Ingress {
    fn default() -> Self {
        Self {
            address: loopback(8080),
            max_body: 16 << 20,
            max_events: 2000,
            max_bytes: 64 << 20,
            patience: Duration::from_secs(10),
            token: None,
            subscriptions: Subscriptions::Programmatic,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { address: loopback(8081), token: None }
    }
}

impl Default for Dapr {
    fn default() -> Self {
        Self {
            endpoint: "http://127.0.0.1:3500".to_owned(),
            address: loopback(3500),
            token: None,
            notify_url: None,
        }
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            url: None,
            committers: 2,
            lease: Duration::from_secs(60),
            busy_timeout: Duration::from_secs(1),
            query_timeout: Duration::from_secs(5),
            dedup_window: None,
            max_page_count: None,
        }
    }
}

impl Default for Relay {
    fn default() -> Self {
        Self { lease: Duration::from_secs(30), batch: 100 }
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Whether a variable, without `WHARF_`, is a setting. A secret's is not, nor is what Kubernetes tells
/// of a Service that is called `wharf` or `wharf-admin`: `WHARF_ADMIN_PORT_8081_TCP_ADDR` and so on.
fn is_setting(key: &figment::value::UncasedStr) -> bool {
    let key = key.as_str().to_ascii_uppercase();
    let is_port = |(_, rest): (&str, &str)| rest.starts_with(|digit: char| digit.is_ascii_digit());
    let is_link = ["SERVICE_HOST", "SERVICE_PORT", "PORT"].iter().any(|end| key.ends_with(end))
        || key.contains("SERVICE_PORT_")
        || key.split_once("PORT_").is_some_and(is_port);
    !key.starts_with(SECRET_PREFIX) && (key.contains("__") || !is_link)
}

impl Config {
    /// Defaults, then the file if one is given, then the environment.
    pub fn load(file: Option<&Path>) -> Result<Self, Box<figment::Error>> {
        Self::default().overridden(file)
    }

    /// The same, with these as defaults.
    pub fn overridden(self, file: Option<&Path>) -> Result<Self, Box<figment::Error>> {
        let mut figment = Figment::from(Serialized::defaults(self));
        if let Some(file) = file {
            if !file.is_file() {
                let text = format!("the configuration file {} cannot be found", file.display());
                return Err(Box::new(figment::Error::from(text)));
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        if let Some(port) = variable("DAPR_HTTP_PORT") {
            let endpoint = format!("http://127.0.0.1:{port}");
            figment = figment.merge(Serialized::default("dapr.endpoint", endpoint));
        }
        for (name, key) in [
            ("DAPR_HTTP_ENDPOINT", "dapr.endpoint"),
            ("APP_API_TOKEN", "ingress.token"),
            ("DAPR_API_TOKEN", "dapr.token"),
            ("DATABASE_URL", "ledger.url"),
        ] {
            figment = match variable(name) {
                Some(token) => figment.merge(Serialized::default(key, token)),
                None => figment,
            };
        }
        let settings = Env::prefixed("WHARF_").filter(is_setting).split("__");
        // Taken as they stand: figment would read a token of digits as a number.
        for (key, value) in
            settings.iter().filter(|(key, value)| is_hidden(key) && !value.is_empty())
        {
            figment = figment.merge(Serialized::default(key.as_str(), value));
        }
        let others = settings.filter(|key| !is_hidden(key));
        figment.merge(others).extract().map_err(hidden::named).and_then(Self::checked)
    }

    /// Which database the ledger is in.
    pub fn database(&self) -> Database {
        match self.ledger.url {
            Some(_) => Database::Postgres,
            None => Database::Sqlite,
        }
    }

    /// The ledger's SQLite file.
    pub fn ledger_file(&self) -> PathBuf {
        self.data.join("ledger.db")
    }

    /// Compiled components; see [`Config::cache`].
    pub fn cache_folder(&self) -> PathBuf {
        let users = || user_cache(variable("XDG_CACHE_HOME"), variable("HOME"));
        let chosen = self.cache.clone().or_else(users);
        chosen.unwrap_or_else(|| self.data.join("cache"))
    }

    /// The embedded Dapr's SQLite file.
    pub fn dapr_file(&self) -> PathBuf {
        self.data.join("dapr.db")
    }

    /// The sidecar, in the words of Dapr's own tools.
    pub fn sidecar(&self) -> DaprEndpoint {
        DaprEndpoint { url: self.dapr.endpoint.clone(), token: self.dapr.token.clone() }
    }

    /// As it was put together, in TOML, without what nobody may see.
    pub fn shown(&self) -> String {
        toml::to_string(&self.without_secrets()).unwrap_or_else(|error| format!("# {error}\n"))
    }

    /// The same, with a mark in place of what nobody may see.
    pub fn without_secrets(&self) -> Self {
        let mut shown = self.clone();
        hidden::hide(&mut shown);
        shown
    }
}

/// Where the XDG Base Directory specification wants a program's cache; a path that is not absolute
/// counts as unset there.
fn user_cache(caches: Option<String>, home: Option<String>) -> Option<PathBuf> {
    let absolute = |path: Option<String>| path.map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = absolute(caches).or_else(|| Some(absolute(home)?.join(".cache")));
    Some(caches?.join("wharf/compiled"))
}

/// Where a Dapr HTTP API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaprEndpoint {
    /// Without a slash at the end.
    pub url: String,
    pub token: Option<String>,
}

/// Whether this program was started by `cargo run`, and is called so in what it suggests.
pub fn run_by_cargo() -> bool {
    std::env::var_os("CARGO_PKG_NAME").is_some()
}

/// Whether a caller gave the right token. Compares every byte, so that the time taken tells nothing.
pub fn same_token(given: &[u8], token: &str) -> bool {
    let differing = given.iter().zip(token.as_bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    given.len() == token.len() && differing == 0
}
