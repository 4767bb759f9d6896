-- What the native consumer needs beside audit_log to keep Wharf's promise.
CREATE TABLE inbox (
    component   TEXT NOT NULL,
    key         BLOB NOT NULL,
    received_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (component, key)
);

CREATE TABLE outbox (
    sequence  INTEGER PRIMARY KEY,
    component TEXT NOT NULL,
    key       BLOB NOT NULL,
    target    TEXT NOT NULL,
    payload   TEXT NOT NULL
);
