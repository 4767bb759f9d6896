//! A component's reads.

use futures::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Executor as _, SqlSafeStr as _};

use super::readers::{Borrowed, Readers};
use super::{Fault, value};
use crate::effect::{SqlRow, SqlValue};
use crate::ledger::error::{LedgerError, SqlError};

/// On a connection that cannot write, and no longer than the readers' timeout.
pub async fn query(
    readers: &Readers,
    sql: &str,
    params: &[SqlValue],
    max_rows: usize,
) -> Result<Vec<SqlRow>, SqlError> {
    let mut reader = readers.get().await?;
    match fetch(&mut reader, sql, params, max_rows).await {
        Ok(rows) => {
            reader.give_back();
            Ok(rows)
        }
        Err(_) if reader.deadline_passed() => Err(SqlError::Deadline(readers.timeout())),
        Err(error) => Err(error),
    }
}

async fn fetch(
    reader: &mut Borrowed<'_>,
    sql: &str,
    params: &[SqlValue],
    max_rows: usize,
) -> Result<Vec<SqlRow>, SqlError> {
    let query =
        value::bind(sqlx::query(AssertSqlSafe(sql)), params).map_err(SqlError::Statement)?;
    let mut stream = query.fetch(&mut **reader);
    let mut rows = Vec::new();
    while let Some(row) = stream.try_next().await? {
        if rows.len() == max_rows {
            return Err(SqlError::TooManyRows(max_rows));
        }
        rows.push(value::read(&row)?);
    }
    Ok(rows)
}

/// Whether the statement fits the tables as they are; it may be one that writes.
pub async fn prepare(readers: &Readers, sql: &str) -> Result<(), SqlError> {
    let mut reader = readers.get().await?;
    reader.prepare(AssertSqlSafe(sql).into_sql_str()).await?;
    reader.give_back();
    Ok(())
}

impl From<sqlx::Error> for SqlError {
    fn from(error: sqlx::Error) -> Self {
        match Fault::from(error) {
            // What the column holds is no value of its type: the component's table, not ours.
            Fault::Ledger(LedgerError::Unreadable(error)) => Self::Statement(error),
            Fault::Ledger(error) => Self::Ledger(error),
            Fault::Own { error, .. } => Self::Statement(error),
        }
    }
}
