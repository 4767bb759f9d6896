//! A delivery: one event for one component, with its attempts.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::name::{ComponentId, ContractName, EventKey, NameError, Pubsub, Topic};

/// What identifies a delivery in the ledger. Written `component/key`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeliveryId {
    pub component: ComponentId,
    pub key: EventKey,
}

impl std::fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.component, self.key)
    }
}

impl std::str::FromStr for DeliveryId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (component, key) = text.split_once('/').ok_or_else(|| {
            format!("`{text}` is no delivery; write it COMPONENT/KEY, as `wharf deliveries` does")
        })?;
        let component = ComponentId::new(component).map_err(|error| error.to_string())?;
        Ok(Self { component, key: key.parse().map_err(|error: NameError| error.to_string())? })
    }
}

/// A delivery's state in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryStatus {
    /// Its effects are committed.
    Done,
    /// It failed, or waits behind one that did, and is tried again at its time.
    Parked,
    /// It is not tried again unless someone says so.
    Dead,
    /// Someone said that it is not wanted.
    Discarded,
}

impl DeliveryStatus {
    pub const ALL: [Self; 4] = [Self::Done, Self::Parked, Self::Dead, Self::Discarded];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Parked => "parked",
            Self::Dead => "dead",
            Self::Discarded => "discarded",
        }
    }
}

impl std::str::FromStr for DeliveryStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not a status; use done, parked, dead or discarded"))
    }
}

/// What every row of a delivery says, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryHead {
    pub id: DeliveryId,
    pub subject: Option<String>,
    /// Whether later deliveries of the same component and subject wait behind this one.
    pub ordered: bool,
    /// `None` when the event could not be decoded.
    pub contract: Option<ContractName>,
    pub pubsub: Option<Pubsub>,
    pub topic: Option<Topic>,
    /// Digest of the component that ran; empty when none did.
    pub digest: String,
    /// The event's own id and canonical type, for people; the ledger decides nothing by them.
    pub event_id: String,
    pub event_type: String,
    pub received_at: Timestamp,
}

/// One line that a guest wrote: through `wasi:logging`, or to stdout or stderr.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// `trace`, `debug`, `info`, `warn`, `error`, `critical`, `stdout`, `stderr` or `host`.
    pub level: std::borrow::Cow<'static, str>,
    pub text: String,
}
