//! What an event means for the reminders that are kept. Pure, so that it is tested without a
//! sandbox.

mod cancel;
mod due;
mod keep;
mod kept;

use chrono::{DateTime, Utc};
use todo::act::{self, Act, Read};
use todo::task::TaskData;
use todo::{Event, Failure, Value};

use crate::dialect::Dialect;

/// What the event asks for, after reading what is there.
pub fn decide(
    event: &Event,
    dialect: &Dialect,
    now: DateTime<Utc>,
    read: &mut Read<'_>,
) -> Result<Vec<Act>, Failure> {
    match event.ty.as_str() {
        "com.todo.reminder.scheduled.v1" => keep::scheduled(event, dialect, now, read),
        "com.todo.task.created.v1" | "com.todo.task.uncompleted.v1" => {
            let data: TaskData = act::data(event)?;
            let mut acts = alive(&data, read)?;
            acts.extend(keep::carried(data, event, dialect, now, read)?);
            Ok(acts)
        }
        "com.todo.task.updated.v1" => keep::updated(act::data(event)?, event, dialect, now, read),
        "com.todo.task.completed.v1" => cancel::of_task(&act::data(event)?, read),
        "com.todo.task.deleted.v1" => {
            let data: TaskData = act::data(event)?;
            let mut acts = cancel::of_task(&data, read)?;
            let deleted = vec![Value::text(data.task_id.as_deref()), Value::time(Some(now))];
            acts.push(Act::unguarded("mark_deleted", deleted));
            Ok(acts)
        }
        "com.wharf.job.fired.v1" => due::fired(event, now, read),
        "com.wharf.binding.ticked.v1" if dialect.ticks => due::ticked(event, dialect, now, read),
        _ => Ok(Vec::new()),
    }
}

/// A task that is there again may be reminded of again.
fn alive(data: &TaskData, read: &mut Read<'_>) -> Result<Vec<Act>, Failure> {
    let task_id = [Value::text(data.task_id.as_deref())];
    if read("deleted", &task_id)?.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![Act::unguarded("unmark_deleted", task_id.into())])
}

fn is_deleted(task_id: &str, read: &mut Read<'_>) -> Result<bool, Failure> {
    Ok(!read("deleted", &[Value::Text(task_id.to_owned())])?.is_empty())
}

#[cfg(test)]
mod tests;
