//! What there is to see of errands, read from the files and the database past every host.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{Connection as _, PgConnection, Row as _, SqliteConnection};

use super::{DONE, TOPIC};

/// Where the ledger is.
#[derive(Debug, Clone)]
pub enum Database {
    Sqlite(PathBuf),
    /// The schema is part of the address.
    Postgres(String),
}

/// How often something is there.
pub type Times = BTreeMap<String, usize>;

/// An attempt of an errand, as its effects name it.
pub type Attempt = (String, u32);

/// A row that an errand wrote, in order of writing.
#[derive(Debug, Clone)]
pub struct Note {
    pub attempt: Attempt,
    pub subject: String,
    /// The id that its call was to have; empty when it made none.
    pub call: String,
    /// What its subject's state was when it ran.
    pub before: Option<Attempt>,
}

/// An effect that came out, with the id under which it came.
#[derive(Debug, Clone)]
pub struct Out {
    pub id: String,
    pub attempt: Attempt,
    pub subject: String,
    /// When it came to a topic, in microseconds.
    pub time: u64,
}

/// Everything.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Of the errands' own deliveries: their status and attempts.
    pub deliveries: BTreeMap<String, (String, u32)>,
    pub audited: Times,
    /// Rows of `audit.failed`.
    pub reported: Times,
    pub notes: Vec<Note>,
    pub counts: BTreeMap<String, usize>,
    pub fired: Times,
    pub called: Times,
    /// Calls that were given up.
    pub failed: Times,
    /// Effects that are dead, as `run-000006 state`.
    pub refused: Times,
    /// What was published, in order of coming: of each Dapr.
    pub published: Vec<Vec<Out>>,
    pub calls: Vec<Out>,
    /// What the state stores hold, by subject: of each Dapr.
    pub kept: Vec<BTreeMap<String, Attempt>>,
    pub letters: Times,
    /// What is parked, or waits in the outbox.
    pub left: Vec<String>,
}

impl Seen {
    /// `daprs` are the data folders of the hosts.
    pub async fn of(ledger: &Database, daprs: &[PathBuf]) -> Self {
        let count = |rows: Vec<Vec<String>>| -> Times {
            rows.into_iter().map(|row| (row[0].clone(), number(&row[1]))).collect()
        };
        let deliveries = ledger.rows(DELIVERIES).await.into_iter();
        let notes = ledger.rows(NOTES).await.into_iter();
        let mut seen = Self {
            deliveries: deliveries
                .map(|row| (row[0].clone(), (row[1].clone(), number(&row[2]))))
                .collect(),
            audited: count(ledger.rows(AUDITED).await),
            reported: count(ledger.rows(REPORTED).await),
            notes: notes
                .map(|row| Note {
                    attempt: (row[0].clone(), number(&row[4])),
                    subject: row[1].clone(),
                    call: row[2].clone(),
                    before: serde_json::from_str(&row[3]).ok().map(|data| attempt(&data)),
                })
                .collect(),
            counts: count(ledger.rows(COUNTS).await),
            fired: count(ledger.rows(FIRED).await),
            called: count(ledger.rows(CALLED).await),
            failed: count(ledger.rows(FAILED).await),
            refused: count(ledger.rows(REFUSED).await),
            published: Vec::new(),
            calls: Vec::new(),
            kept: Vec::new(),
            letters: Times::new(),
            left: ledger.rows(LEFT).await.into_iter().map(|row| row[0].clone()).collect(),
        };
        for data in daprs {
            seen.add_dapr(data).await;
        }
        seen
    }

    async fn add_dapr(&mut self, data: &Path) {
        let dapr = Database::Sqlite(data.join("dapr.db"));
        let (mut published, mut kept) = (Vec::new(), BTreeMap::new());
        for row in dapr.rows(MESSAGES).await {
            let event: Value = serde_json::from_str(&row[1]).unwrap();
            let id = event["id"].as_str().unwrap().to_owned();
            if row[0] == DONE {
                let subject = event["subject"].as_str().unwrap().to_owned();
                published.push(Out {
                    id,
                    attempt: attempt(&event["data"]),
                    subject,
                    time: number(&row[2]),
                });
            } else {
                assert_eq!(row[0], format!("{TOPIC}-dlq"));
                *self.letters.entry(id).or_default() += 1;
            }
        }
        for row in dapr.rows(STATE).await {
            let subject = row[0].rsplit('/').next().unwrap().to_owned();
            let value = STANDARD.decode(row[1].trim_matches('"')).unwrap();
            kept.insert(subject, attempt(&serde_json::from_slice(&value).unwrap()));
        }
        self.published.push(published);
        self.kept.push(kept);
        let lines = fs::read_to_string(data.join("notifications.jsonl")).unwrap_or_default();
        // A process that is killed may leave half a line, which the next one is put behind.
        let lines = lines.lines().filter_map(|line| line.rfind("{\"time\":").map(|at| &line[at..]));
        for line in lines.filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let id = line["idempotency-key"].as_str().unwrap().to_owned();
            let attempt = attempt(&line["data"]);
            self.calls.push(Out { id, attempt, subject: String::new(), time: 0 });
        }
    }
}

const DELIVERIES: &str = "SELECT event_id, status, CAST(attempts AS TEXT) FROM wharf_deliveries \
    WHERE component = 'errands' AND event_type = 'com.errands.run.v1'";
const AUDITED: &str = "SELECT event_id, CAST(count(*) AS TEXT) FROM audit_log \
    WHERE type = 'com.errands.run.v1' GROUP BY event_id";
const REPORTED: &str = "SELECT event_id, CAST(count(*) AS TEXT) FROM audit_log \
    WHERE type = 'com.todo.audit.failed.v1' GROUP BY event_id";
const NOTES: &str = "SELECT event_id, subject, effect, state, CAST(attempt AS TEXT) \
    FROM errands ORDER BY turn";
const COUNTS: &str = "SELECT subject, CAST(n AS TEXT) FROM errand_counts";
const FIRED: &str = "SELECT what, CAST(count(*) AS TEXT) FROM errand_news \
    WHERE kind = 'fired' GROUP BY what";
const CALLED: &str = "SELECT what, CAST(count(*) AS TEXT) FROM errand_news \
    WHERE kind = 'called' GROUP BY what";
const FAILED: &str = "SELECT what, CAST(count(*) AS TEXT) FROM errand_news \
    WHERE kind = 'failed' GROUP BY what";
const REFUSED: &str = "SELECT delivery.event_id || ' ' || effect.kind, CAST(count(*) AS TEXT) \
    FROM wharf_outbox effect JOIN wharf_deliveries delivery \
    ON delivery.component = effect.component AND delivery.key = effect.key \
    WHERE effect.status = 'dead' GROUP BY delivery.event_id, effect.kind";
const LEFT: &str = "SELECT component || ' ' || event_id || ' is parked: ' || coalesce(error, '') \
        FROM wharf_deliveries WHERE status = 'parked' \
    UNION ALL \
    SELECT component || ' ' || kind || ' is ' || status || ': ' || coalesce(error, '') \
        FROM wharf_outbox WHERE status = 'waiting'";
const MESSAGES: &str = "SELECT topic.topic, CAST(message.body AS TEXT), \
    CAST(message.time AS TEXT) FROM messages message \
    JOIN topics topic ON topic.id = message.topic \
    WHERE topic.topic IN ('errands-done', 'errands-dlq') ORDER BY message.sequence";
const STATE: &str = "SELECT key, value FROM state WHERE store = 'todo-statestore'";

impl Database {
    /// The rows of a query whose columns are all text.
    pub async fn rows(&self, sql: &'static str) -> Vec<Vec<String>> {
        match self {
            Self::Sqlite(file) => {
                let file = SqliteConnectOptions::new().filename(file).read_only(true);
                let mut connection = SqliteConnection::connect_with(&file).await.unwrap();
                let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                let texts = |row: &SqliteRow| (0..row.len()).map(|at| row.get(at)).collect();
                rows.iter().map(texts).collect()
            }
            Self::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                let texts = |row: &PgRow| (0..row.len()).map(|at| row.get(at)).collect();
                rows.iter().map(texts).collect()
            }
        }
    }
}

fn attempt(data: &Value) -> Attempt {
    let attempt = data["attempt"].as_u64().unwrap();
    (data["errand"].as_str().unwrap().to_owned(), u32::try_from(attempt).unwrap())
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().unwrap_or_else(|| panic!("{text} is no number"))
}
