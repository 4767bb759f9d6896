//! State in Dapr's API: what each call answers, and what several writes at once come to.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use chrono::SecondsFormat;
use serde_json::{Map, Value, json};

use super::call::StateCall;
use super::fault::{Fault, error_info};
use super::wire::{Object, first_value};
use super::{json_answer, read};
use crate::backend::embedded::{
    Embedded, IllegalKey, StateEntry, StateFault, StateRequest, doubled,
};
use crate::name::StoreName;

/// What the address says beside the path.
pub struct Asked<'a> {
    pub metadata: BTreeMap<String, String>,
    pub concurrency: String,
    pub consistency: String,
    pub headers: &'a HeaderMap,
}

/// daprd's codes for malformed bodies and keys.
const MALFORMED: &str = "ERR_MALFORMED_REQUEST";

impl Embedded {
    pub(super) async fn serve_state(
        &self,
        store: &str,
        call: StateCall,
        asked: Asked<'_>,
        body: Body,
    ) -> Result<Response, Fault> {
        let store = self.state_store(store).ok_or_else(|| self.no_state_store(store))?;
        match call {
            StateCall::Save => self.save(store, asked.metadata, &read(body).await).await,
            StateCall::Get(key) => self.get(store, &key).await,
            StateCall::Delete(key) => self.delete(store, key, asked).await,
            StateCall::Bulk => self.bulk_get(store, &read(body).await).await,
            StateCall::Transaction => {
                self.transact(store, &asked.metadata, &read(body).await).await
            }
        }
    }

    fn no_state_store(&self, store: &str) -> Fault {
        let (status, what, code, reason) = match self.0.state_stores.is_empty() {
            true => {
                let (code, reason) =
                    ("ERR_STATE_STORE_NOT_CONFIGURED", "DAPR_STATE_NOT_CONFIGURED");
                (500, "configured", code, reason)
            }
            false => (400, "found", "ERR_STATE_STORE_NOT_FOUND", "DAPR_STATE_NOT_FOUND"),
        };
        let message = format!("state store {store} is not {what}");
        Fault::new(status, code, message)
            .with(vec![error_info(reason, &json!({ "appID": self.0.app_id }))])
    }

    /// Each entry by itself, as daprd's stores do: some may be written although others fail.
    async fn save(
        &self,
        store: &StoreName,
        metadata: BTreeMap<String, String>,
        body: &Result<Bytes, String>,
    ) -> Result<Response, Fault> {
        let malformed = |error: String| Fault::new(400, MALFORMED, error);
        let body = body.as_ref().map_err(|error| malformed(error.clone()))?;
        let requests = match first_value(body).map_err(malformed)? {
            Value::Array(items) => items,
            Value::Null => Vec::new(),
            _ => {
                return Err(malformed(
                    "json: cannot unmarshal into Go value of type []state.SetRequest".into(),
                ));
            }
        };
        let mut writes = Vec::with_capacity(requests.len());
        for item in &requests {
            let mut request = set_request(item).map_err(malformed)?;
            if request.key.is_empty() {
                return Err(malformed("\"key\" is a required field".to_owned()));
            }
            request.metadata.extend(metadata.clone());
            writes.push(request);
        }
        for request in &mut writes {
            request.key = self.checked_key(store, &request.key)?;
        }
        let mut faults = Vec::new();
        let several = writes.len() > 1;
        for request in writes {
            faults.extend(self.change_state(store, vec![request]).await.err());
        }
        match save_fault(&faults, several) {
            None => Ok(StatusCode::NO_CONTENT.into_response()),
            Some((status, text)) => {
                let message = format!("failed saving state in state store {store}: {text}");
                Err(Fault::new(status, "ERR_STATE_SAVE", message))
            }
        }
    }

    async fn get(&self, store: &StoreName, key: &str) -> Result<Response, Fault> {
        let inner = self.checked_key(store, key)?;
        let entry = self.entry(store, &inner).await.map_err(|error| {
            let message = format!("fail to get {key} from state store {store}: {error}");
            Fault::new(500, "ERR_STATE_GET", message)
        })?;
        let Some(entry) = entry else { return Ok(StatusCode::NO_CONTENT.into_response()) };
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ETAG, HeaderValue::from(entry.etag));
        let expires = expire_time(&entry).and_then(|text| HeaderValue::try_from(text).ok());
        if let Some(expires) = expires {
            headers.insert("metadata.ttlexpiretime", expires);
        }
        Ok((StatusCode::OK, headers, entry.value).into_response())
    }

    async fn delete(
        &self,
        store: &StoreName,
        key: String,
        asked: Asked<'_>,
    ) -> Result<Response, Fault> {
        let etag = asked.headers.get(header::IF_MATCH);
        let request = StateRequest {
            key: self.checked_key(store, &key)?,
            etag: etag.map(|etag| String::from_utf8_lossy(etag.as_bytes()).into_owned()),
            concurrency: asked.concurrency,
            consistency: asked.consistency,
            ..StateRequest::default()
        };
        match self.change_state(store, vec![request]).await {
            Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
            Err(fault) => {
                let message = format!("failed deleting state with key {key}: {fault}");
                Err(Fault::new(status(&fault), "ERR_STATE_DELETE", message))
            }
        }
    }

    async fn bulk_get(
        &self,
        store: &StoreName,
        body: &Result<Bytes, String>,
    ) -> Result<Response, Fault> {
        let body = body.as_ref().map_err(|error| Fault::malformed(error))?;
        let value = first_value(body).map_err(|error| Fault::malformed(&error))?;
        let malformed = |error: String| Fault::malformed(&error);
        let request = Object::new("BulkGetRequest", &value).map_err(malformed)?;
        let mut keys = Vec::new();
        for key in request.list("keys").map_err(malformed)? {
            let key = key.as_str().ok_or_else(|| Fault::malformed("a key is not a string"))?;
            keys.push((key, self.checked_key(store, key)?));
        }
        let mut answers = Vec::with_capacity(keys.len());
        for (key, inner) in keys {
            answers.push(bulk_entry(key, self.entry(store, &inner).await));
        }
        Ok(json_answer(StatusCode::OK, &answers.into()))
    }

    async fn transact(
        &self,
        store: &StoreName,
        metadata: &BTreeMap<String, String>,
        body: &Result<Bytes, String>,
    ) -> Result<Response, Fault> {
        let malformed = |error: String| Fault::malformed(&error);
        let body = body.as_ref().map_err(|error| Fault::malformed(error))?;
        let value = first_value(body).map_err(malformed)?;
        let transaction = Object::new("stateTransactionRequestBody", &value).map_err(malformed)?;
        let mut requests = Vec::new();
        for operation in transaction.list("operations").map_err(malformed)? {
            let mut request = transaction_request(operation)?;
            request.key = self.checked_key(store, &request.key)?;
            request.metadata.extend(metadata.clone());
            requests.push(request);
        }
        if requests.is_empty() {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        match self.change_state(store, requests).await {
            Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
            Err(fault) => {
                let message = format!("error while executing state transaction: {fault}");
                Err(Fault::new(500, "ERR_STATE_TRANSACTION", message))
            }
        }
    }

    fn checked_key(&self, store: &StoreName, key: &str) -> Result<String, Fault> {
        self.inner_key(key).map_err(|illegal| illegal_key(store, key, &illegal))
    }
}

fn illegal_key(store: &StoreName, key: &str, illegal: &IllegalKey) -> Fault {
    let message = format!("api error: code = InvalidArgument desc = {illegal}");
    let details = vec![
        json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "field_violations": [{ "field": key, "description": message }],
        }),
        json!({
            "@type": "type.googleapis.com/google.rpc.ResourceInfo",
            "resource_type": "state",
            "resource_name": store,
            "owner": "",
            "description": "",
        }),
        error_info("DAPR_STATE_ILLEGAL_KEY", &Value::Null),
    ];
    Fault::new(400, MALFORMED, message).with(details)
}

/// A missing value is null.
fn set_request(item: &Value) -> Result<StateRequest, String> {
    let request = Object::new("SetRequest", item)?;
    let value = request.field("value").cloned().map_or(Value::Null, doubled);
    Ok(StateRequest { value: Some(value.to_string()), ..bare_request(&request)? })
}

fn bare_request(request: &Object<'_>) -> Result<StateRequest, String> {
    let none = Value::Null;
    let options = Object::new("SetStateOption", request.field("options").unwrap_or(&none))?;
    Ok(StateRequest {
        key: request.text("key")?.unwrap_or_default(),
        value: None,
        etag: request.text("etag")?,
        metadata: request.texts("metadata")?,
        concurrency: options.text("concurrency")?.unwrap_or_default(),
        consistency: options.text("consistency")?.unwrap_or_default(),
    })
}

/// Metadata of the body as a whole is not the operations', only that of the address.
fn transaction_request(operation: &Value) -> Result<StateRequest, Fault> {
    let malformed = |error: String| Fault::malformed(&error);
    let none = Value::Null;
    let operation = Object::new("operation", operation).map_err(malformed)?;
    let kind = operation.text("operation").map_err(malformed)?.unwrap_or_default();
    let request = operation.field("request").unwrap_or(&none);
    match kind.as_str() {
        "upsert" => set_request(request).map_err(malformed),
        "delete" => Object::new("DeleteRequest", request)
            .and_then(|request| bare_request(&request))
            .map_err(malformed),
        other => {
            let message = format!("operation type {other} not supported");
            Err(Fault::new(400, "ERR_NOT_SUPPORTED_STATE_OPERATION", message))
        }
    }
}

fn bulk_entry(key: &str, entry: Result<Option<StateEntry>, impl ToString>) -> Value {
    let mut answer = Map::from_iter([("key".to_owned(), Value::from(key))]);
    match entry {
        Ok(None) => {}
        Ok(Some(entry)) => {
            let data = serde_json::from_str(&entry.value).unwrap_or(Value::Null);
            answer.insert("data".to_owned(), data);
            answer.insert("etag".to_owned(), entry.etag.to_string().into());
            if let Some(expires) = expire_time(&entry) {
                answer.insert("metadata".to_owned(), json!({ "ttlExpireTime": expires }));
            }
        }
        Err(error) => {
            answer.insert("error".to_owned(), error.to_string().into());
        }
    }
    answer.into()
}

fn expire_time(entry: &StateEntry) -> Option<String> {
    entry.expires.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn status(fault: &StateFault) -> u16 {
    match fault {
        StateFault::Mismatch => 409,
        StateFault::InvalidEtag(_) => 400,
        StateFault::Request(_) | StateFault::Store(_) => 500,
    }
}

/// What the faults of a save come to. Only etags in the way: the worst of them, around all texts;
/// otherwise the first etag's own, if there is one, as an error that can be told apart.
fn save_fault(faults: &[StateFault], several: bool) -> Option<(u16, String)> {
    let texts = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let of_etag = |fault: &&StateFault| status(fault) != 500;
    let first = faults.iter().find(of_etag).or(faults.first())?;
    let all_etags = faults.iter().all(|fault| of_etag(&fault));
    if !several || !all_etags {
        let text = if status(first) == 500 { texts } else { first.to_string() };
        return Some((status(first), text));
    }
    let invalid = faults.iter().any(|fault| matches!(fault, StateFault::InvalidEtag(_)));
    Some(match invalid {
        true => (400, format!("invalid etag value: {texts}")),
        false => (409, format!("possible etag mismatch. error from state store: {texts}")),
    })
}
