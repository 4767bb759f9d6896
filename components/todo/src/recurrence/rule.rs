//! Reads an RFC 5545 recurrence rule (§3.3.10). Every part that is wrong is named with what is
//! allowed.

use std::ops::RangeInclusive;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc, Weekday};
use rrule::{Frequency, NWeekday};

/// A rule whose parts are each within what RFC 5545 allows, and allowed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub freq: Frequency,
    pub interval: u16,
    pub end: End,
    pub week_start: Weekday,
    pub months: Vec<u8>,
    pub month_days: Vec<i8>,
    pub year_days: Vec<i16>,
    pub weeks: Vec<i8>,
    pub days: Vec<NWeekday>,
    pub hours: Vec<u8>,
    pub minutes: Vec<u8>,
    pub seconds: Vec<u8>,
    pub positions: Vec<i32>,
}

/// When a series ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Never,
    /// Tasks of the series, the first included.
    Count(u32),
    Until(DateTime<Utc>),
    /// By the wall clock.
    UntilWall(NaiveDateTime),
}

/// Longer than any sensible rule.
const LONGEST: usize = 1000;

/// More are no tasks, and a year of them would have to be held at once.
const MOST_TIMES_A_DAY: usize = 24;

impl Rule {
    pub fn read(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("it is longer than {LONGEST} characters"));
        }
        let text = text.to_ascii_uppercase();
        let text = text.strip_prefix("RRULE:").unwrap_or(&text).trim_end_matches(';');
        let parts = text.split(';').map(part).collect::<Result<Vec<_>, _>>()?;
        for (at, (name, _)) in parts.iter().enumerate() {
            if parts.iter().skip(at + 1).any(|(other, _)| other == name) {
                return Err(format!("{name} is given twice; give it once"));
            }
        }
        let rule = Self::of(&Parts(parts))?;
        rule.check()?;
        Ok(rule)
    }

    fn of(parts: &Parts<'_>) -> Result<Self, String> {
        Ok(Self {
            freq: parts.get("FREQ", frequency)?.ok_or_else(|| {
                format!("FREQ is missing; begin with FREQ= and one of {FREQUENCIES}")
            })?,
            interval: parts.get("INTERVAL", |text| number(text, 1..=1000))?.unwrap_or(1),
            end: end(parts)?,
            week_start: parts.get("WKST", weekday)?.unwrap_or(Weekday::Mon),
            months: parts.list("BYMONTH", |text| number(text, 1..=12))?,
            month_days: parts.list("BYMONTHDAY", |text| signed(text, 31))?,
            year_days: parts.list("BYYEARDAY", |text| signed(text, 366))?,
            weeks: parts.list("BYWEEKNO", |text| signed(text, 53))?,
            days: parts.list("BYDAY", day)?,
            hours: parts.list("BYHOUR", |text| number(text, 0..=23))?,
            minutes: parts.list("BYMINUTE", |text| number(text, 0..=59))?,
            // A leap second is not on our clocks.
            seconds: parts
                .list("BYSECOND", |text| number(text, 0..=60).map(|at: u8| at.min(59)))?,
            positions: parts.list("BYSETPOS", |text| signed(text, 366))?,
        })
    }

    /// What RFC 5545 does not allow together.
    fn check(&self) -> Result<(), String> {
        use Frequency::{Daily, Hourly, Monthly, Weekly, Yearly};
        let freq = self.freq;
        let numbered = self.days.iter().any(|day| matches!(day, NWeekday::Nth(..)));
        let other_by = [
            self.months.is_empty(),
            self.month_days.is_empty(),
            self.year_days.is_empty(),
            self.weeks.is_empty(),
            self.days.is_empty(),
            self.hours.is_empty(),
            self.minutes.is_empty(),
            self.seconds.is_empty(),
        ];
        let times = self.hours.len().max(1) * self.minutes.len().max(1) * self.seconds.len().max(1);
        let wrong = [
            (
                !self.month_days.is_empty() && freq == Weekly,
                "BYMONTHDAY does not go with FREQ=WEEKLY; use BYDAY",
            ),
            (
                !self.year_days.is_empty() && matches!(freq, Daily | Weekly | Monthly),
                "BYYEARDAY does not go with FREQ=DAILY, WEEKLY or MONTHLY; use FREQ=YEARLY",
            ),
            (!self.weeks.is_empty() && freq != Yearly, "BYWEEKNO goes with FREQ=YEARLY only"),
            (
                numbered && !matches!(freq, Monthly | Yearly),
                "BYDAY with a number, such as 1MO, goes with FREQ=MONTHLY or YEARLY only",
            ),
            (numbered && !self.weeks.is_empty(), "BYDAY with a number does not go with BYWEEKNO"),
            (
                numbered && freq == Monthly && self.days.iter().any(beyond_a_month),
                "BYDAY in a month goes from -5 to 5, such as -1FR",
            ),
            (
                !self.positions.is_empty() && other_by.iter().all(|empty| *empty),
                "BYSETPOS needs another part that begins with BY, such as BYDAY",
            ),
            (
                freq < Hourly && times > MOST_TIMES_A_DAY,
                "BYHOUR, BYMINUTE and BYSECOND give more than 24 times a day",
            ),
            (
                freq == Hourly && self.minutes.len() * self.seconds.len() > 60,
                "BYMINUTE and BYSECOND give more than 60 times an hour",
            ),
        ];
        wrong.iter().find(|(wrong, _)| *wrong).map_or(Ok(()), |(_, text)| Err((*text).to_owned()))
    }
}

const NAMES: [&str; 14] = [
    "FREQ",
    "INTERVAL",
    "COUNT",
    "UNTIL",
    "WKST",
    "BYMONTH",
    "BYMONTHDAY",
    "BYYEARDAY",
    "BYWEEKNO",
    "BYDAY",
    "BYHOUR",
    "BYMINUTE",
    "BYSECOND",
    "BYSETPOS",
];

const FREQUENCIES: &str = "YEARLY, MONTHLY, WEEKLY, DAILY, HOURLY, MINUTELY, SECONDLY";

fn part(text: &str) -> Result<(&str, &str), String> {
    match text.split_once('=') {
        Some((name, value)) if NAMES.contains(&name.trim()) => Ok((name.trim(), value.trim())),
        Some((name, _)) => Err(format!("{name} is not a part; use {}", NAMES.join(", "))),
        None => Err(format!("`{text}` is not a part; write NAME=value, separated by `;`")),
    }
}

struct Parts<'a>(Vec<(&'a str, &'a str)>);

impl Parts<'_> {
    fn get<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let Some((_, value)) = self.0.iter().find(|(other, _)| *other == name) else {
            return Ok(None);
        };
        match read(value) {
            Ok(value) => Ok(Some(value)),
            Err(allowed) => Err(format!("{name}={value} is not allowed; use {allowed}")),
        }
    }

    /// Each of the list once.
    fn list<T: PartialEq>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let all = self.get(name, |value| {
            value.split(',').try_fold(Vec::new(), |mut list, item| {
                let item = read(item.trim())?;
                if !list.contains(&item) {
                    list.push(item);
                }
                Ok(list)
            })
        });
        Ok(all?.unwrap_or_default())
    }
}

fn frequency(text: &str) -> Result<Frequency, String> {
    Ok(match text {
        "YEARLY" => Frequency::Yearly,
        "MONTHLY" => Frequency::Monthly,
        "WEEKLY" => Frequency::Weekly,
        "DAILY" => Frequency::Daily,
        "HOURLY" => Frequency::Hourly,
        "MINUTELY" => Frequency::Minutely,
        "SECONDLY" => Frequency::Secondly,
        _ => return Err(format!("one of {FREQUENCIES}")),
    })
}

fn weekday(text: &str) -> Result<Weekday, String> {
    Ok(match text {
        "MO" => Weekday::Mon,
        "TU" => Weekday::Tue,
        "WE" => Weekday::Wed,
        "TH" => Weekday::Thu,
        "FR" => Weekday::Fri,
        "SA" => Weekday::Sat,
        "SU" => Weekday::Sun,
        _ => return Err("MO, TU, WE, TH, FR, SA or SU".into()),
    })
}

/// `MO`, `1MO`, `-1FR`.
fn day(text: &str) -> Result<NWeekday, String> {
    let allowed = || "days such as MO, or numbered ones such as 1MO and -1FR".to_owned();
    let (number, name) =
        text.len().checked_sub(2).and_then(|at| text.split_at_checked(at)).ok_or_else(allowed)?;
    let day = weekday(name).map_err(|_| allowed())?;
    match number {
        "" => Ok(NWeekday::Every(day)),
        _ => Ok(NWeekday::Nth(signed(number, 53).map_err(|_| allowed())?, day)),
    }
}

fn beyond_a_month(day: &NWeekday) -> bool {
    matches!(day, NWeekday::Nth(number, _) if !(-5..=5).contains(number))
}

fn number<T: FromStr + PartialOrd + std::fmt::Display>(
    text: &str,
    allowed: RangeInclusive<T>,
) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| allowed.contains(number));
    number.ok_or_else(|| format!("a whole number from {} to {}", allowed.start(), allowed.end()))
}

/// From -`most` to `most`, without 0.
fn signed<T: TryFrom<i32>>(text: &str, most: i32) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| (-most..=most).contains(number) && *number != 0);
    number
        .and_then(|number: i32| T::try_from(number).ok())
        .ok_or_else(|| format!("whole numbers from 1 to {most}, or from -{most} to -1"))
}

fn end(parts: &Parts<'_>) -> Result<End, String> {
    let count = parts.get("COUNT", |text| number(text, 1..=10_000))?;
    let until = parts.get("UNTIL", until)?;
    match (count, until) {
        (Some(_), Some(_)) => Err("COUNT does not go with UNTIL; use one of them".into()),
        (Some(count), None) => Ok(End::Count(count)),
        (None, Some(until)) => Ok(until),
        (None, None) => Ok(End::Never),
    }
}

/// A date alone includes its whole day.
fn until(text: &str) -> Result<End, String> {
    let allowed = || "a time such as 20261231T225959Z, or a date such as 20261231".to_owned();
    let (wall, utc) = match text.strip_suffix('Z') {
        Some(wall) => (wall, true),
        None => (text, false),
    };
    let (date, time) = match wall.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (wall, None),
    };
    let [century, year, month, day] = pairs(date).ok_or_else(allowed)?;
    let date = i32::try_from(century * 100 + year)
        .ok()
        .and_then(|year| NaiveDate::from_ymd_opt(year, month, day));
    let time = match time {
        Some(time) => {
            let [hour, minute, second] = pairs(time).ok_or_else(allowed)?;
            NaiveTime::from_hms_opt(hour, minute, second.min(59))
        }
        None if utc => None,
        None => NaiveTime::from_hms_micro_opt(23, 59, 59, 999_999),
    };
    match date.zip(time) {
        Some((date, time)) if utc => Ok(End::Until(date.and_time(time).and_utc())),
        Some((date, time)) => Ok(End::UntilWall(date.and_time(time))),
        None => Err(allowed()),
    }
}

/// `N` numbers of two digits.
fn pairs<const N: usize>(text: &str) -> Option<[u32; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut numbers = digits
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')));
    let mut found = [0; N];
    for number in &mut found {
        *number = numbers.next()?;
    }
    Some(found)
}
