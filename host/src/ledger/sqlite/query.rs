//! A component's reads.

use futures::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Executor as _, SqlSafeStr as _};

use super::readers::{Borrowed, Readers};
use super::{Fault, value};
use crate::effect::{SqlRow, SqlValue};
use crate::ledger::error::{LedgerError, SqlError};

/// The most bytes that one query may give: its rows' values and the names of their columns.
const MOST_BYTES: usize = 4 << 20;

/// On a connection that cannot write, and no longer than the readers' timeout.
pub async fn query(
    mut reader: Borrowed<'_>,
    sql: &str,
    params: &[SqlValue],
    max_rows: usize,
) -> Result<Vec<SqlRow>, SqlError> {
    match fetch(&mut reader, sql, params, max_rows).await {
        Ok(rows) => {
            reader.give_back();
            Ok(rows)
        }
        Err(_) if reader.deadline_passed() => Err(SqlError::Deadline(reader.timeout())),
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
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(row) = stream.try_next().await? {
        if rows.len() == max_rows {
            return Err(SqlError::TooManyRows(max_rows));
        }
        let row = value::read(&row)?;
        bytes += size(&row);
        if bytes > MOST_BYTES {
            let message = format!(
                "the query gives more than {} MiB; add a LIMIT, or select less",
                MOST_BYTES >> 20
            );
            return Err(SqlError::Statement(message));
        }
        rows.push(row);
    }
    Ok(rows)
}

fn size(row: &SqlRow) -> usize {
    row.iter().map(|(name, value)| size_of_val(value) + name.len() + length(value)).sum()
}

/// Of what a value holds beside itself.
fn length(value: &SqlValue) -> usize {
    match value {
        SqlValue::Null | SqlValue::Bool(_) | SqlValue::Integer(_) | SqlValue::Float(_) => 0,
        SqlValue::Text(text) | SqlValue::Json(text) | SqlValue::Timestamp(text) => text.len(),
        SqlValue::Bytes(bytes) => bytes.len(),
    }
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

#[cfg(test)]
mod tests {
    use sqlx::{ConnectOptions as _, Connection as _};
    use tempfile::TempDir;

    use super::*;
    use crate::ledger::LedgerOptions;

    #[tokio::test]
    async fn a_result_is_bounded_in_bytes_over_all_its_rows() {
        let folder = TempDir::new().unwrap();
        let options = LedgerOptions::at(folder.path().join("ledger.db"));
        super::super::writing(&options)
            .create_if_missing(true)
            .connect()
            .await
            .unwrap()
            .close()
            .await
            .unwrap();
        let readers = Readers::new(&options);
        let rows = async |count: u32, each: u32| {
            let sql = format!(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
                 SELECT zeroblob({each}) AS z FROM n"
            );
            query(readers.get().await.unwrap(), &sql, &[], 100_000).await.map(|rows| rows.len())
        };
        assert_eq!(rows(1, 4_000_000).await, Ok(1));
        assert_eq!(rows(1000, 4000).await, Ok(1000));
        for (count, each) in [(1, 5_000_000), (1000, 5000), (100_000, 50)] {
            let error = rows(count, each).await.unwrap_err().to_string();
            assert!(error.contains("more than 4 MiB"), "{count} {each}: {error}");
        }
    }
}
