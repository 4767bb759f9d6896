//! What the operator decides. Every key has a default that is safe on a developer's machine and
//! can be overridden by an environment variable: `[ingress] address` by `WHARF_INGRESS__ADDRESS`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Env, Format as _, Serialized, Toml};
use figment::value::UncasedStr;
use serde::{Deserialize, Serialize};

use crate::manifest::{Database, Limits};

/// A delivery that runs longer than it is claimed would be thrown away, every time.
const SHORTEST_LEASE: Duration = Duration::from_secs(4 * Limits::MOST_TIME.as_secs() + 10);

/// To PostgreSQL a timeout of nothing is none at all.
const SHORTEST_QUERY: Duration = Duration::from_millis(10);

/// The whole configuration, by section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The name that `GET /health` and the embedded Dapr report; Dapr's app id.
    pub service: String,
    /// Where the ledger and the embedded Dapr keep their files.
    pub data: PathBuf,
    /// Where compiled components are kept; when left out, `wharf` in the user's cache folder
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
    /// A folder whose sub-folders are components.
    pub components: PathBuf,
    pub ingress: Ingress,
    pub admin: Admin,
    pub dapr: Dapr,
    pub ledger: Ledger,
    pub relay: Relay,
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
}

/// The listener that people and tools call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    pub address: SocketAddr,
    /// Required beyond loopback.
    pub token: Option<String>,
}

/// The embedded Dapr HTTP API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dapr {
    pub address: SocketAddr,
    /// Callers must send it as `dapr-api-token` when set. Also `DAPR_API_TOKEN`.
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
    #[serde(with = "optional_seconds")]
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
        Self { address: loopback(3500), token: None, notify_url: None }
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

impl Config {
    /// Defaults, then the file if one is given, then the environment.
    pub fn load(file: Option<&Path>) -> Result<Self, Box<figment::Error>> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = file {
            if !file.is_file() {
                let text = format!("the configuration file {} cannot be found", file.display());
                return Err(Box::new(figment::Error::from(text)));
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        for (name, key) in [
            ("APP_API_TOKEN", "ingress.token"),
            ("DAPR_API_TOKEN", "dapr.token"),
            ("DATABASE_URL", "ledger.url"),
        ] {
            figment = match variable(name) {
                Some(token) => figment.merge(Serialized::default(key, token)),
                None => figment,
            };
        }
        let settings =
            Env::prefixed("WHARF_").filter(|key| !key.starts_with(SECRET_PREFIX)).split("__");
        // Taken as they stand: figment would read a token of digits as a number.
        for (key, value) in
            settings.iter().filter(|(key, value)| is_hidden(key) && !value.is_empty())
        {
            figment = figment.merge(Serialized::default(key.as_str(), value));
        }
        let others = settings.filter(|key| !is_hidden(key));
        figment.merge(others).extract().map_err(named).and_then(Self::checked)
    }

    /// Refuses what would be unsafe or could not work.
    fn checked(mut self) -> Result<Self, Box<figment::Error>> {
        // An unset secret often comes as an empty one, which nobody means as a token.
        for token in [&mut self.ingress.token, &mut self.admin.token, &mut self.dapr.token] {
            *token = token.take().filter(|token| !token.is_empty());
        }
        self.dapr.notify_url = self.dapr.notify_url.take().filter(|url| !url.is_empty());
        let refuse = |text: String| Err(Box::new(figment::Error::from(text)));
        if !self.admin.address.ip().is_loopback() && self.admin.token.is_none() {
            return refuse(format!(
                "the admin listener {} is reachable from outside and has no token; set [admin] token \
                 (WHARF_ADMIN__TOKEN) or listen on 127.0.0.1",
                self.admin.address
            ));
        }
        if self.ledger.lease < SHORTEST_LEASE {
            return refuse(format!(
                "[ledger] lease is {:?}; give {SHORTEST_LEASE:?} or more: a claimed delivery may run \
                 four times, {:?} each",
                self.ledger.lease,
                Limits::MOST_TIME
            ));
        }
        if self.dapr.notify_url.as_ref().is_some_and(|url| !url.starts_with("http://")) {
            return refuse(
                "[dapr] notify_url does not begin with http://; give one such as \
                 http://127.0.0.1:9000/notify: the embedded Dapr speaks no TLS"
                    .to_owned(),
            );
        }
        self.ledger.url = self.ledger.url.take().filter(|url| !url.is_empty());
        let is_postgres =
            |url: &String| url.starts_with("postgres://") || url.starts_with("postgresql://");
        if self.ledger.url.as_ref().is_some_and(|url| !is_postgres(url)) {
            return refuse(
                "[ledger] url (DATABASE_URL) does not begin with postgres://; give one such as \
                 postgres://user:password@localhost:5432/wharf, or none for a SQLite file"
                    .to_owned(),
            );
        }
        if self.ledger.query_timeout < SHORTEST_QUERY {
            return refuse(format!(
                "[ledger] query_timeout is {:?}; give {SHORTEST_QUERY:?} or more",
                self.ledger.query_timeout
            ));
        }
        if self.ledger.committers == 0 {
            return refuse("[ledger] committers is 0; give 1 or more".to_owned());
        }
        if self.ingress.max_events == 0 {
            return refuse("[ingress] max_events is 0; give 1 or more".to_owned());
        }
        if self.relay.batch == 0 {
            return refuse("[relay] batch is 0; give 1 or more".to_owned());
        }
        Ok(self)
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
}

/// Where the XDG Base Directory specification wants a program's cache; a path that is not absolute
/// counts as unset there.
fn user_cache(caches: Option<String>, home: Option<String>) -> Option<PathBuf> {
    let absolute = |path: Option<String>| path.map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = absolute(caches).or_else(|| Some(absolute(home)?.join(".cache")));
    Some(caches?.join("wharf"))
}

/// What no error may show: tokens, and an address that may hold one.
const HIDDEN: [&str; 5] =
    ["ingress.token", "admin.token", "dapr.token", "dapr.notify_url", "ledger.url"];

fn is_hidden(key: &UncasedStr) -> bool {
    HIDDEN.iter().any(|hidden| key == *hidden)
}

/// Takes what must not be shown out of an error.
fn hidden(mut error: figment::Error) -> figment::Error {
    let key = error.path.join(".");
    let is_section =
        !key.is_empty() && HIDDEN.iter().any(|one| one.starts_with(&format!("{key}.")));
    error.kind = match error.kind {
        Kind::InvalidType(..) | Kind::InvalidValue(..) if HIDDEN.contains(&key.as_str()) => {
            Kind::Message("it is not text; put it in quotes".to_owned())
        }
        Kind::InvalidType(..) | Kind::InvalidValue(..) if is_section => {
            Kind::Message("it is not a section; name one of its keys".to_owned())
        }
        Kind::Message(text) => Kind::Message(without_excerpt(&text)),
        kind => kind,
    };
    error
}

/// Without the line of the file that a parser shows: a token may stand in it.
fn without_excerpt(text: &str) -> String {
    let is_excerpt = |line: &str| {
        let rest = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
        rest.trim_start().starts_with('|')
    };
    let lines: Vec<_> = text.lines().filter(|line| !is_excerpt(line)).collect();
    lines.join(": ")
}

/// Says which variable, and what one looks like.
fn named(error: figment::Error) -> Box<figment::Error> {
    let mut error = hidden(error);
    let is_variable = error.metadata.as_ref().is_some_and(|from| from.name.contains("environment"));
    if !is_variable || error.path.is_empty() {
        return Box::new(error);
    }
    let name = format!("WHARF_{}", error.path.join("__").to_uppercase());
    let is_address = error.path.last().is_some_and(|key| key == "address");
    let text = match std::mem::replace(&mut error.kind, Kind::Message(String::new())) {
        Kind::UnknownField(_, known) => {
            format!("{name} is no setting; its section has {}", known.join(", "))
        }
        kind if is_address => format!("{name}: {kind}; give one such as 127.0.0.1:3501"),
        kind => format!("{name}: {kind}"),
    };
    Box::new(figment::Error::from(text))
}

/// Where a sidecar's HTTP API is, in the words of Dapr's own tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaprEndpoint {
    /// Without a slash at the end.
    pub url: String,
    pub token: Option<String>,
}

impl DaprEndpoint {
    /// From `DAPR_HTTP_ENDPOINT`, else `DAPR_HTTP_PORT`, else port 3500 of this machine; the token
    /// from `DAPR_API_TOKEN`.
    pub fn load() -> Self {
        let port = variable("DAPR_HTTP_PORT").unwrap_or_else(|| "3500".to_owned());
        let url =
            variable("DAPR_HTTP_ENDPOINT").unwrap_or_else(|| format!("http://127.0.0.1:{port}"));
        Self { url: url.trim_end_matches('/').to_owned(), token: variable("DAPR_API_TOKEN") }
    }
}

/// An environment variable; an empty one counts as unset.
#[expect(clippy::disallowed_methods, reason = "configuration is read in this file")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What follows `WHARF_` in the variables that are secrets, not settings.
const SECRET_PREFIX: &str = "SECRET_";

/// A secret that the environment gives to the embedded Dapr; see [`secret_variable`].
pub fn secret(name: &str) -> Option<String> {
    variable(&secret_variable(name))
}

/// The variable of a secret: `WHARF_SECRET_`, then the name in upper case, with `_` for all that is
/// neither a letter nor a digit: `database-url` is `WHARF_SECRET_DATABASE_URL`, in every store.
pub fn secret_variable(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("WHARF_{SECRET_PREFIX}{}", name.chars().map(letter).collect::<String>())
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

mod seconds {
    //! Durations as a number of seconds.

    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_secs_f64())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(seconds)
            .map_err(|_| de::Error::custom(format!("{seconds} is not a number of seconds")))
    }
}

mod optional_seconds {
    //! The same, where there may be none.

    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

    #[derive(Deserialize)]
    struct Seconds(#[serde(with = "super::seconds")] Duration);

    #[expect(clippy::ref_option, reason = "serde asks so")]
    pub fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(|duration| duration.as_secs_f64()).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<Seconds>::deserialize(deserializer)?;
        Ok(seconds.map(|Seconds(duration)| duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_admin_listener_needs_a_token() {
        let admin = Admin { address: SocketAddr::from(([0, 0, 0, 0], 8081)), token: None };
        let error = Config { admin, ..Config::default() }.checked().unwrap_err();
        assert!(error.to_string().contains("WHARF_ADMIN__TOKEN"), "{error}");
    }

    #[test]
    fn a_lease_must_outlast_the_runs_of_its_delivery() {
        let lease = Duration::from_secs(30);
        let ledger = Ledger { lease, ..Ledger::default() };
        let error = Config { ledger, ..Config::default() }.checked().unwrap_err();
        assert!(error.to_string().contains("give 50s or more"), "{error}");
    }

    #[test]
    fn the_dedup_window_is_a_number_of_seconds_or_left_out() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let day = Duration::from_secs(24 * 60 * 60);
        for (text, window) in [("", None), ("[ledger]\ndedup_window = 86400", Some(day))] {
            std::fs::write(&file, text).unwrap();
            let config = Config::load(Some(file.path())).unwrap();
            assert_eq!(config.ledger.dedup_window, window, "{text}");
        }
        std::fs::write(&file, "[ledger]\ndedup_window = -1").unwrap();
        let error = Config::load(Some(file.path())).unwrap_err().to_string();
        assert!(error.contains("-1 is not a number of seconds"), "{error}");
    }

    #[test]
    fn notifications_go_over_plain_http() {
        for (url, fine) in [("", true), ("http://127.0.0.1:1/x", true), ("https://a/x", false)] {
            let dapr = Dapr { notify_url: Some(url.into()), ..Dapr::default() };
            let checked = Config { dapr, ..Config::default() }.checked();
            assert_eq!(checked.is_ok(), fine, "{url}");
            let shown = checked.is_err_and(|error| error.to_string().contains("https://a/x"));
            assert!(!shown, "{url}");
        }
    }

    #[test]
    fn no_error_shows_a_token() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, says) in [
            ("[admin]\ntoken = 424242", "admin.token\" in /"),
            ("[ingress]\ntoken = [\"424242\"]", "put it in quotes"),
            ("[dapr]\nnotify_url = 424242", "it is not text"),
            ("admin = \"424242\"", "not a section"),
            ("[dapr]\nnotify_url = \"https://u:424242@a/x\"", "does not begin with http://"),
            ("[admin]\ntoken = s424242", "at line 2, column 9"),
            ("[admin]\ntoken = \"424242", "at line 2, column 16"),
            ("[admin]\ntoken = '''424242\n| 424242", "TOML parse error"),
            ("[admin]\ntokens = 424242", "`tokens`"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = Config::load(Some(file.path())).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("424242"), "{error}");
        }
    }

    #[test]
    fn compiled_code_is_kept_with_the_user_and_not_in_the_project() {
        let own = |text: &str| Some(text.to_owned());
        for (caches, home, expected) in [
            (own("/var/caches"), own("/home/ann"), Some("/var/caches/wharf")),
            (own("caches"), own("/home/ann"), Some("/home/ann/.cache/wharf")),
            (None, own("/home/ann"), Some("/home/ann/.cache/wharf")),
            (None, own("ann"), None),
            (None, None, None),
        ] {
            assert_eq!(user_cache(caches, home), expected.map(PathBuf::from));
        }
        let cache = Some(PathBuf::from("/srv/compiled"));
        let chosen = Config { cache, ..Config::default() }.cache_folder();
        assert_eq!(chosen, Path::new("/srv/compiled"));
    }

    #[test]
    fn a_secret_has_a_variable() {
        assert_eq!(secret_variable("database-url"), "WHARF_SECRET_DATABASE_URL");
        assert_eq!(secret_variable("a.b/c=é1"), "WHARF_SECRET_A_B_C__1");
    }

    #[test]
    fn an_empty_token_is_none() {
        let address = SocketAddr::from(([0, 0, 0, 0], 8081));
        let admin = Admin { address, token: Some(String::new()) };
        assert!(Config { admin, ..Config::default() }.checked().is_err());
    }
}
