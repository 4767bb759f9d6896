//! The durable queue behind the embedded pubsub: topics of eight partitions in one SQLite file,
//! which also keeps state and jobs. Readers have their own connections; everything written goes
//! through [`write`], which shares transactions.

mod jobs;
mod state;
mod write;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use chrono::DateTime;
use futures::TryStreamExt as _;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Row as _};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub use self::jobs::{JobId, NewJob, StoredJob, Tick};
pub use self::state::{Condition, KeyWrite, NewValue, StateEntry};
use self::write::{Bells, Change, Write, Writer};
use crate::clock::{Clock, Timestamp};
use crate::name::{Pubsub, Topic};

/// Partitions of each topic. Messages of one partition are delivered in order.
pub const PARTITIONS: u8 = 8;

/// A batch ends early at this many bytes, so that large messages do not add up in memory.
const BATCH_BYTES: usize = 8 << 20;

/// The writer holds this many requests before publishers wait for it.
const QUEUE: usize = 1024;

/// Why the queue could not be read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("the embedded dapr's database: {0}")]
    Database(Arc<sqlx::Error>),
    #[error("the embedded dapr has stopped")]
    Stopped,
    #[error("the embedded dapr's http client: {0}")]
    Client(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

/// A message on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    pub pubsub: Pubsub,
    pub topic: Topic,
    pub key: Option<String>,
    /// Becomes the headers of the delivery, as Kafka's record headers do.
    pub metadata: Vec<(String, String)>,
    pub body: Bytes,
}

/// A message as the queue keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// The order of entry over all topics; also the message's offset in its partition.
    pub sequence: i64,
    pub partition: u8,
    pub key: Option<String>,
    pub metadata: Vec<(String, String)>,
    pub body: Bytes,
    pub time: Timestamp,
}

/// A topic's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TopicId(i64);

/// Which part of a topic one consumer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    Partition(u8),
    Whole,
}

/// A subscribed topic, and what wakes its consumers: one bell for each partition, or one for all.
#[derive(Debug, Clone)]
pub struct Subscribed {
    pub topic: Topic,
    pub id: TopicId,
    pub bells: Vec<Arc<Notify>>,
}

impl Subscribed {
    fn bell(&self, partition: u8) -> Option<&Arc<Notify>> {
        self.bells.get(usize::from(partition) % self.bells.len().max(1))
    }
}

/// The open queue.
#[derive(Debug)]
pub struct Store {
    readers: SqlitePool,
    writes: mpsc::Sender<Write>,
    writer: std::sync::Mutex<Option<JoinHandle<()>>>,
    subscribed: Arc<RwLock<Vec<Subscribed>>>,
    /// Counts acknowledgements.
    pub acknowledged: watch::Sender<u64>,
    /// Rung when a job was scheduled.
    pub jobs_changed: Arc<Notify>,
}

impl Store {
    /// Opens the file, or makes it, and starts the writer; the writer ends when the store is
    /// closed or dropped. Messages older than `retention` are removed in small batches.
    pub async fn open(
        path: &Path,
        clock: Arc<dyn Clock>,
        retention: Duration,
    ) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5));
        let mut connection = options.connect().await?;
        let migrations = sqlx::migrate!("migrations/embedded");
        migrations.run(&mut connection).await.map_err(sqlx::Error::from)?;

        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .test_before_acquire(false)
            .connect_with(options.read_only(true))
            .await?;
        let (writes, queue) = mpsc::channel(QUEUE);
        let (subscribed, jobs_changed) = (Arc::default(), Arc::default());
        let bells =
            Bells { subscribed: Arc::clone(&subscribed), jobs_changed: Arc::clone(&jobs_changed) };
        let writer = Writer::new(connection, clock, retention, bells);
        let writer = tokio::spawn(writer.run(queue));
        Ok(Self {
            readers,
            writes,
            writer: std::sync::Mutex::new(Some(writer)),
            subscribed,
            acknowledged: watch::Sender::new(0),
            jobs_changed,
        })
    }

    /// Stores all of the messages or none; when it returns they are on disk.
    pub async fn append(&self, messages: Vec<NewMessage>) -> Result<(), StoreError> {
        self.write(|done| Write::Append { messages, done }).await
    }

    /// Remembers the topic as subscribed, from its oldest message on if it never was before.
    /// `bells` is 1 for one consumer of the whole topic, or one for each partition.
    pub async fn subscribe(
        &self,
        pubsub: &Pubsub,
        topic: &Topic,
        bells: u8,
    ) -> Result<Subscribed, StoreError> {
        let (pubsub, topic) = (pubsub.clone(), topic.clone());
        let id = self
            .write(|done| Write::Subscribe { pubsub: pubsub.clone(), topic: topic.clone(), done })
            .await?;
        let bells = (0..bells.max(1)).map(|_| Arc::new(Notify::new())).collect();
        let subscribed = Subscribed { topic, id, bells };
        let mut all = self.subscribed.write().unwrap_or_else(PoisonError::into_inner);
        all.push(subscribed.clone());
        Ok(subscribed)
    }

    /// Moves the consumer's positions up to these sequences, durably.
    pub async fn acknowledge(
        &self,
        topic: TopicId,
        positions: Vec<(u8, i64)>,
    ) -> Result<(), StoreError> {
        self.write(|done| Write::Acknowledge { topic, positions, done }).await?;
        self.acknowledged.send_modify(|count| *count += 1);
        Ok(())
    }

    /// The next messages that are not acknowledged, in order of entry: at most `limit`, fewer when
    /// they are large, but at least one if any waits.
    pub async fn next(
        &self,
        topic: TopicId,
        share: Share,
        limit: u32,
    ) -> Result<Vec<StoredMessage>, StoreError> {
        let query = match share {
            Share::Partition(partition) => sqlx::query(NEXT_OF_PARTITION)
                .bind(topic.0)
                .bind(i64::from(partition))
                .bind(i64::from(limit)),
            Share::Whole => sqlx::query(NEXT_OF_TOPIC).bind(topic.0).bind(i64::from(limit)),
        };
        let mut rows = query.fetch(&self.readers);
        let (mut messages, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.try_next().await? {
            let message = stored(&row)?;
            bytes += message.body.len();
            if bytes > BATCH_BYTES && !messages.is_empty() {
                break;
            }
            messages.push(message);
        }
        Ok(messages)
    }

    /// The oldest messages of a topic that are still kept, acknowledged or not.
    pub async fn messages(
        &self,
        pubsub: &Pubsub,
        topic: &Topic,
        limit: u32,
    ) -> Result<Vec<StoredMessage>, StoreError> {
        let rows = sqlx::query(
            "SELECT m.* FROM topics t JOIN messages m ON m.topic = t.id
             WHERE t.pubsub = $1 AND t.topic = $2 ORDER BY m.sequence LIMIT $3",
        )
        .bind(pubsub.as_str())
        .bind(topic.as_str())
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| stored(row).map_err(StoreError::from)).collect()
    }

    /// How many messages of the subscribed topics are not acknowledged.
    pub async fn waiting(&self) -> Result<u64, StoreError> {
        let topics: Vec<TopicId> = {
            let all = self.subscribed.read().unwrap_or_else(PoisonError::into_inner);
            all.iter().map(|subscribed| subscribed.id).collect()
        };
        let mut waiting = 0;
        for topic in topics {
            let count: i64 =
                sqlx::query_scalar(WAITING_OF_TOPIC).bind(topic.0).fetch_one(&self.readers).await?;
            waiting += u64::try_from(count).unwrap_or(0);
        }
        Ok(waiting)
    }

    async fn change(&self, change: Change) -> Result<bool, StoreError> {
        self.write(|done| Write::Change { change, applied: false, done }).await
    }

    /// Writes what was handed over, then closes the file. Later calls fail with `Stopped`.
    pub async fn close(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // Fails only if the writer is gone already, and then there is nothing to stop.
            let _ = self.writes.send(Write::Stop).await;
            if let Err(error) = writer.await {
                tracing::error!(%error, "the embedded dapr's writer failed");
            }
        }
        self.readers.close().await;
    }

    async fn write<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Write,
    ) -> Result<T, StoreError> {
        let (done, result) = oneshot::channel();
        self.writes.send(request(done)).await.map_err(|_| StoreError::Stopped)?;
        result.await.map_err(|_| StoreError::Stopped)?
    }
}

const NEXT_OF_PARTITION: &str = "
    SELECT * FROM messages WHERE topic = $1 AND partition = $2 AND sequence >
      (SELECT sequence FROM positions WHERE topic = $1 AND partition = $2)
    ORDER BY sequence LIMIT $3";

// Positions differ only after a change from single delivery to bulk.
const NEXT_OF_TOPIC: &str = "
    SELECT m.* FROM messages m JOIN positions p ON p.topic = $1 AND p.partition = m.partition
    WHERE m.topic = $1 AND m.sequence > p.sequence
      AND m.sequence > (SELECT min(sequence) FROM positions WHERE topic = $1)
    ORDER BY m.sequence LIMIT $2";

// CROSS keeps the order of the tables: the other way round it would read the whole topic.
const WAITING_OF_TOPIC: &str = "
    SELECT count(*) FROM positions p CROSS JOIN messages m
      ON m.topic = p.topic AND m.partition = p.partition AND m.sequence > p.sequence
    WHERE p.topic = $1";

fn stored(row: &SqliteRow) -> Result<StoredMessage, sqlx::Error> {
    let metadata: String = row.try_get("metadata")?;
    let metadata: std::collections::BTreeMap<String, String> =
        serde_json::from_str(&metadata).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let body: Vec<u8> = row.try_get("body")?;
    let partition: i64 = row.try_get("partition")?;
    Ok(StoredMessage {
        sequence: row.try_get("sequence")?,
        partition: u8::try_from(partition).map_err(|error| sqlx::Error::Decode(error.into()))?,
        key: row.try_get("key")?,
        metadata: metadata.into_iter().collect(),
        body: body.into(),
        time: instant(row.try_get("time")?),
    })
}

fn instant(microseconds: i64) -> Timestamp {
    DateTime::from_timestamp_micros(microseconds).unwrap_or_default()
}
