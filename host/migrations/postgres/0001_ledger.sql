-- The ledger on PostgreSQL. The tables are those of SQLite; times are microseconds since 1970, UTC.

-- One row for each event that a component was given: the inbox, and what is parked or dead.
-- The wide columns first: a done row is small, and there are many.
CREATE TABLE wharf_deliveries (
    sequence        BIGINT   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- order of entry
    claim           BIGINT   NOT NULL DEFAULT 0,                        -- a fence: it only grows
    received_at     BIGINT   NOT NULL,
    next_attempt_at BIGINT,
    attempts        BIGINT   NOT NULL,
    ordered         SMALLINT NOT NULL CHECK (ordered IN (0, 1)),
    key             BYTEA    NOT NULL CHECK (length(key) = 16),
    component       TEXT     NOT NULL,
    status          TEXT     NOT NULL CHECK (status IN ('done', 'parked', 'dead', 'discarded')),
    subject         TEXT,
    contract        TEXT,
    pubsub          TEXT,
    topic           TEXT,
    digest          TEXT     NOT NULL,
    event_id        TEXT     NOT NULL,
    event_type      TEXT     NOT NULL,
    -- Only while parked or dead.
    wire            BYTEA,
    arrival         TEXT,
    error           TEXT,
    log             TEXT,
    CHECK ((next_attempt_at IS NOT NULL) = (status = 'parked'))
);

-- The key first: keys spread over components, and a group is sorted by them.
CREATE UNIQUE INDEX wharf_deliveries_key ON wharf_deliveries (key, component);
-- Parked rows are few, so that seeing whether a subject has one costs next to nothing.
CREATE INDEX wharf_deliveries_turn ON wharf_deliveries (component, subject, sequence)
    WHERE status = 'parked' AND ordered = 1;
CREATE INDEX wharf_deliveries_due ON wharf_deliveries (next_attempt_at, sequence)
    WHERE status = 'parked';
CREATE INDEX wharf_deliveries_failed ON wharf_deliveries (status, component, sequence)
    WHERE status IN ('parked', 'dead', 'discarded');

-- Effects that are committed and not performed; a performed one has no row. Its rows come and go:
-- it is vacuumed often.
CREATE TABLE wharf_outbox (
    sequence        BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    claim           BIGINT  NOT NULL DEFAULT 0,
    next_attempt_at BIGINT  NOT NULL,
    since           BIGINT  NOT NULL,                   -- when the causing event came in
    effect_index    BIGINT  NOT NULL,
    attempts        BIGINT  NOT NULL DEFAULT 0,
    key             BYTEA   NOT NULL,
    lane            TEXT    NOT NULL,
    component       TEXT    NOT NULL,
    kind            TEXT    NOT NULL CHECK (kind IN ('publish', 'state', 'schedule', 'cancel', 'invoke')),
    status          TEXT    NOT NULL CHECK (status IN ('waiting', 'dead')),
    target          TEXT    NOT NULL,                   -- JSON: where it goes, and what, but for a publish's payload
    payload         BYTEA   NOT NULL,
    error           TEXT
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE INDEX wharf_outbox_lane ON wharf_outbox (lane, sequence) WHERE status = 'waiting';
CREATE INDEX wharf_outbox_due ON wharf_outbox (next_attempt_at, sequence) WHERE status = 'waiting';
CREATE INDEX wharf_outbox_dead ON wharf_outbox (sequence) WHERE status = 'dead';
CREATE INDEX wharf_outbox_delivery ON wharf_outbox (component, key);

-- Holds no rows: health tries to insert one, to see whether there is room, and takes it back.
CREATE TABLE wharf_probe (filler BYTEA NOT NULL);

-- What handlers were given, read and decided: every failure, and the latest successes.
CREATE TABLE wharf_recordings (
    sequence    BIGINT   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    component   TEXT     NOT NULL,
    key         BYTEA    NOT NULL,
    attempt     BIGINT   NOT NULL,
    failed      SMALLINT NOT NULL CHECK (failed IN (0, 1)),
    digest      TEXT     NOT NULL,
    recorded_at BIGINT   NOT NULL,
    fuel        BIGINT   NOT NULL,
    micros      BIGINT   NOT NULL,
    body        TEXT     NOT NULL,                      -- JSON: event, reads, effects, log
    UNIQUE (component, key, attempt)
);

CREATE INDEX wharf_recordings_newest ON wharf_recordings (component, failed, sequence);

-- What ran when: one row each time that another version of a component became the running one.
CREATE TABLE wharf_releases (
    sequence  BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    component TEXT   NOT NULL,
    digest    TEXT   NOT NULL,
    version   TEXT   NOT NULL,
    bundle    BYTEA,                                    -- a tar; only the newest of a component keep it
    at        BIGINT NOT NULL,
    why       TEXT   NOT NULL CHECK (why IN ('start', 'build'))
);

CREATE INDEX wharf_releases_of ON wharf_releases (component, sequence);
