//! The parts of an RFC 5545 rule together: what is left open is filled in, and what cannot be is
//! found before anyone looks for a date.

use chrono::{Datelike as _, NaiveDateTime, Timelike as _};
use rrule::{Frequency, NWeekday};

use super::period;
use super::rule::Rule;

/// What a rule leaves open is as in the first date (RFC 5545 §3.3.10).
pub fn complete(mut rule: Rule, start: NaiveDateTime) -> Rule {
    // Each is within its type: it comes from a date and a time.
    let small = |number: u32| u8::try_from(number).unwrap_or_default();
    let month_day = i8::try_from(start.day()).unwrap_or_default();
    let no_day = rule.month_days.is_empty()
        && rule.year_days.is_empty()
        && rule.weeks.is_empty()
        && rule.days.is_empty();
    match rule.freq {
        Frequency::Yearly if no_day => {
            if rule.months.is_empty() {
                rule.months = vec![small(start.month())];
            }
            rule.month_days = vec![month_day];
        }
        Frequency::Monthly if no_day => rule.month_days = vec![month_day],
        Frequency::Weekly if no_day => rule.days = vec![NWeekday::Every(start.weekday())],
        _ => {}
    }
    if rule.hours.is_empty() && rule.freq < Frequency::Hourly {
        rule.hours = vec![small(start.hour())];
    }
    if rule.minutes.is_empty() && rule.freq < Frequency::Minutely {
        rule.minutes = vec![small(start.minute())];
    }
    if rule.seconds.is_empty() && rule.freq < Frequency::Secondly {
        rule.seconds = vec![small(start.second())];
    }
    rule
}

/// Finds the commonest contradictions at once; others are found by looking for a date in vain.
pub fn possible(rule: &Rule, start: NaiveDateTime) -> Result<(), String> {
    let longest = |month: u8| match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let has = |month: &u8| rule.month_days.iter().any(|day| day.abs() <= longest(*month));
    if !rule.months.is_empty() && !rule.month_days.is_empty() && !rule.months.iter().any(has) {
        return Err(format!(
            "BYMONTHDAY={} does not exist in BYMONTH={}; change one of them",
            list(&rule.month_days),
            list(&rule.months)
        ));
    }
    if rule.positions.is_empty() {
        return Ok(());
    }
    let most = period::most(rule, start.date());
    let beyond =
        |position: &i32| usize::try_from(position.unsigned_abs()).is_ok_and(|at| at > most);
    if rule.positions.iter().all(beyond) {
        let positions = list(&rule.positions);
        return Err(format!(
            "BYSETPOS={positions} is beyond the dates of a period; it has at most {most}"
        ));
    }
    Ok(())
}

fn list<T: ToString>(numbers: &[T]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
