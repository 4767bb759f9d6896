//! W3C trace context: taken from the event, put on every publish.

/// Whether a `traceparent` has the form of version 00 (W3C Trace Context §3.2) and is not all
/// zero, as daprd sends it when there is no trace.
pub fn is_valid(traceparent: &str) -> bool {
    let parts: Vec<_> = traceparent.split('-').collect();
    let [version, trace, parent, flags] = parts.as_slice() else { return false };
    let hex = |text: &str, digits: usize| {
        text.len() == digits
            && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let some = |text: &str| text.bytes().any(|b| b != b'0');
    hex(version, 2)
        && *version != "ff"
        && hex(trace, 32)
        && some(trace)
        && hex(parent, 16)
        && some(parent)
        && hex(flags, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_trace_is_not_taken_for_one() {
        assert!(is_valid("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        for bad in [
            "",
            "00-00000000000000000000000000000000-0000000000000000-00",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        ] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
