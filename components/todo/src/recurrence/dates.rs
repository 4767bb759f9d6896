//! The dates of an RFC 5545 rule. They are found on the wall clock, as if it were UTC, and each is
//! then placed in the zone: so a rule keeps its time when the clock is changed.

use chrono::{
    DateTime, Datelike as _, Duration, Month, NaiveDate, NaiveDateTime, Timelike as _, Utc,
};
use chrono_tz::Tz;
use rrule::{Frequency, RRule, RRuleSet};

use super::parts::{complete, possible};
use super::rule::{End, Rule};
use super::{Series, wall};

/// The two dates after `due`, as far as the series goes. An error when the rule can give none.
pub fn after(
    rule: &Rule,
    series: &Series<'_>,
    due: DateTime<Utc>,
    zone: Tz,
) -> Result<[Option<DateTime<Utc>>; 2], String> {
    let first = series.first.unwrap_or(due);
    let origin = wall::of(first, zone);
    let start = origin.with_nanosecond(0).unwrap_or(origin);
    let parts = complete(rule.clone(), start);
    possible(&parts, start)?;
    let from = match rule.end {
        End::Count(_) => start,
        End::Never | End::Until(_) | End::UntilWall(_) => near(&parts, start, wall::of(due, zone)),
    };
    let mut left = match rule.end {
        End::Count(count) if series.first.is_some() => count.saturating_sub(1),
        End::Count(count) => count.saturating_sub(series.made.max(1)),
        End::Never | End::Until(_) | End::UntilWall(_) => u32::MAX,
    };
    let mut found = [None; 2];
    let mut slots = found.iter_mut();
    let mut slot = slots.next();
    let mut last = first;
    for date in &build(parts, from)? {
        let date = date.naive_local() + (origin - start);
        if date <= origin {
            continue;
        }
        if left == 0 || matches!(rule.end, End::UntilWall(until) if date > until) {
            return Ok(found);
        }
        let Some(at) = wall::instant(date, zone) else { return Ok(found) };
        // Where the clock goes forward, two dates can be one instant: they are one task.
        if at <= last {
            continue;
        }
        last = at;
        left -= 1;
        if matches!(rule.end, End::Until(until) if at > until) {
            return Ok(found);
        }
        if at <= due {
            continue;
        }
        let Some(place) = slot.take() else { return Ok(found) };
        *place = Some(at);
        slot = slots.next();
        if slot.is_none() {
            return Ok(found);
        }
    }
    match found {
        [None, _] => Err(NEVER.into()),
        found => Ok(found),
    }
}

/// Its parts exclude each other; or they are so intricate below a day that rrule gives up.
const NEVER: &str = "no date was found that fits all its parts; change or leave out some of them";

/// Begins at the period that holds `due`: a series of many years is not walked through again for
/// every date.
fn near(rule: &Rule, start: NaiveDateTime, due: NaiveDateTime) -> NaiveDateTime {
    jump(rule, start, due).filter(|from| *from > start).unwrap_or(start)
}

fn jump(rule: &Rule, start: NaiveDateTime, due: NaiveDateTime) -> Option<NaiveDateTime> {
    let interval = i64::from(rule.interval);
    let whole = |periods: i64| periods.max(0) / interval * interval;
    let midnight = |date: NaiveDate| date.and_hms_opt(0, 0, 0);
    let seconds = |unit: i64| {
        let periods = (due - start).num_seconds() / unit;
        start.checked_add_signed(Duration::seconds(whole(periods) * unit))
    };
    match rule.freq {
        Frequency::Yearly => {
            let years = whole(i64::from(due.year() - start.year()));
            let year = start.year().checked_add(i32::try_from(years).ok()?)?;
            midnight(NaiveDate::from_ymd_opt(year, 1, 1)?)
        }
        Frequency::Monthly => {
            let number = |at: NaiveDateTime| i64::from(at.year()) * 12 + i64::from(at.month0());
            let month = number(start) + whole(number(due) - number(start));
            let year = i32::try_from(month.div_euclid(12)).ok()?;
            let month = u32::try_from(month.rem_euclid(12)).ok()? + 1;
            midnight(NaiveDate::from_ymd_opt(year, month, 1)?)
        }
        Frequency::Weekly => {
            let week = |at: NaiveDateTime| at.date().week(rule.week_start).checked_first_day();
            let weeks = whole((week(due)? - week(start)?).num_days() / 7);
            midnight(week(start)?.checked_add_signed(Duration::days(weeks * 7))?)
        }
        Frequency::Daily => {
            let days = whole((due.date() - start.date()).num_days());
            midnight(start.date().checked_add_signed(Duration::days(days))?)
        }
        Frequency::Hourly => seconds(3600),
        Frequency::Minutely => seconds(60),
        Frequency::Secondly => seconds(1),
    }
}

/// Its iteration ends by itself after a bounded number of empty periods.
fn build(rule: Rule, from: NaiveDateTime) -> Result<RRuleSet, String> {
    let months: Vec<_> =
        rule.months.iter().filter_map(|month| Month::try_from(*month).ok()).collect();
    let built = RRule::new(rule.freq)
        .interval(rule.interval)
        .week_start(rule.week_start)
        .by_set_pos(rule.positions)
        .by_month(&months)
        .by_month_day(rule.month_days)
        .by_year_day(rule.year_days)
        .by_week_no(rule.weeks)
        .by_weekday(rule.days)
        .by_hour(rule.hours)
        .by_minute(rule.minutes)
        .by_second(rule.seconds)
        .build(from.and_utc().with_timezone(&rrule::Tz::UTC));
    built.map(RRuleSet::limit).map_err(|error| error.to_string())
}
