//! What the tables know of a series of tasks, and how `recurring_tasks` is written.

use chrono::{DateTime, Utc};
use todo::act::Read;
use todo::{Failure, Value};

/// What the tables know of a series.
pub struct Known {
    /// The due date of the first task.
    pub first: Option<DateTime<Utc>>,
    pub made: u32,
    /// The first task is in `recurring_tasks`, with its due date.
    pub kept: bool,
    /// Another task of the series waits to be done.
    pub open: bool,
    /// The task that was asked about was deleted.
    pub deleted: bool,
}

impl Known {
    /// `tasks` holds every task in production only; `recurring_tasks` those that came by.
    pub fn read(series: &str, task_id: &str, read: &mut Read<'_>) -> Result<Self, Failure> {
        let params = [Value::Text(series.to_owned()), Value::Text(task_id.to_owned())];
        let rows = read("series", &params)?;
        let row = rows.first();
        let count = |column| row.and_then(|row| row.integer(column)).unwrap_or(0);
        let time = |column| row.and_then(|row| row.time(column));
        let made = count("kept_made").max(count("made"));
        Ok(Self {
            first: time("kept_due").or_else(|| time("first_due")),
            made: u32::try_from(made).unwrap_or(u32::MAX).saturating_add(1),
            kept: count("kept") > 0 && time("kept_due").is_some(),
            open: count("open") > 0,
            deleted: count("deleted") > 0,
        })
    }
}

/// A task that follows another, by its id.
pub enum Occurrence {
    Missing,
    There,
    /// It does not come back.
    Deleted,
}

impl Occurrence {
    pub fn read(task_id: &str, read: &mut Read<'_>) -> Result<Self, Failure> {
        let rows = read("occurrence", &[Value::Text(task_id.to_owned())])?;
        let has = |column| rows.first().and_then(|row| row.integer(column)).is_some_and(|n| n > 0);
        Ok(match (has("deleted"), has("there")) {
            (true, _) => Self::Deleted,
            (false, true) => Self::There,
            (false, false) => Self::Missing,
        })
    }
}

/// In the order of the statements `keep_task` and `hold_task`.
pub fn kept(
    task_id: &str,
    series: &str,
    recurrence_id: Option<&str>,
    due: Option<DateTime<Utc>>,
) -> Vec<Value> {
    vec![
        Value::Text(task_id.to_owned()),
        Value::Text(series.to_owned()),
        Value::text(recurrence_id),
        Value::time(due),
    ]
}
