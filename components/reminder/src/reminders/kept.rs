//! A row of `reminders`.

use chrono::{DateTime, Utc};
use todo::act::{Act, Read};
use todo::reminder::{Reminder, title};
use todo::{Failure, Row, Value};

pub struct Kept {
    pub reminder: Reminder,
    pub remind_at: DateTime<Utc>,
    pub status: Status,
    /// None where a tick finds the reminder.
    pub job_name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Scheduled,
    Due,
    Cancelled,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Due => "due",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Kept {
    pub fn find(id: &str, read: &mut Read<'_>) -> Result<Option<Self>, Failure> {
        let rows = read("reminder", &[Value::Text(id.to_owned())])?;
        rows.first().map(Self::of).transpose()
    }

    pub fn of(row: &Row) -> Result<Self, Failure> {
        let unreadable = || Failure::Reject(unreadable("reminders", row.id("reminder_id")));
        let status = match row.text("status") {
            Some("scheduled") => Status::Scheduled,
            Some("due") => Status::Due,
            Some("cancelled") => Status::Cancelled,
            _ => return Err(unreadable()),
        };
        let remind_at = row.time("remind_at").ok_or_else(unreadable)?;
        let reminder = Reminder {
            id: row.id("reminder_id").ok_or_else(unreadable)?,
            task_id: row.id("task_id").ok_or_else(unreadable)?,
            user_id: row.id("user_id").ok_or_else(unreadable)?,
            title: title(row.text("title").map(str::to_owned)),
            remind_at: Some(remind_at),
            due_date: row.time("due_date"),
        };
        let job_name = row.text("job_name").map(str::to_owned);
        Ok(Self { reminder, remind_at, status, job_name })
    }
}

/// What is wrong with a row that is left out.
pub fn unreadable(table: &str, id: Option<String>) -> String {
    let id = id.unwrap_or_default();
    format!("row `{id}` of {table} cannot be read; correct its ids, times and status")
}

/// An event about a reminder.
pub fn publish(ty: &'static str, reminder: &Reminder) -> Result<Act, Failure> {
    Ok(Act::Publish { ty, subject: reminder.task_id.clone(), data: reminder.data()? })
}
