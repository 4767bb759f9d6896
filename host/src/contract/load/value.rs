//! What single values of contract.toml may be.

use std::time::Duration;

use crate::contract::Pointer;

/// A place of the canonical event.
pub fn canonical(text: &str) -> Result<Pointer, String> {
    let pointer = Pointer::new(text)?;
    match pointer.tokens() {
        [name] if matches!(name.as_str(), "id" | "source" | "subject" | "time") => Ok(pointer),
        [data, _, ..] if data == "data" => Ok(pointer),
        _ => Err(format!(
            "`{text}` is no place of the canonical event; use /id, /source, /subject, /time or /data/…"
        )),
    }
}

/// An attribute's name, written as a pointer or bare.
pub fn attribute(text: &str) -> Result<String, String> {
    let name = text.strip_prefix('/').unwrap_or(text);
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !name.is_empty() && is_name(name) {
        return Ok(name.to_owned());
    }
    Err(format!("`{text}` is not a CloudEvents attribute; use a-z and 0-9"))
}

/// A path that daprd can post to and a router can match exactly.
pub fn ingress_path(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    let is_whole = text.starts_with('/') && text.len() > 1 && !text.ends_with('/');
    if is_whole && !text.contains("//") && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is not an ingress path; write it like /events/task-events"))
}

/// An ingress path that no route of the host's own takes first.
pub fn topic_path(text: &str) -> Result<String, String> {
    let first = text.trim_start_matches('/').split('/').next().unwrap_or_default();
    if text == "/health" || matches!(first, "dapr" | "job") {
        return Err(format!(
            "`{text}` is a path of the host's own: /health, /dapr/… and /job/… are; \
             write it like /events/task-events"
        ));
    }
    ingress_path(text)
}

/// `250ms`, `1s`, `5m`, `1h`, `7d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let milliseconds: Option<u64> = match unit {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60 * 1000),
        "h" => Some(60 * 60 * 1000),
        "d" => Some(24 * 60 * 60 * 1000),
        _ => None,
    };
    let total = number.parse::<u64>().ok().zip(milliseconds).and_then(|(n, ms)| n.checked_mul(ms));
    match total {
        Some(total) if total > 0 => Ok(Duration::from_millis(total)),
        _ => Err(format!("`{text}` is not a duration; write it like 250ms, 1s, 5m, 1h or 7d")),
    }
}
