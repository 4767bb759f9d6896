//! What text from a guest must look like before anything is done with it.

use serde::de::IgnoredAny;

use crate::clock::Timestamp;

/// The beginning of a text, of at most so many bytes, whole characters.
pub fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}

/// RFC 3339 with a zone.
pub fn time(text: &str) -> Result<Timestamp, String> {
    match chrono::DateTime::parse_from_rfc3339(text) {
        Ok(time) => Ok(time.to_utc()),
        Err(error) => Err(format!("is not an RFC 3339 time with a zone: {error}")),
    }
}

/// Nested deeper than this, JSON is refused by whoever reads it next.
const DEPTH: usize = 100;

/// JSON, not nested too deep.
pub fn json(text: &str) -> Result<(), String> {
    if depth(text) > DEPTH {
        return Err(format!("is JSON nested more than {DEPTH} deep"));
    }
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("is not JSON: {error}")),
    }
}

/// How deep brackets go, counted without recursion. Text that is not JSON gives any number.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_strings_are_not_depth() {
        assert_eq!(depth(r#"{"a": ["[[[\"[[", {}]}"#), 3);
        assert!(json(&format!("\"{}\"", "[".repeat(1000))).is_ok());
        assert!(json(&format!("{}1{}", "[".repeat(101), "]".repeat(101))).is_err());
        assert!(json("{} {}").is_err());
    }

    #[test]
    fn times_need_a_zone() {
        assert!(time("2026-01-01T00:00:00.5+02:00").is_ok());
        assert!(time("2026-01-01T00:00:00").is_err());
        assert!(time("tomorrow").is_err());
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("aä", 2), "a");
        assert_eq!(cut("aä", 30), "aä");
    }
}
