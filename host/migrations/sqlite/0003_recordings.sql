-- What handlers were given, read and decided: every failure, and the latest successes.
CREATE TABLE wharf_recordings (
    sequence    INTEGER PRIMARY KEY AUTOINCREMENT,
    component   TEXT    NOT NULL,
    key         BLOB    NOT NULL,
    attempt     INTEGER NOT NULL,
    failed      INTEGER NOT NULL CHECK (failed IN (0, 1)),
    digest      TEXT    NOT NULL,
    recorded_at INTEGER NOT NULL,
    fuel        INTEGER NOT NULL,
    micros      INTEGER NOT NULL,
    body        TEXT    NOT NULL,                       -- JSON: event, reads, effects, log
    UNIQUE (component, key, attempt)
);

CREATE INDEX wharf_recordings_newest ON wharf_recordings (component, failed, sequence);
