//! What runs: components, contracts and the routes between them, as one immutable snapshot. A
//! swap builds a new one beside the old and exchanges a pointer; work in flight keeps its own.

pub mod bundle;
pub mod load;
mod prepare;
pub mod swap;
pub mod unknown;
mod wider;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::clock::Timestamp;
use crate::contract::Contracts;
use crate::event::Decoded;
use crate::name::ComponentId;
use crate::route;
use crate::runtime::Component;

/// One consistent view.
pub struct Catalog {
    pub contracts: Contracts,
    components: BTreeMap<ComponentId, Arc<Component>>,
}

impl Catalog {
    pub fn new(contracts: Contracts, components: impl IntoIterator<Item = Component>) -> Self {
        let by_id = |component: Component| (component.id().clone(), Arc::new(component));
        Self { contracts, components: components.into_iter().map(by_id).collect() }
    }

    /// The components that get the event, in the order of their names.
    pub fn wanting<'a>(
        &'a self,
        decoded: &'a Decoded,
    ) -> impl Iterator<Item = &'a Arc<Component>> + 'a {
        self.components.values().filter(|component| {
            route::gets(&self.contracts, decoded, component.id(), component.manifest())
        })
    }

    pub fn component(&self, id: &ComponentId) -> Option<&Arc<Component>> {
        self.components.get(id)
    }

    pub fn components(&self) -> impl Iterator<Item = &Arc<Component>> {
        self.components.values()
    }

    /// The same with one component added, or in the place of its older version.
    fn with(&self, component: Component) -> Self {
        let mut components = self.components.clone();
        components.insert(component.id().clone(), Arc::new(component));
        Self { contracts: self.contracts.clone(), components }
    }
}

/// Holds the snapshot that counts now, and what is known of offers that do not run.
pub struct Registry {
    current: ArcSwap<Catalog>,
    /// Whose turn it is to swap.
    turn: tokio::sync::Mutex<()>,
    notes: Mutex<BTreeMap<ComponentId, Note>>,
}

/// How what is offered of a component differs from what runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Note {
    /// The newest offer, when it was refused.
    pub refused: Option<Refused>,
    /// Nothing is offered any more: the next start is without it.
    pub gone: bool,
}

/// An offer that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Refused {
    pub at: Timestamp,
    pub reason: String,
}

impl Registry {
    pub fn new(catalog: Catalog) -> Self {
        Self {
            current: ArcSwap::from_pointee(catalog),
            turn: tokio::sync::Mutex::default(),
            notes: Mutex::default(),
        }
    }

    /// Stays the same for as long as it is held.
    pub fn snapshot(&self) -> Arc<Catalog> {
        self.current.load_full()
    }

    /// Remembers why an offer was not taken, until one is.
    pub fn refuse(&self, component: &ComponentId, at: Timestamp, reason: String) {
        let note = Note { refused: Some(Refused { at, reason }), gone: false };
        self.notes().insert(component.clone(), note);
    }

    /// What is offered of the component is what runs.
    pub fn accepted(&self, component: &ComponentId) {
        self.notes().remove(component);
    }

    /// Nothing is offered any more. It runs on, if it ran.
    pub fn gone(&self, component: &ComponentId) {
        let runs = self.snapshot().component(component).is_some();
        let mut notes = self.notes();
        notes.remove(component);
        if runs {
            notes.insert(component.clone(), Note { refused: None, gone: true });
        }
    }

    /// Each component of whose offers there is something to say.
    pub fn noted(&self) -> BTreeMap<ComponentId, Note> {
        self.notes().clone()
    }

    fn notes(&self) -> MutexGuard<'_, BTreeMap<ComponentId, Note>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
