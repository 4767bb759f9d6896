//! Ids that are the same whenever they are made from the same things.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use crate::time;

/// The id of a series' occurrence: a number from 1 to 2^53 - 1 where the series' own id is one, so
/// that it passes where task ids are integers and survives JSON; else a UUID.
pub fn occurrence(series: &str, due: DateTime<Utc>) -> String {
    let due = time::text(due);
    let parts = [series.as_bytes(), due.as_bytes()];
    if is_integer(series) { number(&parts).to_string() } else { uuid(&parts) }
}

/// A job's name: the id follows the prefix as it is where a job may be called so, else a UUID made
/// from it.
pub fn job(prefix: &str, id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=200).contains(&id.len()) && id.bytes().all(plain) {
        format!("{prefix}{id}")
    } else {
        format!("{prefix}{}", uuid(&[id.as_bytes()]))
    }
}

/// SHA-256 of the parts, cut to a UUID with version 4 bits.
pub fn uuid(parts: &[&[u8]]) -> String {
    let (half, _) = hash(parts);
    let version = (half & !(0xf << 76)) | (0x4 << 76);
    let variant = (version & !(0b11 << 62)) | (0b10 << 62);
    let digits = format!("{variant:032x}");
    let mut text = String::with_capacity(36);
    for (at, digit) in digits.chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        // Writing to a string cannot fail.
        _ = text.write_char(digit);
    }
    text
}

fn number(parts: &[&[u8]]) -> u64 {
    const MOST: u64 = (1 << 53) - 1;
    hash(parts).1 % MOST + 1
}

/// Whether the id is one where ids are integers.
pub fn is_integer(text: &str) -> bool {
    text.parse::<i64>().is_ok_and(|number| number.to_string() == text)
}

/// The first 16 bytes, and the first 8. Each part is preceded by its length, so that `("ab", "c")`
/// and `("a", "bc")` differ.
fn hash(parts: &[&[u8]]) -> (u128, u64) {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let digest: [u8; 32] = hasher.finalize().into();
    let half = digest.iter().take(16).fold(0, |sum: u128, byte| (sum << 8) | u128::from(*byte));
    let quarter = digest.iter().take(8).fold(0, |sum: u64, byte| (sum << 8) | u64::from(*byte));
    (half, quarter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        time::parse(text).unwrap()
    }

    #[test]
    fn an_occurrence_has_one_id_however_its_time_is_written() {
        let id = occurrence("a-series", at("2026-03-01T10:00:00Z"));
        assert_eq!(id, occurrence("a-series", at("2026-03-01T12:00:00.000+02:00")));
        assert_ne!(id, occurrence("a-series", at("2026-03-02T10:00:00Z")));
        assert_ne!(id, occurrence("b-series", at("2026-03-01T10:00:00Z")));
    }

    #[test]
    fn a_text_id_gives_a_uuid_of_version_4() {
        let id = occurrence("a-series", at("2026-03-01T10:00:00Z"));
        let groups: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(id.as_bytes()[14], b'4', "{id}");
        assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{id}");
    }

    #[test]
    fn an_integer_id_gives_one_that_json_keeps() {
        for series in ["1", "42", "-3", "9223372036854775807"] {
            let id: u64 = occurrence(series, at("2026-03-01T10:00:00Z")).parse().unwrap();
            assert!((1..1 << 53).contains(&id), "{series}: {id}");
        }
        for series in ["01", "+1", "1.0", "", " 1", "9223372036854775808"] {
            assert!(occurrence(series, at("2026-03-01T10:00:00Z")).contains('-'), "{series}");
        }
    }

    #[test]
    fn a_job_is_named_by_the_id_where_it_may() {
        assert_eq!(job("reminder-", "A1.b_c-d"), "reminder-A1.b_c-d");
        for odd in ["", "a b", "a/b", "ä", &"x".repeat(201)] {
            let name = job("reminder-", odd);
            assert_eq!(name.len(), "reminder-".len() + 36, "{odd}: {name}");
        }
        assert_ne!(job("r-", "a b"), job("r-", "a/b"));
    }
}
