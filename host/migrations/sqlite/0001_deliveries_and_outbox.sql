-- One row for each event that a component was given: the inbox, and what is parked or dead.
-- Times are microseconds since 1970, UTC.
CREATE TABLE wharf_deliveries (
    sequence        INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of entry
    component       TEXT    NOT NULL,
    key             BLOB    NOT NULL CHECK (length(key) = 16),
    status          TEXT    NOT NULL CHECK (status IN ('done', 'parked', 'dead', 'discarded')),
    claim           INTEGER NOT NULL DEFAULT 0,         -- a fence: it only grows
    attempts        INTEGER NOT NULL,
    next_attempt_at INTEGER CHECK ((next_attempt_at IS NOT NULL) = (status = 'parked')),
    subject         TEXT,
    ordered         INTEGER NOT NULL CHECK (ordered IN (0, 1)),
    contract        TEXT,
    pubsub          TEXT,
    topic           TEXT,
    digest          TEXT    NOT NULL,
    event_id        TEXT    NOT NULL,
    event_type      TEXT    NOT NULL,
    received_at     INTEGER NOT NULL,
    -- Only while parked or dead; a done row stays small.
    wire            BLOB,
    arrival         TEXT,
    error           TEXT,
    log             TEXT,
    UNIQUE (component, key)
);

-- Parked rows are few, so that seeing whether a subject has one costs next to nothing.
CREATE INDEX wharf_deliveries_turn ON wharf_deliveries (component, subject, sequence)
    WHERE status = 'parked' AND ordered = 1;
CREATE INDEX wharf_deliveries_due ON wharf_deliveries (next_attempt_at, sequence)
    WHERE status = 'parked';
CREATE INDEX wharf_deliveries_failed ON wharf_deliveries (status, component, sequence)
    WHERE status IN ('parked', 'dead', 'discarded');

-- Effects that are committed and not performed; a performed one has no row.
CREATE TABLE wharf_outbox (
    sequence        INTEGER PRIMARY KEY AUTOINCREMENT,
    lane            TEXT    NOT NULL,
    component       TEXT    NOT NULL,
    key             BLOB    NOT NULL,
    effect_index    INTEGER NOT NULL,
    kind            TEXT    NOT NULL CHECK (kind IN ('publish')),
    target          TEXT    NOT NULL,                   -- JSON: pubsub, topic, id and so on
    payload         BLOB    NOT NULL,
    status          TEXT    NOT NULL CHECK (status IN ('waiting', 'dead')),
    claim           INTEGER NOT NULL DEFAULT 0,
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER NOT NULL,
    since           INTEGER NOT NULL,                   -- when the causing event came in
    error           TEXT
);

CREATE INDEX wharf_outbox_lane ON wharf_outbox (lane, sequence) WHERE status = 'waiting';
CREATE INDEX wharf_outbox_due ON wharf_outbox (next_attempt_at, sequence) WHERE status = 'waiting';
CREATE INDEX wharf_outbox_dead ON wharf_outbox (sequence) WHERE status = 'dead';
CREATE INDEX wharf_outbox_delivery ON wharf_outbox (component, key);

-- Holds no rows: health tries to insert one, to see whether there is room, and takes it back.
CREATE TABLE wharf_probe (filler BLOB NOT NULL);
