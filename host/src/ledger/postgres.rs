//! PostgreSQL: how it is opened, how its errors are read, and how values come in and out. Several
//! connections write at the same time, of this host and of others.

mod at_once;
mod numeric;
mod session;
mod value;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgArguments, PgConnection, PgDatabaseError, PgStatement, PgTypeInfo};
use sqlx::{
    Arguments as _, AssertSqlSafe, Connection as _, Either, Executor as _, SqlSafeStr as _,
    Statement as _, TypeInfo as _,
};

use super::database::Arg;
use super::error::LedgerError;
use super::fault::{Fault, too_large};
use super::limit::Left;
use super::rows::without_zero;
use crate::effect::{Execute, Many, SqlRow, SqlValue};

pub use at_once::AtOnce;
pub use session::Options;

/// Beyond the server's own limit: what is silent for longer is taken to be gone.
pub const GRACE: Duration = Duration::from_secs(2);

/// An open connection.
pub struct Open {
    pub connection: PgConnection,
    /// How long one answer may take to come.
    pub patience: Duration,
    /// For a one-row insert, the text for many rows: it names the types that the server inferred.
    many: HashMap<Arc<str>, Arc<str>>,
    /// Until then no group is written at once.
    in_steps_until: Option<Instant>,
}

/// A server that is silent for too long is taken to be gone, as if the connection had broken.
pub async fn in_time<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(patience, answer).await.unwrap_or_else(|_| {
        let text = format!("the database gave no answer for {patience:?}");
        Err(std::io::Error::new(std::io::ErrorKind::TimedOut, text).into())
    })
}

/// By SQLSTATE: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
pub fn fault(error: &PgDatabaseError) -> Fault {
    let message = || match error.detail() {
        Some(detail) => format!("{}: {detail}", error.message()),
        None => error.message().to_owned(),
    };
    match (error.code().get(..2), error.code()) {
        (_, "57014") => Fault::Late(message()),
        (_, "55P03") => Fault::Locked { of: None, error: message() },
        // Serialization failure, deadlock.
        (Some("40"), _) => Fault::Conflict(message()),
        // Unsupported feature, wrong cardinality, data, constraint, a write where only reading is
        // allowed, access rule and syntax, WITH CHECK OPTION, program limit, PL/pgSQL.
        (_, "25006") | (Some("0A" | "21" | "22" | "23" | "42" | "44" | "54" | "P0"), _) => {
            Fault::own(message())
        }
        _ => Fault::Ledger(LedgerError::Unavailable(error.to_string())),
    }
}

/// The same for a component's statement: what is not the server's trouble is its own, whatever a
/// trigger or an extension says.
fn components_fault(error: sqlx::Error) -> Fault {
    let of_postgres = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
        .filter(|error| !is_servers(error.code()));
    match of_postgres.map(fault) {
        Some(Fault::Ledger(error)) => Fault::own(error.to_string()),
        Some(other) => other,
        None => error.into(),
    }
}

/// Connection, resources, shutdown, system, a transaction that ended, a broken table.
fn is_servers(code: &str) -> bool {
    let classes = ["08", "53", "57P", "58", "25P", "XX001", "XX002"];
    classes.iter().any(|class| code.starts_with(class))
}

/// Whether a connection that was idle turns out to be dead: what it was asked was not heard.
pub fn is_gone(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() != std::io::ErrorKind::TimedOut,
        // What a server that ended the session has said before it closed the connection.
        _ => error
            .as_database_error()
            .and_then(DatabaseError::code)
            .is_some_and(|code| ["08", "57P"].iter().any(|class| code.starts_with(class))),
    }
}

/// Whether what was prepared no longer fits the tables; prepared again, it will. The routine says
/// which unsupported feature it is: a message may be in any language.
fn is_stale(error: &sqlx::Error) -> bool {
    let of_postgres = error.as_database_error().and_then(<dyn DatabaseError>::try_downcast_ref);
    of_postgres.is_some_and(|error: &PgDatabaseError| {
        error.code() == "0A000" && error.routine() == Some("RevalidateCachedQuery")
    })
}

/// The parameters of one of the ledger's own statements.
pub fn arguments(args: Vec<Arg<'_>>) -> Result<PgArguments, sqlx::Error> {
    let mut arguments = PgArguments::default();
    for arg in args {
        let added = match arg {
            Arg::Text(text) => arguments.add(text.map(without_zero)),
            Arg::Integer(number) => arguments.add(number),
            Arg::Bytes(bytes) => arguments.add(bytes),
            Arg::Flag(flag) => arguments.add(flag),
            Arg::Rows(rows) => rows.bind(&mut arguments),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

impl Open {
    /// Runs one of a component's statements.
    pub async fn run(
        &mut self,
        sql: &Arc<str>,
        params: &[SqlValue],
        left: Left,
    ) -> Result<u64, Fault> {
        let statement = self.prepare(sql).await?;
        let arguments = value::arguments(types(&statement), params).map_err(Fault::own)?;
        let text = match statement.columns() {
            [] => Arc::clone(sql),
            _returning => counted(sql).into(),
        };
        self.limited(text, arguments, left).await
    }

    /// Runs one insert for all the rows, in one statement.
    pub async fn run_many(&mut self, rows: &[&Execute], left: Left) -> Result<(), Fault> {
        let Some(first) = rows.first() else { return Ok(()) };
        let Some(Many::Unnest { head, tail }) = first.many.as_deref() else {
            for row in rows {
                self.run(&row.sql, &row.params, left).await?;
            }
            return Ok(());
        };
        let statement = self.prepare(&first.sql).await?;
        let types = types(&statement);
        let text = match self.many.get(&first.sql) {
            Some(text) => Arc::clone(text),
            None => {
                let text: Arc<str> = format!("{head}{}{tail}", unnest(types, 1, &[])).into();
                self.many.insert(Arc::clone(&first.sql), Arc::clone(&text));
                text
            }
        };
        let mut columns = PgArguments::default();
        value::columns(&mut columns, types, rows).map_err(Fault::own)?;
        // The text says its types; the arguments only know their elements'.
        self.prepare(&text).await?;
        self.limited(text, columns, left).await.map(drop)
    }

    /// The session's limit is for each statement. One that does not have all of that any more is
    /// given what is left: the two round trips are little beside the time that is spent.
    async fn limited(
        &mut self,
        text: Arc<str>,
        arguments: PgArguments,
        left: Left,
    ) -> Result<u64, Fault> {
        if !left.whole {
            let millis = left.time.as_millis().max(1);
            self.set(format!("SET LOCAL statement_timeout = {millis}")).await?;
        }
        let done = sqlx::query_with(AssertSqlSafe(text), arguments).execute(&mut self.connection);
        let done = in_time(self.patience, done).await.map_err(components_fault)?;
        // The ledger's own statements have all of it. After an error, whatever takes the statement
        // back does that too.
        if !left.whole {
            self.set("SET LOCAL statement_timeout TO DEFAULT".to_owned()).await?;
        }
        Ok(done.rows_affected())
    }

    async fn set(&mut self, sql: String) -> Result<(), sqlx::Error> {
        let set = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection);
        in_time(self.patience, set).await.map(drop)
    }

    /// A component's query.
    pub async fn query(
        &mut self,
        sql: &str,
        params: &[SqlValue],
        most_bytes: usize,
        mut take: impl FnMut(SqlRow) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let sql: Arc<str> = bounded(sql, most_bytes).into();
        let statement = self.prepare(&sql).await?;
        let arguments = value::arguments(types(&statement), params).map_err(Fault::own)?;
        let mut again = Some(arguments.clone());
        let mut now = Some(arguments);
        while let Some(arguments) = now.take() {
            let mut rows = sqlx::query_with(AssertSqlSafe(Arc::clone(&sql)), arguments)
                .fetch(&mut self.connection);
            loop {
                match in_time(self.patience, rows.try_next()).await {
                    Ok(Some(row)) => take(value::read(&row)?)?,
                    Ok(None) => return Ok(()),
                    // The tables changed; no row has come yet.
                    Err(error) if is_stale(&error) && again.is_some() => break,
                    Err(error) if is_too_large(&error) => {
                        return Err(Fault::own(too_large(most_bytes)));
                    }
                    Err(error) => return Err(components_fault(error)),
                }
            }
            drop(rows);
            self.connection.clear_cached_statements().await?;
            now = again.take();
        }
        Ok(())
    }

    /// From the connection's cache, where it is known.
    async fn prepare(&mut self, sql: impl AsRef<str>) -> Result<PgStatement, sqlx::Error> {
        let text = AssertSqlSafe(sql.as_ref()).into_sql_str();
        in_time(self.patience, self.connection.prepare(text)).await
    }
}

/// A query that the server ends before a row with more bytes than that: a row comes whole, and may
/// have a gigabyte. `OFFSET 0` keeps the two apart, so that no row is measured that the query would
/// not give, and none is made twice.
fn bounded(sql: &str, most_bytes: usize) -> String {
    let sql = sql.trim_end().trim_end_matches(';');
    format!(
        "SELECT wharf_row.* FROM (SELECT * FROM (\n{sql}\n) AS wharf_row OFFSET 0) AS wharf_row \
         WHERE CASE WHEN octet_length(record_send(wharf_row.*)) <= {most_bytes} THEN true \
         ELSE CAST(octet_length(record_send(wharf_row.*)) || '{TOO_LARGE}' AS boolean) END"
    )
}

/// What the server says of such a row, since it is no boolean.
const TOO_LARGE: &str = " bytes in one row";

fn is_too_large(error: &sqlx::Error) -> bool {
    let of_postgres = error.as_database_error();
    of_postgres.is_some_and(|error| {
        error.code().as_deref() == Some("22P02") && error.message().contains(TOO_LARGE)
    })
}

/// A statement that gives rows, which nobody reads; only their number is told. Each could be of any
/// size.
fn counted(sql: &str) -> String {
    let sql = sql.trim_end().trim_end_matches(';');
    format!("WITH wharf_written AS (\n{sql}\n) SELECT FROM wharf_written")
}

fn types(statement: &PgStatement) -> &[PgTypeInfo] {
    match statement.parameters() {
        Some(Either::Left(types)) => types,
        Some(Either::Right(_)) | None => &[],
    }
}

/// The rows of an insert for many, from one array for each parameter of its one row, and for each of
/// `more` columns, by name and type. `first` is the number of its first parameter.
fn unnest(types: &[PgTypeInfo], first: usize, more: &[(&str, &str)]) -> String {
    // A CHAR of a cast is one character long; a `bpchar` is as long as it is.
    let name = |ty: &PgTypeInfo| match ty.name() {
        "CHAR" => "bpchar".to_owned(),
        name => name.to_owned(),
    };
    let own = (1..).zip(types).map(|(number, ty)| (format!("p{number}"), name(ty)));
    let more = more.iter().map(|(column, ty)| ((*column).to_owned(), (*ty).to_owned()));
    let (mut arrays, mut columns) = (Vec::new(), Vec::new());
    for (number, (column, ty)) in (first..).zip(own.chain(more)) {
        arrays.push(format!("${number}::{ty}[]"));
        columns.push(column);
    }
    format!("UNNEST({}) AS r ({})", arrays.join(", "), columns.join(", "))
}
