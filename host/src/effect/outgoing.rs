//! Effects on their way out: what the outbox keeps, and the relay performs through Dapr.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Cancel, StateChange, StateWrite, base64_text};
use crate::clock::Timestamp;
use crate::event::Trace;
use crate::name::{BindingName, ContractName, JobName, Lane, Pubsub, Topic};

/// What the relay performs.
#[derive(Debug, Clone, PartialEq)]
pub enum Outgoing {
    Publish(OutgoingEvent),
    State(StateWrite),
    Schedule(OutgoingJob),
    Cancel(Cancel),
    Invoke(Call),
}

/// A published event as it leaves the host: encoded by its contract, on its way to a pubsub.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutgoingEvent {
    pub pubsub: Pubsub,
    pub topic: Topic,
    /// Stays the same when the publish is repeated.
    pub id: String,
    pub content_type: String,
    /// Trace context is inside, as attributes of the CloudEvent. Kept beside the rest.
    #[serde(skip)]
    pub payload: Bytes,
    /// Events with the same one keep their order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<String>,
}

/// A job on its way to Dapr's scheduler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutgoingJob {
    pub name: JobName,
    /// When it fires, or fires first. A past one fires at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u32>,
    /// JSON text: the guest's data, and beside it what the host wants to know when it fires.
    pub data: String,
}

/// A call of an output binding on its way to Dapr.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Stays the same when the call is repeated.
    pub id: String,
    pub binding: BindingName,
    pub operation: String,
    #[serde(with = "base64_text")]
    pub data: Bytes,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metadata: Vec<(String, String)>,
    /// Of the causing event: its retry schedule holds for the call, and the result is told in it.
    pub contract: ContractName,
    /// Of the causing event, and so of the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
}

impl Outgoing {
    /// In sequence with what else goes to the same place; by itself where nothing has an order.
    pub fn lane(&self) -> Lane {
        match self {
            Self::Publish(event) => {
                let last = event.partition_key.as_deref().unwrap_or(&event.id);
                Lane::of(&[event.pubsub.as_str(), event.topic.as_str(), last])
            }
            Self::State(write) => Lane::of_state(&write.store, &write.key),
            Self::Schedule(OutgoingJob { name, .. }) | Self::Cancel(Cancel { name }) => {
                Lane::of(&["job", name.as_str()])
            }
            Self::Invoke(call) => Lane::of(&["binding", &call.id]),
        }
    }

    /// Where it goes, for people.
    pub fn target(&self) -> String {
        match self {
            Self::Publish(event) => format!("{}/{}", event.pubsub, event.topic),
            Self::State(write) => format!("{}/{}", write.store, write.key),
            Self::Schedule(OutgoingJob { name, .. }) | Self::Cancel(Cancel { name }) => {
                name.to_string()
            }
            Self::Invoke(call) => call.binding.to_string(),
        }
    }

    /// The word for it in the ledger and in what people see.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Publish(_) => "publish",
            Self::State(_) => "state",
            Self::Schedule(_) => "schedule",
            Self::Cancel(_) => "cancel",
            Self::Invoke(_) => "invoke",
        }
    }

    /// The id that receivers know it by, where they do.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Publish(event) => Some(&event.id),
            Self::Invoke(call) => Some(&call.id),
            Self::State(_) | Self::Schedule(_) | Self::Cancel(_) => None,
        }
    }

    /// About how many bytes it holds.
    pub fn size(&self) -> usize {
        match self {
            Self::Publish(event) => event.payload.len(),
            Self::State(write) => match &write.change {
                StateChange::Set { value, .. } => value.len(),
                StateChange::Delete => 0,
            },
            Self::Schedule(job) => job.data.len(),
            Self::Cancel(_) => 0,
            Self::Invoke(call) => call.data.len(),
        }
    }
}
