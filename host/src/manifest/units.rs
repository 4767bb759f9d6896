//! Amounts as people write them: `250ms`, `1s`, `16MiB`.

use std::time::Duration;

pub fn as_seconds<S: serde::Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

/// `1s`, `250ms`, `2m`: a whole number and its unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    let amount = split(text).and_then(|(number, unit)| match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        _ => None,
    });
    amount.ok_or_else(|| {
        format!("`{text}` is not a duration; write a whole number with ms, s or m, such as `250ms`")
    })
}

/// `64KiB`, `16MiB`, `1GiB`: a whole number and its unit.
pub fn bytes(text: &str) -> Result<usize, String> {
    let amount = split(text).and_then(|(number, unit)| {
        let factor = match unit {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        usize::try_from(number.checked_mul(factor)?).ok()
    });
    amount.ok_or_else(|| {
        format!(
            "`{text}` is not a size; write a whole number with B, KiB, MiB or GiB, such as `16MiB`"
        )
    })
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_a_whole_number_with_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2 m"), Ok(Duration::from_secs(120)));
        assert_eq!(bytes("16MiB"), Ok(16 << 20));
        assert_eq!(bytes("512B"), Ok(512));
        for bad in ["", "1", "s", "1.5s", "-1s", "1h", "1e3s", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for bad in ["16MB", "16", "MiB", "18446744073709551615GiB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
