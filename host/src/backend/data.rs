//! Data of calls, as Dapr's API takes it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// JSON text for any bytes: what is no JSON goes as a string, and bytes that are no text as base64.
pub fn json_of(data: &[u8]) -> String {
    match std::str::from_utf8(data) {
        Ok(text) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => text.to_owned(),
        Ok(text) => Value::from(text).to_string(),
        Err(_) => Value::from(STANDARD.encode(data)).to_string(),
    }
}
