//! Which deliveries are meant, as a request says it.

use std::collections::BTreeSet;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use serde::Deserialize;

use crate::admin::Admin;
use crate::admin::reply::AdminError;
use crate::clock::Timestamp;
use crate::delivery::DeliveryStatus;
use crate::ledger::DeliveryFilter;
use crate::manifest::HOST_TYPES;
use crate::name::{ComponentId, Topic};
use crate::problem::nearest;
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

/// Nothing was found: a name that nothing has is a slip of the pen, and told with the nearest one.
pub async fn refuse_unknown(admin: &Admin, filter: &DeliveryFilter) -> Result<(), AdminError> {
    let catalog = admin.registry.snapshot();
    if let Some(asked) = &filter.component {
        let names = || catalog.components().map(|component| component.id());
        let is_known = *asked == ComponentId::none()
            || names().any(|name| name == asked)
            || admin.registry.noted().contains_key(asked)
            || !admin.ledger.releases(asked, 1).await?.is_empty();
        if !is_known {
            let said = format!("no component `{asked}` runs here or has run");
            let running = names().map(ComponentId::as_str).collect();
            return Err(unknown(&said, asked.as_str(), &running, "those that run"));
        }
    }
    if let Some(asked) = &filter.topic {
        let topics: Vec<_> =
            catalog.contracts.iter().flat_map(|contract| &contract.topics).collect();
        if !topics.iter().any(|rules| rules.name == *asked) {
            let said =
                format!("no delivery matches, and no active contract has the topic `{asked}`");
            let topics = topics.into_iter().map(|rules| rules.name.as_str()).collect();
            return Err(unknown(&said, asked.as_str(), &topics, "the topics"));
        }
    }
    if let Some(asked) = &filter.event_type
        && !catalog.contracts.knows(asked)
        && !asked.starts_with(HOST_TYPES)
    {
        let said = format!("no delivery matches, and no active contract has the type `{asked}`");
        let entries = catalog.contracts.iter().flat_map(|contract| &contract.events);
        let types = entries.map(|entry| entry.ty.as_str()).collect();
        return Err(unknown(&said, asked, &types, "the types"));
    }
    Ok(())
}

fn unknown(said: &str, asked: &str, known: &BTreeSet<&str>, there_are: &str) -> AdminError {
    let rest = match nearest(asked, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if known.is_empty() => format!("{there_are}: none"),
        None => format!("{there_are}: {}", known.iter().copied().collect::<Vec<_>>().join(", ")),
    };
    AdminError::NotFound(format!("{said}; {rest}"))
}
