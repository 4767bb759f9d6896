CREATE TABLE IF NOT EXISTS tasks (
    id             TEXT PRIMARY KEY,
    user_id        TEXT NOT NULL,
    title          TEXT,
    description    TEXT,
    completed      BOOLEAN NOT NULL DEFAULT FALSE,
    priority       TEXT,
    tags           TEXT,
    due_date       TEXT,
    recurrence     TEXT,
    recurrence_id  TEXT,
    time_zone      TEXT,
    parent_task_id TEXT,
    reminder_at    TEXT,
    created_at     TEXT,
    updated_at     TEXT
);

CREATE INDEX IF NOT EXISTS tasks_parent ON tasks (parent_task_id, due_date);

CREATE INDEX IF NOT EXISTS tasks_reminder ON tasks (reminder_at);

CREATE TABLE IF NOT EXISTS recurrence_rules (
    id        TEXT PRIMARY KEY,
    rule      TEXT NOT NULL,
    time_zone TEXT,
    user_id   TEXT
);
