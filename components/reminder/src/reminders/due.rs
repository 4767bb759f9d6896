//! A reminder's time has come: its job fires, or the tick finds it. It is due once, whatever
//! comes first.

use chrono::{DateTime, Duration, Utc};
use serde::Deserialize;
use todo::act::{self, Act, Read};
use todo::reminder::{Reminder, title};
use todo::{Event, Failure, Row, Value, lenient};

use super::keep::{columns, job_at};
use super::kept::{Kept, Status, publish};
use super::{cancel, is_deleted};
use crate::dialect::Dialect;

const DUE: &str = "com.todo.reminder.due.v1";

/// Rows of one tick; the `LIMIT` of the manifest's statements. What is left waits for the next.
const MOST: usize = 100;

#[derive(Deserialize)]
struct Fired {
    name: String,
    data: Option<Named>,
}

/// Jobs of others name the task.
#[derive(Deserialize)]
struct Named {
    #[serde(default, deserialize_with = "lenient::id")]
    reminder_id: Option<String>,
    #[serde(default, deserialize_with = "lenient::id")]
    task_id: Option<String>,
}

pub fn fired(event: &Event, now: DateTime<Utc>, read: &mut Read<'_>) -> Result<Vec<Act>, Failure> {
    let Fired { name, data } = act::data(event)?;
    let named = data.and_then(|data| data.reminder_id.or(data.task_id));
    let id = named.ok_or_else(|| {
        Failure::Reject(format!("job `{name}` names no reminder; give its data a reminder_id"))
    })?;
    let kept = Kept::find(&id, read)?
        .ok_or_else(|| Failure::Reject(format!("unknown reminder `{id}`")))?;
    match (kept.status, kept.job_name.clone()) {
        (Status::Due | Status::Cancelled, _) => Ok(Vec::new()),
        (Status::Scheduled, _) if is_deleted(&kept.reminder.task_id, read)? => {
            cancel::one(&kept.reminder)
        }
        // It was moved to a later time after this firing was on its way.
        (Status::Scheduled, job) if kept.remind_at > now + Duration::seconds(1) => {
            job.map(|job| job_at(job, kept.remind_at, &id)).into_iter().collect()
        }
        (Status::Scheduled, _) => due(&kept).map(Vec::from),
    }
}

fn due(kept: &Kept) -> Result<[Act; 2], Failure> {
    let guard = vec![Value::Text(kept.reminder.id.clone()), Value::time(Some(kept.remind_at))];
    Ok([Act::guarded("set_due", guard), publish(DUE, &kept.reminder)?])
}

/// The reminders of the tick's contract, and the tasks that ask for one and have none. A row that
/// cannot be read or told does not keep the others from being due.
pub fn ticked(
    event: &Event,
    dialect: &Dialect,
    now: DateTime<Utc>,
    read: &mut Read<'_>,
) -> Result<Vec<Act>, Failure> {
    let contract = Value::Text(event.contract.clone());
    let now = Value::time(Some(now));
    let reminders = read("due_reminders", &[contract, now.clone()])?;
    let tasks = read("due_tasks", &[now])?;
    let mut acts = Vec::new();
    for row in &reminders {
        match Kept::of(row).ok().filter(|kept| dialect.can_name(&kept.reminder)) {
            Some(kept) => acts.extend(due(&kept)?),
            None => acts.push(left_out("reminders", row.id("reminder_id"))),
        }
    }
    for row in &tasks {
        let Some(reminder) = of_task(row).filter(|reminder| dialect.can_name(reminder)) else {
            acts.push(left_out("tasks", row.id("id")));
            continue;
        };
        let params = columns(&reminder, None, Status::Due, &event.contract);
        acts.push(Act::guarded("insert_reminder", params));
        acts.push(publish(DUE, &reminder)?);
    }
    if reminders.len() >= MOST || tasks.len() >= MOST {
        acts.push(Act::Warn(format!("more than {MOST} are due; the rest waits for the next tick")));
    }
    Ok(acts)
}

fn left_out(table: &str, id: Option<String>) -> Act {
    let id = id.unwrap_or_default();
    Act::Warn(format!(
        "row `{id}` of {table} is left out: its ids, times or status are none of this contract"
    ))
}

fn of_task(row: &Row) -> Option<Reminder> {
    Some(Reminder {
        id: row.id("id")?,
        task_id: row.id("id")?,
        user_id: row.id("user_id")?,
        title: title(row.text("title").map(str::to_owned)),
        remind_at: Some(row.time("reminder_at")?),
        due_date: row.time("due_date"),
    })
}
