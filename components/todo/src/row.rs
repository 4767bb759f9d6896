//! Reads a row of a query. The two databases give the same column in different forms.

use chrono::{DateTime, Utc};

use crate::{Row, Value, time};

impl Row {
    /// The text of a text, JSON or time column; none for NULL or a column that is not there.
    pub fn text(&self, column: &str) -> Option<&str> {
        match self.value(column)? {
            Value::Text(text) | Value::Json(text) | Value::Timestamp(text) => Some(text),
            Value::Null
            | Value::Boolean(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Bytes(_) => None,
        }
    }

    /// As [`text`](Self::text), and an integer as its digits; none for an empty text.
    pub fn id(&self, column: &str) -> Option<String> {
        let text = self.text(column).filter(|id| !id.is_empty());
        text.map(str::to_owned).or_else(|| Some(self.integer(column)?.to_string()))
    }

    pub fn time(&self, column: &str) -> Option<DateTime<Utc>> {
        time::parse(self.text(column)?)
    }

    pub fn flag(&self, column: &str) -> Option<bool> {
        match self.value(column)? {
            Value::Boolean(flag) => Some(*flag),
            _ => self.integer(column).map(|number| number != 0),
        }
    }

    pub fn integer(&self, column: &str) -> Option<i64> {
        match self.value(column)? {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    fn value(&self, column: &str) -> Option<&Value> {
        self.columns.iter().find(|(name, _)| name == column).map(|(_, value)| value)
    }
}

impl Value {
    /// Text or NULL.
    pub fn text(text: Option<&str>) -> Self {
        text.map_or(Self::Null, |text| Self::Text(text.to_owned()))
    }

    /// A time or NULL.
    pub fn time(at: Option<DateTime<Utc>>) -> Self {
        at.map_or(Self::Null, |at| Self::Timestamp(time::text(at)))
    }
}
