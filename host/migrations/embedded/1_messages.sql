-- What the embedded Dapr keeps: topics, their messages, and how far the app has acknowledged them.

CREATE TABLE topics (
    id     INTEGER PRIMARY KEY,
    pubsub TEXT NOT NULL,
    topic  TEXT NOT NULL,
    UNIQUE (pubsub, topic)
);

-- A message's sequence is also its offset: it grows within a partition, and is never given twice.
CREATE TABLE messages (
    sequence  INTEGER PRIMARY KEY AUTOINCREMENT,
    topic     INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    key       TEXT,
    metadata  TEXT    NOT NULL, -- JSON object of strings
    body      BLOB    NOT NULL,
    time      INTEGER NOT NULL  -- microseconds since 1970
);

-- SQLite adds the sequence to both: one serves single delivery, the other bulk.
CREATE INDEX messages_by_partition ON messages (topic, partition);
CREATE INDEX messages_by_topic ON messages (topic);

-- The last sequence that the app has acknowledged. Eight rows for each subscribed topic.
CREATE TABLE positions (
    topic     INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    sequence  INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
