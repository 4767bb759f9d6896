//! The rows that effects become: for the outbox, or, where no topic carries an event, deliveries
//! that are due now.

use crate::catalog::Catalog;
use crate::clock::Timestamp;
use crate::contract::Encoded;
use crate::dispatch::decide::internal;
use crate::effect::{Outgoing, Publish};
use crate::event::Trace;
use crate::ledger::{NewDelivery, NewEffect, Outcome};
use crate::name::{ContractName, Lane};

/// What the ledger writes beside the delivery's own row.
#[derive(Default)]
pub struct Rows {
    pub outbox: Vec<NewEffect>,
    pub internal: Vec<NewDelivery>,
}

/// In whose name, and in which dialect, an event is published.
pub struct Publisher<'a> {
    pub catalog: &'a Catalog,
    pub now: Timestamp,
    pub contract: &'a ContractName,
    pub source: &'a str,
    pub trace: Option<&'a Trace>,
}

impl Publisher<'_> {
    /// Adds the row, or the rows, of one publish. `index` is its place among the effects.
    pub fn publish(&self, rows: &mut Rows, publish: &Publish, index: u32) -> Result<(), String> {
        let contracts = &self.catalog.contracts;
        let encoded = contracts.encode(self.contract, publish, self.source, self.trace);
        match encoded.map_err(|error| error.to_string())? {
            Encoded::Topic(outgoing) => rows.outbox.push(effect(outgoing, index)),
            Encoded::Internal(event) => {
                let deliveries = internal::deliveries(self.catalog, &event, self.trace, self.now);
                rows.internal.extend(deliveries);
            }
        }
        Ok(())
    }
}

impl Rows {
    pub fn dead(self, error: String) -> Outcome {
        Outcome::Dead { error, outbox: self.outbox, internal: self.internal }
    }
}

/// A publish with a subject goes in line with the others of its subject; one without is alone.
pub fn effect(outgoing: Outgoing, index: u32) -> NewEffect {
    let last = outgoing.partition_key.as_deref().unwrap_or(&outgoing.id);
    let lane = Lane::of(&[outgoing.pubsub.as_str(), outgoing.topic.as_str(), last]);
    NewEffect { lane, index, outgoing }
}
