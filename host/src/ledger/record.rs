//! What comes out of the ledger: claimed work, and what people look at.

use serde::Serialize;

use crate::clock::Timestamp;
use crate::delivery::{DeliveryHead, DeliveryId, DeliveryStatus, LogLine};
use crate::effect::Outgoing;
use crate::event::WireEvent;
use crate::name::{ComponentId, Lane, Topic};

/// A parked delivery that is ours to run until the lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedDelivery {
    pub head: DeliveryHead,
    pub wire: WireEvent,
    /// Goes into the submission. A later claim has a higher one and wins.
    pub claim: i64,
    /// Attempts used up so far.
    pub attempts: u32,
}

/// An effect that is ours to perform until the lease ends.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimedEffect {
    pub sequence: i64,
    pub claim: i64,
    /// The delivery that it belongs to.
    pub delivery: DeliveryId,
    pub index: u32,
    pub lane: Lane,
    pub outgoing: Outgoing,
    /// Attempts used up so far.
    pub attempts: u32,
    /// When the event that caused it came in.
    pub since: Timestamp,
}

/// What became of a claimed effect. Under an older claim it changes nothing.
#[derive(Debug, Clone)]
pub struct FinishedEffect {
    pub sequence: i64,
    pub claim: i64,
    pub result: EffectResult,
}

#[derive(Debug, Clone)]
pub enum EffectResult {
    /// Dapr took it: its row goes, and these come of it, in the same transaction.
    Performed { internal: Vec<super::NewDelivery> },
    /// Not this time.
    Again { at: Timestamp, attempts: u32, error: String },
    /// It can never succeed: its lane goes on without it, and these report it, as effects and
    /// internal events of the same delivery.
    Dead { error: String, outbox: Vec<super::NewEffect>, internal: Vec<super::NewDelivery> },
}

/// How far one step of pruning came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pruned {
    /// So many went; there may be more.
    Batch(u64),
    /// Nothing is old enough.
    Nothing,
    /// Another host is at it.
    Elsewhere,
}

/// What a person asked for, and whether it was possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByHand {
    Changed,
    /// The ledger has no such delivery.
    Unknown,
    /// It has this status, which does not allow it.
    Refused(DeliveryStatus),
}

/// Which deliveries are meant. What is left out does not matter.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    pub component: Option<ComponentId>,
    pub status: Option<DeliveryStatus>,
    /// Only those that have an effect which Dapr refused for good.
    pub refused: bool,
    pub topic: Option<Topic>,
    pub event_type: Option<String>,
    /// A part of the error as it is kept; with `refused` of what Dapr said.
    pub error: Option<String>,
    /// Its event came in then or later.
    pub since: Option<Timestamp>,
    /// Its event came in then or before.
    pub until: Option<Timestamp>,
    pub order: ListOrder,
    pub limit: u32,
}

/// In which order of entry deliveries are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ListOrder {
    #[default]
    NewestFirst,
    /// From the one behind this sequence on.
    OldestAfter(i64),
}

/// A delivery in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliverySummary {
    /// Order of entry.
    pub sequence: i64,
    pub head: DeliveryHead,
    pub status: DeliveryStatus,
    pub attempts: u32,
    /// When a parked one is due; while it runs, when its lease ends.
    pub due: Option<Timestamp>,
    pub error: Option<String>,
}

/// All that the ledger knows of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryDetail {
    pub summary: DeliverySummary,
    pub log: Vec<LogLine>,
    /// Kept while parked or dead.
    pub wire: Option<WireEvent>,
    /// Its effects that are not performed yet, or never will be.
    pub outbox: Vec<OutboxRow>,
}

/// An effect in a delivery's detail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutboxRow {
    pub sequence: i64,
    pub index: u32,
    pub lane: Lane,
    pub status: EffectStatus,
    pub kind: &'static str,
    /// Where it goes: a topic, a key of a store, a job, a binding.
    pub target: String,
    /// The id under which it is published or called.
    pub id: Option<String>,
    pub attempts: u32,
    pub error: Option<String>,
}

/// An effect's state in the ledger; a performed one has no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EffectStatus {
    Waiting,
    Dead,
}

impl EffectStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Dead => "dead",
        }
    }
}

/// One run of a handler, as it was: to look at, and to run again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    pub id: DeliveryId,
    /// Which of the delivery's runs it was, counted from 1.
    pub attempt: u32,
    pub failed: bool,
    pub digest: String,
    pub at: Timestamp,
    pub fuel: u64,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// JSON: event, reads, effects, log.
    pub body: String,
}

/// What waits and what was given up, for metrics and health.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Every component that has a parked or dead delivery, by name.
    pub components: Vec<ComponentCounts>,
    pub outbox_waiting: u64,
    pub outbox_dead: u64,
    /// When the oldest waiting effect's event came in: now minus this is the outbox lag.
    pub outbox_oldest: Option<Timestamp>,
}

impl Counts {
    /// How far behind the relay is: since when the oldest waiting effect's event is here.
    pub fn lag(&self, now: Timestamp) -> std::time::Duration {
        let lag = self.outbox_oldest.map(|oldest| now - oldest);
        lag.and_then(|lag| lag.to_std().ok()).unwrap_or_default()
    }

    /// Parked deliveries of a component.
    pub fn parked(&self, component: &ComponentId) -> u64 {
        let of = self.components.iter().find(|of| of.component == *component);
        of.map_or(0, |of| of.parked)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentCounts {
    pub component: ComponentId,
    pub parked: u64,
    pub dead: u64,
}

/// The earliest instant at which a claim would find something; past when it would now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NextDue {
    pub parked: Option<Timestamp>,
    pub outbox: Option<Timestamp>,
}
