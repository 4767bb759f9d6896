//! What an event means for a series of tasks: which occurrence comes next, and whether it is there
//! already. Pure, so that it is tested without a sandbox.

mod known;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use todo::act::{self, Act, Read, When};
use todo::recurrence::{Series, Upcoming};
use todo::task::{Task, TaskData, instant};
use todo::{Event, Failure, Row, Value, id, lenient, time};

use self::known::{Known, Occurrence, kept};

const COMPLETED: &str = "com.todo.task.completed.v1";
const DELETED: &str = "com.todo.task.deleted.v1";
const CREATED: &str = "com.todo.task.created.v1";
const GENERATED: &str = "com.todo.recurring.generated.v1";
const FIRED: &str = "com.wharf.job.fired.v1";

/// The source of what this component publishes.
const OURSELVES: &str = "wharf/recurring";

/// What the event asks for, after reading what is there.
pub fn decide(event: &Event, now: DateTime<Utc>, read: &mut Read<'_>) -> Result<Vec<Act>, Failure> {
    match event.ty.as_str() {
        COMPLETED => completed(event, now, read),
        DELETED => deleted(event, read),
        GENERATED if event.source != OURSELVES => generated(event, now, read),
        FIRED => fired(event, now, read),
        _ => Ok(Vec::new()),
    }
}

/// A completed task of a series. It is also what a job keeps, to find or make what follows it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Done {
    #[serde(deserialize_with = "lenient::id")]
    task_id: Option<String>,
    #[serde(deserialize_with = "lenient::id")]
    user_id: Option<String>,
    task: Task,
    /// RFC 3339; a task without a due date is followed from here.
    at: String,
    /// Jobs of others name the rule here, and give no task.
    #[serde(deserialize_with = "lenient::id", skip_serializing)]
    recurrence_rule_id: Option<String>,
}

/// What became of the occurrence after a task.
enum Followed {
    /// It is there, or is made now.
    Yes,
    /// The series has no more, or the one that would follow was deleted.
    Ended,
    /// The rule is not in the table.
    NoRule(String),
}

fn completed(event: &Event, now: DateTime<Utc>, read: &mut Read<'_>) -> Result<Vec<Act>, Failure> {
    let TaskData { task_id, user_id, task } = act::data(event)?;
    let told = task.unwrap_or_default();
    if !recurs(&told) {
        return Ok(Vec::new());
    }
    let row = read("task", &[Value::text(task_id.as_deref())])?.into_iter().next();
    let user_id = user_id.or_else(|| row.as_ref()?.id("user_id"));
    // The rule is the event's; what else it does not tell, the table does.
    let (recurrence, recurrence_id) = (told.recurrence.clone(), told.recurrence_id.clone());
    let whole = told.or(row.as_ref().map(Task::of).unwrap_or_default());
    let task = Task { recurrence, recurrence_id, completed: Some(true), ..whole };
    let done = Done { task_id, user_id, task, at: event.time.clone(), recurrence_rule_id: None };
    let mut acts = Vec::new();
    let followed = follow(&done, Asked::ByEvent, now, read, &mut acts)?;
    let job = done.task.recurrence_id.as_deref().map(|rule_id| id::job("recurring-", rule_id));
    match (followed, job) {
        // It may be written in a moment.
        (Followed::NoRule(rule_id), _) => {
            let text = format!("recurrence rule `{rule_id}` is not in recurrence_rules");
            return Err(Failure::Retry(text));
        }
        (Followed::Yes, Some(name)) => {
            acts.push(Act::schedule(name, When::Every("@every 24h"), act::json(&done)?));
        }
        (Followed::Ended, Some(name)) => acts.push(Act::cancel(name)),
        (Followed::Yes | Followed::Ended, None) => {}
    }
    Ok(acts)
}

fn recurs(task: &Task) -> bool {
    match task.recurrence.as_deref().map(str::trim) {
        Some(rule) if !rule.is_empty() => !rule.eq_ignore_ascii_case("none"),
        _ => task.recurrence_id.is_some(),
    }
}

/// Who asks what follows a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Someone did the task, whatever was said of it before.
    ByEvent,
    /// Only what is missing is made; nothing follows a task that was deleted.
    ByJob,
}

/// Adds what makes the occurrence after this one, unless it is there.
fn follow(
    done: &Done,
    asked: Asked,
    now: DateTime<Utc>,
    read: &mut Read<'_>,
    acts: &mut Vec<Act>,
) -> Result<Followed, Failure> {
    let task_id = required("task_id", done.task_id.as_deref())?;
    let user_id = required("user_id", done.user_id.as_deref())?;
    let (rule, zone) = match rule(&done.task, read)? {
        Found::Rule(rule, zone) => (rule, zone),
        Found::None => return Ok(Followed::Ended),
        Found::Missing(rule_id) => return Ok(Followed::NoRule(rule_id)),
    };
    let series = done.task.parent_task_id.as_deref().unwrap_or(task_id);
    let known = Known::read(series, task_id, read)?;
    if known.deleted && asked == Asked::ByJob {
        return Ok(Followed::Ended);
    }
    let due = done.task.due().map_err(Failure::Reject)?;
    if due.is_none() && known.open {
        // Followed from the time of an event, it would be followed again by the next event.
        return Ok(Followed::Yes);
    }
    let from = match due {
        Some(due) => due,
        None => instant("time", Some(&done.at)).map_err(Failure::Reject)?.unwrap_or(now),
    };
    let first = if series == task_id { due } else { known.first };
    let after = Series { rule: &rule, zone: zone.as_deref(), first, made: known.made }.after(from);
    let Some(upcoming) = after.map_err(Failure::Reject)? else { return Ok(Followed::Ended) };
    let new_id = id::occurrence(series, upcoming.next);
    match Occurrence::read(&new_id, read)? {
        Occurrence::Deleted => return Ok(Followed::Ended),
        Occurrence::There => return Ok(Followed::Yes),
        Occurrence::Missing => {}
    }
    let next = Task {
        id: Some(new_id),
        completed: Some(false),
        due_date: Some(time::text(upcoming.next)),
        parent_task_id: Some(series.to_owned()),
        created_at: Some(time::text(now)),
        time_zone: zone,
        reminder_at: None,
        title: Some(title(done.task.title.clone())),
        ..done.task.clone()
    };
    let alone = due.is_none().then_some(task_id);
    let rule_id = done.task.recurrence_id.as_deref();
    if alone.is_some() && series != task_id {
        // Another task of the series may be done at this very moment.
        acts.push(Act::unguarded("hold_task", kept(series, series, rule_id, known.first)));
    }
    if alone.is_some() || (series == task_id && !known.kept) {
        let statement = if alone.is_some() { "hold_task" } else { "keep_task" };
        acts.push(Act::unguarded(statement, kept(task_id, series, rule_id, Some(from))));
    }
    make(next, user_id, alone, upcoming, acts)?;
    Ok(Followed::Yes)
}

enum Found {
    /// The rule, and the zone it is meant in.
    Rule(String, Option<String>),
    None,
    Missing(String),
}

fn rule(task: &Task, read: &mut Read<'_>) -> Result<Found, Failure> {
    if !recurs(task) {
        return Ok(Found::None);
    }
    let zone = task.time_zone.clone().filter(|zone| !zone.is_empty());
    if let Some(rule) = task.recurrence.clone().filter(|rule| !rule.trim().is_empty()) {
        return Ok(Found::Rule(rule, zone));
    }
    let Some(rule_id) = task.recurrence_id.clone() else { return Ok(Found::None) };
    let rows = read("rule", &[Value::Text(rule_id.clone())])?;
    let row = rows.first();
    let Some(text) = row.and_then(|row| row.text("rule")) else {
        return Ok(Found::Missing(rule_id));
    };
    let zone = zone.or_else(|| row?.text("time_zone").map(str::to_owned));
    Ok(Found::Rule(text.to_owned(), zone))
}

/// `alone` is a task without a due date: nothing else may follow its series meanwhile.
fn make(
    next: Task,
    user_id: &str,
    alone: Option<&str>,
    upcoming: Upcoming,
    acts: &mut Vec<Act>,
) -> Result<(), Failure> {
    let subject = next.id.clone().unwrap_or_default();
    let mut params = columns(&next, user_id)?;
    match alone {
        Some(task_id) => {
            params.push(Value::Text(task_id.to_owned()));
            acts.push(Act::guarded("insert_alone", params));
        }
        None => acts.push(Act::guarded("insert_task", params)),
    }
    let series = next.parent_task_id.as_deref().unwrap_or_default();
    let row = kept(&subject, series, next.recurrence_id.as_deref(), Some(upcoming.next));
    acts.push(Act::unguarded("keep_task", row));
    let generated = Generated {
        task_id: next.id.clone(),
        user_id: Some(user_id.to_owned()),
        parent_task_id: next.parent_task_id.clone(),
        title: next.title.clone(),
        due_date: next.due_date.clone(),
        next_at: upcoming.then.map(time::text),
    };
    let user_id = Some(user_id.to_owned());
    let created = TaskData { task_id: next.id.clone(), user_id, task: Some(next) };
    let data = act::json(&created)?;
    acts.push(Act::Publish { ty: CREATED, subject: subject.clone(), data });
    acts.push(Act::Publish { ty: GENERATED, subject, data: act::json(&generated)? });
    Ok(())
}

/// In the order of the statement `insert_task`.
fn columns(task: &Task, user_id: &str) -> Result<Vec<Value>, Failure> {
    let text = |text: &Option<String>| Value::text(text.as_deref());
    let time = |time: &Option<String>| time.clone().map_or(Value::Null, Value::Timestamp);
    let tags = match &task.tags {
        Some(tags) => Value::Json(act::json(tags)?),
        None => Value::Null,
    };
    Ok(vec![
        text(&task.id),
        Value::Text(user_id.to_owned()),
        text(&task.title),
        text(&task.description),
        text(&task.priority),
        tags,
        time(&task.due_date),
        text(&task.recurrence),
        text(&task.recurrence_id),
        text(&task.time_zone),
        text(&task.parent_task_id),
        time(&task.created_at),
    ])
}

fn title(title: Option<String>) -> String {
    title.filter(|title| !title.is_empty()).unwrap_or_else(|| "Recurring task".to_owned())
}

/// A deleted task stays deleted: its rule's job has nothing more to do, and one that fires all the
/// same makes nothing.
fn deleted(event: &Event, read: &mut Read<'_>) -> Result<Vec<Act>, Failure> {
    let TaskData { task_id, task, .. } = act::data(event)?;
    let Some(task_id) = task_id else {
        return Err(Failure::Reject("the task has no task_id".into()));
    };
    let task = task.unwrap_or_default();
    let rows = read("deleted", &[Value::Text(task_id.clone())])?;
    let found = |column| rows.first().and_then(|row| row.id(column));
    let rule_id = task.recurrence_id.clone().or_else(|| found("recurrence_id"));
    let series = task.parent_task_id.clone().or_else(|| found("series"));
    if series.is_none() && rule_id.is_none() && !recurs(&task) {
        return Ok(Vec::new());
    }
    let series = series.as_deref().unwrap_or(&task_id);
    let row = kept(&task_id, series, rule_id.as_deref(), None);
    let mut acts = vec![Act::unguarded("mark_deleted", row)];
    acts.extend(rule_id.map(|rule_id| Act::cancel(id::job("recurring-", &rule_id))));
    Ok(acts)
}

/// The data of `com.todo.recurring.generated.v1`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Generated {
    #[serde(deserialize_with = "lenient::id")]
    task_id: Option<String>,
    #[serde(deserialize_with = "lenient::id")]
    user_id: Option<String>,
    #[serde(deserialize_with = "lenient::id")]
    parent_task_id: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    title: Option<String>,
    #[serde(deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    due_date: Option<String>,
    #[serde(deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    next_at: Option<String>,
}

/// Someone else made an occurrence: it is kept, and what follows it is watched for.
fn generated(event: &Event, now: DateTime<Utc>, read: &mut Read<'_>) -> Result<Vec<Act>, Failure> {
    let spawned: Generated = act::data(event)?;
    let task_id = required("task_id", spawned.task_id.as_deref())?;
    let user_id = required("user_id", spawned.user_id.as_deref())?;
    let parent = required("parent_task_id", spawned.parent_task_id.as_deref())?;
    let due = instant("due_date", spawned.due_date.as_deref()).map_err(Failure::Reject)?;
    let next_at = instant("next_at", spawned.next_at.as_deref()).map_err(Failure::Reject)?;
    let rows = read("task", &[Value::Text(parent.to_owned())])?;
    let like = rows.first().map(Task::of).unwrap_or_default();
    let task = Task {
        id: Some(task_id.to_owned()),
        title: Some(title(spawned.title.clone().or(like.title))),
        completed: Some(false),
        due_date: due.map(time::text),
        parent_task_id: Some(parent.to_owned()),
        reminder_at: None,
        created_at: Some(time::text(now)),
        ..like
    };
    let row = kept(task_id, parent, task.recurrence_id.as_deref(), due);
    let mut acts = vec![
        Act::unguarded("insert_task", columns(&task, user_id)?),
        Act::unguarded("keep_task", row),
    ];
    if let Some(next_at) = next_at {
        let when = When::At(time::text(next_at));
        let (task_id, user_id) = (Some(task_id.to_owned()), Some(user_id.to_owned()));
        let data = act::json(&Done {
            task_id,
            user_id,
            task,
            at: event.time.clone(),
            recurrence_rule_id: None,
        })?;
        acts.push(Act::schedule(id::job("recurring-", parent), when, data));
    }
    Ok(acts)
}

#[derive(Deserialize)]
struct Fired {
    name: String,
    data: Option<Done>,
}

/// Makes an occurrence that is missing: the newest task of the series is done, and none follows.
fn fired(event: &Event, now: DateTime<Utc>, read: &mut Read<'_>) -> Result<Vec<Act>, Failure> {
    let Fired { name, data } = act::data(event)?;
    let mut kept = data.filter(|kept| kept.task_id.is_some()).ok_or_else(|| {
        let remedy = "cancel it, or give it the task_id, user_id and task of its series";
        Failure::Reject(format!("job `{name}` carries no task; {remedy}"))
    })?;
    let rule_id = kept.recurrence_rule_id.take();
    kept.task.recurrence_id = kept.task.recurrence_id.or(rule_id);
    let series = kept.task.parent_task_id.clone().or_else(|| kept.task_id.clone());
    let rows = read("newest", &[Value::text(series.as_deref())])?;
    let newest = match rows.first() {
        Some(row) => newest(row, kept),
        None => kept,
    };
    if newest.task.completed != Some(true) {
        return Ok(Vec::new());
    }
    let mut acts = Vec::new();
    match follow(&newest, Asked::ByJob, now, read, &mut acts)? {
        Followed::Yes => Ok(acts),
        // Whoever writes the rule again completes a task again.
        Followed::Ended | Followed::NoRule(_) => Ok(vec![Act::cancel(name)]),
    }
}

/// The table's word goes; how the series recurs may be in the job only.
fn newest(row: &Row, kept: Done) -> Done {
    let task = Task::of(row);
    let said = recurs(&task) || task.recurrence.is_some();
    let (recurrence, recurrence_id) = match said {
        true => (task.recurrence.clone(), task.recurrence_id.clone()),
        false => (kept.task.recurrence, kept.task.recurrence_id),
    };
    let time_zone = task.time_zone.clone().or(kept.task.time_zone);
    Done {
        task_id: row.id("id"),
        user_id: row.id("user_id").or(kept.user_id),
        task: Task { recurrence, recurrence_id, time_zone, ..task },
        at: kept.at,
        recurrence_rule_id: None,
    }
}

fn required<'a>(field: &str, text: Option<&'a str>) -> Result<&'a str, Failure> {
    text.filter(|text| !text.is_empty())
        .ok_or_else(|| Failure::Reject(format!("the task has no {field}")))
}

#[cfg(test)]
mod tests;
