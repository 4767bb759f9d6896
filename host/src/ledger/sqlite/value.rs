//! How a component's values are bound and read back.

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, Column as _, Row as _, TypeInfo as _, ValueRef as _};

use crate::clock::Timestamp;
use crate::effect::{SqlRow, SqlValue};

/// In the statement's order. Fails when a timestamp is none.
pub fn arguments<'a>(
    params: impl IntoIterator<Item = &'a SqlValue>,
) -> Result<SqliteArguments, String> {
    let mut arguments = SqliteArguments::default();
    for param in params {
        let added = match param {
            SqlValue::Null => arguments.add(None::<i64>),
            SqlValue::Bool(value) => arguments.add(*value),
            SqlValue::Integer(value) => arguments.add(*value),
            SqlValue::Float(value) => arguments.add(*value),
            SqlValue::Text(text) | SqlValue::Json(text) => arguments.add(text.as_str()),
            SqlValue::Bytes(bytes) => arguments.add(bytes.as_slice()),
            SqlValue::Timestamp(text) => arguments.add(utc(text)?),
        };
        added.map_err(|error| error.to_string())?;
    }
    Ok(arguments)
}

/// UTC with microseconds, so that text order is time order.
pub fn utc(text: &str) -> Result<String, String> {
    let time = chrono::DateTime::parse_from_rfc3339(text)
        .map_err(|error| format!("`{text}` is not an RFC 3339 timestamp: {error}"))?;
    let utc: Timestamp = time.to_utc();
    Ok(utc.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
}

/// By what is stored; a column declared BOOLEAN makes its integers bools.
pub fn read(row: &SqliteRow) -> Result<SqlRow, sqlx::Error> {
    row.columns()
        .iter()
        .map(|column| {
            let (at, declared) = (column.ordinal(), column.type_info().name());
            let raw = row.try_get_raw(at)?;
            let stored = raw.type_info().name().to_owned();
            let value = match stored.as_str() {
                "NULL" => SqlValue::Null,
                "INTEGER" if declared == "BOOLEAN" => SqlValue::Bool(row.try_get_unchecked(at)?),
                "INTEGER" => SqlValue::Integer(row.try_get_unchecked(at)?),
                "REAL" => SqlValue::Float(row.try_get_unchecked(at)?),
                "BLOB" => SqlValue::Bytes(row.try_get_unchecked(at)?),
                _ => SqlValue::Text(row.try_get_unchecked(at)?),
            };
            let value = if raw.is_null() { SqlValue::Null } else { value };
            Ok((column.name().to_owned(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_become_utc_text_with_microseconds() {
        assert_eq!(utc("2026-03-01T12:00:00+02:00").as_deref(), Ok("2026-03-01T10:00:00.000000Z"));
        assert!(utc("yesterday").is_err());
    }
}
