//! One statement for each event, or for each bulk.

use sqlx::{PgPool, Postgres, query};

use super::{COMPONENT, ECHOES, Promise};
use crate::envelope::{Incoming, Row};

macro_rules! columns {
    () => {
        "event_id, source, type, event_type, contract, pubsub, topic, user_id, entity_id, \
         occurred_at, recorded_at, payload, error, attempts"
    };
}

macro_rules! values {
    () => {
        "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10::timestamptz, $11::timestamptz, $12, $13, $14"
    };
}

const INSERT: &str = concat!(
    "INSERT INTO audit_log (",
    columns!(),
    ") VALUES (",
    values!(),
    ") ON CONFLICT DO NOTHING"
);

const INBOX: &str = concat!(
    "WITH fresh AS (\
        INSERT INTO inbox (component, key) VALUES ($15, $16) ON CONFLICT DO NOTHING RETURNING key) \
     INSERT INTO audit_log (",
    columns!(),
    ") SELECT ",
    values!(),
    " FROM fresh ON CONFLICT DO NOTHING"
);

const OUTBOX: &str = concat!(
    "WITH fresh AS (\
        INSERT INTO inbox (component, key) VALUES ($15, $16) ON CONFLICT DO NOTHING RETURNING key), \
     audited AS (INSERT INTO audit_log (",
    columns!(),
    ") SELECT ",
    values!(),
    " FROM fresh ON CONFLICT DO NOTHING) \
     INSERT INTO outbox (component, key, target, payload) SELECT $15, $16, $17, $18 FROM fresh"
);

macro_rules! input {
    () => {
        "SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], \
            $6::text[], $7::text[], $8::text[], $9::text[], $10::timestamptz[], \
            $11::timestamptz[], $12::bytea[], $13::text[], $14::bigint[], $16::bytea[], $17::text[]) \
         AS input (event_id, source, type, event_type, contract, pubsub, topic, user_id, entity_id, \
            occurred_at, recorded_at, payload, error, attempts, key, data)"
    };
}

/// Sorted, so that two bulks with the same events do not wait for each other in a circle.
macro_rules! fresh {
    () => {
        "INSERT INTO inbox (component, key) SELECT $15, key FROM input ORDER BY key \
         ON CONFLICT DO NOTHING RETURNING key"
    };
}

const INBOX_ALL: &str = concat!(
    "WITH input AS (",
    input!(),
    "), fresh AS (",
    fresh!(),
    ") INSERT INTO audit_log (",
    columns!(),
    ") SELECT ",
    columns!(),
    " FROM input JOIN fresh USING (key) ON CONFLICT DO NOTHING"
);

const OUTBOX_ALL: &str = concat!(
    "WITH input AS (",
    input!(),
    "), fresh AS (",
    fresh!(),
    "), audited AS (INSERT INTO audit_log (",
    columns!(),
    ") SELECT ",
    columns!(),
    " FROM input JOIN fresh USING (key) ON CONFLICT DO NOTHING) \
     INSERT INTO outbox (component, key, target, payload) \
     SELECT $15, key, $18, data FROM input JOIN fresh USING (key)"
);

pub async fn take(pool: &PgPool, promise: Promise, event: Incoming) -> sqlx::Result<()> {
    let Incoming { key, row, data } = event;
    let sql = match promise {
        Promise::Insert => INSERT,
        Promise::Inbox => INBOX,
        Promise::Outbox => OUTBOX,
    };
    let query = row.texts.into_iter().fold(query::<Postgres>(sql), |query, text| query.bind(text));
    let query = query.bind(row.occurred_at).bind(row.recorded_at).bind(row.payload);
    let query = query.bind(row.error).bind(row.attempts);
    let query = match promise {
        Promise::Insert => query,
        Promise::Inbox => query.bind(COMPONENT).bind(key),
        Promise::Outbox => query.bind(COMPONENT).bind(key).bind(ECHOES).bind(data),
    };
    query.execute(pool).await?;
    Ok(())
}

pub async fn take_all(pool: &PgPool, promise: Promise, events: Vec<Incoming>) -> sqlx::Result<()> {
    let mut columns = Columns::default();
    for event in events {
        columns.push(event);
    }
    let sql = match promise {
        Promise::Insert | Promise::Inbox => INBOX_ALL,
        Promise::Outbox => OUTBOX_ALL,
    };
    let query =
        columns.texts.into_iter().fold(query::<Postgres>(sql), |query, texts| query.bind(texts));
    let query = query.bind(columns.occurred_at).bind(columns.recorded_at).bind(columns.payload);
    let query = query.bind(columns.error).bind(columns.attempts);
    let query = query.bind(COMPONENT).bind(columns.key).bind(columns.data);
    let query = match promise {
        Promise::Insert | Promise::Inbox => query,
        Promise::Outbox => query.bind(ECHOES),
    };
    query.execute(pool).await?;
    Ok(())
}

/// The values of many events, as arrays.
#[derive(Default)]
struct Columns {
    texts: [Vec<Option<String>>; 9],
    occurred_at: Vec<Option<String>>,
    recorded_at: Vec<Option<String>>,
    payload: Vec<Vec<u8>>,
    error: Vec<Option<String>>,
    attempts: Vec<Option<i64>>,
    key: Vec<Vec<u8>>,
    data: Vec<String>,
}

impl Columns {
    fn push(&mut self, event: Incoming) {
        let Incoming { key, row, data } = event;
        let Row { texts, occurred_at, recorded_at, payload, error, attempts } = row;
        for (column, text) in self.texts.iter_mut().zip(texts) {
            column.push(text);
        }
        self.occurred_at.push(occurred_at);
        self.recorded_at.push(recorded_at);
        self.payload.push(payload);
        self.error.push(error);
        self.attempts.push(attempts);
        self.key.push(key);
        self.data.push(data);
    }
}
