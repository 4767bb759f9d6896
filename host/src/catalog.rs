//! What runs: components, contracts and the routes between them, as one immutable snapshot. A
//! swap builds a new one beside the old and exchanges a pointer; work in flight keeps its own.

pub mod load;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

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
}

/// Holds the snapshot that counts now.
pub struct Registry {
    current: ArcSwap<Catalog>,
}

impl Registry {
    pub fn new(catalog: Catalog) -> Self {
        Self { current: ArcSwap::from_pointee(catalog) }
    }

    /// Stays the same for as long as it is held.
    pub fn snapshot(&self) -> Arc<Catalog> {
        self.current.load_full()
    }
}
