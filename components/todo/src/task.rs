//! The data of a task's events.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Row, lenient, time};

/// What `com.todo.task.*` carries. Other fields are left alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskData {
    #[serde(deserialize_with = "lenient::id")]
    pub task_id: Option<String>,
    #[serde(deserialize_with = "lenient::id")]
    pub user_id: Option<String>,
    pub task: Option<Task>,
}

/// A task, as far as its producer tells.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Task {
    #[serde(deserialize_with = "lenient::id", skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(deserialize_with = "lenient::flag", skip_serializing_if = "Option::is_none")]
    pub completed: Option<bool>,
    #[serde(deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    #[serde(deserialize_with = "lenient::texts", skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    #[serde(deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    pub due_date: Option<String>,
    #[serde(deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    pub recurrence: Option<String>,
    #[serde(deserialize_with = "lenient::id", skip_serializing_if = "Option::is_none")]
    pub recurrence_id: Option<String>,
    #[serde(deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    #[serde(deserialize_with = "lenient::id", skip_serializing_if = "Option::is_none")]
    pub parent_task_id: Option<String>,
    #[serde(deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    pub reminder_at: Option<String>,
    #[serde(deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
}

impl Task {
    /// A row of `tasks`.
    pub fn of(row: &Row) -> Self {
        let text = |column| row.text(column).map(str::to_owned);
        Self {
            id: row.id("id"),
            title: text("title"),
            description: text("description"),
            completed: row.flag("completed"),
            priority: text("priority"),
            tags: row.text("tags").and_then(|tags| serde_json::from_str(tags).ok()),
            due_date: row.time("due_date").map(time::text),
            recurrence: text("recurrence"),
            recurrence_id: row.id("recurrence_id"),
            time_zone: text("time_zone"),
            parent_task_id: row.id("parent_task_id"),
            reminder_at: row.time("reminder_at").map(time::text),
            created_at: row.time("created_at").map(time::text),
        }
    }

    /// What this one does not tell is taken from another telling of the same task.
    pub fn or(self, other: Self) -> Self {
        Self {
            id: self.id.or(other.id),
            title: self.title.or(other.title),
            description: self.description.or(other.description),
            completed: self.completed.or(other.completed),
            priority: self.priority.or(other.priority),
            tags: self.tags.or(other.tags),
            due_date: self.due_date.or(other.due_date),
            recurrence: self.recurrence.or(other.recurrence),
            recurrence_id: self.recurrence_id.or(other.recurrence_id),
            time_zone: self.time_zone.or(other.time_zone),
            parent_task_id: self.parent_task_id.or(other.parent_task_id),
            reminder_at: self.reminder_at.or(other.reminder_at),
            created_at: self.created_at.or(other.created_at),
        }
    }

    /// None when there is no due date; an error names one that cannot be read.
    pub fn due(&self) -> Result<Option<DateTime<Utc>>, String> {
        instant("due_date", self.due_date.as_deref())
    }

    /// As [`due`](Self::due).
    pub fn remind(&self) -> Result<Option<DateTime<Utc>>, String> {
        instant("reminder_at", self.reminder_at.as_deref())
    }
}

/// The instant that a field gives, if it gives one.
pub fn instant(field: &str, text: Option<&str>) -> Result<Option<DateTime<Utc>>, String> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    match time::parse(text) {
        Some(at) => Ok(Some(at)),
        None => Err(format!("{field} `{text}` is not a time; write RFC 3339 with a zone")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_another_form_do_not_spoil_the_event() {
        let text = r#"{"task_id": 7, "user_id": null, "more": {"a": [1]}, "task": {
            "id": 7, "title": ["no"], "completed": 1, "tags": ["a", 2, null], "priority": {},
            "due_date": "2026-03-01T10:00:00Z", "colour": "green"}}"#;
        let data: TaskData = serde_json::from_str(text).unwrap();
        assert_eq!(data.task_id.as_deref(), Some("7"));
        assert_eq!(data.user_id, None);
        let task = data.task.unwrap();
        assert_eq!((task.title, task.priority, task.completed), (None, None, Some(true)));
        assert_eq!(task.tags, Some(vec!["a".to_owned(), "2".to_owned()]));
    }

    #[test]
    fn an_empty_id_is_none() {
        let text = r#"{"task_id": "", "user_id": "",
            "task": {"id": "", "parent_task_id": "", "recurrence_id": "", "title": ""}}"#;
        let data: TaskData = serde_json::from_str(text).unwrap();
        let task = Task { title: Some(String::new()), ..Task::default() };
        assert_eq!(data, TaskData { task: Some(task), ..TaskData::default() });
        let row = Row {
            columns: vec![
                ("id".into(), crate::Value::Text("t".into())),
                ("parent_task_id".into(), crate::Value::Text(String::new())),
            ],
        };
        assert_eq!(Task::of(&row).parent_task_id, None);
    }

    #[test]
    fn an_unreadable_time_is_named() {
        let task = Task { due_date: Some("tomorrow".into()), ..Task::default() };
        assert!(task.due().unwrap_err().contains("due_date `tomorrow`"));
        assert_eq!(Task::default().due(), Ok(None));
    }
}
