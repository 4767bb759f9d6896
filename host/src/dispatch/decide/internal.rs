//! Events that no topic carries: they enter the ledger as parked deliveries that are due now, in
//! the transaction of the commit that made them.

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::clock::Timestamp;
use crate::contract::Decode;
use crate::delivery::{DeliveryHead, DeliveryId};
use crate::event::{Arrival, Decoded, Event, Origin, Trace, WireEvent};
use crate::ledger::NewDelivery;
use crate::manifest::Order;
use crate::name::ComponentId;
use crate::runtime::Component;

/// One delivery for each component that wants the event.
pub fn deliveries(
    catalog: &Catalog,
    event: &Event,
    trace: Option<&Trace>,
    now: Timestamp,
) -> Vec<NewDelivery> {
    match understood(catalog, event, trace) {
        Some((decoded, wire)) => of_decoded(catalog, &decoded, &wire, now),
        None => Vec::new(),
    }
}

/// The delivery to one component, if it wants the event. One that does not run now gets it too: it
/// waits until the component is back.
pub fn delivery_to(
    catalog: &Catalog,
    component: &ComponentId,
    event: &Event,
    trace: Option<&Trace>,
    now: Timestamp,
) -> Vec<NewDelivery> {
    let Some((decoded, wire)) = understood(catalog, event, trace) else { return Vec::new() };
    if catalog.component(component).is_some() {
        let mut deliveries = of_decoded(catalog, &decoded, &wire, now);
        deliveries.retain(|delivery| delivery.head.id.component == *component);
        return deliveries;
    }
    let head = DeliveryHead {
        id: DeliveryId { component: component.clone(), key: decoded.key },
        ordered: decoded.event.subject.is_some(),
        ..event_head(&decoded, now)
    };
    vec![NewDelivery { head, wire }]
}

/// The event as it is understood, and as it is kept.
pub fn understood(
    catalog: &Catalog,
    event: &Event,
    trace: Option<&Trace>,
) -> Option<(Box<Decoded>, Arc<WireEvent>)> {
    let Ok(json) = serde_json::to_vec(event) else {
        tracing::error!(event = event.id, "an internal event cannot be written as JSON");
        return None;
    };
    let wire = Arc::new(WireEvent {
        bytes: json.into(),
        arrival: Arrival { origin: Origin::Internal, trace: trace.cloned() },
    });
    match catalog.contracts.decode(&wire) {
        Decode::Event(decoded) => Some((decoded, wire)),
        Decode::Unknown { wire_type, .. } => {
            tracing::error!(event = event.id, ty = wire_type, "an internal event has no contract");
            None
        }
        Decode::Unreadable(unreadable) => {
            tracing::error!(
                event = event.id,
                reason = unreadable.reason,
                "an internal event is unreadable"
            );
            None
        }
    }
}

/// The same for an event that is decoded already.
pub fn of_decoded(
    catalog: &Catalog,
    decoded: &Decoded,
    wire: &Arc<WireEvent>,
    now: Timestamp,
) -> Vec<NewDelivery> {
    let wanting = catalog.wanting(decoded);
    wanting
        .map(|component| NewDelivery {
            head: head(component, decoded, now),
            wire: Arc::clone(wire),
        })
        .collect()
}

/// What the ledger says of a delivery of `decoded` to `component`.
pub fn head(component: &Component, decoded: &Decoded, arrived: Timestamp) -> DeliveryHead {
    DeliveryHead {
        id: DeliveryId { component: component.id().clone(), key: decoded.key },
        ordered: component.manifest().order == Order::Subject && decoded.event.subject.is_some(),
        digest: component.digest().to_owned(),
        ..event_head(decoded, arrived)
    }
}

/// As far as the event alone decides.
pub fn event_head(decoded: &Decoded, arrived: Timestamp) -> DeliveryHead {
    DeliveryHead {
        id: DeliveryId { component: ComponentId::none(), key: decoded.key },
        subject: decoded.event.subject.clone(),
        ordered: false,
        contract: Some(decoded.event.contract.clone()),
        pubsub: decoded.pubsub.clone(),
        topic: decoded.topic.clone(),
        digest: String::new(),
        event_id: decoded.event.id.clone(),
        event_type: decoded.event.ty.to_string(),
        received_at: arrived,
    }
}
