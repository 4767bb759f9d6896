//! `GET /components`: what runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::admin::Admin;
use crate::manifest::Want;

/// Name, version, digest, grants and limits of each component.
pub async fn list(State(admin): State<Arc<Admin>>) -> Json<Vec<Value>> {
    let catalog = admin.registry.snapshot();
    let components = catalog.components().map(|component| {
        let manifest = component.manifest();
        json!({
            "name": component.id(),
            "version": manifest.version,
            "description": manifest.description,
            "digest": component.digest(),
            "wants": manifest.on.iter().map(Want::to_string).collect::<Vec<_>>(),
            "grants": manifest.grants,
            "limits": manifest.limits,
        })
    });
    Json(components.collect())
}
