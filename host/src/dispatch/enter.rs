//! Callbacks that are no event yet: a job fired, a binding ticked. The host makes an event of each,
//! and enters it for everyone who wants it.

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::dispatch::answer::Answer;
use crate::dispatch::decide::{self, Firing, host_event, internal};
use crate::dispatch::report::NotDurable;
use crate::dispatch::{Dispatch, Late};
use crate::event::Event;
use crate::ledger::NewDelivery;
use crate::name::{BindingName, JobName};

/// What became of a firing or a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entered {
    /// It is in the ledger, now or since an earlier time that it came.
    Taken,
    /// No component wants it.
    Unwanted,
    /// The ledger could not be written; the text says why.
    NotDurable(String),
}

impl Dispatch {
    /// Takes the firing of a job. `body` is its data, as Dapr hands it over.
    pub async fn fire(&self, name: &JobName, body: &[u8]) -> Entered {
        let (catalog, now) = (self.parts.registry.snapshot(), self.parts.clock.now());
        let firing = match decide::firing(&catalog.contracts, name, body, now) {
            Some(Ok(firing)) => firing,
            Some(Err(error)) => {
                tracing::error!(job = %name, error, "a firing cannot be made an event");
                return Entered::Unwanted;
            }
            None => return Entered::Unwanted,
        };
        let Firing { event, trace, scheduled_by } = &firing;
        let wanted = internal::deliveries(&catalog, event, trace.as_ref(), now);
        match (self.enter(wanted).await, scheduled_by) {
            (Entered::Unwanted, Some(component)) => {
                let waiting =
                    internal::delivery_to(&catalog, component, event, trace.as_ref(), now);
                match self.enter(waiting).await {
                    Entered::Unwanted => self.keep_unwanted(name, firing).await,
                    entered => entered,
                }
            }
            (entered, _) => entered,
        }
    }

    /// Takes a tick of an input binding.
    pub async fn tick(&self, binding: &BindingName) -> Entered {
        let catalog = self.parts.registry.snapshot();
        match self.ticked(&catalog, binding) {
            Some(event) => self.enter(self.wanting(&catalog, &event)).await,
            None => Entered::Unwanted,
        }
    }

    /// Whether a component wants the ticks of a binding.
    pub fn wants_ticks(&self, binding: &BindingName) -> bool {
        let catalog = self.parts.registry.snapshot();
        let ticked = self.ticked(&catalog, binding);
        ticked.is_some_and(|event| !self.wanting(&catalog, &event).is_empty())
    }

    fn ticked(&self, catalog: &Catalog, binding: &BindingName) -> Option<Event> {
        let (contract, period) = catalog.contracts.of_binding(binding)?;
        let tick = host_event::tick(binding, period, contract, self.parts.clock.now());
        tick.inspect_err(|error| tracing::error!(%binding, error, "a tick cannot be made an event"))
            .ok()
    }

    fn wanting(&self, catalog: &Catalog, event: &Event) -> Vec<NewDelivery> {
        internal::deliveries(catalog, event, None, self.parts.clock.now())
    }

    /// A caller that goes away withdraws nothing.
    async fn enter(&self, deliveries: Vec<NewDelivery>) -> Entered {
        if self.parts.stop.is_cancelled() {
            return Entered::NotDurable("the host is stopping".to_owned());
        }
        if deliveries.is_empty() {
            return Entered::Unwanted;
        }
        let ledger = self.parts.ledger.clone();
        let entering = self.parts.work.spawn(async move { ledger.enter(deliveries).await });
        match tokio::time::timeout(self.parts.patience, entering).await {
            Ok(Ok(Ok(()))) => Entered::Taken,
            Ok(Ok(Err(error))) => Entered::NotDurable(error.to_string()),
            Ok(Err(error)) => Entered::NotDurable(error.to_string()),
            Err(_) => self.late(),
        }
    }

    fn late(&self) -> Entered {
        Entered::NotDurable(NotDurable::Late(self.parts.patience).to_string())
    }

    /// A job of ours comes again every second until it is taken. One that no component wants any more
    /// is dead with the reason: a person may retry it when one does.
    async fn keep_unwanted(&self, name: &JobName, firing: Firing) -> Entered {
        let catalog = self.parts.registry.snapshot();
        let Firing { event, trace, .. } = firing;
        let Some(submission) = self.ending(&catalog).unwanted(name, &event, trace.as_ref()) else {
            return Entered::Unwanted;
        };
        let (dispatch, late) = (self.clone(), Late::default());
        let hears = Arc::clone(&late);
        let ending = self.parts.work.spawn(async move {
            dispatch.end(submission, Some("no component wants it"), &hears).await
        });
        tokio::select! {
            ended = ending => match ended {
                Ok(Answer::Success) => Entered::Taken,
                Ok(Answer::Retry) => Entered::NotDurable("the ledger did not take it".to_owned()),
                Err(error) => Entered::NotDurable(error.to_string()),
            },
            () = late.notified() => self.late(),
        }
    }
}
