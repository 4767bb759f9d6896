//! How the contracts differ in what reminds: `[config]` of the manifest says it.

use todo::id;
use todo::reminder::Reminder;

/// How reminders come and go in one contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialect {
    /// A task's own events set its reminder, by `reminder_at`.
    pub tasks_carry_reminders: bool,
    /// A cron tick finds what is due; there are no jobs.
    pub ticks: bool,
    /// Task ids are integers on its topics; an event with another id could not be published.
    pub integer_ids: bool,
    /// What job names begin with.
    pub job_prefix: String,
}

impl Dialect {
    /// `config` has `tasks_carry_reminders`, `tick` and `integer_ids`, each a list of contracts separated by
    /// commas, and `job_prefix.<contract>` where it is another one than `reminder-`.
    pub fn of(contract: &str, config: &[(String, String)]) -> Self {
        let value = |key: &str| config.iter().find(|(other, _)| other == key).map(|(_, text)| text);
        let lists = |key| {
            value(key).is_some_and(|list| list.split(',').any(|name| name.trim() == contract))
        };
        let prefix = value(&format!("job_prefix.{contract}"));
        Self {
            tasks_carry_reminders: lists("tasks_carry_reminders"),
            ticks: lists("tick"),
            integer_ids: lists("integer_ids"),
            job_prefix: prefix
                .map_or_else(|| "reminder-".to_owned(), |prefix| prefix.trim().to_owned()),
        }
    }

    /// Whether an event about the reminder can be published.
    pub fn can_name(&self, reminder: &Reminder) -> bool {
        !self.integer_ids || id::is_integer(&reminder.task_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contract_that_is_not_named_is_plain() {
        let config = [
            ("job_prefix.task-event", "reminder-task-"),
            ("tasks_carry_reminders", "task-event, pascal"),
            ("tick", "pascal"),
            ("integer_ids", "pascal"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
        for (contract, carries, ticks, prefix) in [
            ("cloudevents", false, false, "reminder-"),
            ("task-event", true, false, "reminder-task-"),
            ("pascal", true, true, "reminder-"),
            ("pasc", false, false, "reminder-"),
        ] {
            let dialect = Dialect {
                tasks_carry_reminders: carries,
                ticks,
                integer_ids: ticks,
                job_prefix: prefix.to_owned(),
            };
            assert_eq!(Dialect::of(contract, &config), dialect, "{contract}");
        }
        assert!(!Dialect::of("pascal", &[]).ticks);
    }
}
