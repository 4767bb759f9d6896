//! What is counted of effects that were handed to Dapr.

use std::time::Duration;

use super::Relay;
use crate::backend::BackendError;
use crate::effect::Outgoing;
use crate::ledger::ClaimedEffect;
use crate::telemetry::metrics;

impl Relay {
    pub(super) fn count(&self, effect: &ClaimedEffect, result: Result<(), &BackendError>) {
        let result = result.map_or_else(kind, |()| "performed");
        let labels = [("kind", effect.outgoing.kind()), ("result", result)];
        self.metrics.count(metrics::EFFECTS, &labels, 1);
    }

    pub(super) fn count_publish(
        &self,
        effect: &ClaimedEffect,
        error: Option<&BackendError>,
        took: Duration,
    ) {
        let Outgoing::Publish(event) = &effect.outgoing else { return };
        let topic = ("topic", event.topic.as_str());
        self.metrics.time(metrics::PUBLISH_DURATION, &[topic], took);
        match error {
            None => {
                let ty = event_type(&event.payload);
                // A dead letter keeps its sender's type, and senders could invent any number.
                let known = self.registry.snapshot().contracts.knows(&ty);
                let ty = ("event_type", if known { ty.as_str() } else { "other" });
                self.metrics.count(metrics::PUBLISHED, &[topic, ty], 1);
            }
            Some(error) => {
                let error_type = ("error_type", kind(error));
                self.metrics.count(metrics::PUBLISH_ERRORS, &[topic, error_type], 1);
            }
        }
    }
}
/// The `type` of the CloudEvent that went out.
fn event_type(payload: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Typed {
        r#type: String,
    }
    serde_json::from_slice::<Typed>(payload).map(|event| event.r#type).unwrap_or_default()
}

fn kind(error: &BackendError) -> &'static str {
    match error {
        BackendError::Away(_) => "away",
        BackendError::Unavailable(_) => "unavailable",
        BackendError::Refused(_) => "refused",
    }
}
