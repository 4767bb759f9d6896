//! Instants as Dapr's scheduler reads them: RFC 3339, a Go duration from now, or an ISO 8601
//! duration from now.

use chrono::{DateTime, Datelike as _, Days, NaiveDate, TimeDelta};

use crate::clock::Timestamp;
use crate::schedule::go_duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InstantError {
    #[error("due time format not recognized")]
    Unknown,
    #[error("repeats not supported for due time")]
    Repeats,
}

/// An instant; one that is given as a duration counts from `now`. Only of the years that RFC 3339
/// can write: at the ends of the calendar an instant has no local time in every zone.
pub fn parse(text: &str, now: Timestamp) -> Result<Timestamp, InstantError> {
    let instant = parse_any(text, now)?;
    (0..=9999).contains(&instant.year()).then_some(instant).ok_or(InstantError::Unknown)
}

fn parse_any(text: &str, now: Timestamp) -> Result<Timestamp, InstantError> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Ok(instant.to_utc());
    }
    if let Some(duration) = signed(text) {
        return now.checked_add_signed(duration).ok_or(InstantError::Unknown);
    }
    if let Some((repeats, rest)) = text.strip_prefix('R').and_then(|rest| rest.split_once('/')) {
        let repeats: i64 = repeats.parse().map_err(|_| InstantError::Unknown)?;
        return match repeats > 0 {
            true => Err(InstantError::Repeats),
            false => iso(rest, now).ok_or(InstantError::Unknown),
        };
    }
    iso(text, now).ok_or(InstantError::Unknown)
}

/// A Go duration, which may lie in the past.
fn signed(text: &str) -> Option<TimeDelta> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    // Go takes this one without a unit.
    if rest == "0" {
        return Some(TimeDelta::zero());
    }
    TimeDelta::from_std(go_duration(rest)?).ok()?.checked_mul(sign)
}

/// `P1Y2M3W4DT5H6M7S`, of whole numbers.
fn iso(text: &str, now: Timestamp) -> Option<Timestamp> {
    let rest = text.strip_prefix('P').filter(|rest| !rest.is_empty())?;
    let (date, time) = rest.split_once('T').unwrap_or((rest, ""));
    let (mut months, mut days, mut seconds) = (0_i64, 0_i64, 0_i64);
    for (number, unit) in parts(date)? {
        match unit {
            'Y' => months = months.checked_add(number.checked_mul(12)?)?,
            'M' => months = months.checked_add(number)?,
            'W' => days = days.checked_add(number.checked_mul(7)?)?,
            'D' => days = days.checked_add(number)?,
            _ => return None,
        }
    }
    for (number, unit) in parts(time)? {
        let scale = match unit {
            'H' => 3600,
            'M' => 60,
            'S' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.checked_mul(scale)?)?;
    }
    add_date(now, months, days)?.checked_add_signed(TimeDelta::try_seconds(seconds)?)
}

fn parts(text: &str) -> Option<Vec<(i64, char)>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = rest.split_at(end);
        let unit = unit.chars().next()?;
        parts.push((number.parse().ok()?, unit));
        rest = rest.get(end + unit.len_utf8()..)?;
    }
    Some(parts)
}

/// As Go adds dates: a month after 31 January is 3 March.
fn add_date(at: Timestamp, months: i64, days: i64) -> Option<Timestamp> {
    let month = i64::from(at.year()).checked_mul(12)?.checked_add(i64::from(at.month0()))?;
    let month = month.checked_add(months)?;
    let year = i32::try_from(month.div_euclid(12)).ok()?;
    let month = u32::try_from(month.rem_euclid(12)).ok()? + 1;
    let days = u64::try_from(days).ok()?.checked_add(u64::from(at.day0()))?;
    let date = NaiveDate::from_ymd_opt(year, month, 1)?.checked_add_days(Days::new(days))?;
    Some(date.and_time(at.time()).and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_as_the_scheduler_reads_them() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2024-04-24T11:42:22Z", "2024-04-24T11:42:22Z"),
            ("2024-04-24T13:42:22.5+02:00", "2024-04-24T11:42:22.5Z"),
            ("10s", "2026-01-31T12:00:10Z"),
            ("1h30m", "2026-01-31T13:30:00Z"),
            ("10ms", "2026-01-31T12:00:00.01Z"),
            ("-5s", "2026-01-31T11:59:55Z"),
            ("0", "2026-01-31T12:00:00Z"),
            ("0s", "2026-01-31T12:00:00Z"),
            ("PT5S", "2026-01-31T12:00:05Z"),
            ("P1M", "2026-03-03T12:00:00Z"),
            ("P1Y2M3DT4H5M6S", "2027-04-03T16:05:06Z"),
            ("P2W", "2026-02-14T12:00:00Z"),
            ("R0/PT1M", "2026-01-31T12:01:00Z"),
        ] {
            assert_eq!(parse(text, now), Ok(expected.parse().unwrap()), "{text}");
        }
        for text in ["", "soon", "5", "P", "P1", "PT5", "P5S", "PT1D", "P1.5D", "2026-01-31"] {
            assert_eq!(parse(text, now), Err(InstantError::Unknown), "{text}");
        }
        assert_eq!(parse("R3/PT1M", now), Err(InstantError::Repeats));
        for text in [
            "P9999999999Y",
            "99999999999999999h",
            "P9223372036854775807W",
            "P8000Y",
            "-17800000h",
            "9999-12-31T23:59:59-23:59",
        ] {
            assert_eq!(parse(text, now), Err(InstantError::Unknown), "{text}");
        }
    }
}
