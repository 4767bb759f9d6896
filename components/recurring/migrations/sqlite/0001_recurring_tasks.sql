CREATE TABLE IF NOT EXISTS recurring_tasks (
    task_id       TEXT PRIMARY KEY,
    series        TEXT NOT NULL,
    recurrence_id TEXT,
    due_date      TEXT,
    deleted       BOOLEAN NOT NULL DEFAULT FALSE
);

CREATE INDEX IF NOT EXISTS recurring_tasks_series ON recurring_tasks (series);
