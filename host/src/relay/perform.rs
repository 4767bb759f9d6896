//! Hands effects to Dapr. Every call has an end: one that is not answered within two thirds of the
//! lease counts as failed, before anybody else may take its effect for left behind.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Relay;
use crate::backend::BackendError;
use crate::effect::{Outgoing, OutgoingEvent};
use crate::ledger::ClaimedEffect;

/// What Dapr answered: the response of a call, else nothing.
pub type Performed = Result<Bytes, BackendError>;

impl Relay {
    /// Events of one topic go out together.
    pub(super) async fn publish(
        &self,
        effects: Vec<ClaimedEffect>,
    ) -> Vec<(ClaimedEffect, Performed)> {
        let events: Vec<_> = effects.iter().filter_map(event).cloned().collect();
        let started = Instant::now();
        let answer = tokio::time::timeout(self.patience(), self.backend.publish(events)).await;
        let took = started.elapsed();
        let mut results = answer.unwrap_or_default().into_iter();
        let result = |effect| (effect, results.next().unwrap_or_else(|| self.unanswered()));
        let published = effects.into_iter().map(result);
        let published = published.map(|(effect, result)| (effect, result.map(|()| Bytes::new())));
        let published: Vec<_> = published.collect();
        for (effect, result) in &published {
            self.count_publish(effect, result.as_ref().err(), took);
        }
        published
    }

    /// Anything but an event. Gives the response of a call.
    pub(super) async fn perform_one(&self, outgoing: &Outgoing) -> Performed {
        let answer = tokio::time::timeout(self.patience(), self.call(outgoing.clone())).await;
        answer.unwrap_or_else(|_| self.unanswered())
    }

    async fn call(&self, outgoing: Outgoing) -> Performed {
        let done = match outgoing {
            Outgoing::Publish(event) => {
                let mut results = self.backend.publish(vec![event]).await;
                results.pop().unwrap_or_else(|| self.unanswered())
            }
            Outgoing::State(write) => self.backend.write_state(write).await,
            Outgoing::Schedule(job) => self.backend.schedule(job).await,
            Outgoing::Cancel(cancel) => self.backend.cancel(cancel.name).await,
            Outgoing::Invoke(call) => return self.backend.invoke(call).await,
        };
        done.map(|()| Bytes::new())
    }

    fn unanswered<T>(&self) -> Result<T, BackendError> {
        Err(BackendError::Unavailable(format!("no answer came within {:?}", self.patience())))
    }

    fn patience(&self) -> Duration {
        self.lease * 2 / 3
    }
}

/// The event that an effect publishes.
pub fn event(effect: &ClaimedEffect) -> Option<&OutgoingEvent> {
    match &effect.outgoing {
        Outgoing::Publish(event) => Some(event),
        Outgoing::State(_) | Outgoing::Schedule(_) | Outgoing::Cancel(_) | Outgoing::Invoke(_) => {
            None
        }
    }
}
