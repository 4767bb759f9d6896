//! State stores, as daprd with its SQLite component keeps them, but for the etag: it is a number,
//! and one that is no number is invalid, as with PostgreSQL.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::{Condition, Embedded, KeyWrite, MAX_BODY, NewValue, StateEntry, StoreError};
use crate::backend::BackendError;
use crate::clock::Timestamp;
use crate::effect::{StateChange, StateWrite};
use crate::name::StoreName;

/// One key's write as Dapr's API understands it.
#[derive(Debug, Clone, Default)]
pub struct StateRequest {
    pub key: String,
    /// JSON text; `None` deletes.
    pub value: Option<String>,
    /// An empty one counts as none.
    pub etag: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub concurrency: String,
    pub consistency: String,
}

/// Why nothing was written, in the words of Dapr's components.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StateFault {
    #[error("possible etag mismatch. error from state store")]
    Mismatch,
    #[error("invalid etag value: strconv.ParseUint: parsing \"{0}\": invalid syntax")]
    InvalidEtag(String),
    #[error("{0}")]
    Request(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key that an app must not use: what follows from it in the store would be another app's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("input key/keyPrefix '{0}' can't contain '||'")]
pub struct IllegalKey(pub String);

impl Embedded {
    pub(super) fn state_store(&self, name: &str) -> Option<&StoreName> {
        self.0.state_stores.iter().find(|store| store.as_str() == name)
    }

    /// A key as the store has it: behind the app's id.
    pub(super) fn inner_key(&self, key: &str) -> Result<String, IllegalKey> {
        match key.contains("||") {
            true => Err(IllegalKey(key.to_owned())),
            false => Ok(format!("{}||{key}", self.0.app_id)),
        }
    }

    /// Reads by a key as the store has it.
    pub(super) async fn entry(
        &self,
        store: &StoreName,
        key: &str,
    ) -> Result<Option<StateEntry>, StoreError> {
        self.0.store.state(store, key, self.0.clock.now()).await
    }

    /// All of the requests or none; their keys are as the store has them.
    pub(super) async fn change_state(
        &self,
        store: &StoreName,
        requests: Vec<StateRequest>,
    ) -> Result<(), StateFault> {
        let now = self.0.clock.now();
        let writes = requests.into_iter().map(|request| request.write(store, now));
        let writes = writes.collect::<Result<Vec<_>, _>>()?;
        match self.0.store.write_state(writes).await? {
            true => Ok(()),
            false => Err(StateFault::Mismatch),
        }
    }

    pub(super) async fn read_state(
        &self,
        store: &StoreName,
        key: &str,
    ) -> Result<Option<Bytes>, BackendError> {
        let inner = self.backend_key(store, key)?;
        let Some(entry) = self.entry(store, &inner).await? else { return Ok(None) };
        let text: Option<String> = serde_json::from_str(&entry.value).ok();
        match text.and_then(|text| STANDARD.decode(text).ok()) {
            Some(bytes) => Ok(Some(bytes.into())),
            None => Err(BackendError::Refused(format!(
                "the value of key {key} in state store {store} is not a JSON string of base64; \
                 write it through a component, or delete it"
            ))),
        }
    }

    pub(super) async fn set_state(&self, write: StateWrite) -> Result<(), BackendError> {
        let StateWrite { store, key, change } = write;
        let mut request =
            StateRequest { key: self.backend_key(&store, &key)?, ..StateRequest::default() };
        if let StateChange::Set { value, ttl_seconds } = change {
            let json = format!("\"{}\"", STANDARD.encode(&value));
            if json.len() > MAX_BODY {
                let size = value.len();
                let text = format!("a value of {size} bytes for key {key} is too large");
                return Err(BackendError::Refused(text));
            }
            let ttl = ttl_seconds.map(|ttl| ("ttlInSeconds".to_owned(), ttl.to_string()));
            request.metadata.extend(ttl);
            request.value = Some(json);
        }
        self.change_state(&store, vec![request]).await.map_err(|fault| match fault {
            StateFault::Store(error) => error.into(),
            StateFault::Mismatch | StateFault::InvalidEtag(_) | StateFault::Request(_) => {
                BackendError::Refused(format!("state store {store}: {fault}"))
            }
        })
    }

    fn backend_key(&self, store: &StoreName, key: &str) -> Result<String, BackendError> {
        if self.state_store(store.as_str()).is_none() {
            return Err(BackendError::Refused(format!("state store {store} is not found")));
        }
        self.inner_key(key).map_err(|error| BackendError::Refused(error.to_string()))
    }
}

impl StateRequest {
    fn write(self, store: &StoreName, now: Timestamp) -> Result<KeyWrite, StateFault> {
        let (consistency, concurrency) = (&self.consistency, &self.concurrency);
        if !["", "strong", "eventual"].contains(&consistency.as_str()) {
            let text = format!("unrecognized consistency model '{consistency}'");
            return Err(StateFault::Request(text));
        }
        if !["", "first-write", "last-write"].contains(&concurrency.as_str()) {
            let text = format!("unrecognized concurrency model '{concurrency}'");
            return Err(StateFault::Request(text));
        }
        let value = match self.value {
            Some(json) => Some(NewValue { json, expires: expiry(&self.metadata, now)? }),
            None => None,
        };
        let condition = match self.etag.filter(|etag| !etag.is_empty()) {
            Some(etag) => Condition::Etag(number(&etag)?),
            None if concurrency == "first-write" && value.is_some() => Condition::Absent,
            None => Condition::Anything,
        };
        Ok(KeyWrite { store: store.clone(), key: self.key, condition, value })
    }
}

/// One that is too large for us was never given.
fn number(etag: &str) -> Result<i64, StateFault> {
    let number: u64 = etag.parse().map_err(|_| StateFault::InvalidEtag(etag.to_owned()))?;
    Ok(i64::try_from(number).unwrap_or(-1))
}

fn expiry(
    metadata: &BTreeMap<String, String>,
    now: Timestamp,
) -> Result<Option<Timestamp>, StateFault> {
    let fail = |why: &str| {
        let text = format!("error parsing TTL: incorrect value for metadata 'ttlInSeconds': {why}");
        Err(StateFault::Request(text))
    };
    let Some(text) = metadata.get("ttlInSeconds").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    match text.parse::<i64>() {
        Err(_) => fail(&format!("strconv.ParseInt: parsing \"{text}\": invalid syntax")),
        Ok(-1 | 0) => Ok(None),
        Ok(seconds) => match u64::try_from(seconds) {
            Ok(seconds) if seconds <= i32::MAX.unsigned_abs().into() => {
                Ok(Some(now + Duration::from_secs(seconds)))
            }
            Ok(_) | Err(_) => fail("must be -1 or greater"),
        },
    }
}
