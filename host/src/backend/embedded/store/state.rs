//! Values of state stores, in the queue's file: a row for each key, and the row's sequence as etag.

use sqlx::sqlite::{SqliteRow, SqliteTransaction};
use sqlx::{Connection as _, Row as _};

use super::{Change, Store, StoreError, instant};
use crate::clock::Timestamp;
use crate::name::StoreName;

/// A value that has not expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateEntry {
    /// JSON text.
    pub value: String,
    pub etag: i64,
    pub expires: Option<Timestamp>,
}

/// One key's write, and what must hold for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyWrite {
    pub store: StoreName,
    /// With the app's id before it.
    pub key: String,
    pub condition: Condition,
    /// `None` deletes.
    pub value: Option<NewValue>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewValue {
    /// JSON text.
    pub json: String,
    pub expires: Option<Timestamp>,
}

/// What a writer wants to be sure of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    Anything,
    Absent,
    Etag(i64),
}

impl Store {
    pub async fn state(
        &self,
        store: &StoreName,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<StateEntry>, StoreError> {
        let row = sqlx::query(
            "SELECT sequence, value, expires FROM state
             WHERE store = $1 AND key = $2 AND (expires IS NULL OR expires > $3)",
        )
        .bind(store.as_str())
        .bind(key)
        .bind(now.timestamp_micros())
        .fetch_optional(&self.readers)
        .await?;
        Ok(row.as_ref().map(entry).transpose()?)
    }

    /// All of the writes or none; false when a condition does not hold.
    pub async fn write_state(&self, writes: Vec<KeyWrite>) -> Result<bool, StoreError> {
        self.change(Change::State(writes)).await
    }
}

/// All of the writes or none, whatever else is in the transaction.
pub(super) async fn apply(
    transaction: &mut SqliteTransaction<'_>,
    writes: &[KeyWrite],
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let mut savepoint = transaction.begin().await?;
    for write in writes {
        if !holds(&mut savepoint, write, now).await? {
            savepoint.rollback().await?;
            return Ok(false);
        }
        put(&mut savepoint, write).await?;
    }
    savepoint.commit().await?;
    Ok(true)
}

/// A batch of what has expired is forgotten.
pub(super) async fn prune(
    transaction: &mut SqliteTransaction<'_>,
    limit: i64,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM state WHERE sequence IN
           (SELECT sequence FROM state WHERE expires <= $1 LIMIT $2)",
    )
    .bind(now.timestamp_micros())
    .bind(limit)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn holds(
    savepoint: &mut SqliteTransaction<'_>,
    write: &KeyWrite,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    if write.condition == Condition::Anything {
        return Ok(true);
    }
    let etag: Option<i64> = sqlx::query_scalar(
        "SELECT sequence FROM state
         WHERE store = $1 AND key = $2 AND (expires IS NULL OR expires > $3)",
    )
    .bind(write.store.as_str())
    .bind(&write.key)
    .bind(now.timestamp_micros())
    .fetch_optional(&mut **savepoint)
    .await?;
    Ok(match write.condition {
        Condition::Anything => true,
        Condition::Absent => etag.is_none(),
        Condition::Etag(wanted) => etag == Some(wanted),
    })
}

async fn put(savepoint: &mut SqliteTransaction<'_>, write: &KeyWrite) -> Result<(), sqlx::Error> {
    let query = match &write.value {
        Some(NewValue { json, expires }) => sqlx::query(
            "INSERT OR REPLACE INTO state (store, key, value, expires) VALUES ($1, $2, $3, $4)",
        )
        .bind(write.store.as_str())
        .bind(&write.key)
        .bind(json)
        .bind(expires.map(|at| at.timestamp_micros())),
        None => sqlx::query("DELETE FROM state WHERE store = $1 AND key = $2")
            .bind(write.store.as_str())
            .bind(&write.key),
    };
    query.execute(&mut **savepoint).await?;
    Ok(())
}

fn entry(row: &SqliteRow) -> Result<StateEntry, sqlx::Error> {
    Ok(StateEntry {
        value: row.try_get("value")?,
        etag: row.try_get("sequence")?,
        expires: row.try_get::<Option<i64>, _>("expires")?.map(instant),
    })
}
