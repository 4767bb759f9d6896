//! `POST /deliveries/retry` and `…/discard`: the same for many, by filter, a batch for each request.
//! The answer says from where the next request goes on, until nothing is left. Broken off or sent
//! twice, nothing is done twice.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde_json::{Value, json};

use super::filter::{self, Asked};
use super::{not_discarded, not_tried};
use crate::admin::Admin;
use crate::admin::reply::AdminError;
use crate::clock::rfc3339;
use crate::delivery::{DeliveryId, DeliveryStatus};
use crate::ledger::{Batch, Deed, DeliveryFilter};

/// How many a request changes, unless it says so.
const BATCH: u32 = 100;

/// Tries the dead ones that match again; with `refused=true` those with an effect that Dapr refused.
pub async fn retry(
    State(admin): State<Arc<Admin>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Value>, AdminError> {
    let asked = filter::query(asked)?;
    run(&admin, &asked, Deed::Retry, &[DeliveryStatus::Dead], not_tried).await
}

/// Gives up the dead ones that match, or with `status=parked` the parked ones; with `refused=true`
/// what Dapr refused.
pub async fn discard(
    State(admin): State<Arc<Admin>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Value>, AdminError> {
    let asked = filter::query(asked)?;
    let possible = [DeliveryStatus::Dead, DeliveryStatus::Parked];
    run(&admin, &asked, Deed::Discard, &possible, not_discarded).await
}

async fn run(
    admin: &Admin,
    asked: &Asked,
    deed: Deed,
    possible: &[DeliveryStatus],
    why_not: fn(&DeliveryId, DeliveryStatus) -> String,
) -> Result<Json<Value>, AdminError> {
    let now = admin.clock.now();
    let filter = meant(asked, asked.filter(now, BATCH)?, possible)?;
    let deed = if asked.dry_run == Some(true) { Deed::Count } else { deed };
    let after = asked.after.unwrap_or_default();
    let batch = admin.ledger.by_filter(&filter, after, deed, now).await?;
    if batch.matched == 0 && after == 0 {
        filter::refuse_unknown(admin, &filter).await?;
    }
    let Batch { matched, changed, passed, after } = batch;
    let passed = passed.iter().map(|(id, status)| {
        json!({ "delivery": id.to_string(), "status": status, "error": why_not(id, *status) })
    });
    Ok(Json(json!({
        "matched": matched,
        "changed": changed.len(),
        "deliveries": changed.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "passed": passed.collect::<Vec<_>>(),
        "after": after,
        "at": rfc3339(now),
    })))
}

/// Without a status, the dead ones. What could mean everything by an oversight is refused.
fn meant(
    asked: &Asked,
    filter: DeliveryFilter,
    possible: &[DeliveryStatus],
) -> Result<DeliveryFilter, AdminError> {
    if !asked.says_which() {
        return Err(AdminError::BadRequest(
            "say which: component, status, refused, topic, type, error, since, until, or all=true"
                .to_owned(),
        ));
    }
    match filter.status {
        None if filter.refused => Ok(filter),
        None => Ok(DeliveryFilter { status: Some(DeliveryStatus::Dead), ..filter }),
        Some(status) if filter.refused || possible.contains(&status) => Ok(filter),
        Some(status) => {
            let possible: Vec<_> = possible.iter().map(|status| status.as_str()).collect();
            Err(AdminError::BadRequest(format!(
                "a delivery that is {} has nothing to be done with; use status={}, or refused=true \
                 for those with an effect that Dapr refused",
                status.as_str(),
                possible.join(" or status=")
            )))
        }
    }
}
