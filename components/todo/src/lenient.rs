//! Reads fields as producers write them: ids come as numbers, and a field of another form is worth
//! less than the event that carries it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Text, or a number as its digits; anything else is none.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    deserializer.deserialize_any(Lenient).map(Any::text)
}

/// As [`text`]. An empty id names nothing: it is none.
pub fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    text(deserializer).map(|id| id.filter(|id| !id.is_empty()))
}

/// A bool, or a number that is zero or not; anything else is none.
pub fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    deserializer.deserialize_any(Lenient).map(|any| match any {
        Any::Flag(flag) => Some(flag),
        Any::Number(number) => Some(number != "0"),
        Any::Text(_) | Any::List(_) | Any::Nothing => None,
    })
}

/// A list's texts; anything else is none.
pub fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    deserializer.deserialize_any(Lenient).map(|any| match any {
        Any::List(items) => Some(items),
        Any::Flag(_) | Any::Number(_) | Any::Text(_) | Any::Nothing => None,
    })
}

enum Any {
    Nothing,
    Flag(bool),
    Number(String),
    Text(String),
    List(Vec<String>),
}

impl Any {
    fn text(self) -> Option<String> {
        match self {
            Self::Number(text) | Self::Text(text) => Some(text),
            Self::Nothing | Self::Flag(_) | Self::List(_) => None,
        }
    }
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Lenient)
    }
}

struct Lenient;

impl<'de> Visitor<'de> for Lenient {
    type Value = Any;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Any, E> {
        Ok(Any::Flag(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Any, E> {
        Ok(Any::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Any, E> {
        Ok(Any::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Any, E> {
        Ok(Any::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Any, E> {
        Ok(Any::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Any, E> {
        Ok(Any::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Any, A::Error> {
        let mut texts = Vec::new();
        while let Some(item) = items.next_element::<Any>()? {
            texts.extend(item.text());
        }
        Ok(Any::List(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Any, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Any::Nothing)
    }
}
