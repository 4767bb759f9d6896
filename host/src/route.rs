//! Which components get an event: those whose manifest wants it and whom the contract's entry lists.

use crate::contract::Contracts;
use crate::event::Decoded;
use crate::manifest::Manifest;
use crate::name::ComponentId;

/// Whether `component` gets the event. An entry's list binds only components that an active
/// contract names; any other, and every event of the host itself, goes by the manifest alone.
pub fn gets(
    contracts: &Contracts,
    decoded: &Decoded,
    component: &ComponentId,
    manifest: &Manifest,
) -> bool {
    let ty = &decoded.event.ty;
    if !manifest.wants(&decoded.event) {
        return false;
    }
    if ty.as_str().starts_with("com.wharf.") || !contracts.names_component(component) {
        return true;
    }
    contracts
        .consumers(&decoded.event.contract, ty, decoded.entry)
        .is_none_or(|consumers| consumers.contains(component))
}
