//! The rows that effects become: for the outbox, or, where no topic carries an event, deliveries
//! that are due now.

use crate::catalog::Catalog;
use crate::clock::Timestamp;
use crate::contract::Encoded;
use crate::dispatch::decide::internal;
use crate::effect::{Outgoing, Publish};
use crate::event::Trace;
use crate::ledger::{NewDelivery, NewEffect, Outcome};
use crate::name::ContractName;

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
            Encoded::Topic(event) => rows.add(Outgoing::Publish(event), index),
            Encoded::Internal(event) => {
                let deliveries = internal::deliveries(self.catalog, &event, self.trace, self.now);
                rows.internal.extend(deliveries);
            }
        }
        Ok(())
    }
}

impl Rows {
    /// What goes to the same place stands in one line. `index` is its place among the effects.
    pub fn add(&mut self, outgoing: Outgoing, index: u32) {
        self.outbox.push(NewEffect { lane: outgoing.lane(), index, outgoing });
    }

    pub fn dead(self, error: String) -> Outcome {
        Outcome::Dead { error, outbox: self.outbox, internal: self.internal }
    }
}
