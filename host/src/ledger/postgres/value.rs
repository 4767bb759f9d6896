//! A component's values on their way to PostgreSQL and back, in its binary format. A parameter is
//! written as the type that the server infers for it, so that a text fits a `timestamptz`, a `uuid`
//! or a `jsonb`, and an integer any number.

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgRow, PgTypeInfo, PgValueRef, Postgres};
use sqlx::{Arguments as _, Column as _, Encode, Row as _, Type, TypeInfo as _, ValueRef as _};

use super::numeric;
use crate::clock::Timestamp;
use crate::effect::{Execute, SqlRow, SqlValue};

/// Microseconds from 1970 to 2000, where PostgreSQL counts from.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A value or a column in its binary form, beside its type.
struct Raw {
    ty: PgTypeInfo,
    bytes: Option<Vec<u8>>,
}

impl Type<Postgres> for Raw {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("unknown")
    }
}

impl Encode<'_, Postgres> for Raw {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let Some(bytes) = &self.bytes else { return Ok(IsNull::Yes) };
        buffer.extend_from_slice(bytes);
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(self.ty.clone())
    }
}

/// The parameters of one row. Fails when one does not fit its type.
pub fn arguments(types: &[PgTypeInfo], params: &[SqlValue]) -> Result<PgArguments, String> {
    let mut arguments = PgArguments::default();
    for ((number, ty), param) in (1..).zip(types).zip(params) {
        let bytes = encode(ty, param).map_err(|error| format!("${number}: {error}"))?;
        let raw = Raw { ty: ty.clone(), bytes };
        arguments.add(raw).map_err(|error| error.to_string())?;
    }
    Ok(arguments)
}

/// The parameters of several rows, an array for each.
pub fn columns(
    arguments: &mut PgArguments,
    types: &[PgTypeInfo],
    rows: &[&Execute],
) -> Result<(), String> {
    for (at, ty) in types.iter().enumerate() {
        let number = at + 1;
        let oid = ty.oid().ok_or_else(|| format!("${number}: its type has no number"))?;
        let values = rows
            .iter()
            .map(|row| encode(ty, row.params.get(at).unwrap_or(&SqlValue::Null)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("${number}: {error}"))?;
        let raw = Raw { ty: ty.clone(), bytes: Some(array(oid.0, &values)) };
        arguments.add(raw).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// One dimension, counted from 1.
fn array(element: u32, values: &[Option<Vec<u8>>]) -> Vec<u8> {
    let nulls = values.iter().any(Option::is_none);
    let length = |length: usize| i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes();
    let mut bytes = Vec::with_capacity(20 + values.len() * 24);
    bytes.extend(1_i32.to_be_bytes());
    bytes.extend(i32::from(nulls).to_be_bytes());
    bytes.extend(element.to_be_bytes());
    bytes.extend(length(values.len()));
    bytes.extend(1_i32.to_be_bytes());
    for value in values {
        match value {
            Some(value) => {
                bytes.extend(length(value.len()));
                bytes.extend(value);
            }
            None => bytes.extend((-1_i32).to_be_bytes()),
        }
    }
    bytes
}

fn encode(ty: &PgTypeInfo, value: &SqlValue) -> Result<Option<Vec<u8>>, String> {
    let bytes = match (ty.name(), value) {
        (_, SqlValue::Null) => return Ok(None),
        ("BOOL", SqlValue::Bool(value)) => vec![u8::from(*value)],
        ("INT2", SqlValue::Integer(value)) => fitted::<i16>(*value)?.to_be_bytes().to_vec(),
        ("INT4", SqlValue::Integer(value)) => fitted::<i32>(*value)?.to_be_bytes().to_vec(),
        ("INT8", SqlValue::Integer(value)) => value.to_be_bytes().to_vec(),
        ("FLOAT4", SqlValue::Float(value)) => narrowed(*value)?.to_be_bytes().to_vec(),
        ("FLOAT8", SqlValue::Float(value)) => value.to_be_bytes().to_vec(),
        ("FLOAT4", SqlValue::Integer(value)) => narrowed(widened(*value))?.to_be_bytes().to_vec(),
        ("FLOAT8", SqlValue::Integer(value)) => widened(*value).to_be_bytes().to_vec(),
        ("NUMERIC", SqlValue::Integer(value)) => numeric::encode(&value.to_string())?,
        // All its digits, and no exponent.
        ("NUMERIC", SqlValue::Float(value)) => numeric::encode(&value.to_string())?,
        ("NUMERIC", SqlValue::Text(text)) => numeric::encode(text)?,
        ("BYTEA", SqlValue::Bytes(bytes)) => bytes.clone(),
        // As in SQLite. Of a float the two would write different texts.
        (name, SqlValue::Integer(value)) if is_text(name) => value.to_string().into_bytes(),
        (name, SqlValue::Text(text) | SqlValue::Json(text)) if is_text(name) => plain(text)?,
        (name, SqlValue::Timestamp(text)) if is_text(name) => {
            super::super::sqlite::utc(text)?.into_bytes()
        }
        ("JSON", SqlValue::Json(text) | SqlValue::Text(text)) => plain(text)?,
        ("JSONB", SqlValue::Json(text) | SqlValue::Text(text)) => {
            // The version of the format.
            [&[1], plain(text)?.as_slice()].concat()
        }
        ("TIMESTAMPTZ", SqlValue::Timestamp(text) | SqlValue::Text(text)) => {
            let time = DateTime::parse_from_rfc3339(text)
                .map_err(|error| format!("`{text}` is not an RFC 3339 timestamp: {error}"))?;
            (time.timestamp_micros() - EPOCH_MICROS).to_be_bytes().to_vec()
        }
        ("TIMESTAMP", SqlValue::Text(text)) => {
            let time = text.parse::<NaiveDateTime>();
            let time = time.map_err(|error| format!("`{text}` is not a date and time: {error}"))?;
            (time.and_utc().timestamp_micros() - EPOCH_MICROS).to_be_bytes().to_vec()
        }
        ("DATE", SqlValue::Text(text)) => {
            let date = text.parse::<NaiveDate>();
            let date = date.map_err(|error| format!("`{text}` is not a date: {error}"))?;
            days(date).to_be_bytes().to_vec()
        }
        ("UUID", SqlValue::Text(text)) => {
            let id = text.parse::<uuid::Uuid>();
            id.map_err(|error| format!("`{text}` is not a UUID: {error}"))?.as_bytes().to_vec()
        }
        (name, value) => {
            return Err(format!(
                "{} does not go into a {name}; cast it in the statement, such as \
                 CAST(CAST($1 AS {}) AS {name})",
                kind(value),
                own_type(value)
            ));
        }
    };
    Ok(Some(bytes))
}

fn is_text(name: &str) -> bool {
    // The last is an extension's, in whatever schema that is.
    let plain = ["TEXT", "VARCHAR", "CHAR", "NAME", "UNKNOWN"].contains(&name);
    plain || name.rsplit('.').next().is_some_and(|name| name.eq_ignore_ascii_case("citext"))
}

/// PostgreSQL's texts hold no zero byte.
fn plain(text: &str) -> Result<Vec<u8>, String> {
    if text.contains('\0') {
        return Err("a text with a zero byte cannot be kept; send it as bytes".to_owned());
    }
    Ok(text.as_bytes().to_vec())
}

fn fitted<T: TryFrom<i64>>(value: i64) -> Result<T, String> {
    T::try_from(value).map_err(|_| out_of_range(value))
}

fn out_of_range(value: impl std::fmt::Display) -> String {
    format!("{value} is out of the column's range")
}

#[expect(clippy::cast_possible_truncation, reason = "the column has no more digits")]
fn narrowed(value: f64) -> Result<f32, String> {
    let narrow = value as f32;
    if narrow.is_finite() { Ok(narrow) } else { Err(out_of_range(value)) }
}

#[expect(clippy::cast_precision_loss, reason = "the column has no more digits")]
fn widened(value: i64) -> f64 {
    value as f64
}

/// From 2000-01-01.
fn days(date: NaiveDate) -> i32 {
    let start = NaiveDate::from_ymd_opt(2000, 1, 1).unwrap_or_default();
    i32::try_from(date.signed_duration_since(start).num_days()).unwrap_or(i32::MAX)
}

fn kind(value: &SqlValue) -> &'static str {
    match value {
        SqlValue::Null => "NULL",
        SqlValue::Bool(_) => "a boolean",
        SqlValue::Integer(_) => "an integer",
        SqlValue::Float(_) => "a float",
        SqlValue::Text(_) => "a text",
        SqlValue::Bytes(_) => "bytes",
        SqlValue::Json(_) => "JSON",
        SqlValue::Timestamp(_) => "a timestamp",
    }
}

/// The type that has all such values.
fn own_type(value: &SqlValue) -> &'static str {
    match value {
        SqlValue::Bool(_) => "boolean",
        SqlValue::Integer(_) => "bigint",
        SqlValue::Float(_) => "double precision",
        SqlValue::Null | SqlValue::Text(_) => "text",
        SqlValue::Bytes(_) => "bytea",
        SqlValue::Json(_) => "jsonb",
        SqlValue::Timestamp(_) => "timestamptz",
    }
}

/// By the column's type.
pub fn read(row: &PgRow) -> Result<SqlRow, sqlx::Error> {
    row.columns()
        .iter()
        .map(|column| {
            let raw = row.try_get_raw(column.ordinal())?;
            let value = decode(&raw).map_err(|source| sqlx::Error::ColumnDecode {
                index: column.name().to_owned(),
                source,
            })?;
            Ok((column.name().to_owned(), value))
        })
        .collect()
}

fn decode(raw: &PgValueRef<'_>) -> Result<SqlValue, BoxDynError> {
    if raw.is_null() {
        return Ok(SqlValue::Null);
    }
    let bytes = raw.as_bytes()?;
    let text = |bytes: &[u8]| Ok::<_, BoxDynError>(std::str::from_utf8(bytes)?.to_owned());
    let ty = raw.type_info();
    Ok(match ty.name() {
        "BOOL" => SqlValue::Bool(bytes.first().is_some_and(|byte| *byte != 0)),
        "INT2" => SqlValue::Integer(i16::from_be_bytes(bytes.try_into()?).into()),
        "INT4" => SqlValue::Integer(i32::from_be_bytes(bytes.try_into()?).into()),
        "INT8" => SqlValue::Integer(i64::from_be_bytes(bytes.try_into()?)),
        "FLOAT4" => finite(f32::from_be_bytes(bytes.try_into()?).into())?,
        "FLOAT8" => finite(f64::from_be_bytes(bytes.try_into()?))?,
        "NUMERIC" => numeric::decode(bytes)?,
        "BYTEA" => SqlValue::Bytes(bytes.to_vec()),
        "JSON" => SqlValue::Json(text(bytes)?),
        "JSONB" => SqlValue::Json(text(bytes.get(1..).unwrap_or_default())?),
        "TIMESTAMPTZ" => SqlValue::Timestamp(micros(bytes)?.format(ZONED).to_string()),
        "TIMESTAMP" => SqlValue::Text(micros(bytes)?.format(PLAIN).to_string()),
        "DATE" => {
            let days = i64::from(i32::from_be_bytes(bytes.try_into()?));
            let start = NaiveDate::from_ymd_opt(2000, 1, 1).unwrap_or_default();
            let date = chrono::TimeDelta::try_days(days)
                .and_then(|days| start.checked_add_signed(days))
                .ok_or("a date out of range")?;
            SqlValue::Text(date.to_string())
        }
        "UUID" => SqlValue::Text(uuid::Uuid::from_slice(bytes)?.to_string()),
        name if is_text(name) => SqlValue::Text(text(bytes)?),
        name => return Err(format!("a {name} is not read; cast it to text in the query").into()),
    })
}

/// A guest's float is.
fn finite(value: f64) -> Result<SqlValue, BoxDynError> {
    if value.is_finite() {
        return Ok(SqlValue::Float(value));
    }
    Err("a float that is NaN or infinite is not read; cast it to text in the query".into())
}

const ZONED: &str = "%Y-%m-%dT%H:%M:%S%.6fZ";
const PLAIN: &str = "%Y-%m-%dT%H:%M:%S%.6f";

fn micros(bytes: &[u8]) -> Result<Timestamp, BoxDynError> {
    let micros = i64::from_be_bytes(bytes.try_into()?).checked_add(EPOCH_MICROS);
    let time = micros.and_then(Timestamp::from_timestamp_micros);
    time.ok_or_else(|| "a timestamp out of range, such as infinity".into())
}
