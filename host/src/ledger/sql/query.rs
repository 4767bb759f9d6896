//! A component's reads.

use super::readers::{Borrowed, Readers};
use crate::effect::{SqlRow, SqlValue};
use crate::ledger::error::{LedgerError, SqlError};
use crate::ledger::fault::{Fault, too_large};

/// The most bytes that one query may give: its rows' values and the names of their columns.
const MOST_BYTES: usize = 4 << 20;

/// On a connection that cannot write, and no longer than the readers' timeout.
pub async fn query(
    mut reader: Borrowed<'_>,
    sql: &str,
    params: &[SqlValue],
    max_rows: usize,
) -> Result<Vec<SqlRow>, SqlError> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    let mut many = None;
    let take = |row: SqlRow| {
        bytes += size(&row);
        if rows.len() == max_rows {
            many = Some(SqlError::TooManyRows(max_rows));
        } else if bytes > MOST_BYTES {
            many = Some(SqlError::Statement(too_large(MOST_BYTES)));
        } else {
            rows.push(row);
            return Ok(());
        }
        Err(Fault::own("too much"))
    };
    let ended = reader.query(sql, params, MOST_BYTES, take).await;
    match (ended, many) {
        (_, Some(many)) => Err(many),
        (Ok(()), None) => {
            reader.give_back();
            Ok(rows)
        }
        (Err(Fault::Late(_)), None) => Err(SqlError::Deadline(reader.timeout())),
        (Err(fault @ Fault::Own { .. }), None) => {
            // The database ended it itself: the connection is as before.
            reader.give_back();
            Err(fault.into())
        }
        (Err(fault), None) => Err(fault.into()),
    }
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
    reader.prepare(sql).await.map_err(Fault::from)?;
    reader.give_back();
    Ok(())
}

impl From<Fault> for SqlError {
    fn from(fault: Fault) -> Self {
        match fault {
            // What the column holds is no value of its type: the component's table, not ours.
            Fault::Ledger(LedgerError::Unreadable(error)) => Self::Statement(error),
            Fault::Ledger(error) => Self::Ledger(error),
            Fault::Own { error, .. } => Self::Statement(error),
            other @ (Fault::Conflict(_) | Fault::Late(_) | Fault::Locked { .. }) => {
                Self::Ledger(other.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;
    use crate::ledger::LedgerOptions;
    use crate::ledger::database::Connect;
    use crate::ledger::sqlite::Options;

    #[tokio::test]
    async fn a_result_is_bounded_in_bytes_over_all_its_rows() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("ledger.db");
        let options = LedgerOptions::at(&path);
        Options::writing(&options, &path).open().await.unwrap();
        let reading = Connect::Sqlite(Box::new(Options::reading(&options, &path)));
        let readers = Readers::new(reading, 4, Duration::from_secs(20));
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
