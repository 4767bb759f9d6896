//! The seam between the ledger's SQL and the two databases. The SQL is written once; where the two
//! differ, a text has a mark in braces, and what it stands for is said in [`render`].

use sqlx::postgres::{PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{AssertSqlSafe, Decode, Executor as _, Row as _, SqlSafeStr as _, Type};

use super::limit::Limit;
use super::postgres;
use super::rows::Rows;
use super::sqlite;
use crate::effect::{Execute, SqlRow, SqlValue};
use crate::manifest::Database;

use super::fault::Fault;

/// Where each statement's text is told, before it runs.
pub const STATEMENTS: &str = "wharf::ledger::statements";

/// A connection to either database.
pub enum Connection {
    Sqlite(Box<sqlite::Open>),
    Postgres(Box<postgres::Open>),
}

/// What it takes to open one.
#[derive(Clone)]
pub enum Connect {
    Sqlite(Box<sqlite::Options>),
    Postgres(Box<postgres::Options>),
}

impl Connect {
    pub fn database(&self) -> Database {
        match self {
            Self::Sqlite(_) => Database::Sqlite,
            Self::Postgres(_) => Database::Postgres,
        }
    }

    pub async fn connect(&self) -> Result<Connection, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(options) => Connection::Sqlite(Box::new(options.open().await?)),
            Self::Postgres(options) => Connection::Postgres(Box::new(options.open().await?)),
        })
    }
}

/// A parameter of one of the ledger's own statements.
pub enum Arg<'a> {
    Text(Option<&'a str>),
    Integer(Option<i64>),
    Bytes(Option<&'a [u8]>),
    Flag(bool),
    /// Stands where the text says `{rows}`. Only one, and the last.
    Rows(Rows<'a>),
}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<&'a String> for Arg<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<Option<&'a str>> for Arg<'a> {
    fn from(text: Option<&'a str>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Arg<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(Some(number))
    }
}

impl From<u32> for Arg<'_> {
    fn from(number: u32) -> Self {
        Self::Integer(Some(number.into()))
    }
}

impl From<Option<i64>> for Arg<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::Integer(number)
    }
}

impl<'a> From<&'a [u8]> for Arg<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(Some(bytes))
    }
}

impl<'a> From<Option<&'a [u8]>> for Arg<'a> {
    fn from(bytes: Option<&'a [u8]>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<bool> for Arg<'_> {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl<'a> From<Rows<'a>> for Arg<'a> {
    fn from(rows: Rows<'a>) -> Self {
        Self::Rows(rows)
    }
}

/// The parameters of a statement, in the order of `$1`, `$2` and so on.
macro_rules! args {
    ($($arg:expr),* $(,)?) => { vec![$($crate::ledger::database::Arg::from($arg)),*] };
}
pub(super) use args;

impl Connection {
    pub fn database(&self) -> Database {
        match self {
            Self::Sqlite(_) => Database::Sqlite,
            Self::Postgres(_) => Database::Postgres,
        }
    }

    /// Tells the text at `trace`, without a value; the test of the plans listens.
    fn text(&self, sql: &str, args: &[Arg<'_>]) -> String {
        let rows = match args.last() {
            Some(Arg::Rows(rows)) => Some((rows, args.len())),
            _ => None,
        };
        let text = render(sql, self.database(), rows);
        tracing::trace!(target: STATEMENTS, text, types = types(args));
        text
    }

    /// Whether the database answers.
    pub async fn ping(&mut self) -> Result<(), sqlx::Error> {
        use sqlx::Connection as _;
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(open) => {
                postgres::in_time(postgres::GRACE, open.connection.ping()).await
            }
        }
    }

    /// Begins to write. SQLite has one writer, which this becomes.
    pub async fn begin(&mut self) -> Result<(), sqlx::Error> {
        let sql = match self {
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres(_) => "BEGIN",
        };
        self.execute(sql, args![]).await.map(drop)
    }

    /// Runs one of the ledger's own statements; gives the number of rows that it touched.
    pub async fn execute(&mut self, sql: &str, args: Vec<Arg<'_>>) -> Result<u64, sqlx::Error> {
        let text = AssertSqlSafe(self.text(sql, &args));
        match self {
            Self::Sqlite(open) => {
                let query = sqlx::query_with(text, sqlite::arguments(args)?);
                Ok(query.execute(&mut open.connection).await?.rows_affected())
            }
            Self::Postgres(open) => {
                let query = sqlx::query_with(text, postgres::arguments(args)?);
                let done = query.execute(&mut open.connection);
                Ok(postgres::in_time(open.patience, done).await?.rows_affected())
            }
        }
    }

    pub async fn fetch_all(
        &mut self,
        sql: &str,
        args: Vec<Arg<'_>>,
    ) -> Result<Vec<Row>, sqlx::Error> {
        let text = AssertSqlSafe(self.text(sql, &args));
        Ok(match self {
            Self::Sqlite(open) => {
                let query = sqlx::query_with(text, sqlite::arguments(args)?);
                let rows = query.fetch_all(&mut open.connection).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(open) => {
                let query = sqlx::query_with(text, postgres::arguments(args)?);
                let rows = query.fetch_all(&mut open.connection);
                let rows = postgres::in_time(open.patience, rows).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    pub async fn fetch_optional(
        &mut self,
        sql: &str,
        args: Vec<Arg<'_>>,
    ) -> Result<Option<Row>, sqlx::Error> {
        Ok(self.fetch_all(sql, args).await?.into_iter().next())
    }

    /// Runs texts that come from elsewhere, one after the other, as they stand.
    pub async fn script(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let script = sqlx::raw_sql(AssertSqlSafe(sql));
        match self {
            Self::Sqlite(open) => script.execute(&mut open.connection).await.map(drop),
            // No patience: a migration takes as long as it takes.
            Self::Postgres(open) => script.execute(&mut open.connection).await.map(drop),
        }
    }

    /// Whether a component's statement fits the tables as they are.
    pub async fn prepare(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let text = AssertSqlSafe(sql).into_sql_str();
        match self {
            Self::Sqlite(open) => open.connection.prepare(text).await.map(drop),
            Self::Postgres(open) => {
                let prepared = open.connection.prepare(text);
                postgres::in_time(open.patience, prepared).await.map(drop)
            }
        }
    }

    /// Forgets what it prepared for the tables as they were.
    pub async fn forget_statements(&mut self) -> Result<(), sqlx::Error> {
        use sqlx::Connection as _;
        match self {
            Self::Sqlite(open) => open.connection.clear_cached_statements().await,
            Self::Postgres(open) => open.connection.clear_cached_statements().await,
        }
    }

    /// Runs one of a component's statements; gives the number of rows that it touched.
    pub async fn run(&mut self, execute: &Execute, limit: &Limit) -> Result<u64, Fault> {
        let left = limit.left()?;
        let Execute { sql, params, .. } = execute;
        let touched = match self {
            Self::Sqlite(open) => {
                open.deadline.set(left.time);
                let touched = sqlite::run(&mut open.connection, sql, params).await;
                open.deadline.clear();
                touched
            }
            Self::Postgres(open) => open.run(sql, params, left).await,
        };
        touched.map_err(|fault| left.blame(fault, execute))
    }

    /// Runs the same insert for several deliveries at once.
    pub async fn run_many(&mut self, rows: &[&Execute], limit: &Limit) -> Result<(), Fault> {
        let Some(first) = rows.first() else { return Ok(()) };
        let left = limit.left()?;
        let done = match self {
            Self::Sqlite(open) => {
                open.deadline.set(left.time);
                let done = sqlite::run_many(&mut open.connection, rows).await;
                open.deadline.clear();
                done
            }
            Self::Postgres(open) => open.run_many(rows, left).await,
        };
        done.map_err(|fault| left.blame(fault, first))
    }

    /// A component's query; `take` is given one row after the other, and ends it with an error. A
    /// row of more than `most_bytes` does not come.
    pub async fn query(
        &mut self,
        sql: &str,
        params: &[SqlValue],
        most_bytes: usize,
        take: impl FnMut(SqlRow) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        match self {
            Self::Sqlite(open) => sqlite::query(&mut open.connection, sql, params, take).await,
            Self::Postgres(open) => open.query(sql, params, most_bytes, take).await,
        }
    }
}

/// A row of either database.
pub enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// A column's value. Fails when it is of another type.
    pub fn get<'r, T>(&'r self, column: &str) -> Result<T, sqlx::Error>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
    {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}

/// As PostgreSQL calls them; of rows, the text says them.
fn types(args: &[Arg<'_>]) -> String {
    let types = args.iter().filter_map(|arg| match arg {
        Arg::Text(_) => Some("text"),
        Arg::Integer(_) => Some("int8"),
        Arg::Bytes(_) => Some("bytea"),
        Arg::Flag(_) => Some("bool"),
        Arg::Rows(_) => None,
    });
    types.collect::<Vec<_>>().join(", ")
}

/// The text for one database.
///
/// | mark | SQLite | PostgreSQL |
/// | --- | --- | --- |
/// | `$1` | `?1` | `$1` |
/// | `{rows}` | the rows, from one JSON array | the rows, from an array for each column |
/// | `{index NAME}` | `INDEXED BY NAME`: it would pick another, or fails | nothing |
/// | `{among}` … `{end}` | `IN (…)` | `= ANY (ARRAY (…))`, which runs what is within once |
/// | `{lock}` | nothing: there is one writer | `FOR UPDATE` |
/// | `{skip}` | nothing | `FOR UPDATE SKIP LOCKED` |
/// | `{share}` | nothing | `FOR SHARE SKIP LOCKED` |
/// | `{hex COLUMN}` | `lower(hex(COLUMN))` | `encode(COLUMN, 'hex')` |
/// | `{unhex TEXT}` | `unhex(TEXT)` | `decode(TEXT, 'hex')` |
/// | `{blob}` | `zeroblob(65536)` | as many bytes |
///
/// The rows come with the number of their first parameter.
pub fn render(sql: &str, database: Database, rows: Option<(&Rows<'_>, usize)>) -> String {
    let sqlite = database == Database::Sqlite;
    let mut text = String::with_capacity(sql.len() + 256);
    let mut rest = sql;
    while let Some(at) = rest.find(['$', '{']) {
        let (before, mark) = rest.split_at(at);
        text.push_str(before);
        if let Some(after) = mark.strip_prefix('$') {
            text.push(if sqlite { '?' } else { '$' });
            rest = after;
            continue;
        }
        let (mark, after) = mark.split_once('}').unwrap_or((mark, ""));
        rest = after;
        match (mark.trim_start_matches('{'), sqlite) {
            ("rows", _) => {
                if let Some((rows, first)) = rows {
                    rows.source(&mut text, database, first);
                }
            }
            ("among", true) => text.push_str("IN ("),
            ("among", false) => text.push_str("= ANY (ARRAY ("),
            ("end", true) => text.push(')'),
            ("end", false) => text.push_str("))"),
            ("lock", false) => text.push_str("FOR UPDATE"),
            ("skip", false) => text.push_str("FOR UPDATE SKIP LOCKED"),
            ("share", false) => text.push_str("FOR SHARE SKIP LOCKED"),
            ("blob", true) => text.push_str("zeroblob(65536)"),
            ("blob", false) => text.push_str("decode(repeat('00', 65536), 'hex')"),
            (mark, _) => text.push_str(&named(mark, database)),
        }
    }
    text.push_str(rest);
    text
}

/// A mark that says of what.
fn named(mark: &str, database: Database) -> String {
    let (mark, of) = mark.split_once(' ').unwrap_or((mark, ""));
    match (mark, database) {
        ("index", Database::Sqlite) => format!("INDEXED BY {of}"),
        ("hex", Database::Sqlite) => format!("lower(hex({of}))"),
        ("hex", Database::Postgres) => format!("encode({of}, 'hex')"),
        ("unhex", Database::Sqlite) => format!("unhex({})", of.replace('$', "?")),
        ("unhex", Database::Postgres) => format!("decode({of}, 'hex')"),
        (_, Database::Sqlite | Database::Postgres) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_written_for_both() {
        let sql = "DELETE FROM t {index t_due} WHERE n {among}SELECT n FROM t WHERE a = {unhex $1} {skip}{end}";
        assert_eq!(
            render(sql, Database::Sqlite, None),
            "DELETE FROM t INDEXED BY t_due WHERE n IN (SELECT n FROM t WHERE a = unhex(?1) )"
        );
        assert_eq!(
            render(sql, Database::Postgres, None),
            "DELETE FROM t  WHERE n = ANY (ARRAY (SELECT n FROM t WHERE a = decode($1, 'hex') FOR UPDATE SKIP LOCKED))"
        );
    }
}
