//! PostgreSQL's NUMERIC in its binary form: groups of four decimal digits. It holds more digits than
//! any number of a guest, so it is read and written by its digits, without a float in between.

use crate::effect::SqlValue;

/// The most digits after the point.
const MOST_PLACES: usize = 16_383;

/// The most groups before the point.
const MOST_GROUPS: usize = 32_768;

const NEGATIVE: u16 = 0x4000;

/// A decimal number such as `-12.50`, all of its digits. Fails when it is none.
pub fn encode(text: &str) -> Result<Vec<u8>, String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && places.is_empty()) || !is_digits(whole) || !is_digits(places) {
        return Err(format!("`{text}` is not a decimal number such as -12.50"));
    }
    let whole = whole.trim_start_matches('0');
    let before = whole.len().div_ceil(4);
    if before > MOST_GROUPS || places.len() > MOST_PLACES {
        return Err("a number with too many digits".to_owned());
    }
    let padded = format!(
        "{whole:0>before$}{places:0<after$}",
        before = before * 4,
        after = places.len().next_multiple_of(4)
    );
    let groups = padded
        .as_bytes()
        .chunks(4)
        .map(|group| group.iter().fold(0_u16, |sum, digit| sum * 10 + u16::from(digit - b'0')));
    let groups: Vec<u16> = groups.collect();
    let first = groups.iter().position(|group| *group != 0).unwrap_or(groups.len());
    let last = groups.iter().rposition(|group| *group != 0).map_or(first, |last| last + 1);
    let significant = groups.get(first..last).unwrap_or_default();
    let weight = if significant.is_empty() { 0 } else { signed(before) - signed(first) - 1 };
    let sign = if text.starts_with('-') && !significant.is_empty() { NEGATIVE } else { 0 };
    let mut bytes = Vec::with_capacity(8 + significant.len() * 2);
    bytes.extend(signed(significant.len()).to_be_bytes().iter().skip(2));
    bytes.extend(weight.to_be_bytes().iter().skip(2));
    bytes.extend(sign.to_be_bytes());
    bytes.extend(signed(places.len()).to_be_bytes().iter().skip(2));
    bytes.extend(significant.iter().flat_map(|group| group.to_be_bytes()));
    Ok(bytes)
}

/// Counts stay far below 2^31.
fn signed(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// An integer when it is whole and fits, else the nearest float. Fails when there is no such float.
pub fn decode(bytes: &[u8]) -> Result<SqlValue, String> {
    let words: Vec<u16> =
        bytes.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
    let [_, weight, sign, _, groups @ ..] = words.as_slice() else {
        return Err("a NUMERIC that is too short".to_owned());
    };
    let minus = match *sign {
        0 => "",
        NEGATIVE => "-",
        _ => {
            return Err(
                "a NUMERIC that is NaN or infinite is not read; cast it to text in the query"
                    .to_owned(),
            );
        }
    };
    let weight = i32::from(i16::from_be_bytes(weight.to_be_bytes()));
    // All of its digits, and where its point is.
    let digits: String = groups.iter().map(|group| format!("{group:04}")).collect();
    let shift = (i64::from(weight) + 1 - i64::from(signed(groups.len()))) * 4;
    if let Some(whole) = whole(minus, &digits, shift) {
        return Ok(SqlValue::Integer(whole));
    }
    let value: f64 = format!("{minus}{digits}e{shift}")
        .parse()
        .map_err(|error| format!("a NUMERIC: {error}"))?;
    if value.is_infinite() {
        return Err(
            "a NUMERIC beyond every float is not read; cast it to text in the query".to_owned()
        );
    }
    Ok(SqlValue::Float(value))
}

fn whole(minus: &str, digits: &str, shift: i64) -> Option<i64> {
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let significant = digits.trim_end_matches('0');
    let zeros = shift + i64::from(signed(digits.len() - significant.len()));
    // As many as a 64-bit integer may have.
    let zeros = usize::try_from(zeros).ok().filter(|zeros| *zeros < 20)?;
    format!("{minus}{significant}{:0<zeros$}", "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (text, value) in [
            ("0", SqlValue::Integer(0)),
            ("-0.000", SqlValue::Integer(0)),
            ("10000", SqlValue::Integer(10_000)),
            ("+0012.50", SqlValue::Float(12.5)),
            ("-.0001", SqlValue::Float(-0.0001)),
            ("9223372036854775807", SqlValue::Integer(i64::MAX)),
            ("-9223372036854775808", SqlValue::Integer(i64::MIN)),
            ("9223372036854775808", SqlValue::Float(9_223_372_036_854_775_808.0)),
            ("123456789.00000001", SqlValue::Float(123_456_789.000_000_01)),
        ] {
            assert_eq!(decode(&encode(text).unwrap()), Ok(value), "{text}");
        }
        for none in ["", "-", ".", "1e5", "NaN", "1,5", " 1", "--1", "١"] {
            assert!(encode(none).is_err(), "{none}");
        }
    }

    #[test]
    fn every_float_comes_back() {
        for value in [f64::MAX, f64::MIN_POSITIVE, 5e-324, 0.1, 1.0 / 3.0, 1e22, 123e-20] {
            for value in [value, -value] {
                let read = decode(&encode(&value.to_string()).unwrap());
                let same = read == Ok(SqlValue::Float(value));
                assert!(same, "{value:e}: {read:?}");
            }
        }
    }
}
