//! The rules that are one word: the same time a day, a week, a month or a year later.

use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, NaiveDateTime, Utc};
use chrono_tz::Tz;

use super::wall;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Day,
    Week,
    Month,
    Year,
}

impl Unit {
    /// The wall clock keeps its time. A day that a month lacks becomes its last one, and comes
    /// back when the first due date tells that it was meant. None past the end of the calendar.
    pub fn after(
        self,
        due: DateTime<Utc>,
        first: Option<DateTime<Utc>>,
        zone: Tz,
    ) -> Option<DateTime<Utc>> {
        let wall = wall::of(due, zone);
        let first = first.map(|first| wall::of(first, zone));
        let time = first.map(|first| first.time()).filter(|time| {
            // The clock skipped the first's time on this day, or it is the first's time anyway.
            wall::instant(wall.date().and_time(*time), zone) == Some(due)
        });
        let date = self.add(wall.date(), first.as_ref().map(NaiveDateTime::date))?;
        wall::instant(date.and_time(time.unwrap_or(wall.time())), zone)
    }

    fn add(self, date: NaiveDate, first: Option<NaiveDate>) -> Option<NaiveDate> {
        match self {
            Self::Day => date.checked_add_days(Days::new(1)),
            Self::Week => date.checked_add_days(Days::new(7)),
            Self::Month => months(date, 1, first),
            Self::Year => months(date, 12, first),
        }
    }
}

fn months(date: NaiveDate, months: u32, first: Option<NaiveDate>) -> Option<NaiveDate> {
    let next = date.checked_add_months(Months::new(months))?;
    let was_last = date.day() == days_in(date)?;
    let meant = first.map_or(date.day(), |first| first.day());
    if was_last && meant > date.day() {
        return next.with_day(meant.min(days_in(next)?));
    }
    Some(next)
}

fn days_in(date: NaiveDate) -> Option<u32> {
    let following = date.with_day(1)?.checked_add_months(Months::new(1))?;
    following.pred_opt().map(|last| last.day())
}
