CREATE TABLE IF NOT EXISTS tasks (
    id             TEXT PRIMARY KEY,
    user_id        TEXT NOT NULL,
    title          TEXT,
    description    TEXT,
    completed      BOOLEAN NOT NULL DEFAULT FALSE,
    priority       TEXT,
    tags           JSONB,
    due_date       TIMESTAMPTZ,
    recurrence     TEXT,
    recurrence_id  TEXT,
    time_zone      TEXT,
    parent_task_id TEXT,
    reminder_at    TIMESTAMPTZ,
    created_at     TIMESTAMPTZ,
    updated_at     TIMESTAMPTZ
);

CREATE INDEX IF NOT EXISTS tasks_parent ON tasks (parent_task_id, due_date);

CREATE INDEX IF NOT EXISTS tasks_reminder ON tasks (reminder_at);

CREATE TABLE IF NOT EXISTS recurrence_rules (
    id        TEXT PRIMARY KEY,
    rule      TEXT NOT NULL,
    time_zone TEXT,
    user_id   TEXT
);
