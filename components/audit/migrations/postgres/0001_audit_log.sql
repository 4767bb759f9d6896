CREATE TABLE IF NOT EXISTS audit_log (
    event_id    TEXT        NOT NULL,
    source      TEXT        NOT NULL,
    type        TEXT        NOT NULL,
    event_type  TEXT        NOT NULL,
    contract    TEXT        NOT NULL,
    pubsub      TEXT,
    topic       TEXT,
    user_id     TEXT,
    entity_id   TEXT,
    occurred_at TIMESTAMPTZ NOT NULL,
    recorded_at TIMESTAMPTZ NOT NULL,
    payload     BYTEA       NOT NULL,
    error       TEXT,
    attempts    BIGINT,
    PRIMARY KEY (contract, source, event_id, type)
);

CREATE INDEX IF NOT EXISTS audit_log_entity ON audit_log (entity_id, occurred_at);

CREATE INDEX IF NOT EXISTS audit_log_user ON audit_log (user_id, occurred_at);
