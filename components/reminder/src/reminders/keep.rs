//! Stores a reminder, and schedules its job.

use chrono::{DateTime, Utc};
use todo::act::{self, Act, Read, When};
use todo::reminder::{Reminder, ReminderData};
use todo::task::TaskData;
use todo::{Event, Failure, Value, id, time};

use super::cancel::CANCELLED;
use super::is_deleted;
use super::kept::{Kept, Status, publish};
use crate::dialect::Dialect;

pub fn scheduled(
    event: &Event,
    dialect: &Dialect,
    now: DateTime<Utc>,
    read: &mut Read<'_>,
) -> Result<Vec<Act>, Failure> {
    let reminder = valid(act::data(event)?)?;
    if is_deleted(&reminder.task_id, read)? {
        let Reminder { id, task_id, .. } = &reminder;
        let text = format!("reminder `{id}` is not kept: its task `{task_id}` was deleted");
        return Ok(vec![Act::Warn(text), publish(CANCELLED, &reminder)?]);
    }
    keep(&reminder, event, dialect, now, read)
}

/// A task's own event sets its reminder, in the contracts where it does.
pub fn carried(
    data: TaskData,
    event: &Event,
    dialect: &Dialect,
    now: DateTime<Utc>,
    read: &mut Read<'_>,
) -> Result<Vec<Act>, Failure> {
    match of_task(data, dialect)? {
        Some(reminder) => keep(&reminder, event, dialect, now, read),
        None => Ok(Vec::new()),
    }
}

/// As [`carried`], but a change to a task that is done or gone does not bring its reminder back.
pub fn updated(
    data: TaskData,
    event: &Event,
    dialect: &Dialect,
    now: DateTime<Utc>,
    read: &mut Read<'_>,
) -> Result<Vec<Act>, Failure> {
    let done = data.task.as_ref().is_some_and(|task| task.completed == Some(true));
    let Some(reminder) = of_task(data, dialect)? else { return Ok(Vec::new()) };
    if done || is_deleted(&reminder.task_id, read)? {
        return Ok(Vec::new());
    }
    keep(&reminder, event, dialect, now, read)
}

fn of_task(data: TaskData, dialect: &Dialect) -> Result<Option<Reminder>, Failure> {
    let task = data.task.unwrap_or_default();
    let Some(remind_at) = task.reminder_at.filter(|_| dialect.tasks_carry_reminders) else {
        return Ok(None);
    };
    let reminder = ReminderData {
        reminder_id: None,
        task_id: data.task_id,
        user_id: data.user_id,
        title: task.title,
        remind_at: Some(remind_at),
        due_date: task.due_date,
    };
    valid(reminder).map(Some)
}

fn valid(data: ReminderData) -> Result<Reminder, Failure> {
    let reminder = Reminder::try_from(data).map_err(Failure::Reject)?;
    match reminder.remind_at {
        Some(_) => Ok(reminder),
        None => Err(Failure::Reject(format!("reminder `{}` has no remind_at", reminder.id))),
    }
}

fn keep(
    reminder: &Reminder,
    event: &Event,
    dialect: &Dialect,
    now: DateTime<Utc>,
    read: &mut Read<'_>,
) -> Result<Vec<Act>, Failure> {
    let kept = Kept::find(&reminder.id, read)?;
    if !kept.as_ref().is_none_or(|kept| is_news(kept, reminder, now)) {
        return Ok(Vec::new());
    }
    let job = (!dialect.ticks).then(|| id::job(&dialect.job_prefix, &reminder.id));
    let mut params = columns(reminder, job.as_deref(), Status::Scheduled, &event.contract);
    let mut acts = Vec::new();
    match kept {
        None => acts.push(Act::guarded("insert_reminder", params)),
        Some(kept) => {
            params.push(Value::Text(kept.status.as_str().to_owned()));
            params.push(Value::time(Some(kept.remind_at)));
            acts.push(Act::guarded("move_reminder", params));
            // The reminder came in another dialect before.
            acts.extend(kept.job_name.filter(|old| job.as_ref() != Some(old)).map(Act::cancel));
        }
    }
    if let (Some(name), Some(at)) = (job, reminder.remind_at) {
        acts.push(job_at(name, at, &reminder.id)?);
    }
    Ok(acts)
}

fn is_news(kept: &Kept, reminder: &Reminder, now: DateTime<Utc>) -> bool {
    let moved = reminder.remind_at != Some(kept.remind_at);
    moved || (kept.status == Status::Cancelled && kept.remind_at > now)
}

/// In the order of the statement `insert_reminder`.
pub fn columns(
    reminder: &Reminder,
    job: Option<&str>,
    status: Status,
    contract: &str,
) -> Vec<Value> {
    vec![
        Value::Text(reminder.id.clone()),
        Value::Text(reminder.task_id.clone()),
        Value::Text(reminder.user_id.clone()),
        Value::Text(reminder.title.clone()),
        Value::time(reminder.remind_at),
        Value::time(reminder.due_date),
        Value::text(job),
        Value::Text(status.as_str().to_owned()),
        Value::Text(contract.to_owned()),
    ]
}

/// The job that says that a reminder's time has come.
pub fn job_at(name: String, at: DateTime<Utc>, reminder_id: &str) -> Result<Act, Failure> {
    #[derive(serde::Serialize)]
    struct JobData<'a> {
        reminder_id: &'a str,
    }
    let data = act::json(&JobData { reminder_id })?;
    Ok(Act::schedule(name, When::At(time::text(at)), data))
}
