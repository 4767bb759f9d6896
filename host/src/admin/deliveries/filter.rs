//! Which deliveries are meant, as a request says it.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use serde::Deserialize;

use crate::admin::Admin;
use crate::admin::reply::AdminError;
use crate::clock::Timestamp;
use crate::delivery::DeliveryStatus;
use crate::ledger::DeliveryFilter;
use crate::name::{ComponentId, Topic};
use crate::schedule::go_duration;

/// The most that one request lists or changes.
const MOST: u32 = 1000;

/// `?component=&status=&refused=&topic=&type=&error=&since=&until=&limit=`, and what only a request
/// that changes many understands.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    component: Option<String>,
    status: Option<String>,
    refused: Option<bool>,
    topic: Option<String>,
    r#type: Option<String>,
    error: Option<String>,
    since: Option<String>,
    until: Option<String>,
    limit: Option<u32>,
    pub all: Option<bool>,
    pub dry_run: Option<bool>,
    pub after: Option<i64>,
}

pub fn query(asked: Result<Query<Asked>, QueryRejection>) -> Result<Asked, AdminError> {
    asked.map(|Query(asked)| asked).map_err(|error| AdminError::BadRequest(error.body_text()))
}

impl Asked {
    /// `most` is how many, where the request does not say.
    pub fn filter(&self, now: Timestamp, most: u32) -> Result<DeliveryFilter, AdminError> {
        let bad = |error: String| AdminError::BadRequest(error);
        let component = self.component.as_deref().map(ComponentId::new).transpose();
        let topic = self.topic.as_deref().map(Topic::new).transpose();
        let status = self.status.as_deref().map(str::parse::<DeliveryStatus>).transpose();
        let time = |text: &Option<String>, name| {
            text.as_deref().map(|text| instant(text, name, now)).transpose().map_err(bad)
        };
        Ok(DeliveryFilter {
            component: component.map_err(|error| bad(error.to_string()))?,
            status: status.map_err(bad)?,
            refused: self.refused.unwrap_or_default(),
            topic: topic.map_err(|error| bad(error.to_string()))?,
            event_type: self.r#type.clone(),
            error: self.error.clone(),
            since: time(&self.since, "since")?,
            until: time(&self.until, "until")?,
            limit: self.limit.unwrap_or(most).clamp(1, MOST),
            ..DeliveryFilter::default()
        })
    }

    /// Whether it says which deliveries are meant, be it all of them.
    pub fn says_which(&self) -> bool {
        let texts = [
            &self.component,
            &self.status,
            &self.topic,
            &self.r#type,
            &self.error,
            &self.since,
            &self.until,
        ];
        texts.iter().any(|text| text.is_some())
            || self.refused == Some(true)
            || self.all == Some(true)
    }

    /// Refuses what a list does not understand.
    pub fn lists_only(&self) -> Result<(), AdminError> {
        let others = [
            ("all", self.all.is_some()),
            ("dry_run", self.dry_run.is_some()),
            ("after", self.after.is_some()),
        ];
        match others.into_iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(AdminError::BadRequest(format!(
                "unknown field `{name}`; it is for POST /deliveries/retry and …/discard"
            ))),
            None => Ok(()),
        }
    }
}

/// An instant, or how long ago.
fn instant(text: &str, name: &str, now: Timestamp) -> Result<Timestamp, String> {
    let ago = || go_duration(text).and_then(|ago| now.checked_sub_signed(chrono(ago)?));
    let instant = text.parse().ok().or_else(ago);
    instant.ok_or_else(|| {
        format!(
            "{name} `{text}` is no time; write it like 2026-01-31T08:00:00Z, or how long ago, like \
             30m or 2h"
        )
    })
}

fn chrono(duration: std::time::Duration) -> Option<chrono::Duration> {
    chrono::Duration::from_std(duration).ok()
}

/// Nothing was found: a component that never ran here is a slip of the pen.
pub async fn refuse_unknown(admin: &Admin, filter: &DeliveryFilter) -> Result<(), AdminError> {
    let Some(asked) = &filter.component else { return Ok(()) };
    let catalog = admin.registry.snapshot();
    let names = || catalog.components().map(|component| component.id());
    if *asked == ComponentId::none()
        || names().any(|name| name == asked)
        || admin.registry.noted().contains_key(asked)
        || !admin.ledger.releases(asked, 1).await?.is_empty()
    {
        return Ok(());
    }
    let names: Vec<_> = names().map(ToString::to_string).collect();
    let there_are = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Err(AdminError::NotFound(format!(
        "no component `{asked}` runs here or has run; those that run: {there_are}"
    )))
}
