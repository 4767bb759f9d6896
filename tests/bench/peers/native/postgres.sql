-- What the native consumer needs beside audit_log to keep Wharf's promise.
CREATE TABLE inbox (
    component   TEXT        NOT NULL,
    key         BYTEA       NOT NULL,
    received_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (component, key)
);

CREATE TABLE outbox (
    sequence  BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    component TEXT  NOT NULL,
    key       BYTEA NOT NULL,
    target    TEXT  NOT NULL,
    payload   TEXT  NOT NULL
);
