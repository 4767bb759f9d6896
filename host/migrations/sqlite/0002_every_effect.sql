-- Effects of every kind. SQLite changes a CHECK only with the whole table.
CREATE TABLE wharf_outbox_new (
    sequence        INTEGER PRIMARY KEY AUTOINCREMENT,
    lane            TEXT    NOT NULL,
    component       TEXT    NOT NULL,
    key             BLOB    NOT NULL,
    effect_index    INTEGER NOT NULL,
    kind            TEXT    NOT NULL CHECK (kind IN ('publish', 'state', 'schedule', 'cancel', 'invoke')),
    target          TEXT    NOT NULL,                   -- JSON: where it goes, and what, but for a publish's payload
    payload         BLOB    NOT NULL,
    status          TEXT    NOT NULL CHECK (status IN ('waiting', 'dead')),
    claim           INTEGER NOT NULL DEFAULT 0,
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER NOT NULL,
    since           INTEGER NOT NULL,
    error           TEXT
);
INSERT INTO wharf_outbox_new SELECT sequence, lane, component, key, effect_index, kind, target,
    payload, status, claim, attempts, next_attempt_at, since, error FROM wharf_outbox;
DROP TABLE wharf_outbox;
ALTER TABLE wharf_outbox_new RENAME TO wharf_outbox;

CREATE INDEX wharf_outbox_lane ON wharf_outbox (lane, sequence) WHERE status = 'waiting';
CREATE INDEX wharf_outbox_due ON wharf_outbox (next_attempt_at, sequence) WHERE status = 'waiting';
CREATE INDEX wharf_outbox_dead ON wharf_outbox (sequence) WHERE status = 'dead';
CREATE INDEX wharf_outbox_delivery ON wharf_outbox (component, key);
