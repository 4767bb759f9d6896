//! What is sent, and what is said of it. Pure, so that it is tested without a sandbox.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use todo::act::{self, Act, Read};
use todo::reminder::{Reminder, ReminderData, title};
use todo::{Event, Failure, Row, Value, lenient, time};

/// The binding that is used when the manifest names none.
pub const FILE: &str = "notify-file";

const TRIGGERED: &str = "com.todo.reminder.triggered.v1";
const DELIVERED: &str = "com.todo.reminder.delivered.v1";
const FAILED: &str = "com.todo.reminder.failed.v1";

#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// The binding is called; then what [`Sending::recorded`] says is done.
    Send(Sending),
    Do(Vec<Act>),
}

/// A reminder that is sent for the first time.
#[derive(Debug, Clone, PartialEq)]
pub struct Sending {
    reminder: Reminder,
    remind_at: DateTime<Utc>,
}

/// What the event asks for, after reading what is there.
pub fn decide(event: &Event, now: DateTime<Utc>, read: &mut Read<'_>) -> Result<Decision, Failure> {
    match event.ty.as_str() {
        "com.todo.reminder.due.v1" => due(event, read),
        "com.wharf.binding.succeeded.v1" | "com.wharf.binding.failed.v1" => {
            result(event, now, read).map(Decision::Do)
        }
        _ => Ok(Decision::Do(Vec::new())),
    }
}

/// A reminder is sent once for each of its times.
fn due(event: &Event, read: &mut Read<'_>) -> Result<Decision, Failure> {
    let data: ReminderData = act::data(event)?;
    let mut reminder = Reminder::try_from(data).map_err(Failure::Reject)?;
    let remind_at = reminder.remind_at.or(reminder.due_date).or_else(|| time::parse(&event.time));
    let remind_at = remind_at.ok_or_else(|| {
        Failure::Reject(format!("reminder `{}` has no time: no remind_at", reminder.id))
    })?;
    reminder.remind_at = Some(remind_at);
    let key = [Value::Text(reminder.id.clone()), Value::time(Some(remind_at))];
    if read("sent", &key)?.is_empty() {
        return Ok(Decision::Send(Sending { reminder, remind_at }));
    }
    Ok(Decision::Do(Vec::new()))
}

impl Sending {
    /// What the binding gets: JSON.
    pub fn body(&self) -> Result<String, Failure> {
        let title = &self.reminder.title;
        let text = match self.reminder.due_date {
            Some(due) => format!("{title} is due at {}", time::text(due)),
            None => title.clone(),
        };
        self.reminder.sent(&text)
    }

    /// Its row, and the event that it is on its way.
    pub fn recorded(
        &self,
        binding: &str,
        effect_id: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<Act>, Failure> {
        let Self { reminder, remind_at } = self;
        let params = vec![
            Value::Text(reminder.id.clone()),
            Value::time(Some(*remind_at)),
            Value::Text(reminder.task_id.clone()),
            Value::Text(reminder.user_id.clone()),
            Value::Text(reminder.title.clone()),
            Value::time(reminder.due_date),
            Value::Text(binding.to_owned()),
            Value::Text(effect_id.to_owned()),
            Value::time(Some(now)),
        ];
        let subject = reminder.task_id.clone();
        let triggered = Act::Publish { ty: TRIGGERED, subject, data: reminder.data()? };
        Ok(vec![Act::guarded("insert_sending", params), triggered])
    }
}

/// What became of a call of the binding.
#[derive(Deserialize)]
struct Outcome {
    effect_id: String,
    #[serde(default, deserialize_with = "lenient::text")]
    error: Option<String>,
}

/// A result that no row waits for is another call's, or known already.
fn result(event: &Event, now: DateTime<Utc>, read: &mut Read<'_>) -> Result<Vec<Act>, Failure> {
    let outcome: Outcome = act::data(event)?;
    let rows = read("by_effect", &[Value::Text(outcome.effect_id.clone())])?;
    let Some(row) = rows.first().filter(|row| row.text("status") == Some("sending")) else {
        return Ok(Vec::new());
    };
    let reminder = sent(row)?;
    let failed = event.ty == "com.wharf.binding.failed.v1";
    let (status, ty, data, error) = if failed {
        let reason = outcome.error.unwrap_or_else(|| "the binding gave no reason".to_owned());
        ("failed", FAILED, reminder.failed(&reason)?, Some(reason))
    } else {
        ("delivered", DELIVERED, reminder.data()?, None)
    };
    let params = vec![
        Value::Text(outcome.effect_id),
        Value::Text(status.to_owned()),
        Value::text(error.as_deref()),
        Value::time(Some(now)),
    ];
    let subject = reminder.task_id;
    Ok(vec![Act::guarded("set_result", params), Act::Publish { ty, subject, data }])
}

fn sent(row: &Row) -> Result<Reminder, Failure> {
    let unreadable = || Failure::Reject("a row of notifications cannot be read".into());
    Ok(Reminder {
        id: row.id("reminder_id").ok_or_else(unreadable)?,
        task_id: row.id("task_id").ok_or_else(unreadable)?,
        user_id: row.id("user_id").ok_or_else(unreadable)?,
        title: title(row.text("title").map(str::to_owned)),
        remind_at: row.time("remind_at"),
        due_date: row.time("due_date"),
    })
}

#[cfg(test)]
mod tests;
