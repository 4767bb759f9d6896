//! A whole host for a test: the embedded Dapr, a ledger of its own, three listeners on free ports,
//! and a clock that moves only when told. The ledger is a SQLite file; in the test binary
//! `it_postgres` it is a schema in PostgreSQL.
//!
//! ```no_run
//! # async fn story() {
//! use std::time::Duration;
//! use wharf_tests::host::{Setup, event};
//!
//! let host = Setup::audit().start().await;
//! host.publish("task-events", &event("com.todo.task.created.v1", 1)).await;
//! host.settle().await;
//! assert_eq!(host.rows("SELECT count(*) FROM audit_log").await, [["1"]]);
//! host.stop().await;
//! # }
//! ```

#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness fails its test by panicking"
)]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::net::TcpListener;
use wharf::app::{App, Between, Nothing, StartError};
use wharf::backend::Backend;
use wharf::backend::embedded::Embedded;
use wharf::catalog::load::{self, Offer};
use wharf::clock::{Clock as _, ManualClock};
use wharf::config::Config;
use wharf::effect::SqlValue;
use wharf::name::{ComponentId, Pubsub, Topic};

use crate::built;
use crate::faults::{Faults, Faulty};
use crate::moods::Moods;

/// How long a test waits for what must happen at once.
const PATIENCE: Duration = Duration::from_secs(240);

/// What a host is started with.
pub struct Setup {
    pub config: Config,
    /// Folders of contracts.
    pub contracts: Vec<PathBuf>,
    /// Components: their folder, and their wasm.
    components: Vec<(PathBuf, PathBuf)>,
    /// What goes wrong between the host and its Dapr.
    pub faults: Option<Arc<Faults>>,
    /// Holds the data and the guests' manifests; goes with the host.
    folder: Arc<TempDir>,
    /// Another host's Dapr, which is this one's too.
    shared: Option<Arc<dyn Backend>>,
    /// A component that is added, and not there.
    away: Option<&'static str>,
}

/// Everything is performed and read through another host's Dapr.
struct Shared(Arc<dyn Backend>);

impl Between for Shared {
    fn calls(&self, _own: Arc<dyn Backend>) -> Arc<dyn Backend> {
        Arc::clone(&self.0)
    }

    fn callbacks(&self, ingress: Router) -> Router {
        ingress
    }
}

impl Setup {
    /// The contract `cloudevents` and no component.
    pub fn bare() -> Self {
        let folder = Arc::new(TempDir::new().expect("a temporary folder can be made"));
        // Shared by all tests: compiling takes longer than most of them.
        let cache = Path::new(built::AUDIT).with_file_name("compiled");
        let data = folder.path().join("data");
        let config = Config { data, cache: Some(cache), ..Config::default() };
        fs::create_dir(&config.data).expect("the data folder can be made");
        let contracts = vec![root().join("contracts/cloudevents")];
        Self {
            config,
            contracts,
            components: Vec::new(),
            faults: None,
            folder,
            shared: None,
            away: None,
        }
    }

    /// The contract `cloudevents` and the audit component.
    pub fn audit() -> Self {
        let mut setup = Self::bare();
        setup.components.push((root().join("components/audit"), PathBuf::from(built::AUDIT)));
        setup
    }

    /// The contract `cloudevents` and all components that come with Wharf.
    pub fn todo() -> Self {
        let others = [
            ("recurring", built::RECURRING),
            ("reminder", built::REMINDER),
            ("notification", built::NOTIFICATION),
        ];
        let mut setup = Self::audit();
        for (name, wasm) in others {
            setup.components.push((root().join("components").join(name), PathBuf::from(wasm)));
        }
        setup
    }

    /// Changes the manifest of a component that was added before: `from` stands in it, and `to`
    /// takes its place.
    #[must_use]
    pub fn changed(mut self, name: &str, from: &str, to: &str) -> Self {
        let of_name = |(folder, _): &&mut (PathBuf, PathBuf)| folder.ends_with(name);
        let found = self.components.iter_mut().find(of_name);
        let (folder, _) = found.unwrap_or_else(|| panic!("`{name}` was not added"));
        let text = fs::read_to_string(folder.join("component.toml")).expect("a manifest");
        assert!(text.contains(from), "`{from}` does not stand in the manifest of `{name}`");
        let changed = self.folder.path().join("changed");
        fs::create_dir_all(changed.join(name)).expect("a folder can be made");
        let link = |from: PathBuf, to: PathBuf| {
            if !to.exists() {
                std::os::unix::fs::symlink(from, to).expect("a link can be made");
            }
        };
        link(root().join("components/todo"), changed.join("todo"));
        link(folder.join("migrations"), changed.join(name).join("migrations"));
        let manifest = changed.join(name).join("component.toml");
        fs::write(manifest, text.replace(from, to)).expect("a manifest can be written");
        *folder = changed.join(name);
        self
    }

    /// Adds a guest under a manifest, whose `name` must be `name`; see [`with_time`].
    #[must_use]
    pub fn guest(mut self, name: &str, wasm: &str, manifest: &str) -> Self {
        let folder = self.folder.path().join(name);
        fs::create_dir(&folder).expect("a guest's folder can be made");
        fs::write(folder.join("component.toml"), with_time(manifest))
            .expect("a manifest can be written");
        self.components.push((folder, PathBuf::from(wasm)));
        self
    }

    /// Adds a migration to a guest that was added before.
    #[must_use]
    pub fn migration(self, guest: &str, sql: &str) -> Self {
        for database in ["sqlite", "postgres"] {
            let folder = self.folder.path().join(guest).join("migrations").join(database);
            fs::create_dir_all(&folder).expect("a folder for migrations can be made");
            let sql = if database == "postgres" { for_postgres(sql) } else { sql.to_owned() };
            fs::write(folder.join("0001_tables.sql"), sql).expect("a migration can be written");
        }
        self
    }

    /// Adds the contract `things`, which takes any JSON as data; see [`thing`].
    #[must_use]
    pub fn things(self) -> Self {
        self.contract("things", THINGS)
    }

    /// Adds a contract, whose `name` must be `name`.
    #[must_use]
    pub fn contract(mut self, name: &str, text: &str) -> Self {
        let folder = self.folder.path().join("contracts").join(name);
        fs::create_dir_all(&folder).expect("a contract's folder can be made");
        fs::write(folder.join("contract.toml"), text).expect("a contract can be written");
        self.contracts.push(folder);
        self
    }

    /// Starts a host, and waits until its Dapr delivers to it.
    pub async fn start(mut self) -> Host {
        if on_postgres() && self.config.ledger.url.is_none() {
            self.config.ledger.url = Some(wharf_test_postgres::schema("it").await.url);
        }
        Host::start(self, ManualClock::default()).await
    }

    fn offers(&self) -> Vec<Offer> {
        let read = |(folder, wasm): &(PathBuf, PathBuf)| match load::read(folder, wasm) {
            Ok(offer) => offer,
            Err(problems) => panic!("{}", lines(&problems)),
        };
        let is_there = |(folder, _): &&(PathBuf, PathBuf)| {
            self.away.is_none_or(|away| !folder.ends_with(away))
        };
        self.components.iter().filter(is_there).map(read).collect()
    }
}

/// A running host.
pub struct Host {
    pub app: App,
    pub clock: ManualClock,
    setup: Setup,
    http: reqwest::Client,
    ingress: SocketAddr,
    admin: SocketAddr,
    dapr: SocketAddr,
    /// Of the Dapr that effects are performed through.
    pub moods: Moods,
    left: LeftRunning,
}

/// A test that leaves its host running would not see what it still does.
struct LeftRunning;

impl Drop for LeftRunning {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "stop the host at the end of its test");
    }
}

impl Host {
    async fn start(setup: Setup, clock: ManualClock) -> Self {
        let (config, contracts) = (setup.config.clone(), setup.contracts.clone());
        let (offers, clocked) = (setup.offers(), Arc::new(clock.clone()));
        let between: Arc<dyn Between> = match (&setup.shared, &setup.faults) {
            (Some(dapr), _) => Arc::new(Shared(Arc::clone(dapr))),
            (None, Some(faults)) => Arc::new(Faulty(Arc::clone(faults))),
            (None, None) => Arc::new(Nothing),
        };
        let app = App::build_with(config, contracts, offers, clocked, between);
        let app = Box::pin(app).await;
        let mut app = app.unwrap_or_else(|error| match error {
            StartError::Problems(problems) => panic!("{}", lines(&problems)),
            StartError::Other(error) => panic!("{error:#}"),
        });
        let moods = Moods::of(embedded(&app).clone());
        if setup.faults.is_none() && setup.shared.is_none() {
            app.backend = Arc::new(moods.clone());
        }
        let routers = [app.ingress(), app.admin(), embedded(&app).router()];
        let mut addresses = Vec::new();
        for router in routers {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            addresses.push(listener.local_addr().expect("a bound listener has an address"));
            app.serve(listener, router);
        }
        app.start();
        embedded(&app).ready().await;
        let [ingress, admin, dapr] = addresses[..] else { panic!("three listeners") };
        Self {
            app,
            clock,
            setup,
            http: reqwest::Client::new(),
            ingress,
            admin,
            dapr,
            moods,
            left: LeftRunning,
        }
    }

    /// The Dapr that plays daprd for it.
    pub fn embedded(&self) -> &Embedded {
        embedded(&self.app)
    }

    /// Another host with the same ledger, clock and Dapr, as a replica is. Its own Dapr delivers
    /// nothing to it: a test calls its ingress.
    pub async fn another(&self) -> Self {
        let folder = TempDir::new_in(self.setup.folder.path()).expect("a folder can be made");
        let data = folder.keep();
        if self.setup.config.ledger.url.is_none() {
            std::os::unix::fs::symlink(self.ledger_file(), data.join("ledger.db"))
                .expect("a link can be made");
        }
        let setup = Setup {
            config: Config { data, ..self.setup.config.clone() },
            contracts: self.setup.contracts.clone(),
            components: self.setup.components.clone(),
            faults: None,
            folder: Arc::clone(&self.setup.folder),
            shared: Some(match &self.setup.faults {
                // Faults are between the first one and its Dapr only.
                Some(_) => Arc::new(self.embedded().clone()),
                None => Arc::clone(&self.app.backend),
            }),
            away: self.setup.away,
        };
        Self::start(setup, self.clock.clone()).await
    }

    /// Publishes a CloudEvent through the Dapr API, which must take it.
    pub async fn publish(&self, topic: &str, event: &Value) {
        let (status, answer) = self.publish_raw(topic, event.to_string()).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{answer}");
    }

    /// Publishes any bytes as `application/cloudevents+json`; gives Dapr's answer.
    pub async fn publish_raw(
        &self,
        topic: &str,
        body: impl Into<reqwest::Body>,
    ) -> (StatusCode, Value) {
        let url = format!("http://{}/v1.0/publish/todo-pubsub/{topic}", self.dapr);
        let request = self.http.post(url).header("content-type", "application/cloudevents+json");
        answer(request.body(body)).await
    }

    /// Calls the ingress as daprd does for a single event of `topic`.
    pub async fn deliver(
        &self,
        topic: &str,
        event: impl Into<reqwest::Body>,
    ) -> (StatusCode, Value) {
        let headers =
            [("content-type", "application/cloudevents+json"), ("pubsubName", "todo-pubsub")];
        self.callback(&format!("/events/{topic}"), &headers, event).await
    }

    /// Calls the ingress as daprd does for a bulk of `topic`; gives the status of each entry.
    pub async fn deliver_bulk(&self, topic: &str, events: &[Value]) -> Vec<String> {
        let answer = self.deliver_raw_bulk(topic, events).await;
        let statuses = answer["statuses"].as_array().expect("statuses of a bulk").iter();
        statuses.map(|entry| entry["status"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The same; gives the answer as it is.
    pub async fn deliver_raw_bulk(&self, topic: &str, events: &[Value]) -> Value {
        let headers = [("content-type", "application/json")];
        let path = format!("/events/{topic}");
        let (status, answer) =
            self.callback(&path, &headers, bulk(topic, events).to_string()).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    /// Posts to the ingress.
    pub async fn callback(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> (StatusCode, Value) {
        let mut request = self.http.post(format!("http://{}{path}", self.ingress)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request).await
    }

    /// Sends any request to the ingress.
    pub async fn ingress(&self, method: reqwest::Method, path: &str) -> (StatusCode, Value) {
        answer(self.http.request(method, format!("http://{}{path}", self.ingress))).await
    }

    /// Asks the admin API.
    pub async fn admin(&self, path: &str) -> (StatusCode, Value) {
        answer(self.http.get(format!("http://{}{path}", self.admin))).await
    }

    /// Asks the admin API with a token.
    pub async fn admin_with_token(&self, path: &str, token: &str) -> (StatusCode, Value) {
        let request = self.http.get(format!("http://{}{path}", self.admin));
        answer(request.bearer_auth(token)).await
    }

    /// `GET /metrics`, without comments and buckets.
    pub async fn metrics(&self) -> String {
        let (status, text) = self.admin("/metrics").await;
        assert_eq!(status, StatusCode::OK);
        let text = text.as_str().unwrap_or_default();
        let lines =
            text.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket{"));
        lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// The rows of a query on the ledger's database, every value as text; NULL is `-`.
    pub async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let sql = if on_postgres() { for_postgres(sql) } else { sql.to_owned() };
        let rows = self.app.ledger.query(&sql, &[], 10_000, || {}).await;
        let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let values = |row: Vec<(String, SqlValue)>| row.into_iter().map(|(_, value)| text(value));
        rows.into_iter().map(|row| values(row).collect()).collect()
    }

    /// Status, attempts and error of each delivery, in order of entry.
    pub async fn deliveries(&self) -> Vec<Vec<String>> {
        self.rows(
            "SELECT component || ' ' || status || ' ' || attempts AS state, coalesce(error, '') \
             FROM wharf_deliveries ORDER BY sequence",
        )
        .await
    }

    /// What the admin API shows of each delivery of a component, newest first.
    pub async fn shown(&self, component: &str) -> Vec<Value> {
        let (_, listed) = self.admin(&format!("/deliveries?component={component}")).await;
        let mut shown = Vec::new();
        for delivery in listed.as_array().expect("a list of deliveries") {
            let id = delivery["delivery"].as_str().unwrap_or_default();
            let (status, delivery) = self.admin(&format!("/deliveries/{id}")).await;
            assert_eq!(status, StatusCode::OK, "{delivery}");
            shown.push(delivery);
        }
        shown
    }

    /// A counter's value, of a series as `/metrics` writes it; 0 when there is none.
    pub async fn count(&self, series: &str) -> u64 {
        let metrics = self.metrics().await;
        let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().expect("a counter is a whole number"))
    }

    /// The payloads that a topic has got.
    pub async fn messages(&self, topic: &str) -> Vec<Value> {
        let pubsub = Pubsub::new("todo-pubsub").expect("a pubsub's name");
        let topic = Topic::new(topic).expect("a topic");
        let messages = self.embedded().messages(&pubsub, &topic, 100_000).await;
        let payload = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or(Value::Null);
        messages.expect("the embedded Dapr's file").iter().map(|m| payload(&m.body)).collect()
    }

    /// Calls the embedded Dapr's API.
    pub async fn dapr(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = self.http.request(method, format!("http://{}{path}", self.dapr));
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request).await
    }

    /// A file in the data folder.
    pub fn write_data(&self, name: &str, text: &str) {
        fs::write(self.setup.config.data.join(name), text).expect("the data folder can be written");
    }

    /// What the binding `notify-file` has written.
    pub fn notifications(&self) -> Vec<Value> {
        let file = self.setup.config.data.join("notifications.jsonl");
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// The jobs that Dapr's scheduler has, by name.
    pub async fn jobs(&self) -> Vec<String> {
        let jobs = self.embedded().jobs().await.expect("the embedded Dapr's file");
        jobs.into_iter().map(|job| job.name.to_string()).collect()
    }

    /// Posts to the admin API.
    pub async fn admin_post(&self, path: &str) -> (StatusCode, Value) {
        answer(self.http.post(format!("http://{}{path}", self.admin))).await
    }

    /// Waits until nothing more happens unless time passes.
    pub async fn settle(&self) {
        let started = Instant::now();
        while let Some(busy) = self.busy().await {
            assert!(started.elapsed() < PATIENCE, "the host did not settle: {busy}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Moves the clock, and lets what is due happen.
    pub async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.settle().await;
    }

    /// What is left to happen now, if anything.
    async fn busy(&self) -> Option<String> {
        let work = self.app.work();
        let begun = work.begun();
        work.ended().await;
        let waiting = self.embedded().waiting().await.expect("the embedded Dapr's file");
        let catalog = self.app.registry.snapshot();
        let mut components: Vec<_> =
            catalog.components().map(|component| component.id().clone()).collect();
        components.push(ComponentId::none());
        let due = self.app.ledger.next_due(&components).await.expect("the ledger can be read");
        let now = self.clock.now();
        let is_due = [due.parked, due.outbox].into_iter().flatten().any(|at| at <= now);
        // What began meanwhile may have hidden itself from the questions above.
        let is_busy = waiting > 0 || is_due || work.begun() != begun;
        is_busy.then(|| format!("{waiting} calls of Dapr wait, {due:?} at {now}"))
    }

    /// Waits until a question is answered with yes.
    pub async fn until(&self, what: &str, mut question: impl AsyncFnMut(&Self) -> bool) {
        let started = Instant::now();
        while !question(self).await {
            assert!(started.elapsed() < PATIENCE, "this did not happen: {what}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Stops it as Ctrl-C does, and starts it again on the same data.
    pub async fn restart(self) -> Self {
        self.restart_with(|_| {}).await
    }

    /// The same, without a component; `None` brings it back.
    pub async fn restart_without(mut self, component: Option<&'static str>) -> Self {
        self.setup.away = component;
        self.restart().await
    }

    /// The same, under another configuration.
    pub async fn restart_with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        self.app.stop().await;
        std::mem::forget(self.left);
        change(&mut self.setup.config);
        Self::start(self.setup, self.clock).await
    }

    /// Another program's connection to the ledger's database.
    pub async fn other_program(&self) -> Program {
        match &self.setup.config.ledger.url {
            Some(url) => {
                let connection = PgConnection::connect(url).await;
                Program::Postgres(connection.expect("the ledger's database can be reached"))
            }
            None => {
                let options = SqliteConnectOptions::new().filename(self.ledger_file());
                let connection = options.connect().await;
                Program::Sqlite(connection.expect("the ledger's file can be opened"))
            }
        }
    }

    /// Stops it as Ctrl-C does.
    pub async fn stop(self) {
        self.app.stop().await;
        std::mem::forget(self.left);
    }

    /// The folder of everything that it keeps.
    pub fn data(&self) -> &Path {
        &self.setup.config.data
    }

    /// The address of the ledger's schema, when it is in PostgreSQL.
    pub fn ledger_url(&self) -> Option<&str> {
        self.setup.config.ledger.url.as_deref()
    }

    /// The ledger's SQLite file.
    pub fn ledger_file(&self) -> PathBuf {
        self.setup.config.ledger_file()
    }
}

fn embedded(app: &App) -> &Embedded {
    app.dapr.embedded().expect("these hosts have the embedded Dapr")
}

/// Another program that uses the ledger's database.
pub enum Program {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Program {
    /// Runs statements, one after the other.
    pub async fn run(&mut self, sql: &str) {
        let script = sqlx::raw_sql(AssertSqlSafe(sql));
        let done = match self {
            Self::Sqlite(connection) => script.execute(connection).await.map(drop),
            Self::Postgres(connection) => script.execute(connection).await.map(drop),
        };
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Until [`reopen`](Self::reopen) each insert into the table fails, with `closed`.
    pub async fn close(&mut self, table: &str) {
        let (function, trigger) = match self {
            Self::Sqlite(_) => ("", "BEGIN SELECT RAISE(ABORT, 'closed'); END"),
            Self::Postgres(_) => (
                "CREATE FUNCTION closed() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN RAISE EXCEPTION 'closed'; END $$;",
                "FOR EACH ROW EXECUTE FUNCTION closed()",
            ),
        };
        self.run(&format!("{function} CREATE TRIGGER closed BEFORE INSERT ON {table} {trigger}"))
            .await;
    }

    pub async fn reopen(&mut self, table: &str) {
        match self {
            Self::Sqlite(_) => self.run("DROP TRIGGER closed").await,
            Self::Postgres(_) => {
                self.run(&format!("DROP TRIGGER closed ON {table}; DROP FUNCTION closed")).await;
            }
        }
    }

    /// Until [`unlock`](Self::unlock) nobody else can write the ledger.
    pub async fn lock(&mut self) {
        match self {
            Self::Sqlite(_) => self.run("BEGIN IMMEDIATE").await,
            Self::Postgres(_) => {
                let tables = "wharf_deliveries, wharf_outbox, wharf_probe";
                self.run(&format!("BEGIN; LOCK TABLE {tables} IN EXCLUSIVE MODE")).await;
            }
        }
    }

    pub async fn unlock(&mut self) {
        self.run("ROLLBACK").await;
    }
}

/// Tests ask in SQLite's words; these are PostgreSQL's.
pub fn for_postgres(sql: &str) -> String {
    const WORDS: [(&str, &str); 7] = [
        ("INTEGER PRIMARY KEY AUTOINCREMENT", "BIGINT GENERATED ALWAYS AS IDENTITY"),
        ("rowid", "ctid"),
        ("lower(hex(digest))", "encode(digest, 'hex')"),
        ("hex(wire)", "upper(encode(wire, 'hex'))"),
        ("arrival->>'$.trace.parent'", "arrival::jsonb->'trace'->>'parent'"),
        ("arrival->>'$.trace.state'", "arrival::jsonb->'trace'->>'state'"),
        (
            "substr(due_date,",
            "substr(to_char(due_date AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS'),",
        ),
    ];
    WORDS.iter().fold(sql.to_owned(), |sql, (sqlite, postgres)| sql.replace(sqlite, postgres))
}

/// Whether this is the test binary whose ledgers are in PostgreSQL.
pub fn on_postgres() -> bool {
    let name = std::env::current_exe().expect("a process has a program");
    name.file_name().is_some_and(|name| name.to_string_lossy().starts_with("it_postgres"))
}

/// A CloudEvent of the contract `cloudevents` about task `t-<number>`, whose id has the number too.
pub fn event(ty: &str, number: u32) -> Value {
    json!({
        "specversion": "1.0",
        "id": id(number),
        "source": "test",
        "type": ty,
        "subject": format!("t-{number}"),
        "time": "2026-01-01T00:00:00Z",
        "datacontenttype": "application/json",
        "data": { "task_id": format!("t-{number}"), "user_id": "ann",
                  "task": { "id": format!("t-{number}"), "title": "Water the plants" } },
    })
}

/// A CloudEvent of the contract `things` about `subject`.
pub fn thing(number: u32, subject: &str, data: impl Into<Value>) -> Value {
    json!({
        "specversion": "1.0",
        "id": format!("thing-{number}"),
        "source": "test",
        "type": THING,
        "subject": subject,
        "time": "2026-01-01T00:00:00Z",
        "data": data.into(),
    })
}

/// The type of [`thing`].
pub const THING: &str = "com.things.made.v1";

/// The contract that [`Setup::things`] adds. Nobody wants what the guests publish.
pub const THINGS: &str = r#"
name = "things"
description = "Any JSON"
pubsub = "todo-pubsub"
retry = ["1s", "2s", "4s"]
dead_letter = "{topic}-dlq"
job = [{ name = "caps-*" }]
binding = [{ name = "clock", period = "5m" }]
topic = [
    { name = "things", path = "/events/things", retention = "7d" },
    { name = "echoes", path = "/events/echoes", retention = "7d" },
]
event = [
    { type = "com.things.made.v1", topic = "things", consumers = ["audit"] },
    { type = "com.todo.echo.v1", topic = "echoes", consumers = [] },
    { type = "com.todo.flood.v1", topic = "echoes", consumers = [] },
    { type = "com.things.said.v1", topic = "echoes", consumers = [] },
]
"#;

/// A manifest with ten seconds for each event, unless it says otherwise: an attempt that a busy
/// machine ends would be one more than expected.
pub fn with_time(manifest: &str) -> String {
    match manifest.contains("[limits]") {
        _ if manifest.contains("time = ") => manifest.to_owned(),
        true => manifest.replace("[limits]", "[limits]\ntime = \"10s\""),
        false => format!("{manifest}\n[limits]\ntime = \"10s\"\n"),
    }
}

/// daprd's envelope around a bulk; the entries are numbered from 0.
pub fn bulk(topic: &str, events: &[Value]) -> Value {
    let entries = events.iter().enumerate().map(|(index, event)| {
        json!({ "entryId": index.to_string(), "event": event, "metadata": {},
                "contentType": "application/cloudevents+json" })
    });
    json!({
        "id": "bulk", "type": "com.dapr.event.sent.bulk", "topic": topic,
        "pubsubname": "todo-pubsub", "metadata": {}, "entries": entries.collect::<Vec<_>>(),
    })
}

/// A UUID of version 4 that ends in the number.
pub fn id(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// The workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_owned()
}

fn text(value: SqlValue) -> String {
    match value {
        SqlValue::Null => "-".to_owned(),
        SqlValue::Bool(value) => value.to_string(),
        SqlValue::Integer(value) => value.to_string(),
        SqlValue::Float(value) => value.to_string(),
        SqlValue::Text(value) | SqlValue::Json(value) | SqlValue::Timestamp(value) => value,
        SqlValue::Bytes(value) => String::from_utf8_lossy(&value).into_owned(),
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let answer = request.send().await.expect("the host answers");
    let status = answer.status();
    let text = answer.text().await.expect("the answer has a body");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn lines(problems: &[wharf::problem::Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
