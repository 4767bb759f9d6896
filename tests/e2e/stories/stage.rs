//! What most stories play on: a broker, a scheduler, a ledger in PostgreSQL, hosts with a sidecar
//! each, and the rest of the system.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use wharf::clock::{Clock as _, SystemClock, rfc3339};
use wharf_test_real::{
    Daprd, Kafka, Process, Scheduler, Sidecar, Yard, component, http, port, retried_for_ever,
};
use wharf_tests::dice::Dice;
use wharf_tests::faults::Fault;

use crate::between::Between;
use crate::host;
use crate::outside::Outside;
use crate::project::Project;

/// How long something may take that comes by itself.
pub const PATIENCE: Duration = Duration::from_secs(240);
const ASK: Duration = Duration::from_millis(50);
/// So many events show that it goes on.
const SOME: usize = 50;
/// A start may compile the components; a stop may have to finish what is in progress.
const HOST: Duration = Duration::from_secs(300);

/// The app id of every host, and so the name of their consumer group.
const APP: &str = "wharf";

pub struct Stage {
    pub outside: Outside,
    pub kafka: Kafka,
    pub scheduler: Scheduler,
    pub database: String,
    /// Components and the like for every daprd that starts, as YAML.
    pub resources: Vec<String>,
    /// The Configuration of sidecars that start.
    pub config: Option<PathBuf>,
    /// Whether sidecars that start ask for the health of their host. One that does delivers nothing
    /// while the host says that it is ill.
    pub checks_health: bool,
    pub yard: Arc<Yard>,
}

/// A transaction that nobody else can write deliveries beside.
pub struct Locked {
    connection: PgConnection,
}

impl Locked {
    pub async fn of(database: &str) -> anyhow::Result<Self> {
        let mut connection = PgConnection::connect(database).await?;
        sqlx::raw_sql("BEGIN; LOCK TABLE wharf_deliveries IN EXCLUSIVE MODE")
            .execute(&mut connection)
            .await?;
        Ok(Self { connection })
    }

    pub async fn unlock(mut self) -> anyhow::Result<()> {
        sqlx::raw_sql("ROLLBACK").execute(&mut self.connection).await?;
        Ok(self.connection.close().await?)
    }
}

/// Wharf and its sidecar.
pub struct Host {
    pub wharf: Process,
    pub daprd: Daprd,
    ingress: u16,
    admin: u16,
    /// What is between the two, if anything.
    wires: Vec<Between>,
}

/// A sidecar that was killed is soon known to be gone; until then its partitions wait.
const SESSION: [(&str, &str); 2] = [("sessionTimeout", "6s"), ("heartbeatInterval", "1s")];

impl Stage {
    /// With a schema of its own in the server that all stories share, and eyes on these topics.
    pub async fn set(yard: Arc<Yard>, topics: &[&str]) -> anyhow::Result<Self> {
        let database = wharf_test_postgres::schema("e2e").await.url;
        Self::with_ledger(yard, topics, database).await
    }

    pub async fn with_ledger(
        yard: Arc<Yard>,
        topics: &[&str],
        database: String,
    ) -> anyhow::Result<Self> {
        let (kafka, scheduler) =
            futures::try_join!(Kafka::start(&yard, 3), Scheduler::start(&yard))?;
        let pubsub = kafka.pubsub_with("todo-pubsub", &SESSION);
        let topics: Vec<_> = topics.iter().map(|topic| ("todo-pubsub", *topic)).collect();
        let sidecar = Sidecar::of("outside", yard.resources("outside", &[&pubsub])?);
        let outside = Outside::start(&yard, sidecar, &topics).await?;
        let sink = |name: &str| {
            let url = format!("http://127.0.0.1:{}/sink/{name}", outside.app.port);
            component(name, "bindings.http", &[("url", &url), ("direction", "output")])
        };
        let resources = vec![
            pubsub,
            // Nothing else keeps what Wharf promises.
            retried_for_ever("todo-pubsub"),
            component("todo-statestore", "state.in-memory", &[]),
            sink("notify-file"),
            sink("notify-http"),
        ];
        Ok(Self {
            outside,
            kafka,
            scheduler,
            database,
            resources,
            config: None,
            checks_health: true,
            yard,
        })
    }

    /// A host that is subscribed when this returns; several share the ledger and the events.
    pub async fn host(&self, name: &str, project: &Project) -> anyhow::Result<Host> {
        self.host_with(name, project, &[]).await
    }

    /// The same with further variables for it.
    pub async fn host_with(
        &self,
        name: &str,
        project: &Project,
        variables: &[(&'static str, String)],
    ) -> anyhow::Result<Host> {
        self.host_beside(name, project, variables, (Vec::new(), Vec::new())).await
    }

    /// The same, its sidecar with these variables and flags.
    pub async fn host_beside(
        &self,
        name: &str,
        project: &Project,
        variables: &[(&'static str, String)],
        (own, flags): (Vec<(&'static str, String)>, Vec<String>),
    ) -> anyhow::Result<Host> {
        let (ingress, admin) = (port::free()?, port::free()?);
        let sidecar = Sidecar { variables: own, flags, ..self.sidecar(name, ingress)? };
        // It waits for the host, which does not wait for it.
        let daprd = Daprd::start(&self.yard, sidecar).await?;
        let wharf = self.wharf(name, project, [ingress, admin, daprd.port()], variables)?;
        let mut host = Host { wharf, daprd, ingress, admin, wires: Vec::new() };
        host.ready().await?;
        Ok(host)
    }

    /// A host whose calls and callbacks come through, or not.
    pub async fn host_behind_a_bad_wire(
        &self,
        name: &str,
        project: &Project,
        dice: &mut Dice,
    ) -> anyhow::Result<Host> {
        let (ingress, admin) = (port::free()?, port::free()?);
        let callbacks = Between::before(ingress, dice.split()).await?;
        let sidecar = self.sidecar(name, callbacks.port)?;
        let daprd = Daprd::start(&self.yard, sidecar).await?;
        let calls = Between::before(daprd.port(), dice.split()).await?;
        let wharf = self.wharf(name, project, [ingress, admin, calls.port], &[])?;
        let mut host = Host { wharf, daprd, ingress, admin, wires: vec![callbacks, calls] };
        host.ready().await?;
        Ok(host)
    }

    fn sidecar(&self, name: &str, app_port: u16) -> anyhow::Result<Sidecar> {
        let texts: Vec<_> = self.resources.iter().map(String::as_str).collect();
        Ok(Sidecar {
            name: format!("of-{name}"),
            app_port: Some(app_port),
            config: self.config.clone(),
            health: self.checks_health.then(|| "/health".to_owned()),
            scheduler: Some(self.scheduler.address()),
            ..Sidecar::of(APP, self.yard.resources(name, &texts)?)
        })
    }

    fn wharf(
        &self,
        name: &str,
        project: &Project,
        [ingress, admin, dapr]: [u16; 3],
        variables: &[(&'static str, String)],
    ) -> anyhow::Result<Process> {
        let mut all = self.variables(name, project, [ingress, admin])?;
        all.push(("DAPR_HTTP_PORT", dapr.to_string()));
        all.extend(variables.iter().cloned());
        let program = host::program()?.display().to_string();
        let data = self.yard.folder(name)?;
        Process::start(name, &[&*program, "serve"], &all, &data, &self.yard.log(name))
    }

    /// What a host is told, but for the port of its Dapr.
    pub fn variables(
        &self,
        name: &str,
        project: &Project,
        [ingress, admin]: [u16; 2],
    ) -> anyhow::Result<Vec<(&'static str, String)>> {
        let own = |path: &str| project.path(path).display().to_string();
        Ok(vec![
            ("DATABASE_URL", self.database.clone()),
            ("WHARF_INGRESS__ADDRESS", format!("127.0.0.1:{ingress}")),
            ("WHARF_ADMIN__ADDRESS", format!("127.0.0.1:{admin}")),
            ("WHARF_CONTRACTS", own("contracts")),
            ("WHARF_COMPONENTS", own("components")),
            ("WHARF_DATA", self.yard.folder(name)?.display().to_string()),
            ("WHARF_CACHE", host::compiled().display().to_string()),
        ])
    }

    /// The rows of a query on the ledger's database. Every column is text.
    pub async fn rows(&self, sql: &str) -> anyhow::Result<Vec<Vec<String>>> {
        let mut connection = PgConnection::connect(&self.database).await?;
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await?;
        connection.close().await?;
        Ok(rows.iter().map(|row| (0..row.len()).map(|at| row.get(at)).collect()).collect())
    }

    /// Waits until a query gives these rows.
    pub async fn become_rows(&self, sql: &str, expected: &[&[&str]]) -> anyhow::Result<()> {
        eventually(sql, async || match self.rows(sql).await {
            Ok(rows) if rows == expected => Ok(()),
            Ok(rows) => Err(format!("{rows:?}, not {expected:?}")),
            Err(error) => Err(format!("{error:#}")),
        })
        .await
    }

    /// Waits until the ledger has nothing left to do, and says that nothing died.
    pub async fn settled(&self) -> anyhow::Result<()> {
        const LEFT: &str = "SELECT component || ' ' || event_id || ' is ' || status || ': ' \
                || coalesce(error, '') FROM wharf_deliveries WHERE status IN ('parked', 'dead') \
            UNION ALL SELECT component || ' ' || kind || ' is ' || status || ': ' \
                || coalesce(error, '') FROM wharf_outbox";
        self.become_rows(LEFT, &[]).await
    }

    /// Waits until some more events are audited.
    pub async fn progress(&self) -> anyhow::Result<()> {
        const AUDITED: &str = "SELECT count(*)::text FROM audit_log";
        let count = async || -> anyhow::Result<usize> {
            Ok(self.rows(AUDITED).await?.concat().concat().parse()?)
        };
        let before = count().await?;
        eventually("events are audited", async || match count().await {
            Ok(now) if now >= before + SOME => Ok(()),
            Ok(now) => Err(format!("{before} before, {now} now")),
            Err(error) => Err(format!("{error:#}")),
        })
        .await
    }

    /// Nobody can write deliveries until the lock is freed.
    pub async fn lock_ledger(&self) -> anyhow::Result<Locked> {
        Locked::of(&self.database).await
    }

    /// Waits until each of these events is audited and nothing is left to do, and fails unless each
    /// is so once, and nothing else of their type.
    pub async fn audited_once(&self, ty: &str, ids: &[String]) -> anyhow::Result<()> {
        self.audited(ty, ids).await?;
        self.settled().await
    }

    /// The same where others may have died.
    pub async fn audited(&self, ty: &str, ids: &[String]) -> anyhow::Result<()> {
        let count =
            format!("SELECT count(DISTINCT event_id)::text FROM audit_log WHERE type = '{ty}'");
        let many = ids.len().to_string();
        self.become_rows(&count, &[&[&many]]).await?;
        let each = format!(
            "SELECT event_id, count(*)::text FROM audit_log WHERE type = '{ty}' \
            GROUP BY event_id ORDER BY event_id"
        );
        let mut expected: Vec<_> = ids.iter().map(|id| vec![id.clone(), "1".to_owned()]).collect();
        expected.sort();
        let found = self.rows(&each).await?;
        let wrong: Vec<_> = found.iter().filter(|row| !expected.contains(row)).collect();
        ensure!(wrong.is_empty(), "of {many}, not once or not published: {wrong:?}");
        ensure!(found.len() == expected.len(), "{} of {many} are audited", found.len());
        Ok(())
    }
}

impl Host {
    /// Waits until it serves, and its sidecar is done with its start.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let url = format!("http://127.0.0.1:{}/health", self.ingress);
        self.wharf.until_success(&url, HOST).await?;
        self.daprd.healthy().await
    }

    /// Of one of its metrics, the sum over all labels.
    pub async fn count(&self, name: &str) -> anyhow::Result<f64> {
        http::count(&format!("http://127.0.0.1:{}/metrics", self.admin), name).await
    }

    /// Of the wires between it and its sidecar, the faults that never came.
    pub fn idle_faults(&self) -> Vec<Fault> {
        self.wires.iter().flat_map(Between::idle).collect()
    }

    /// Stops it as an orchestrator does: it finishes what is in progress.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let status = self.wharf.stop(HOST).await?;
        ensure!(status.success(), "the host ended with {status}:\n{}", self.wharf.said());
        Ok(())
    }

    /// Starts Wharf as the first time.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        self.wharf.start_again()?;
        self.ready().await
    }
}

/// Asks until there is an answer. Fails with the last reason why there was none.
pub async fn eventually<T>(
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<T, String>,
) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(why) if began.elapsed() > PATIENCE => {
                bail!("not after {PATIENCE:?}: {what}; last: {why}");
            }
            Err(_) => tokio::time::sleep(ASK).await,
        }
    }
}

/// A time so much later, as contracts want it.
pub fn from_now(later: Duration) -> String {
    rfc3339(SystemClock.now() + later)
}
