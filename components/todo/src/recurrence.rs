//! When a recurring task is due next. Pure: the same series and due date always give the same.

mod calendar;
mod dates;
mod parts;
mod period;
mod rule;
mod wall;

use chrono::{DateTime, Utc};

use self::calendar::Unit;
use self::rule::Rule;

/// A series of tasks, as far as its next due date depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a> {
    /// `none`, `daily`, `weekly`, `monthly`, `yearly`, or an RFC 5545 recurrence rule.
    pub rule: &'a str,
    /// An IANA name; the wall clock there is what a rule keeps. UTC when absent.
    pub zone: Option<&'a str>,
    /// When the first task was due, if that is known: RFC 5545's DTSTART.
    pub first: Option<DateTime<Utc>>,
    /// How many tasks the series has so far, the first included. COUNT goes by it only when
    /// `first` is not known.
    pub made: u32,
}

/// The due dates that follow one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upcoming {
    pub next: DateTime<Utc>,
    /// The one after it, unless the series ends.
    pub then: Option<DateTime<Utc>>,
}

impl Series<'_> {
    /// What follows `due`; none when the series has ended or the rule is `none`. An error names
    /// the rule or the zone, and what is allowed: trying again cannot help.
    pub fn after(&self, due: DateTime<Utc>) -> Result<Option<Upcoming>, String> {
        let rule = Recurrence::read(self.rule).map_err(|error| self.blame(&error))?;
        let zone = wall::zone(self.zone)?;
        let dates = match rule {
            Recurrence::None => return Ok(None),
            Recurrence::Each(unit) => {
                let next = unit.after(due, self.first, zone);
                [next, next.and_then(|next| unit.after(next, self.first.or(Some(due)), zone))]
            }
            Recurrence::Rule(rule) => {
                dates::after(&rule, self, due, zone).map_err(|error| self.blame(&error))?
            }
        };
        let [next, then] = dates;
        Ok(next.map(|next| Upcoming { next, then }))
    }

    fn blame(&self, error: &str) -> String {
        let rule: String = self.rule.chars().take(200).collect();
        format!("recurrence `{rule}`: {error}")
    }
}

enum Recurrence {
    None,
    Each(Unit),
    Rule(Box<Rule>),
}

impl Recurrence {
    fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        Ok(match text.to_ascii_lowercase().as_str() {
            "" | "none" => Self::None,
            "daily" => Self::Each(Unit::Day),
            "weekly" => Self::Each(Unit::Week),
            "monthly" => Self::Each(Unit::Month),
            "yearly" => Self::Each(Unit::Year),
            _ if text.contains('=') => Self::Rule(Box::new(Rule::read(text)?)),
            _ => {
                return Err(
                    "use none, daily, weekly, monthly, yearly, or an RFC 5545 rule such as \
                            FREQ=WEEKLY;INTERVAL=2"
                        .into(),
                );
            }
        })
    }
}

#[cfg(test)]
mod tests;
