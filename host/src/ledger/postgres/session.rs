//! How a session is opened, and whether it is what it was asked to be: a pool in between may drop
//! what a session asks for, and without its limits one statement could hold up everyone.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};

use super::{GRACE, Open, in_time};
use crate::ledger::LedgerOptions;

/// How often the server looks, while a statement runs, whether somebody still waits for it. Before
/// PostgreSQL 14 it does not, and its own limit ends the statement.
const LOOK: &str = "client_connection_check_interval";
const LOOK_EVERY: &str = "250";

/// A busy machine may keep a host waiting for so long between two statements.
const PAUSE: Duration = Duration::from_secs(2);

/// Plans that writers are not to use. Each of their statements has its index, gives rows in that
/// index's order, and needs few of them; a plan that was made for small tables, or without
/// statistics, would read or sort all that wait: 33 ms for a claim among 20,000, instead of 2.
const BY_INDEX: [&str; 5] =
    ["enable_seqscan", "enable_bitmapscan", "enable_sort", "enable_hashjoin", "enable_mergejoin"];

fn off(setting: &'static str) -> (&'static str, String) {
    (setting, "off".to_owned())
}

/// How to open one.
#[derive(Clone)]
pub struct Options {
    connect: PgConnectOptions,
    /// What it must be set to, as `pg_settings` says it.
    settings: Vec<(&'static str, String)>,
    patience: Duration,
    connecting: Duration,
}

impl Options {
    /// Fails as a configuration that does not do when the session is not as it was asked to be.
    pub async fn open(&self) -> Result<Open, sqlx::Error> {
        let opened = async {
            let mut connection = self.connect.connect().await.map_err(of_pool)?;
            self.check(&mut connection).await?;
            Ok(connection)
        };
        let connection = in_time(self.connecting, opened).await?;
        let (patience, many) = (self.patience, HashMap::new());
        Ok(Open { connection, patience, many, in_steps_until: None })
    }

    async fn check(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let names: Vec<_> = self.settings.iter().map(|(name, _)| format!("'{name}'")).collect();
        // One text without parameters: what is prepared may be lost in a pool, too.
        let sql = format!(
            "SELECT name, setting FROM pg_settings \
             WHERE name IN ('synchronous_commit', '{LOOK}', {})",
            names.join(", ")
        );
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut *connection).await?;
        let rows = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        let found = rows.collect::<Result<HashMap<String, String>, sqlx::Error>>()?;
        if let Some(why) = unfit(&self.settings, &found) {
            return Err(sqlx::Error::Configuration(why.into()));
        }
        if found.contains_key(LOOK) {
            let sql = format!("SET {LOOK} = {LOOK_EVERY}");
            let set = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
            // A server's system may have no way to look.
            set.map(drop).or_else(|error| error.as_database_error().map(drop).ok_or(error))?;
        }
        Ok(())
    }

    /// Fails when the address is none.
    pub fn writing(options: &LedgerOptions, url: &str) -> Result<Self, sqlx::Error> {
        let settings = [
            // Longer than the server's deadlock_timeout, which is 1 s where nobody changed it: a
            // deadlock is told as one, and the group is written again.
            ("lock_timeout", millis(options.busy_timeout * 3)),
            ("default_transaction_isolation", "read committed".to_owned()),
            // A host that stalls in the middle of a commit must not hold up the others.
            ("idle_in_transaction_session_timeout", millis(options.query_timeout.max(PAUSE))),
            // Planned once: for an array of one row the server would plan anew each time, which
            // takes several times as long as running it.
            ("plan_cache_mode", "force_generic_plan".to_owned()),
        ];
        Self::new(options, url, &[settings.as_slice(), &BY_INDEX.map(off)].concat())
    }

    /// For the ledger's own questions. Fails when the address is none.
    pub fn looking(options: &LedgerOptions, url: &str) -> Result<Self, sqlx::Error> {
        Self::new(options, url, &[read_only(), off("enable_seqscan"), off("enable_sort")])
    }

    /// For components' queries. Fails when the address is none.
    pub fn reading(options: &LedgerOptions, url: &str) -> Result<Self, sqlx::Error> {
        Self::new(options, url, &[read_only()])
    }

    fn new(
        options: &LedgerOptions,
        url: &str,
        settings: &[(&'static str, String)],
    ) -> Result<Self, sqlx::Error> {
        let all = [("statement_timeout", millis(options.query_timeout)), off("jit")];
        let settings = [all.as_slice(), settings].concat();
        let connect = parse(url)?
            .application_name("wharf")
            .statement_cache_capacity(256)
            .options(settings.iter().map(|(name, value)| (*name, value.as_str())));
        let (patience, connecting) = (options.query_timeout + GRACE, options.busy_timeout + GRACE);
        Ok(Self { connect, settings, patience, connecting })
    }
}

/// What sqlx would only warn of could be `sslmode`, misspelt.
fn parse(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    let unfit = |why: String| sqlx::Error::Configuration(why.into());
    let query = url.split_once('?').map_or("", |(_, query)| query);
    for (key, _) in form_urlencoded::parse(query.as_bytes()) {
        if !PARAMETERS.contains(&&*key) && !key.starts_with("options[") {
            return Err(unfit(format!(
                "its address has the parameter `{key}`, which is none of {}",
                PARAMETERS.join(", ")
            )));
        }
    }
    url.parse().map_err(|error| {
        unfit(format!(
            "its address cannot be read ({error}); in user and password, percent-encode what is \
             neither letter nor digit (`#` is %23)"
        ))
    })
}

/// Those of an address.
const PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

fn read_only() -> (&'static str, String) {
    ("default_transaction_read_only", "on".to_owned())
}

/// Why the guarantees would not hold in a session with these settings.
fn unfit(asked: &[(&str, String)], found: &HashMap<String, String>) -> Option<String> {
    let lost = asked.iter().find(|(name, value)| found.get(*name) != Some(value));
    if let Some((name, value)) = lost {
        let is = found.get(*name).map_or("unknown", String::as_str);
        return Some(format!("`{name}` is {is}, though {value} was asked for: {POOL}"));
    }
    let lax = found.get("synchronous_commit").is_some_and(|setting| setting == "off");
    lax.then(|| {
        "`synchronous_commit` is off, so a crash of its server would lose what was acknowledged; \
         turn it on for the server, for the role (ALTER ROLE … SET synchronous_commit = on), or \
         in the address (?options[synchronous_commit]=on)"
            .to_owned()
    })
}

const POOL: &str = "something between here and the server drops what a session asks for, such as \
    pgbouncer; connect to the server itself, or through a pool that keeps sessions and their \
    startup options";

/// pgbouncer's answer to options, where it was not told to drop them.
fn of_pool(error: sqlx::Error) -> sqlx::Error {
    let refused = error.as_database_error().is_some_and(|error| {
        error.code().as_deref() == Some("08P01") && error.message().contains("startup parameter")
    });
    if refused { sqlx::Error::Configuration(format!("{error}: {POOL}").into()) } else { error }
}
