//! Raw payloads. Of a topic whose contract says `raw = true` daprd hands over each record as it is,
//! also one that it cannot read itself; in base64, which is undone here.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;

/// The CloudEvent that daprd makes around a record that it delivers singly. Its id is another one at
/// each delivery (`FromRawPayload` of components-contrib).
#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    data_base64: Cow<'a, str>,
}

/// The record in a single delivery; what is not wrapped stays as it is.
pub fn record(body: Bytes) -> Bytes {
    let wrapped = serde_json::from_slice::<Wrapped<'_>>(&body).ok();
    let wrapped = wrapped.filter(|wrapped| wrapped.source == "Dapr");
    match wrapped.and_then(|wrapped| STANDARD.decode(&*wrapped.data_base64).ok()) {
        Some(record) => record.into(),
        None => body,
    }
}

/// How many bytes of a callback a record of so many may take.
pub fn wrapped_size(record: usize) -> usize {
    const ENVELOPE: usize = 4096;
    record.saturating_add(record / 3).saturating_add(ENVELOPE)
}
