//! The wall clock of a named zone.

use chrono::{DateTime, Duration, MappedLocalTime, NaiveDateTime, Offset as _, TimeZone as _, Utc};
use chrono_tz::Tz;

/// The zone of that name, UTC when there is none.
pub fn zone(name: Option<&str>) -> Result<Tz, String> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(Tz::UTC) };
    name.parse().map_err(|_| {
        let name: String = name.chars().take(100).collect();
        format!("time zone `{name}` is not known; use an IANA name such as Europe/Berlin")
    })
}

pub fn of(at: DateTime<Utc>, zone: Tz) -> NaiveDateTime {
    at.with_timezone(&zone).naive_local()
}

/// When the wall clock shows this. What it shows twice is the first time; what it skips moves
/// forward by what is skipped (RFC 5545 §3.3.5).
pub fn instant(wall: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    match zone.from_local_datetime(&wall) {
        MappedLocalTime::Single(at) | MappedLocalTime::Ambiguous(at, _) => Some(at.to_utc()),
        MappedLocalTime::None => {
            let offset = |at: NaiveDateTime| {
                let seconds = zone.offset_from_utc_datetime(&at).fix().local_minus_utc();
                Duration::seconds(seconds.into())
            };
            // A day on, the clock has been changed; seen from there, the skipped time is before it.
            let changed = offset(wall.checked_add_signed(Duration::days(1))?);
            let before = offset(wall.checked_sub_signed(changed)?);
            Some(wall.checked_sub_signed(before)?.and_utc())
        }
    }
}
