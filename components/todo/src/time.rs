//! Instants as the events and the tables write them.

use chrono::{DateTime, SecondsFormat, SubsecRound as _, Utc};

/// Reads RFC 3339. Finer than a microsecond is cut off, since the tables do not keep it: a time
/// must be equal to itself read back.
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc().trunc_subsecs(6))
}

/// RFC 3339 in UTC.
pub fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_out_in_utc() {
        let text_of = |given: &str| parse(given).map(text);
        assert_eq!(text_of("2026-03-01T12:00:00+02:00").as_deref(), Some("2026-03-01T10:00:00Z"));
        let cut = text_of("2026-03-01T10:00:00.123456789Z");
        assert_eq!(cut.as_deref(), Some("2026-03-01T10:00:00.123456Z"));
        assert_eq!(text_of("2026-03-01T10:00:00"), None);
    }
}
