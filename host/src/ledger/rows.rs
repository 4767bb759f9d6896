//! Many rows as parameters of one statement: to SQLite as one JSON array, to PostgreSQL as an array
//! for each column.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::ser::{Serialize, SerializeSeq as _, Serializer};
use sqlx::Arguments as _;
use sqlx::postgres::PgArguments;

use crate::manifest::Database;
use crate::name::hex;

/// Rows, column by column; every column has as many values.
#[derive(Default)]
pub struct Rows<'a> {
    columns: Vec<(&'static str, Column<'a>)>,
}

enum Column<'a> {
    Text(Vec<Option<Cow<'a, str>>>),
    Integer(Vec<Option<i64>>),
    Bytes(Vec<Option<&'a [u8]>>),
}

impl<'a> Rows<'a> {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn text<T: Into<Cow<'a, str>>>(
        self,
        name: &'static str,
        values: impl IntoIterator<Item = T>,
    ) -> Self {
        self.optional_text(name, values.into_iter().map(Some))
    }

    #[must_use]
    pub fn optional_text<T: Into<Cow<'a, str>>>(
        self,
        name: &'static str,
        values: impl IntoIterator<Item = Option<T>>,
    ) -> Self {
        let values = values.into_iter().map(|value| value.map(Into::into));
        self.with(name, Column::Text(values.collect()))
    }

    #[must_use]
    pub fn integer(self, name: &'static str, values: impl IntoIterator<Item = i64>) -> Self {
        self.optional_integer(name, values.into_iter().map(Some))
    }

    #[must_use]
    pub fn optional_integer(
        self,
        name: &'static str,
        values: impl IntoIterator<Item = Option<i64>>,
    ) -> Self {
        self.with(name, Column::Integer(values.into_iter().collect()))
    }

    #[must_use]
    pub fn bytes(self, name: &'static str, values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        self.with(name, Column::Bytes(values.into_iter().map(Some).collect()))
    }

    fn with(mut self, name: &'static str, column: Column<'a>) -> Self {
        self.columns.push((name, column));
        self
    }

    fn len(&self) -> usize {
        self.columns.first().map_or(0, |(_, column)| match column {
            Column::Text(values) => values.len(),
            Column::Integer(values) => values.len(),
            Column::Bytes(values) => values.len(),
        })
    }

    /// What stands in FROM, with its columns' names; `first` is the number of its first parameter.
    pub fn source(&self, text: &mut String, database: Database, first: usize) {
        match database {
            Database::Sqlite => self.select_from_json(text, first),
            Database::Postgres => self.select_from_arrays(text, first),
        }
    }

    fn select_from_json(&self, text: &mut String, first: usize) {
        text.push_str("(SELECT ");
        for (at, (name, column)) in self.columns.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            let _infallible = match column {
                Column::Bytes(_) => write!(text, "{comma}unhex(value->>{at}) AS {name}"),
                Column::Text(_) | Column::Integer(_) => {
                    write!(text, "{comma}value->>{at} AS {name}")
                }
            };
        }
        let _infallible = write!(text, " FROM json_each(?{first}))");
    }

    fn select_from_arrays(&self, text: &mut String, first: usize) {
        text.push_str("(SELECT * FROM UNNEST(");
        for (at, (_, column)) in self.columns.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            let ty = match column {
                Column::Text(_) => "text",
                Column::Integer(_) => "int8",
                Column::Bytes(_) => "bytea",
            };
            let _infallible = write!(text, "{comma}${}::{ty}[]", first + at);
        }
        text.push_str(") AS unnested(");
        for (at, (name, _)) in self.columns.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            let _infallible = write!(text, "{comma}{name}");
        }
        text.push_str("))");
    }

    pub fn bind(self, arguments: &mut PgArguments) -> Result<(), sqlx::error::BoxDynError> {
        for (_, column) in self.columns {
            match column {
                Column::Text(values) => {
                    let values: Vec<_> =
                        values.iter().map(|text| text.as_deref().map(without_zero)).collect();
                    arguments.add(values)?;
                }
                Column::Integer(values) => arguments.add(values)?,
                Column::Bytes(values) => arguments.add(values)?,
            }
        }
        Ok(())
    }
}

/// PostgreSQL's texts hold no zero byte.
pub fn without_zero(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// An array of arrays; bytes, which JSON has not, as hexadecimal text.
impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.len()))?;
        for at in 0..self.len() {
            rows.serialize_element(&OneRow(self, at))?;
        }
        rows.end()
    }
}

struct OneRow<'a>(&'a Rows<'a>, usize);

impl Serialize for OneRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(rows, at) = self;
        let mut row = serializer.serialize_seq(Some(rows.columns.len()))?;
        for (_, column) in &rows.columns {
            match column {
                Column::Text(values) => row.serialize_element(&values.get(*at))?,
                Column::Integer(values) => row.serialize_element(&values.get(*at))?,
                Column::Bytes(values) => {
                    let bytes = values.get(*at).copied().flatten();
                    row.serialize_element(&bytes.map(hex))?;
                }
            }
        }
        row.end()
    }
}
