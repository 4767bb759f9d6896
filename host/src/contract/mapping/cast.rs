//! What one value is on the wire and inside. A value that cannot go both ways is refused.

use chrono::{DateTime, NaiveDateTime, Offset as _, TimeZone as _};
use chrono_tz::Tz;
use serde_json::{Number, Value};

use crate::event::parse::shown;

/// What a value is on either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cast {
    /// An integer on the wire, its decimal text inside.
    Integer,
    /// Text inside; a number or boolean on the wire becomes text and stays it.
    String,
    /// RFC 3339 inside; on the wire a time without a zone is in this one, or refused.
    Time(Option<Tz>),
}

impl Cast {
    /// From the wire; `name` is what a refusal calls the place.
    pub fn inward(self, value: Value, name: &str) -> Result<Value, String> {
        match (self, value) {
            (_, Value::Null) => Ok(Value::Null),
            (Self::Integer, Value::Number(number)) if !number.is_f64() => {
                Ok(Value::String(number.to_string()))
            }
            (Self::String, Value::Number(number)) => Ok(Value::String(number.to_string())),
            (Self::String, Value::Bool(flag)) => Ok(Value::String(flag.to_string())),
            (Self::String, Value::String(text)) => Ok(Value::String(text)),
            (Self::Time(zone), Value::String(text)) => match with_zone(&text, zone) {
                Ok(text) => Ok(Value::String(text)),
                Err(why) => Err(refused(name, &Value::String(text), &why)),
            },
            (Self::Integer, other) => Err(refused(name, &other, "an integer")),
            (Self::String, other) => Err(refused(name, &other, "text or a number")),
            (Self::Time(_), other) => Err(refused(name, &other, "a time, as a string")),
        }
    }

    /// To the wire.
    pub fn outward(self, value: Value, name: &str) -> Result<Value, String> {
        let expected = match (self, &value) {
            (_, Value::Null) => return Ok(value),
            (Self::Integer, Value::Number(number)) if !number.is_f64() => return Ok(value),
            (Self::Integer, Value::String(text)) => match integer(text) {
                Some(number) => return Ok(Value::Number(number)),
                None => "an integer, since the contract's wire form is one",
            },
            (Self::String, Value::String(_)) => return Ok(value),
            (Self::Time(_), Value::String(text)) if DateTime::parse_from_rfc3339(text).is_ok() => {
                return Ok(value);
            }
            (Self::Integer, _) => "an integer",
            (Self::String, _) => "text",
            (Self::Time(_), _) => "an RFC 3339 time with zone",
        };
        Err(refused(name, &value, expected))
    }
}

fn refused(name: &str, value: &Value, expected: &str) -> String {
    format!("{name} is {}; expected {expected}", shown(value))
}

/// Only the text that the number itself would give: `007` would not come back.
fn integer(text: &str) -> Option<Number> {
    let number = match text.parse::<i64>() {
        Ok(number) => Number::from(number),
        Err(_) => Number::from(text.parse::<u64>().ok()?),
    };
    (number.to_string() == text).then_some(number)
}

/// The digits stay as they are; only the zone is added.
fn with_zone(text: &str, zone: Option<Tz>) -> Result<String, String> {
    if DateTime::parse_from_rfc3339(text).is_ok() {
        return Ok(text.to_owned());
    }
    let local = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")
        .map_err(|_| "an RFC 3339 time, such as 2026-02-03T10:00:00Z".to_owned())?;
    let zone = zone.ok_or("a zone at its end, such as `Z`")?;
    let at = zone.from_local_datetime(&local).earliest();
    let offset = at.ok_or_else(|| format!("a time that exists in {zone}"))?.offset().fix();
    match offset.local_minus_utc() {
        0 => Ok(format!("{text}Z")),
        _ => Ok(format!("{text}{offset}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn casts_go_both_ways_or_say_why() {
        let zone = |name: &str| Cast::Time(Some(name.parse().unwrap()));
        let bare = Cast::Time(None);
        for (cast, wire, inside) in [
            (Cast::Integer, json!(1), json!("1")),
            (Cast::Integer, json!(-9007199254740993_i64), json!("-9007199254740993")),
            (Cast::Integer, json!(u64::MAX), json!("18446744073709551615")),
            (Cast::Integer, json!(null), json!(null)),
            (Cast::String, json!("a"), json!("a")),
            (bare, json!("2025-01-01T00:00:00.000+02:00"), json!("2025-01-01T00:00:00.000+02:00")),
        ] {
            assert_eq!(cast.inward(wire.clone(), "x").as_ref(), Ok(&inside), "{cast:?} {wire}");
            assert_eq!(cast.outward(inside, "x"), Ok(wire), "{cast:?}");
        }
        for (cast, wire, inside) in [
            (Cast::String, json!(17), "17"),
            (Cast::String, json!(true), "true"),
            (zone("UTC"), json!("2025-07-01T00:00:00.123456"), "2025-07-01T00:00:00.123456Z"),
            (zone("Europe/Berlin"), json!("2025-07-01T00:00:00"), "2025-07-01T00:00:00+02:00"),
            (zone("Europe/Berlin"), json!("2025-01-01T00:00:00"), "2025-01-01T00:00:00+01:00"),
            (zone("Europe/Berlin"), json!("2025-10-26T02:30:00"), "2025-10-26T02:30:00+02:00"),
            (zone("Europe/Berlin"), json!("2025-01-01T00:00:00Z"), "2025-01-01T00:00:00Z"),
        ] {
            assert_eq!(cast.inward(wire, "x"), Ok(json!(inside)));
        }
        for (cast, wire, says) in [
            (Cast::Integer, json!("1"), "x is `\"1\"`; expected an integer"),
            (Cast::Integer, json!(1.5), "x is `1.5`; expected an integer"),
            (Cast::String, json!([]), "x is `[]`; expected text or a number"),
            (bare, json!("2025-01-01T00:00:00"), "expected a zone at its end"),
            (bare, json!(1735689600), "expected a time, as a string"),
            (zone("UTC"), json!("01.01.2025"), "expected an RFC 3339 time"),
            (
                zone("Europe/Berlin"),
                json!("2025-03-30T02:30:00"),
                "a time that exists in Europe/Berlin",
            ),
        ] {
            let error = cast.inward(wire, "x").unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        for (cast, inside) in [
            (Cast::Integer, json!("one")),
            (Cast::Integer, json!("007")),
            (Cast::Integer, json!("+1")),
            (Cast::Integer, json!("18446744073709551616")),
            (Cast::Integer, json!(1.5)),
            (Cast::String, json!(1)),
            (bare, json!("2025-01-01T00:00:00")),
        ] {
            assert!(cast.outward(inside.clone(), "x").is_err(), "{cast:?} {inside}");
        }
    }
}
