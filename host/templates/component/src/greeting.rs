//! What is said about a new task. Pure, so that it is tested without a sandbox.

use serde::Deserialize;

/// The data of a `com.todo.task.created.v1`, as far as it matters here.
#[derive(Deserialize)]
struct Created {
    task_id: String,
    task: Option<Task>,
}

#[derive(Deserialize)]
struct Task {
    title: Option<String>,
}

/// The greeting for a task that was created.
pub fn of(data: &str) -> Result<String, serde_json::Error> {
    let Created { task_id, task } = serde_json::from_str(data)?;
    let title = task.and_then(|task| task.title).unwrap_or(task_id);
    Ok(format!("hello, {title}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_greeted_by_its_title() {
        let data = r#"{ "task_id": "t-1", "task": { "title": "Water the plants" } }"#;
        assert_eq!(of(data).unwrap(), "hello, Water the plants");
    }

    #[test]
    fn a_task_without_a_title_is_greeted_by_its_id() {
        assert_eq!(of(r#"{ "task_id": "t-1" }"#).unwrap(), "hello, t-1");
    }
}
