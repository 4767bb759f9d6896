//! Durations, as Go writes them.

/// Whether daprd can read it: one of Go's, or a number of milliseconds.
pub fn is_one(text: &str) -> bool {
    text.parse::<i64>().is_ok() || seconds(text).is_some()
}

/// One of Go's durations, such as `1h30m`, in seconds.
pub fn seconds(text: &str) -> Option<f64> {
    let units = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let (mut rest, mut sum) = (text.trim_start_matches(['+', '-']), 0.0);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c| !is_number(c))?);
        let (unit, after) = after.split_at(after.find(is_number).unwrap_or(after.len()));
        let (_, seconds) = units.iter().find(|(name, _)| *name == unit)?;
        sum += number.parse::<f64>().ok()? * seconds;
        rest = after;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, right) in [
            ("5s", true),
            ("1h30m", true),
            ("1.5s", true),
            ("500", true),
            ("100ms", true),
            ("", false),
            ("5 s", false),
            ("5sec", false),
            ("s", false),
            ("PT5S", false),
        ] {
            assert_eq!(is_one(text), right, "{text}");
        }
        assert_eq!(
            (seconds("1h30m"), seconds("1.5s"), seconds("250ms")),
            (Some(5400.0), Some(1.5), Some(0.25))
        );
    }
}
