//! Jobs, in the queue's file: what was asked for, and which tick comes next.

use sqlx::Row as _;
use sqlx::sqlite::{SqliteRow, SqliteTransaction};

use super::{Change, Store, StoreError, instant};
use crate::clock::Timestamp;
use crate::name::JobName;

/// One scheduling of a job. Scheduling it again gives another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobId(i64);

/// A job as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredJob {
    pub id: JobId,
    pub name: JobName,
    /// JSON text.
    pub asked: String,
    pub expires: Option<Timestamp>,
    pub tick: Tick,
}

/// The tick that comes next, or is being delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// The instant that the schedule gives.
    pub due: Timestamp,
    /// When it is delivered, or tried again.
    pub attempt_at: Timestamp,
    /// How many came before it.
    pub ticks: u32,
    /// How many of its attempts have failed.
    pub attempts: u32,
}

/// A job on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    pub name: JobName,
    pub asked: String,
    pub expires: Option<Timestamp>,
    /// `None` when it expires before it ever fires; it only takes an older one's place then.
    pub first: Option<Tick>,
    /// Whether it may take the place of one of the same name.
    pub overwrite: bool,
}

#[derive(Debug)]
pub enum JobChange {
    Schedule(NewJob),
    Cancel(JobName),
    /// The tick is settled, or an attempt of it; without a next one the job is over.
    Settle(JobId, Option<Tick>),
}

impl Store {
    /// False when there is such a job and it must not be replaced.
    pub async fn schedule(&self, job: NewJob) -> Result<bool, StoreError> {
        self.change(Change::Job(JobChange::Schedule(job))).await
    }

    pub async fn cancel(&self, name: JobName) -> Result<(), StoreError> {
        self.change(Change::Job(JobChange::Cancel(name))).await.map(|_| ())
    }

    /// Does nothing when the job was replaced or cancelled meanwhile.
    pub async fn settle(&self, id: JobId, next: Option<Tick>) -> Result<(), StoreError> {
        self.change(Change::Job(JobChange::Settle(id, next))).await?;
        self.acknowledged.send_modify(|count| *count += 1);
        Ok(())
    }

    pub async fn job(&self, name: &JobName) -> Result<Option<StoredJob>, StoreError> {
        let row = sqlx::query("SELECT * FROM jobs WHERE name = $1")
            .bind(name.as_str())
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.as_ref().map(stored).transpose()?)
    }

    pub async fn jobs(&self) -> Result<Vec<StoredJob>, StoreError> {
        let rows = sqlx::query("SELECT * FROM jobs ORDER BY attempt_at, sequence")
            .fetch_all(&self.readers)
            .await?;
        Ok(rows.iter().map(stored).collect::<Result<_, _>>()?)
    }

    /// Those whose next attempt is due, the longest waiting first.
    pub async fn due_jobs(&self, now: Timestamp, limit: u32) -> Result<Vec<StoredJob>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM jobs WHERE attempt_at <= $1 ORDER BY attempt_at, sequence LIMIT $2",
        )
        .bind(now.timestamp_micros())
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.iter().map(stored).collect::<Result<_, _>>()?)
    }

    /// When the first of the others is due.
    pub async fn next_attempt(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let next: Option<i64> =
            sqlx::query_scalar("SELECT min(attempt_at) FROM jobs WHERE attempt_at > $1")
                .bind(now.timestamp_micros())
                .fetch_one(&self.readers)
                .await?;
        Ok(next.map(instant))
    }

    /// How many ticks are due, whether or not they are being delivered.
    pub async fn due_ticks(&self, now: Timestamp) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE attempt_at <= $1")
            .bind(now.timestamp_micros())
            .fetch_one(&self.readers)
            .await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

pub(super) async fn apply(
    transaction: &mut SqliteTransaction<'_>,
    change: &JobChange,
) -> Result<bool, sqlx::Error> {
    match change {
        JobChange::Schedule(job) => return schedule(transaction, job).await,
        JobChange::Cancel(name) => delete(transaction, name).await?,
        JobChange::Settle(id, Some(next)) => advance(transaction, *id, next).await?,
        JobChange::Settle(id, None) => {
            let query = sqlx::query("DELETE FROM jobs WHERE sequence = $1").bind(id.0);
            query.execute(&mut **transaction).await?;
        }
    }
    Ok(true)
}

async fn schedule(
    transaction: &mut SqliteTransaction<'_>,
    job: &NewJob,
) -> Result<bool, sqlx::Error> {
    if !job.overwrite {
        let known = sqlx::query("SELECT 1 FROM jobs WHERE name = $1").bind(job.name.as_str());
        if known.fetch_optional(&mut **transaction).await?.is_some() {
            return Ok(false);
        }
    }
    delete(transaction, &job.name).await?;
    let Some(first) = job.first else { return Ok(true) };
    sqlx::query(
        "INSERT INTO jobs (name, asked, expires, due, attempt_at, ticks, attempts)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(job.name.as_str())
    .bind(&job.asked)
    .bind(job.expires.map(|at| at.timestamp_micros()))
    .bind(first.due.timestamp_micros())
    .bind(first.attempt_at.timestamp_micros())
    .bind(i64::from(first.ticks))
    .bind(i64::from(first.attempts))
    .execute(&mut **transaction)
    .await?;
    Ok(true)
}

async fn delete(
    transaction: &mut SqliteTransaction<'_>,
    name: &JobName,
) -> Result<(), sqlx::Error> {
    let query = sqlx::query("DELETE FROM jobs WHERE name = $1").bind(name.as_str());
    query.execute(&mut **transaction).await?;
    Ok(())
}

async fn advance(
    transaction: &mut SqliteTransaction<'_>,
    id: JobId,
    next: &Tick,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE jobs SET due = $2, attempt_at = $3, ticks = $4, attempts = $5 WHERE sequence = $1",
    )
    .bind(id.0)
    .bind(next.due.timestamp_micros())
    .bind(next.attempt_at.timestamp_micros())
    .bind(i64::from(next.ticks))
    .bind(i64::from(next.attempts))
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

fn stored(row: &SqliteRow) -> Result<StoredJob, sqlx::Error> {
    let name: String = row.try_get("name")?;
    Ok(StoredJob {
        id: JobId(row.try_get("sequence")?),
        name: name.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        asked: row.try_get("asked")?,
        expires: row.try_get::<Option<i64>, _>("expires")?.map(instant),
        tick: Tick {
            due: instant(row.try_get("due")?),
            attempt_at: instant(row.try_get("attempt_at")?),
            ticks: row.try_get("ticks")?,
            attempts: row.try_get("attempts")?,
        },
    })
}
