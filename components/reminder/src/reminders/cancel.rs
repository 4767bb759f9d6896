//! A task that is done or gone needs no reminding.

use todo::act::{Act, Read};
use todo::reminder::Reminder;
use todo::task::TaskData;
use todo::{Failure, Value};

use super::kept::{Kept, publish, unreadable};

pub const CANCELLED: &str = "com.todo.reminder.cancelled.v1";

/// Reminders of one task; the `LIMIT` of the manifest's statement. Each makes two effects.
const MOST: usize = 200;

/// All of the task's rows are cancelled, whatever they hold.
pub fn of_task(data: &TaskData, read: &mut Read<'_>) -> Result<Vec<Act>, Failure> {
    let Some(task_id) = &data.task_id else {
        return Err(Failure::Reject("the task has no task_id".into()));
    };
    let task_id = Value::Text(task_id.clone());
    let rows = read("task_reminders", std::slice::from_ref(&task_id))?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let all = (rows.len() < MOST).then_some(rows.len() as u64);
    let mut acts =
        vec![Act::Execute { statement: "cancel_task", params: vec![task_id], expect: all }];
    for row in &rows {
        match Kept::of(row) {
            Ok(kept) => {
                acts.extend(kept.job_name.map(Act::cancel));
                acts.push(publish(CANCELLED, &kept.reminder)?);
            }
            Err(_) => acts.push(Act::Warn(unreadable("reminders", row.id("reminder_id")))),
        }
    }
    if all.is_none() {
        let text = format!("more than {MOST} reminders of one task; the rest is cancelled unsaid");
        acts.push(Act::Warn(text));
    }
    Ok(acts)
}

/// A reminder that was kept while its task was deleted.
pub fn one(reminder: &Reminder) -> Result<Vec<Act>, Failure> {
    let id = Value::Text(reminder.id.clone());
    Ok(vec![Act::guarded("set_cancelled", vec![id]), publish(CANCELLED, reminder)?])
}
