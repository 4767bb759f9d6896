//! The queue's one writer. What concurrent publishers and consumers hand over while a transaction
//! is being written shares the next one: an fsync costs the same for one row and for many.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnection, SqliteTransaction};
use sqlx::{Connection as _, Row as _};
use tokio::sync::{Notify, mpsc, oneshot};

use super::jobs::JobChange;
use super::state::KeyWrite;
use super::{NewMessage, PARTITIONS, StoreError, Subscribed, TopicId, jobs, state};
use crate::clock::{Clock, Timestamp};
use crate::name::{Pubsub, Topic};

/// So many requests share a transaction at most.
const GROUP: usize = 256;
/// So many messages are removed at most after each transaction.
const PRUNE: i64 = 500;
const PRUNE_EVERY: Duration = Duration::from_secs(60);

type Done<T> = oneshot::Sender<Result<T, StoreError>>;

/// One request to the writer.
#[derive(Debug)]
pub enum Write {
    Append {
        messages: Vec<NewMessage>,
        done: Done<()>,
    },
    Acknowledge {
        topic: TopicId,
        positions: Vec<(u8, i64)>,
        done: Done<()>,
    },
    Subscribe {
        pubsub: Pubsub,
        topic: Topic,
        done: Done<TopicId>,
    },
    /// `applied` is set in the transaction.
    Change {
        change: Change,
        applied: bool,
        done: Done<bool>,
    },
    Stop,
}

/// A write that may find that what it relies on does not hold.
#[derive(Debug)]
pub enum Change {
    State(Vec<KeyWrite>),
    Job(JobChange),
}

impl Write {
    fn schedules(&self) -> bool {
        matches!(self, Self::Change { change: Change::Job(JobChange::Schedule(_)), .. })
    }
}

/// Who is told of what was written. Whoever asked for it may be gone by then.
pub struct Bells {
    pub subscribed: Arc<RwLock<Vec<Subscribed>>>,
    pub jobs_changed: Arc<Notify>,
}

impl Bells {
    /// Only when all is written is it known who listens: a consumer that came meanwhile may have
    /// looked before the commit, and one that comes later looks after it.
    fn ring(&self, appended: &[(TopicId, u8)], has_jobs: bool) {
        let subscribed = self.subscribed.read().unwrap_or_else(PoisonError::into_inner);
        for (topic, partition) in appended {
            let of_topic = subscribed.iter().find(|subscribed| subscribed.id == *topic);
            if let Some(bell) = of_topic.and_then(|subscribed| subscribed.bell(*partition)) {
                bell.notify_one();
            }
        }
        if has_jobs {
            self.jobs_changed.notify_one();
        }
    }
}

type Topics = HashMap<(Pubsub, Topic), TopicId>;

pub struct Writer {
    connection: SqliteConnection,
    clock: Arc<dyn Clock>,
    retention: Duration,
    bells: Bells,
    next_prune: Timestamp,
    /// Counts messages without a key, which go to the partitions in turn.
    turn: u8,
}

impl Writer {
    pub fn new(
        connection: SqliteConnection,
        clock: Arc<dyn Clock>,
        retention: Duration,
        bells: Bells,
    ) -> Self {
        let next_prune = clock.now();
        Self { connection, clock, retention, bells, next_prune, turn: 0 }
    }

    /// Writes until told to stop, or until nobody is left who could ask.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Write>) {
        let mut group = Vec::with_capacity(GROUP);
        let mut stopping = false;
        while !stopping && queue.recv_many(&mut group, GROUP).await > 0 {
            stopping = group.iter().any(|write| matches!(write, Write::Stop));
            if stopping {
                queue.close();
            }
            self.write(std::mem::take(&mut group)).await;
            self.prune_if_due().await;
        }
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "the embedded dapr's database was not closed cleanly");
        }
    }

    /// Writes the group in one transaction, then tells everyone in it how that went.
    async fn write(&mut self, mut group: Vec<Write>) {
        let mut appended = Vec::new();
        let written = self.transaction(&mut group, &mut appended).await;
        let has_jobs = group.iter().any(Write::schedules);
        if let Err(error) = &written {
            tracing::error!(%error, "the embedded dapr could not write");
        }
        for write in group {
            // A receiver that is gone no longer wants to know.
            let _ = match write {
                Write::Append { done, .. } | Write::Acknowledge { done, .. } => {
                    done.send(written.as_ref().map(|_| ()).map_err(Clone::clone)).is_ok()
                }
                Write::Subscribe { pubsub, topic, done } => done
                    .send(match &written {
                        Ok(topics) => {
                            topics.get(&(pubsub, topic)).copied().ok_or(StoreError::Stopped)
                        }
                        Err(error) => Err(error.clone()),
                    })
                    .is_ok(),
                Write::Change { applied, done, .. } => {
                    done.send(written.as_ref().map(|_| applied).map_err(Clone::clone)).is_ok()
                }
                Write::Stop => true,
            };
        }
        self.bells.ring(&appended, has_jobs);
    }

    async fn transaction(
        &mut self,
        group: &mut [Write],
        appended: &mut Vec<(TopicId, u8)>,
    ) -> Result<Topics, StoreError> {
        let now = self.clock.now();
        let mut topics = Topics::new();
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        for write in group {
            match write {
                Write::Append { messages, .. } => {
                    for message in messages {
                        let (pubsub, name) = (&message.pubsub, &message.topic);
                        let topic = topic_id(&mut transaction, pubsub, name, &mut topics).await?;
                        let partition = partition_of(message.key.as_deref(), &mut self.turn);
                        append(&mut transaction, topic, partition, message, now).await?;
                        appended.push((topic, partition));
                    }
                }
                Write::Acknowledge { topic, positions, .. } => {
                    for (partition, sequence) in positions {
                        advance(&mut transaction, *topic, *partition, *sequence).await?;
                    }
                }
                Write::Subscribe { pubsub, topic, .. } => {
                    let id = topic_id(&mut transaction, pubsub, topic, &mut topics).await?;
                    for partition in 0..PARTITIONS {
                        begin(&mut transaction, id, partition).await?;
                    }
                }
                Write::Change { change, applied, .. } => {
                    *applied = match change {
                        Change::State(writes) => {
                            state::apply(&mut transaction, writes, now).await?
                        }
                        Change::Job(change) => jobs::apply(&mut transaction, change).await?,
                    };
                }
                Write::Stop => {}
            }
        }
        transaction.commit().await?;
        Ok(topics)
    }

    async fn prune_if_due(&mut self) {
        let now = self.clock.now();
        if now < self.next_prune {
            return;
        }
        match self.prune(now).await {
            // More of the same age may be left: go on after the next transaction.
            Ok(removed) if removed == PRUNE.unsigned_abs() => {}
            Ok(_) => self.next_prune = now + PRUNE_EVERY,
            Err(error) => {
                self.next_prune = now + PRUNE_EVERY;
                tracing::warn!(%error, "the embedded dapr could not remove old messages");
            }
        }
    }

    /// Also of state that has expired. Like a broker's, retention does not ask whether a message was acknowledged.
    async fn prune(&mut self, now: Timestamp) -> Result<u64, sqlx::Error> {
        let before = (now - self.retention).timestamp_micros();
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        let unacknowledged: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM
               (SELECT * FROM messages ORDER BY sequence LIMIT $1) m
             JOIN positions p ON p.topic = m.topic AND p.partition = m.partition
             WHERE m.time < $2 AND m.sequence > p.sequence",
        )
        .bind(PRUNE)
        .bind(before)
        .fetch_one(&mut *transaction)
        .await?;
        let removed = sqlx::query(
            "DELETE FROM messages WHERE sequence IN
               (SELECT sequence FROM messages ORDER BY sequence LIMIT $1) AND time < $2",
        )
        .bind(PRUNE)
        .bind(before)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        state::prune(&mut transaction, PRUNE, now).await?;
        transaction.commit().await?;
        if unacknowledged > 0 {
            tracing::warn!(
                unacknowledged,
                "retention removed messages that the app never acknowledged"
            );
        }
        Ok(removed)
    }
}

async fn topic_id(
    transaction: &mut SqliteTransaction<'_>,
    pubsub: &Pubsub,
    topic: &Topic,
    known: &mut Topics,
) -> Result<TopicId, sqlx::Error> {
    if let Some(id) = known.get(&(pubsub.clone(), topic.clone())) {
        return Ok(*id);
    }
    let row = sqlx::query(
        "INSERT INTO topics (pubsub, topic) VALUES ($1, $2)
         ON CONFLICT DO UPDATE SET topic = excluded.topic RETURNING id",
    )
    .bind(pubsub.as_str())
    .bind(topic.as_str())
    .fetch_one(&mut **transaction)
    .await?;
    let id = TopicId(row.try_get(0)?);
    known.insert((pubsub.clone(), topic.clone()), id);
    Ok(id)
}

async fn append(
    transaction: &mut SqliteTransaction<'_>,
    topic: TopicId,
    partition: u8,
    message: &NewMessage,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let metadata: BTreeMap<_, _> = message.metadata.iter().map(|(k, v)| (k, v)).collect();
    let metadata =
        serde_json::to_string(&metadata).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query(
        "INSERT INTO messages (topic, partition, key, metadata, body, time)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(topic.0)
    .bind(i64::from(partition))
    .bind(message.key.as_deref())
    .bind(metadata)
    .bind(message.body.as_ref())
    .bind(now.timestamp_micros())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn advance(
    transaction: &mut SqliteTransaction<'_>,
    topic: TopicId,
    partition: u8,
    sequence: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE positions SET sequence = $3
         WHERE topic = $1 AND partition = $2 AND sequence < $3",
    )
    .bind(topic.0)
    .bind(i64::from(partition))
    .bind(sequence)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn begin(
    transaction: &mut SqliteTransaction<'_>,
    topic: TopicId,
    partition: u8,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO positions (topic, partition, sequence) VALUES ($1, $2, 0)
         ON CONFLICT DO NOTHING",
    )
    .bind(topic.0)
    .bind(i64::from(partition))
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// The same key always has the same partition: FNV-1a, as Dapr's Kafka client hashes.
fn partition_of(key: Option<&str>, turn: &mut u8) -> u8 {
    match key {
        Some(key) => {
            let hash = key.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
                (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
            });
            u8::try_from(hash % u32::from(PARTITIONS)).unwrap_or(0)
        }
        None => {
            *turn = (*turn + 1) % PARTITIONS;
            *turn
        }
    }
}
