//! W3C trace context: it comes in with an event and goes out on every publish that it causes.

use serde::{Deserialize, Serialize};

/// A `traceparent` that is one, and the `tracestate` that belongs to it (W3C Trace Context §3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    pub parent: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

impl Trace {
    /// `None` for what has not the form of version 00, and for the zeros that daprd sends when
    /// there is no trace.
    pub fn new(parent: &str, state: Option<&str>) -> Option<Self> {
        let state = state.filter(|state| !state.is_empty()).map(str::to_owned);
        is_valid(parent).then(|| Self { parent: parent.to_owned(), state })
    }
}

fn is_valid(parent: &str) -> bool {
    let parts: Vec<_> = parent.split('-').collect();
    let [version, trace, span, flags] = parts.as_slice() else { return false };
    let is_lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let hex = |text: &str, digits: usize| text.len() == digits && text.bytes().all(is_lower_hex);
    let some = |text: &str| text.bytes().any(|b| b != b'0');
    hex(version, 2)
        && *version != "ff"
        && hex(trace, 32)
        && some(trace)
        && hex(span, 16)
        && some(span)
        && hex(flags, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_trace_is_not_taken_for_one() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(
            Trace::new(parent, Some("")),
            Some(Trace { parent: parent.into(), state: None })
        );
        for bad in [
            "",
            "00-00000000000000000000000000000000-0000000000000000-00",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        ] {
            assert_eq!(Trace::new(bad, None), None, "{bad}");
        }
    }
}
