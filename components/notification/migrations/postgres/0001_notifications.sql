CREATE TABLE IF NOT EXISTS notifications (
    reminder_id TEXT NOT NULL,
    remind_at   TIMESTAMPTZ NOT NULL,
    task_id     TEXT NOT NULL,
    user_id     TEXT NOT NULL,
    title       TEXT NOT NULL,
    due_date    TIMESTAMPTZ,
    binding     TEXT NOT NULL,
    effect_id   TEXT NOT NULL,
    status      TEXT NOT NULL,
    error       TEXT,
    updated_at  TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (reminder_id, remind_at)
);

CREATE UNIQUE INDEX IF NOT EXISTS notifications_effect ON notifications (effect_id);
