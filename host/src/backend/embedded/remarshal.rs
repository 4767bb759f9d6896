//! What Go makes of JSON that it reads into a map and writes again: keys sorted, every number a
//! double. Integers above 2^53 change in a bulk; an app that trusts them must notice here, too.

use std::collections::BTreeMap;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Number, Value};

/// The text marshalled anew. What is nested too deep to be read into memory goes out as it is.
pub fn remarshal(text: &[u8]) -> Option<Box<RawValue>> {
    match serde_json::from_slice(text) {
        Ok(value) => to_raw_value(&doubled(value)).ok(),
        Err(_) => serde_json::from_slice(text).ok(),
    }
}

/// The same value with every number a double, and keys sorted.
pub fn doubled(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(double(&number)),
        Value::Array(items) => items.into_iter().map(doubled).collect(),
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields.into_iter().map(|(k, v)| (k, doubled(v))).collect();
            Value::Object(Map::from_iter(sorted))
        }
        Value::Null | Value::Bool(_) | Value::String(_) => value,
    }
}

/// Go writes a double without a fraction as an integer.
fn double(number: &Number) -> Number {
    let Some(double) = number.as_f64() else { return number.clone() };
    let whole = double.trunc() == double && double.abs() < 9e18;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and within range")]
    let integer = whole.then_some(double as i64);
    match integer {
        Some(integer) => integer.into(),
        None => Number::from_f64(double).unwrap_or_else(|| number.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_comes_back_as_go_writes_it() {
        for (given, expected) in [
            (r#"{"b":1,"a":{"d":2.0,"c":[1.5]}}"#, r#"{"a":{"c":[1.5],"d":2},"b":1}"#),
            (r#"{"n":9007199254740993}"#, r#"{"n":9007199254740992}"#),
            (r#"{"n":-3,"s":"9007199254740993"}"#, r#"{"n":-3,"s":"9007199254740993"}"#),
        ] {
            assert_eq!(remarshal(given.as_bytes()).unwrap().get(), expected);
        }
    }

    #[test]
    fn deep_nesting_goes_through() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
        assert_eq!(remarshal(deep.as_bytes()).unwrap().get(), deep);
    }
}
