//! A task that is done or gone needs no reminding.

use todo::act::{Act, Read};
use todo::task::TaskData;
use todo::{Failure, Value};

use super::kept::{Kept, publish};

pub const CANCELLED: &str = "com.todo.reminder.cancelled.v1";

pub fn of_task(data: &TaskData, read: &mut Read<'_>) -> Result<Vec<Act>, Failure> {
    let Some(task_id) = &data.task_id else {
        return Err(Failure::Reject("the task has no task_id".into()));
    };
    let mut acts = Vec::new();
    for row in read("task_reminders", &[Value::Text(task_id.clone())])? {
        let kept = Kept::of(&row)?;
        acts.push(Act::guarded("set_cancelled", vec![Value::Text(kept.reminder.id.clone())]));
        acts.extend(kept.job_name.map(Act::cancel));
        acts.push(publish(CANCELLED, &kept.reminder)?);
    }
    Ok(acts)
}
