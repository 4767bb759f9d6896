//! What the rows of handled events cost: bytes for each, and how long a commit of 100 takes without
//! them, with them, and while they are pruned. `cargo bench -- rows 10000000` has ten times as many.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use wharf::clock::{Clock as _, ManualClock};
use wharf::ledger::LedgerOptions;
use wharf::manifest::Database;
use wharf::prune::Prune;
use wharf::telemetry::metrics::Metrics;
use wharf_test_postgres::{Durability, Server};
use wharf_tests::figures::{self, Figure, Line};

use super::ledger::Ours;

/// Unless the command line has another number.
pub const ROWS: u64 = 1_000_000;
/// Rows that are inserted at a time.
const CHUNK: u64 = 500_000;
/// Groups of 100 for each figure.
const GROUPS: usize = 60;
const DAY: Duration = Duration::from_hours(24);

pub fn run(rows: u64) {
    let runtime = Runtime::new().expect("a runtime starts");
    let folder =
        TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder can be written");
    let file = folder.path().join("ledger.db");
    runtime.block_on(measure(rows, LedgerOptions::at(&file), Place::Sqlite(&file)));
    match Server::start(Durability::Full) {
        Ok(server) => {
            let options = LedgerOptions::postgres(server.url());
            runtime.block_on(measure(rows, options, Place::Postgres(&server.url())));
        }
        Err(why) => figures::note(&format!("rows on PostgreSQL are left out: {why}")),
    }
}

/// The database, as another program finds it.
#[derive(Clone, Copy)]
enum Place<'a> {
    Sqlite(&'a Path),
    Postgres(&'a str),
}

async fn measure(rows: u64, options: LedgerOptions, place: Place<'_>) {
    let (database, name) = match place {
        Place::Sqlite(_) => (Database::Sqlite, "SQLite"),
        Place::Postgres(_) => (Database::Postgres, "PostgreSQL"),
    };
    let clock = ManualClock::default();
    let ours = Ours::open(options, database).await;
    let mut other = Other::connect(place).await;
    figures::heading(&format!("commits of 100 on {name}: for each delivery"));
    commits("without other rows", &ours, &mut other).await;
    // They are young, and pruning walks from the first row on: it would come no further.
    other.run("DELETE FROM wharf_deliveries").await;
    fill(&mut other, rows, clock.now().timestamp_micros() - 30 * DAY.as_micros() as i64).await;
    commits(&format!("with {rows} done rows"), &ours, &mut other).await;
    for line in other.sizes(rows).await {
        figures::note(&line);
    }
    let (metrics, stop) = (Metrics::new().expect("metrics"), CancellationToken::new());
    let (ledger, clock) = (ours.ledger.clone(), Arc::new(clock));
    let prune = Prune { ledger, clock, metrics: metrics.clone(), window: 8 * DAY };
    let pruning = tokio::spawn(prune.run(stop.clone()));
    let began = Instant::now();
    commits("while they are pruned", &ours, &mut other).await;
    let took = began.elapsed();
    stop.cancel();
    pruning.await.expect("pruning ends");
    let pruned = metrics.render();
    let pruned = pruned.lines().find_map(|line| line.strip_prefix("wharf_pruned_total "));
    let pruned = pruned.and_then(|number| number.parse::<f64>().ok()).unwrap_or_default();
    figures::note(&format!("pruned meanwhile: {:.0}/s", pruned / took.as_secs_f64()));
}

/// Elapsed time of each group, and processor time of both sides, for one delivery.
async fn commits(name: &str, ours: &Ours, other: &mut Other) {
    ours.commit_together(100).await;
    let mut times = Vec::with_capacity(GROUPS);
    let before = other.cpu().await;
    for _ in 0..GROUPS {
        times.push(ours.commit_together(100).await / 100);
    }
    let after = other.cpu().await;
    let line = |name: &str, wharf: Figure| Line { name, wharf, native: None, budget: None }.print();
    line(name, figures::latency(times));
    if let (Some(before), Some(after)) = (before, after) {
        let each = (after - before) / u32::try_from(GROUPS * 100).unwrap_or(u32::MAX);
        line("  processor time, both sides", Figure::Mean(each));
    }
}

/// Rows as a month ago's, a millisecond between each two.
async fn fill(other: &mut Other, rows: u64, first: i64) {
    let mut done = 0;
    while done < rows {
        let to = rows.min(done + CHUNK);
        let (numbers, key, id, unhex) = match other {
            Other::Sqlite(_) => (
                format!(
                    "(WITH RECURSIVE n(i) AS (SELECT {done} UNION ALL SELECT i + 1 FROM n \
                     WHERE i + 1 < {to}) SELECT i FROM n)"
                ),
                "randomblob(16)",
                "lower(hex(randomblob(18)))",
                "unhex(X)",
            ),
            Other::Postgres(_) => (
                format!("generate_series({done}::bigint, {to} - 1) AS n(i)"),
                "uuid_send(gen_random_uuid())",
                "gen_random_uuid()::text",
                "decode(X, 'hex')",
            ),
        };
        let digest = format!("'{}'", "0123456789abcdef".repeat(4));
        let digest = unhex.replace('X', &digest);
        other
            .run(&format!(
                "INSERT INTO wharf_deliveries (component, key, status, attempts, subject, ordered, \
                     contract, pubsub, topic, digest, event_id, event_type, received_at) \
                 SELECT 'audit', {key}, 'done', 1, {id}, 1, 'cloudevents', 'todo-pubsub', \
                     'task-events', {digest}, {id}, 'com.todo.task.created.v1', \
                     {first} + i * 1000 FROM {numbers}"
            ))
            .await;
        done = to;
    }
    match other {
        // What autovacuum does in its time.
        Other::Postgres(_) => other.run("VACUUM ANALYZE wharf_deliveries").await,
        Other::Sqlite(_) => other.run("PRAGMA wal_checkpoint(TRUNCATE)").await,
    }
}

enum Other {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Other {
    async fn connect(place: Place<'_>) -> Self {
        match place {
            Place::Sqlite(file) => {
                let options = SqliteConnectOptions::new()
                    .filename(file)
                    .busy_timeout(Duration::from_secs(60))
                    .pragma("cache_size", "-300000");
                Self::Sqlite(options.connect().await.expect("the file opens"))
            }
            Place::Postgres(url) => {
                Self::Postgres(PgConnection::connect(url).await.expect("the server answers"))
            }
        }
    }

    async fn run(&mut self, sql: &str) {
        let script = sqlx::raw_sql(AssertSqlSafe(sql));
        let done = match self {
            Self::Sqlite(connection) => script.execute(connection).await.map(drop),
            Self::Postgres(connection) => script.execute(connection).await.map(drop),
        };
        done.expect("the statement is right");
    }

    /// Bytes for each row, of the table and of each index that has something.
    async fn sizes(&mut self, rows: u64) -> Vec<String> {
        let sizes: Vec<(String, i64)> = match self {
            Self::Sqlite(connection) => {
                let sql = "SELECT name, sum(pgsize) AS size FROM dbstat \
                           WHERE name LIKE '%wharf_deliveries%' GROUP BY name";
                let rows = sqlx::query(sql).fetch_all(connection).await.expect("dbstat");
                rows.iter().map(|row| (row.get("name"), row.get("size"))).collect()
            }
            Self::Postgres(connection) => {
                let sql = "SELECT relname::text AS name, pg_relation_size(oid) AS size FROM pg_class \
                           WHERE relname LIKE 'wharf_deliveries%' AND relkind IN ('r', 'i')";
                let rows = sqlx::query(sql).fetch_all(connection).await.expect("pg_class");
                rows.iter().map(|row| (row.get("name"), row.get("size"))).collect()
            }
        };
        let each = |size: i64| size as f64 / rows as f64;
        let total: i64 = sizes.iter().map(|(_, size)| size).sum();
        let large = sizes.iter().filter(|(_, size)| each(*size) >= 1.0);
        let parts = large.map(|(name, size)| format!("{name} {:.0}", each(*size)));
        let parts = parts.collect::<Vec<_>>().join(", ");
        vec![format!("bytes for each done row: {:.0} ({parts})", each(total))]
    }

    /// Of this process and of the server's.
    async fn cpu(&mut self) -> Option<Duration> {
        let own = figures::cpu()?;
        let Self::Postgres(connection) = self else { return Some(own) };
        let pids = sqlx::query_scalar::<_, i32>("SELECT pid FROM pg_stat_activity");
        let pids = pids.fetch_all(connection).await.expect("the server's processes");
        let theirs = pids.iter().filter_map(|pid| figures::cpu_of(&pid.to_string()));
        Some(own + theirs.sum::<Duration>())
    }
}
