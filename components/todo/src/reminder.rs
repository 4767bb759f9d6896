//! The data of a reminder's events.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::task::instant;
use crate::{lenient, time};

/// What `com.todo.reminder.*` carries, as it comes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ReminderData {
    #[serde(deserialize_with = "lenient::id")]
    pub reminder_id: Option<String>,
    #[serde(deserialize_with = "lenient::id")]
    pub task_id: Option<String>,
    #[serde(deserialize_with = "lenient::id")]
    pub user_id: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub title: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub remind_at: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub due_date: Option<String>,
}

/// A reminder that can be kept: it says whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reminder {
    pub id: String,
    pub task_id: String,
    pub user_id: String,
    pub title: String,
    pub remind_at: Option<DateTime<Utc>>,
    pub due_date: Option<DateTime<Utc>>,
}

/// The title of a reminder that has none.
pub const TITLE: &str = "Reminder";

impl TryFrom<ReminderData> for Reminder {
    type Error = String;

    fn try_from(data: ReminderData) -> Result<Self, String> {
        let missing = |field: &str| format!("the reminder has no {field}");
        let task_id = data.task_id.ok_or_else(|| missing("task_id"))?;
        Ok(Self {
            id: data.reminder_id.unwrap_or_else(|| task_id.clone()),
            task_id,
            user_id: data.user_id.ok_or_else(|| missing("user_id"))?,
            title: title(data.title),
            remind_at: instant("remind_at", data.remind_at.as_deref())?,
            due_date: instant("due_date", data.due_date.as_deref())?,
        })
    }
}

/// The title, or that of a reminder that has none.
pub fn title(title: Option<String>) -> String {
    title.filter(|title| !title.is_empty()).unwrap_or_else(|| TITLE.to_owned())
}

/// What the components publish.
#[derive(Serialize)]
struct Published<'a> {
    reminder_id: &'a str,
    task_id: &'a str,
    user_id: &'a str,
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    remind_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl Reminder {
    /// Data of an event about it.
    pub fn data(&self) -> Result<String, crate::Failure> {
        crate::act::json(&self.published())
    }

    /// Data of the event that it failed.
    pub fn failed(&self, reason: &str) -> Result<String, crate::Failure> {
        crate::act::json(&Published { reason: Some(reason), ..self.published() })
    }

    /// What is sent to the person.
    pub fn sent(&self, text: &str) -> Result<String, crate::Failure> {
        crate::act::json(&Published { text: Some(text), ..self.published() })
    }

    fn published(&self) -> Published<'_> {
        Published {
            reminder_id: &self.id,
            task_id: &self.task_id,
            user_id: &self.user_id,
            title: &self.title,
            remind_at: self.remind_at.map(time::text),
            due_date: self.due_date.map(time::text),
            text: None,
            reason: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reminder_falls_back_to_its_task() {
        let data: ReminderData = serde_json::from_str(
            r#"{"reminder_id": "", "task_id": 4, "user_id": "u", "title": ""}"#,
        )
        .unwrap();
        let reminder = Reminder::try_from(data).unwrap();
        assert_eq!((reminder.id.as_str(), reminder.title.as_str()), ("4", "Reminder"));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, name) in [
            (r#"{"user_id": "u"}"#, "no task_id"),
            (r#"{"task_id": "t", "user_id": ""}"#, "no user_id"),
            (r#"{"task_id": "t", "user_id": "u", "remind_at": "soon"}"#, "remind_at `soon`"),
        ] {
            let data: ReminderData = serde_json::from_str(text).unwrap();
            let error = Reminder::try_from(data).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }
}
