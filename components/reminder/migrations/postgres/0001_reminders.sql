CREATE TABLE IF NOT EXISTS reminders (
    reminder_id TEXT PRIMARY KEY,
    task_id     TEXT NOT NULL,
    user_id     TEXT NOT NULL,
    title       TEXT NOT NULL,
    remind_at   TIMESTAMPTZ NOT NULL,
    due_date    TIMESTAMPTZ,
    job_name    TEXT,
    status      TEXT NOT NULL,
    contract    TEXT NOT NULL
);

CREATE INDEX IF NOT EXISTS reminders_task ON reminders (task_id);

CREATE INDEX IF NOT EXISTS reminders_due ON reminders (contract, status, remind_at);

CREATE TABLE IF NOT EXISTS deleted_tasks (
    task_id    TEXT PRIMARY KEY,
    deleted_at TIMESTAMPTZ NOT NULL
);
