//! The body of a bulk publish, and what it answers when the broker failed.

use std::collections::{BTreeMap, HashMap};

use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::json_answer;
use crate::backend::embedded::{is_type, remarshal};

/// One event of a bulk publish.
#[derive(Debug, Deserialize)]
pub struct Entry {
    #[serde(rename = "entryId", default)]
    pub id: String,
    #[serde(default)]
    event: Option<Box<RawValue>>,
    #[serde(rename = "contentType", default)]
    pub content_type: String,
    #[serde(default)]
    metadata: Option<HashMap<String, String>>,
}

/// Reads the entries; what follows the list is ignored.
pub fn entries(body: &[u8]) -> Result<Vec<Entry>, String> {
    let text = String::from_utf8_lossy(body);
    let mut values = serde_json::Deserializer::from_str(&text).into_iter::<Option<Vec<Entry>>>();
    match values.next() {
        Some(Ok(entries)) => Ok(entries.unwrap_or_default()),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("EOF".to_owned()),
    }
}

/// None was stored: they share a transaction.
pub fn failed(ids: &[String], error: &str) -> Response {
    let failed: Vec<_> = ids.iter().map(|id| json!({ "entryId": id, "error": error })).collect();
    let body = json!({ "failedEntries": failed, "errorCode": "ERR_PUBSUB_PUBLISH_MESSAGE" });
    json_answer(StatusCode::INTERNAL_SERVER_ERROR, &body)
}

impl Entry {
    /// The event's bytes by its content type. JSON has gone through doubles.
    pub fn bytes(&self) -> Result<Bytes, String> {
        let mismatch = || "error: mismatch between contentType and event".to_owned();
        let ty = self.content_type.as_str();
        let event = self.event.as_ref().map_or("null", |event| event.get());
        let text = || serde_json::from_str::<String>(event).map_err(|_| mismatch());
        if is_type(ty, "application/octet-stream") {
            let decoded = STANDARD.decode(text()?).map_err(|error| {
                format!("error: unable to decode base64 application/octect-stream data: {error}")
            })?;
            Ok(decoded.into())
        } else if ty.to_ascii_lowercase().starts_with("text/") || is_type(ty, "application/xml") {
            Ok(text()?.into())
        } else if is_type(ty, "application/json") || is_type(ty, "application/cloudevents+json") {
            let json = remarshal(event.as_bytes()).ok_or_else(mismatch)?;
            Ok(json.get().to_owned().into())
        } else {
            Err(mismatch())
        }
    }

    /// The metadata that shapes the envelope: the request's joins the entry's own only if it has
    /// any, and does not replace it.
    pub fn merged(&self, request: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let Some(own) = &self.metadata else { return BTreeMap::new() };
        let mut merged = request.clone();
        merged.extend(own.clone());
        merged
    }

    /// The metadata that becomes headers of the record; here the request's wins, as with Kafka.
    pub fn headers(&self, request: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut headers: BTreeMap<_, _> =
            self.metadata.clone().unwrap_or_default().into_iter().collect();
        headers.extend(request.clone());
        headers
    }
}
