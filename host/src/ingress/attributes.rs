//! The attributes of a CloudEvent in binary mode. They are headers of the broker's record, and daprd
//! hands them over as headers of a single delivery, or as metadata of a bulk's entry.

use std::borrow::Cow;

use chrono::DateTime;
use percent_encoding::percent_decode_str;

/// What daprd calls every single event, whatever it is.
const LABEL: &str = "application/cloudevents+json";

/// Those among headers or metadata, whose names may be in any case: lower case and without `ce_`, by
/// name; and the record's content type as the data's, unless it is daprd's own label. What
/// `escapeHeaders` of Dapr's Kafka component did to them is undone where it is certain.
pub fn of<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vec<(String, String)> {
    let (mut attributes, mut content_type) = (Vec::new(), None);
    for (header, value) in headers {
        let Ok(value) = std::str::from_utf8(value) else { continue };
        let header = header.to_ascii_lowercase();
        match header.strip_prefix("ce_") {
            Some(name) => attributes.push((name.to_owned(), value.to_owned())),
            None if header == "content-type" && value != LABEL => content_type = Some(value),
            None => {}
        }
    }
    let is_said = attributes.iter().any(|(name, _)| name == CONTENT_TYPE);
    if let Some(content_type) = content_type.filter(|_| !attributes.is_empty() && !is_said) {
        attributes.push((CONTENT_TYPE.to_owned(), content_type.to_owned()));
    }
    if are_escaped(&attributes) {
        for (_, value) in &mut attributes {
            *value = unescaped(value).unwrap_or_else(|| value.clone());
        }
    }
    // Metadata has no order of its own.
    attributes.sort();
    attributes
}

/// CloudEvents' name for it.
const CONTENT_TYPE: &str = "datacontenttype";

/// The component escapes all headers of a record or none, so that one proves it for all: a time and a
/// content type cannot be without `:` and `/`. Where neither is there, a `%` may be the sender's own.
fn are_escaped(attributes: &[(String, String)]) -> bool {
    let proves = |(name, value): &(String, String)| {
        let is_now =
            |is: fn(&str) -> bool| !is(value) && unescaped(value).is_some_and(|it| is(&it));
        match name.as_str() {
            "time" => is_now(|text| DateTime::parse_from_rfc3339(text).is_ok()),
            CONTENT_TYPE => is_now(|text| text.contains('/')),
            _ => false,
        }
    };
    let could_be = |(_, value): &(String, String)| value.bytes().all(is_left_by_escaping);
    attributes.iter().any(proves) && attributes.iter().all(could_be)
}

/// What Go's `url.QueryEscape` writes.
fn is_left_by_escaping(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~%+".contains(&byte)
}

/// Go's `url.QueryUnescape`.
fn unescaped(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().ok().map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(headers: &[(&str, &str)]) -> Vec<(String, String)> {
        of(headers.iter().map(|(name, value)| (*name, value.as_bytes())))
    }

    fn expect(headers: &[(&str, &str)], expected: &[(&str, &str)]) {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        assert_eq!(given(headers), expected.iter().map(owned).collect::<Vec<_>>(), "{headers:?}");
    }

    #[test]
    fn they_are_told_from_other_headers() {
        expect(&[("ce_id", "1"), ("__key", "k"), ("x-ce_id", "2")], &[("id", "1")]);
        expect(&[("CE_Subject", "é ü")], &[("subject", "é ü")]);
        expect(&[("content-type", "application/json")], &[]);
        expect(
            &[("Content-Type", "application/json"), ("ce_id", "1")],
            &[("datacontenttype", "application/json"), ("id", "1")],
        );
        expect(&[("content-type", LABEL), ("ce_id", "1")], &[("id", "1")]);
        let both = [("ce_datacontenttype", "text/json"), ("content-type", "application/json")];
        expect(&both, &[("datacontenttype", "text/json")]);
    }

    #[test]
    fn what_was_escaped_for_certain_is_not_any_more() {
        let time = ("ce_time", "2026-01-01T00%3A00%3A00%2B01%3A00");
        expect(
            &[("ce_source", "urn%3Aa+b%2Bc"), time],
            &[("source", "urn:a b+c"), ("time", "2026-01-01T00:00:00+01:00")],
        );
        expect(
            &[("ce_source", "urn%3Aa"), ("content-type", "application%2Fjson")],
            &[("datacontenttype", "application/json"), ("source", "urn:a")],
        );
        // Nothing proves it.
        expect(&[("ce_source", "urn%3Aa")], &[("source", "urn%3Aa")]);
        let plain = ("ce_time", "2026-01-01T00:00:00Z");
        expect(&[("ce_source", "urn%3Aa+b"), plain], &[("source", "urn%3Aa+b"), ("time", plain.1)]);
        // Something disproves it.
        expect(&[("ce_source", "urn:a"), time], &[("source", "urn:a"), ("time", time.1)]);
    }
}
