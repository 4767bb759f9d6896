//! How many dates one period of a rule can hold. BYSETPOS beyond that would be looked for through
//! thousands of years of full periods.

use chrono::{Datelike as _, Days, Months, NaiveDate};
use rrule::{Frequency, NWeekday};

use super::rule::Rule;

/// The calendar repeats after so many years.
const CYCLE: i32 = 400;

/// No fewer than the dates of the fullest period of a completed rule, counted from `start`.
pub fn most(rule: &Rule, start: NaiveDate) -> usize {
    let [hours, minutes, seconds] =
        [&rule.hours, &rule.minutes, &rule.seconds].map(|times| times.len().max(1));
    let days = match rule.freq {
        Frequency::Secondly => return 1,
        Frequency::Minutely => return seconds,
        Frequency::Hourly => return minutes * seconds,
        Frequency::Daily => 1,
        Frequency::Weekly => rule.days.len().clamp(1, 7),
        Frequency::Monthly => days_of_months(rule, start),
        Frequency::Yearly => days_of_years(rule, start),
    };
    days * hours * minutes * seconds
}

fn days_of_years(rule: &Rule, start: NaiveDate) -> usize {
    let years = multiples(rule, CYCLE)
        .filter_map(|years| NaiveDate::from_ymd_opt(start.year().checked_add(years)?, 1, 1));
    // What decides which days a year has, and which weeks they are of.
    let kind = |year: NaiveDate| {
        let before = year.pred_opt().is_some_and(|day| day.leap_year());
        (year.weekday(), year.leap_year(), before)
    };
    fullest(rule, years, kind, |one, other| one.year() == other.year())
}

fn days_of_months(rule: &Rule, start: NaiveDate) -> usize {
    let first = start.with_day(1).unwrap_or(start);
    let months = multiples(rule, CYCLE * 12)
        .filter_map(|months| first.checked_add_months(Months::new(months.unsigned_abs())));
    let kind = |month: NaiveDate| (month.weekday(), month.num_days_in_month(), month.month());
    fullest(rule, months, kind, |one, other| one.month() == other.month())
}

/// How far the rule's periods are from the first, in a calendar that repeats after `cycle`.
fn multiples(rule: &Rule, cycle: i32) -> impl Iterator<Item = i32> {
    let interval = i32::from(rule.interval);
    (0..cycle).map(move |number| number * interval % cycle)
}

/// The most days that a period has, of those that begin with these days. Periods of one kind have
/// the same days.
fn fullest<K: PartialEq>(
    rule: &Rule,
    periods: impl Iterator<Item = NaiveDate>,
    kind: impl Fn(NaiveDate) -> K,
    together: impl Fn(NaiveDate, NaiveDate) -> bool,
) -> usize {
    let mut seen = Vec::new();
    let mut most = 0;
    for first in periods {
        let kind = kind(first);
        if seen.contains(&kind) {
            continue;
        }
        seen.push(kind);
        let days = first.iter_days().take_while(|day| together(*day, first));
        most = most.max(days.filter(|day| fits(rule, *day)).count());
    }
    most
}

/// Whether all parts that choose days choose this one.
fn fits(rule: &Rule, date: NaiveDate) -> bool {
    let year = if date.leap_year() { 366 } else { 365 };
    let month_day = place(date.day(), date.num_days_in_month().into());
    let year_day = place(date.ordinal(), year);
    let is_month = |month: &u8| u32::from(*month) == date.month();
    let in_month = rule.freq == Frequency::Monthly || !rule.months.is_empty();
    let within = if in_month { month_day } else { year_day };
    any(&rule.months, is_month)
        && any(&rule.month_days, |day| month_day.contains(&i32::from(*day)))
        && any(&rule.year_days, |day| year_day.contains(&i32::from(*day)))
        && any(&rule.days, |day| match day {
            NWeekday::Every(day) => *day == date.weekday(),
            NWeekday::Nth(number, day) => {
                *day == date.weekday() && within.map(nth).contains(&i32::from(*number))
            }
        })
        && (rule.weeks.is_empty() || of_week(rule, date))
}

/// A part that is left out chooses every day.
fn any<T>(list: &[T], fits: impl Fn(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(fits)
}

/// The number of a day, from the beginning and from the end.
fn place(number: u32, all: u32) -> [i32; 2] {
    [number.cast_signed(), number.cast_signed() - all.cast_signed() - 1]
}

/// The how-manieth such weekday the day of this number is.
fn nth(number: i32) -> i32 {
    number.signum() * ((number.abs() - 1) / 7 + 1)
}

/// A week is of the year that has most of its days.
fn of_week(rule: &Rule, date: NaiveDate) -> bool {
    let middle = |date: NaiveDate| {
        let first = date.week(rule.week_start).checked_first_day()?;
        first.checked_add_days(Days::new(3))
    };
    let number = |day: NaiveDate| day.ordinal0() / 7 + 1;
    let numbers = middle(date).and_then(|day| {
        // 28 December is always in the last week.
        let last = middle(NaiveDate::from_ymd_opt(day.year(), 12, 28)?)?;
        Some(place(number(day), number(last)))
    });
    numbers.is_none_or(|numbers| rule.weeks.iter().any(|week| numbers.contains(&i32::from(*week))))
}
