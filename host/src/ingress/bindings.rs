//! Input bindings: daprd asks with OPTIONS whether the app wants one, and posts each tick to its
//! name.

use axum::http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;

use crate::dispatch::Entered;
use crate::ingress::reply::NotTaken;
use crate::ingress::{Ingress, is_of_another_app};
use crate::name::BindingName;

/// 200 for a binding that a component wants. Otherwise 404: daprd would start the binding if it
/// were answered 2xx or 405.
pub fn probe(ingress: &Ingress, path: &str) -> StatusCode {
    match name(path) {
        Some(name) if ingress.dispatch.wants_ticks(&name) => StatusCode::OK,
        Some(_) | None => StatusCode::NOT_FOUND,
    }
}

/// `None` when the path is no binding that a component wants.
pub async fn tick(
    ingress: &Ingress,
    path: &str,
    headers: &HeaderMap,
) -> Option<Result<StatusCode, NotTaken>> {
    let name = name(path)?;
    if ingress.dispatch.wants_ticks(&name) && is_of_another_app(headers, name.as_str()) {
        return Some(Ok(StatusCode::FORBIDDEN));
    }
    match ingress.dispatch.tick(&name).await {
        Entered::Taken => Some(Ok(StatusCode::OK)),
        Entered::Unwanted => None,
        Entered::NotDurable(why) => Some(Err(NotTaken(why))),
    }
}

fn name(path: &str) -> Option<BindingName> {
    let name = percent_decode_str(path.strip_prefix('/')?).decode_utf8().ok()?;
    BindingName::new(name).ok()
}
