//! `GET /components`: what runs, what ran before, and why what is offered does not run.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use crate::admin::Admin;
use crate::admin::reply::AdminError;
use crate::catalog::{Catalog, Note};
use crate::ledger::{Counts, Release};
use crate::manifest::Want;
use crate::name::ComponentId;

/// How many releases are told of each component.
const RELEASES: u32 = 10;

/// Every component that runs, or was offered and refused, by name.
pub async fn list(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<Value>>, AdminError> {
    let view = View::of(&admin).await?;
    let mut shown = Vec::new();
    for name in view.names() {
        shown.push(view.show(&admin, &name).await?);
    }
    Ok(Json(shown))
}

/// One of them.
pub async fn show(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, AdminError> {
    let view = View::of(&admin).await?;
    let known = view.names().into_iter().find(|known| known.as_str() == name);
    match known {
        Some(name) => view.show(&admin, &name).await.map(Json),
        None => {
            let error = format!("there is no component `{name}`; see GET /components");
            Err(AdminError::NotFound(error))
        }
    }
}

/// What is asked once for all components.
struct View {
    catalog: Arc<Catalog>,
    notes: BTreeMap<ComponentId, Note>,
    counts: Counts,
}

impl View {
    async fn of(admin: &Admin) -> Result<Self, AdminError> {
        let (catalog, notes) = (admin.registry.snapshot(), admin.registry.noted());
        Ok(Self { catalog, notes, counts: admin.ledger.counts().await? })
    }

    fn names(&self) -> Vec<ComponentId> {
        let running = self.catalog.components().map(|component| component.id());
        let mut names: Vec<_> = running.chain(self.notes.keys()).cloned().collect();
        names.sort();
        names.dedup();
        names
    }

    async fn show(&self, admin: &Admin, name: &ComponentId) -> Result<Value, AdminError> {
        let releases = admin.ledger.releases(name, RELEASES).await?;
        Ok(self.shown(name, &releases))
    }

    fn shown(&self, name: &ComponentId, releases: &[Release]) -> Value {
        let running = self.catalog.component(name);
        let manifest = running.map(|component| component.manifest());
        let note = self.notes.get(name).cloned().unwrap_or_default();
        let of = self.counts.components.iter().find(|of| of.component == *name);
        let wants = manifest.map(|m| m.on.iter().map(Want::to_string).collect::<Vec<_>>());
        json!({
            "name": name,
            "status": if running.is_some() { "running" } else { "not running" },
            "version": manifest.map(|m| &m.version),
            "description": manifest.map(|m| &m.description),
            "digest": running.map(|component| component.digest()),
            "wants": wants,
            "grants": manifest.map(|m| &m.grants),
            "limits": manifest.map(|m| &m.limits),
            "in_flight": running.map_or(0, |component| component.in_flight()),
            "parked": of.map_or(0, |of| of.parked),
            "dead": of.map_or(0, |of| of.dead),
            "offered": offered(&note),
            "refused": note.refused,
            "releases": releases,
        })
    }
}

/// How what its folder offers differs from what runs.
fn offered(note: &Note) -> &'static str {
    match note {
        Note { gone: true, .. } => "gone",
        Note { refused: Some(_), .. } => "refused",
        Note { refused: None, gone: false } => "running",
    }
}
