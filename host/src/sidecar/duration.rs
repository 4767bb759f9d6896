//! Durations in Dapr's files.

use crate::schedule::go_duration;

/// Whether daprd can read it: one of Go's, or a number of milliseconds.
pub fn is_one(text: &str) -> bool {
    text.parse::<i64>().is_ok() || seconds(text).is_some()
}

/// One of Go's durations, such as `1h30m`, in seconds, without its sign.
pub fn seconds(text: &str) -> Option<f64> {
    go_duration(text.trim_start_matches(['+', '-'])).map(|duration| duration.as_secs_f64())
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
