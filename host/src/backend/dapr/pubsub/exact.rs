//! Whether JSON says the same after Dapr has read its numbers as doubles, as it does in a bulk.

/// A double keeps so many decimal digits.
const DIGITS: usize = 15;

/// Whether every number is short enough for a double. Says no when in doubt.
pub fn is_exact(json: &[u8]) -> bool {
    let mut rest = json;
    while let [first, after @ ..] = rest {
        rest = match first {
            b'"' => after_text(after),
            b'-' | b'0'..=b'9' => {
                let is_of_number = |b: &u8| b"+-.eE0123456789".contains(b);
                let end = rest.iter().position(|b| !is_of_number(b)).unwrap_or(rest.len());
                let (number, after) = rest.split_at(end);
                let digits = number.iter().filter(|b| b.is_ascii_digit()).count();
                if digits > DIGITS || number.iter().any(|b| b"eE".contains(b)) {
                    return false;
                }
                after
            }
            _ => after,
        };
    }
    true
}

/// What follows the text that was begun.
fn after_text(mut rest: &[u8]) -> &[u8] {
    while let [first, after @ ..] = rest {
        rest = match first {
            b'"' => return after,
            b'\\' => after.get(1..).unwrap_or_default(),
            _ => after,
        };
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_numbers_are_found_outside_of_text() {
        for exact in [
            "",
            "{}",
            r#"{"a":1,"b":[-0.5,123456789012345],"c":true}"#,
            r#"{"a":"9007199254740993","b\"9007199254740993":1}"#,
            r#"{"a":"1e5\\","b":2}"#,
        ] {
            assert!(is_exact(exact.as_bytes()), "{exact}");
        }
        for changed in
            [r#"{"a":9007199254740993}"#, "[1e400]", r#"{"a":"\\","b":0.12345678901234567}"#]
        {
            assert!(!is_exact(changed.as_bytes()), "{changed}");
        }
    }
}
