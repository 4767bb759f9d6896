-- What the embedded Dapr keeps beside its topics: the values of its state stores, and its jobs.

-- Each write makes a new row, so that the sequence is an etag that is never given twice.
CREATE TABLE state (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    store    TEXT NOT NULL,
    key      TEXT NOT NULL, -- with the app's id before it
    value    TEXT NOT NULL, -- JSON
    expires  INTEGER,       -- microseconds since 1970
    UNIQUE (store, key)
);

CREATE INDEX state_by_expiry ON state (expires) WHERE expires IS NOT NULL;

-- Scheduling a job again makes a new row: a firing of the old one then settles nothing.
CREATE TABLE jobs (
    sequence   INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL UNIQUE,
    asked      TEXT    NOT NULL, -- JSON: the job as it was asked for
    expires    INTEGER,          -- no tick after it, in microseconds since 1970
    due        INTEGER NOT NULL, -- the instant of the tick that comes next, or is being delivered
    attempt_at INTEGER NOT NULL, -- when that tick is delivered, or tried again
    ticks      INTEGER NOT NULL, -- how many are settled
    attempts   INTEGER NOT NULL  -- how many attempts of this tick have failed
);

CREATE INDEX jobs_by_attempt ON jobs (attempt_at);
