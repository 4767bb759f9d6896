//! When a repeating job is due, in the words of Dapr's scheduler: six cron fields beginning with
//! seconds, in a named zone if `CRON_TZ=<zone> ` stands before them; `@every <duration>`; `@daily`
//! and its like. (Dapr Jobs API, `schedule`; the parser that it uses is robfig/cron's.)

mod fields;

use std::time::Duration;

use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use crate::clock::Timestamp;

/// A schedule, parsed.
#[derive(Debug, Clone)]
pub enum Schedule {
    Every(Duration),
    Cron { cron: Box<Cron>, zone: Tz },
}

/// Reads a schedule; the error says what is allowed.
pub fn parse(text: &str) -> Result<Schedule, String> {
    let (zone, fields) = zone(text)?;
    // A period is the same in every zone.
    if let Some(every) = fields.strip_prefix("@every ") {
        return every_of(every).map(Schedule::Every);
    }
    let fields = match fields {
        "@yearly" | "@annually" => "0 0 0 1 1 *",
        "@monthly" => "0 0 0 1 * *",
        "@weekly" => "0 0 0 * * 0",
        "@daily" | "@midnight" => "0 0 0 * * *",
        "@hourly" => "0 0 * * * *",
        fields => fields,
    };
    let plain = fields::plain(fields).map_err(|why| refusal(text, &why))?;
    let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Disallowed).build();
    let cron = parser.parse(&plain).map_err(|error| refusal(text, &error.to_string()))?;
    Ok(Schedule::Cron { cron: Box::new(cron), zone })
}

fn refusal(text: &str, why: &str) -> String {
    format!(
        "`{text}` is no schedule: {why}; use six cron fields beginning with seconds, \
         `@every <duration>` or `@daily`, and `CRON_TZ=<zone> ` before the fields for a zone"
    )
}

fn zone(text: &str) -> Result<(Tz, &str), String> {
    let Some(rest) = text.strip_prefix("CRON_TZ=").or_else(|| text.strip_prefix("TZ=")) else {
        // A space before an `@` is refused by Dapr, too.
        return Ok((Tz::UTC, text));
    };
    let (name, fields) = rest.split_once(' ').ok_or_else(|| refusal(text, "no fields follow"))?;
    let zone = name.parse().map_err(|_| refusal(text, &format!("there is no zone `{name}`")))?;
    Ok((zone, fields.trim()))
}

/// A Go duration of a second or more: `90s`, `1h30m`, `1.5s`. Dapr takes shorter ones, too; with
/// those, commits would not keep up.
fn every_of(text: &str) -> Result<Duration, String> {
    match go_duration(text) {
        Some(duration) if duration >= Duration::from_secs(1) => Ok(duration),
        _ => Err(refusal(&format!("@every {text}"), "the duration must be a second or more")),
    }
}

/// Go's `time.ParseDuration`, without a sign.
pub fn go_duration(text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (value, unit) = rest.split_at(number);
        let end = unit.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(unit.len());
        let (unit, after) = unit.split_at(end);
        let scale = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += value.parse::<f64>().ok()? * scale;
        rest = after;
    }
    let some = !text.is_empty();
    let duration = some.then(|| Duration::try_from_secs_f64(seconds).ok()).flatten();
    // Go counts nanoseconds in 64 bits: some 292 years.
    duration.filter(|duration| i64::try_from(duration.as_nanos()).is_ok())
}

impl Schedule {
    /// The first instant of an `@every` that is scheduled now; a cron's instants are known without.
    pub fn first_of_every(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(period) => now.checked_add_signed(delta(*period)),
            Self::Cron { .. } => None,
        }
    }

    /// The first instant after `after`; `first` is when an `@every` begins. `None` when there is
    /// none.
    pub fn next(&self, after: Timestamp, first: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(_) if after < first => Some(first),
            Self::Every(period) => {
                let steps = steps(after, first, *period).checked_add(1)?;
                first.checked_add_signed(times(*period, steps)?)
            }
            Self::Cron { cron, zone } => {
                let next = cron.find_next_occurrence(&after.with_timezone(zone), false);
                next.ok().map(|next| next.to_utc())
            }
        }
    }

    /// The instant that follows another one of the same schedule, or its beginning.
    pub fn next_from(&self, instant: Timestamp) -> Option<Timestamp> {
        self.next(instant, instant)
    }

    /// The instant that a firing at `now` belongs to: the last one, since a firing may come late; or
    /// the next one if that is due at once, since clocks differ. `first` is when an `@every` begins,
    /// or when a cron job fires before its own instants.
    pub fn instant_of(&self, now: Timestamp, first: Option<Timestamp>) -> Timestamp {
        let last = self.last(now, first);
        let next = match first {
            Some(first) if now < first => Some(first),
            _ => self.next(now, first.unwrap_or(now)),
        };
        match (last, next) {
            (Some(last), Some(next)) if next - now < EARLY.min((next - last) / 2) => next,
            (Some(last), _) => last,
            (None, Some(next)) => next,
            (None, None) => now,
        }
    }

    fn last(&self, now: Timestamp, first: Option<Timestamp>) -> Option<Timestamp> {
        if first.is_some_and(|first| now < first) {
            return None;
        }
        match self {
            Self::Every(period) => {
                let first = first?;
                first.checked_add_signed(times(*period, steps(now, first, *period))?)
            }
            Self::Cron { cron, zone } => {
                let last = cron.find_previous_occurrence(&now.with_timezone(zone), true);
                let last = last.ok().map(|last| last.to_utc());
                // Behind its beginning, the beginning itself is the only instant.
                last.max(first)
            }
        }
    }
}

/// How much earlier than its instant a firing may come.
const EARLY: chrono::TimeDelta = chrono::TimeDelta::seconds(2);

/// Whole periods between the first instant and this one.
fn steps(at: Timestamp, first: Timestamp, period: Duration) -> i128 {
    let since = at - first;
    let since = i128::from(since.num_seconds()) * NANOS + i128::from(since.subsec_nanos());
    since.div_euclid(nanos(period).max(1))
}

/// So many periods; `None` when that is longer than any time.
fn times(period: Duration, steps: i128) -> Option<chrono::TimeDelta> {
    let total = nanos(period).checked_mul(steps)?;
    let seconds = i64::try_from(total.div_euclid(NANOS)).ok()?;
    chrono::TimeDelta::new(seconds, u32::try_from(total.rem_euclid(NANOS)).ok()?)
}

const NANOS: i128 = 1_000_000_000;

fn nanos(period: Duration) -> i128 {
    i128::try_from(period.as_nanos()).unwrap_or(i128::MAX)
}

fn delta(period: Duration) -> chrono::TimeDelta {
    chrono::TimeDelta::from_std(period).unwrap_or(chrono::TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn next(schedule: &str, after: &str) -> String {
        let first = at("2026-01-01T00:00:10Z");
        let next = parse(schedule).unwrap().next(at(after), first);
        next.map_or_else(
            || "-".into(),
            |next| next.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        )
    }

    #[test]
    fn instants_follow_from_the_schedule() {
        for (schedule, after, expected) in [
            ("@every 90s", "2026-01-01T00:00:00Z", "2026-01-01T00:00:10Z"),
            ("@every 90s", "2026-01-01T00:00:10Z", "2026-01-01T00:01:40Z"),
            ("@every 1h30m", "2026-01-01T02:00:00Z", "2026-01-01T03:00:10Z"),
            ("@every 1.5s", "2026-01-01T00:00:10Z", "2026-01-01T00:00:11.500Z"),
            ("@every 1.5s", "2026-01-01T00:00:11.500Z", "2026-01-01T00:00:13Z"),
            ("@every 1s", "2199-01-01T00:00:00Z", "2199-01-01T00:00:01Z"),
            ("CRON_TZ=Europe/Berlin @every 90s", "2026-01-01T00:00:10Z", "2026-01-01T00:01:40Z"),
            ("*/10 * * * * *", "2026-01-01T00:00:10Z", "2026-01-01T00:00:20Z"),
            ("0 30 8 * * MON-FRI", "2026-01-02T09:00:00Z", "2026-01-05T08:30:00Z"),
            ("5/20 0 * ? * ?", "2026-01-01T00:00:10Z", "2026-01-01T00:00:25Z"),
            ("0 0 0 * * sun", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            // A list of all days is no `*`: with it either will do.
            ("0 0 0 1-31 * 1", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("0 0 0 * * 1", "2026-01-01T00:00:00Z", "2026-01-05T00:00:00Z"),
            // Days of month and of week: either will do.
            ("0 0 0 13 * 5", "2026-01-03T00:00:00Z", "2026-01-09T00:00:00Z"),
            ("0 0 0 13 * 5", "2026-01-09T00:00:00Z", "2026-01-13T00:00:00Z"),
            ("@daily", "2026-01-01T12:00:00Z", "2026-01-02T00:00:00Z"),
            ("CRON_TZ=Europe/Berlin 0 0 8 * * *", "2026-07-01T00:00:00Z", "2026-07-01T06:00:00Z"),
            ("CRON_TZ=Europe/Berlin 0 0 8 * * *", "2026-01-01T00:00:00Z", "2026-01-01T07:00:00Z"),
        ] {
            assert_eq!(next(schedule, after), expected, "{schedule} after {after}");
        }
    }

    #[test]
    fn a_firing_belongs_to_the_last_instant_unless_the_next_is_near() {
        for (schedule, first, now, expected) in [
            ("@every 10s", "2026-01-01T00:00:00Z", "2026-01-01T00:00:17Z", "2026-01-01T00:00:10Z"),
            ("@every 10s", "2026-01-01T00:00:00Z", "2026-01-01T00:00:19Z", "2026-01-01T00:00:20Z"),
            ("@every 10s", "2026-01-01T00:00:00Z", "2025-12-31T23:59:58Z", "2026-01-01T00:00:00Z"),
            ("@every 1s", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01.4Z", "2026-01-01T00:00:01Z"),
            ("0 0 * * * *", "", "2026-01-01T00:59:59Z", "2026-01-01T01:00:00Z"),
            ("0 0 * * * *", "", "2026-01-01T01:00:00Z", "2026-01-01T01:00:00Z"),
            // Thirteen hours late, and eleven before the next.
            ("0 0 8 * * *", "", "2026-01-01T21:00:00Z", "2026-01-01T08:00:00Z"),
            ("0 * * * * *", "2026-01-01T00:00:40Z", "2026-01-01T00:00:41Z", "2026-01-01T00:00:40Z"),
            ("0 * * * * *", "2026-01-01T00:00:40Z", "2026-01-01T00:01:00Z", "2026-01-01T00:01:00Z"),
            ("0 * * * * *", "2026-01-01T00:00:40Z", "2026-01-01T00:00:39Z", "2026-01-01T00:00:40Z"),
        ] {
            let first = (!first.is_empty()).then(|| at(first));
            let instant = parse(schedule).unwrap().instant_of(at(now), first);
            assert_eq!(instant, at(expected), "{schedule} {now}");
        }
    }

    #[test]
    fn what_is_no_schedule_is_told_with_what_is() {
        for (bad, says) in [
            ("* * * * *", "six cron fields"),
            ("0 0 0 L * *", "day of the month `L` is no number"),
            ("0 0 0 * * 7", "Sunday is 0 or SUN"),
            ("61 * * * * *", "six cron fields"),
            (" @daily", "six cron fields"),
            ("@daily ", "six cron fields"),
            ("@Daily", "six cron fields"),
            ("@every 5s ", "a second or more"),
            ("@every 2562048h", "a second or more"),
            ("CRON_TZ=Europe/Berlin", "no fields follow"),
            ("@every soon", "a second or more"),
            ("@every 10ms", "a second or more"),
            ("@sometimes", "six cron fields"),
            ("CRON_TZ=Mars/Base 0 0 0 * * *", "no zone `Mars/Base`"),
            ("", "six cron fields"),
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    #[test]
    fn durations_are_gos() {
        assert_eq!(go_duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(go_duration("1.5s"), Some(Duration::from_millis(1500)));
        for bad in ["", "1", "h", "1d", "-1s"] {
            assert_eq!(go_duration(bad), None, "{bad}");
        }
    }
}
