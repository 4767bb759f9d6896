//! SQLite has no statement that writes to several tables: one transaction instead.

use sqlx::{Sqlite, SqliteConnection, SqlitePool, query};

use super::{COMPONENT, ECHOES, Promise};
use crate::envelope::{Incoming, Row};

const INSERT: &str = "INSERT INTO audit_log (event_id, source, type, event_type, contract, pubsub, \
    topic, user_id, entity_id, occurred_at, recorded_at, payload, error, attempts) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING";

pub async fn take(pool: &SqlitePool, promise: Promise, event: Incoming) -> sqlx::Result<()> {
    if promise == Promise::Insert {
        return insert(&mut *pool.acquire().await?, event.row).await;
    }
    take_all(pool, promise, vec![event]).await
}

pub async fn take_all(
    pool: &SqlitePool,
    promise: Promise,
    events: Vec<Incoming>,
) -> sqlx::Result<()> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    for event in events {
        let Incoming { key, row, data } = event;
        let inbox = "INSERT INTO inbox (component, key) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        let inbox = query::<Sqlite>(inbox).bind(COMPONENT).bind(&key);
        if inbox.execute(&mut *transaction).await?.rows_affected() == 0 {
            continue;
        }
        insert(&mut transaction, row).await?;
        if promise == Promise::Outbox {
            let outbox = "INSERT INTO outbox (component, key, target, payload) \
                VALUES ($1, $2, $3, $4)";
            let outbox = query::<Sqlite>(outbox).bind(COMPONENT).bind(key).bind(ECHOES).bind(data);
            outbox.execute(&mut *transaction).await?;
        }
    }
    transaction.commit().await
}

async fn insert(connection: &mut SqliteConnection, row: Row) -> sqlx::Result<()> {
    let query = row.texts.into_iter().fold(query::<Sqlite>(INSERT), |query, text| query.bind(text));
    let query = query.bind(row.occurred_at).bind(row.recorded_at).bind(row.payload);
    query.bind(row.error).bind(row.attempts).execute(connection).await?;
    Ok(())
}
