//! Publishing, in bulk where that pays: daprd spends a third of the time on an event that comes with
//! others. In one call is at most one event of a lane, since a call that fails in part keeps no
//! order.

mod exact;
mod plan;

use std::collections::BTreeMap;

use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use self::plan::{CLOUD_EVENT, Publishing, rounds};
use super::call::{Answer, send};
use super::{BackendError, Sidecar, fault};
use crate::effect::OutgoingEvent;

/// One event of a bulk, as Dapr's API has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    entry_id: String,
    event: &'a RawValue,
    content_type: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<&'a str, &'a str>,
}

/// Which events of a bulk were not published.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Failed {
    failed_entries: Vec<FailedEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FailedEntry {
    entry_id: String,
    #[serde(default)]
    error: String,
}

/// What became of the events, each with its place in the batch.
type Results = Vec<(usize, Result<(), BackendError>)>;

impl Sidecar {
    /// The topics go side by side, and the events of a lane one after the other.
    pub(super) async fn publish_all(
        &self,
        batch: Vec<OutgoingEvent>,
    ) -> Vec<Result<(), BackendError>> {
        let topics = rounds(&batch).into_iter().map(|rounds| async {
            let mut results = Results::new();
            for round in rounds {
                let calls = round.into_iter().map(|call| self.publish_together(&batch, call));
                let mut calls: FuturesUnordered<_> = calls.collect();
                while let Some(published) = calls.next().await {
                    results.extend(published);
                }
            }
            results
        });
        let mut results: BTreeMap<_, _> = join_all(topics).await.into_iter().flatten().collect();
        let unpublished = || BackendError::Unavailable("it was not published".to_owned());
        (0..batch.len())
            .map(|place| results.remove(&place).unwrap_or_else(|| Err(unpublished())))
            .collect()
    }

    async fn publish_together(&self, batch: &[OutgoingEvent], call: Publishing) -> Results {
        let events = |places: Vec<usize>| -> Vec<_> {
            places.into_iter().filter_map(|place| Some((place, batch.get(place)?))).collect()
        };
        match call {
            Publishing::Singly(place) => self.publish_each(events(vec![place])).await,
            Publishing::Bulk(places) => self.publish_bulk(events(places)).await,
        }
    }

    async fn publish_each(&self, events: Vec<(usize, &OutgoingEvent)>) -> Results {
        let mut results = Results::new();
        for (place, event) in events {
            results.push((place, self.publish_one(event).await));
        }
        results
    }

    async fn publish_one(&self, event: &OutgoingEvent) -> Result<(), BackendError> {
        let mut query = Vec::new();
        if let Some(key) = &event.partition_key {
            query.push(("metadata.partitionKey", key.as_str()));
        }
        if event.content_type != CLOUD_EVENT {
            // Dapr makes the envelope, and would draw an id of its own.
            query.push(("metadata.cloudevent.id", event.id.as_str()));
        }
        let path = ["v1.0", "publish", event.pubsub.as_str(), event.topic.as_str()];
        let request = self.request(Method::POST, &path, &query)?;
        let request = request.header(CONTENT_TYPE, &event.content_type);
        let answer = send(request.body(event.payload.clone())).await?;
        answer.succeeded(&target(event)).map(drop)
    }

    /// What is refused in a bulk is tried by itself: one event's fault may be told of all.
    async fn publish_bulk(&self, events: Vec<(usize, &OutgoingEvent)>) -> Results {
        let results = match self.call_bulk(&events).await {
            Ok(answer) => judged(&events, &answer),
            Err(error) => events.iter().map(|(place, _)| (*place, Err(error.clone()))).collect(),
        };
        let (refused, mut settled): (Results, Results) = results
            .into_iter()
            .partition(|(_, result)| matches!(result, Err(BackendError::Refused(_))));
        let is_refused = |place: usize| refused.iter().any(|(refused, _)| *refused == place);
        let alone: Vec<_> = events.into_iter().filter(|(place, _)| is_refused(*place)).collect();
        settled.extend(self.publish_each(alone).await);
        settled
    }

    async fn call_bulk(&self, events: &[(usize, &OutgoingEvent)]) -> Result<Answer, BackendError> {
        let Some((_, first)) = events.first() else {
            return Err(BackendError::Refused("a bulk without events".to_owned()));
        };
        let entries = events.iter().map(|(place, event)| entry(*place, event));
        let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
        let path = ["v1.0", "publish", "bulk", first.pubsub.as_str(), first.topic.as_str()];
        self.post(&path, &entries).await
    }
}

fn entry(place: usize, event: &OutgoingEvent) -> Result<Entry<'_>, BackendError> {
    let refuse =
        |error: serde_json::Error| BackendError::Refused(format!("{}: {error}", target(event)));
    Ok(Entry {
        entry_id: place.to_string(),
        event: serde_json::from_slice(&event.payload).map_err(refuse)?,
        content_type: &event.content_type,
        metadata: event.partition_key.iter().map(|key| ("partitionKey", key.as_str())).collect(),
    })
}

/// Events that the answer does not name as failed were published.
fn judged(events: &[(usize, &OutgoingEvent)], answer: &Answer) -> Results {
    if answer.status.is_success() {
        return events.iter().map(|(place, _)| (*place, Ok(()))).collect();
    }
    let Failed { failed_entries } = serde_json::from_slice(&answer.body).unwrap_or_default();
    let result = |(place, event): &(usize, &OutgoingEvent)| {
        let what = target(event);
        if failed_entries.is_empty() {
            return (*place, Err(fault::of(answer.status, &answer.body, &what)));
        }
        let id = place.to_string();
        let failed = failed_entries.iter().find(|failed| failed.entry_id == id);
        let result = failed.map_or(Ok(()), |FailedEntry { error, .. }| {
            let text = format!("{what}: {error}");
            Err(match fault::is_said_for_good(error) {
                true => BackendError::Refused(text),
                false => BackendError::Unavailable(text),
            })
        });
        (*place, result)
    };
    events.iter().map(result).collect()
}

fn target(event: &OutgoingEvent) -> String {
    format!("an event for {}/{}", event.pubsub, event.topic)
}
