//! Takes out of a recording what must not be kept: secrets that were read, and the fields of the
//! event that the manifest redacts, wherever they went.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// What stands in place of a hidden value.
const HIDDEN: &str = "redacted";

/// A shorter text is hidden where it stands alone, not where it is part of another.
const SHORTEST_PART: usize = 4;

/// Hides the values at these places of the event, these texts, and both wherever else they stand:
/// in what was read, decided or logged, escaped and in base64 too.
pub fn hidden(mut body: Value, places: &[String], secrets: &[String]) -> Value {
    let mut found = Found { texts: secrets.to_vec(), others: Vec::new() };
    for place in places {
        let value = body.get_mut("event").and_then(|event| event.pointer_mut(place));
        if let Some(value) = value {
            found.collect(&std::mem::replace(value, Value::from(HIDDEN)));
        }
    }
    found.texts.retain(|text| !text.is_empty());
    // As it stands in JSON text that is itself in a string.
    let escaped = found.texts.iter().filter_map(|text| serde_json::to_string(text).ok());
    let escaped: Vec<_> = escaped.map(|quoted| quoted.trim_matches('"').to_owned()).collect();
    found.texts.extend(escaped);
    // The longest first: one may be part of another.
    found.texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
    found.texts.dedup();
    found.hide(&mut body);
    body
}

struct Found {
    texts: Vec<String>,
    /// Numbers and truth values.
    others: Vec<Value>,
}

impl Found {
    fn collect(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.texts.push(text.clone()),
            Value::Array(values) => values.iter().for_each(|value| self.collect(value)),
            Value::Object(fields) => fields.values().for_each(|value| self.collect(value)),
            Value::Number(number) => {
                self.others.push(value.clone());
                // In a text, a long number says as much as it does alone.
                self.texts.push(number.to_string());
            }
            Value::Bool(_) | Value::Null => {}
        }
    }

    fn hide(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.hide_text(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.hide(value)),
            Value::Object(fields) => fields.values_mut().for_each(|value| self.hide(value)),
            Value::Number(_) if self.others.contains(value) => *value = Value::from(HIDDEN),
            Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
    }

    fn hide_text(&self, text: &mut String) {
        if self.texts.contains(text) || self.holds(text) {
            HIDDEN.clone_into(text);
            return;
        }
        for part in self.texts.iter().filter(|part| part.len() >= SHORTEST_PART) {
            if text.contains(part.as_str()) {
                *text = text.replace(part.as_str(), HIDDEN);
            }
        }
    }

    /// Whether it is base64 of bytes that hold one of the texts.
    fn holds(&self, text: &str) -> bool {
        let Ok(bytes) = STANDARD.decode(text) else { return false };
        self.texts.iter().any(|part| {
            let part = part.as_bytes();
            bytes == part
                || (part.len() >= SHORTEST_PART && bytes.windows(part.len()).any(|w| w == part))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_redacted_is_nowhere_in_the_body() {
        let body = json!({
            "event": { "data": { "email": "ann@example.org", "task": { "title": "say \"hi\"" },
                "card": 41111111 } },
            "reads": [{ "rows": [["ann@example.org"], 41111111, 7] }],
            "effects": [
                { "data": "{\"to\":\"ann@example.org\",\"text\":\"please say \\\"hi\\\"\"}" },
                { "data": STANDARD.encode("to ann@example.org") },
            ],
            "log": [{ "text": "mail to ann@example.org about 41111111" }],
        });
        let places = ["/data/email", "/data/task", "/data/card", "/data/gone"].map(str::to_owned);
        let body = hidden(body, &places, &[]).to_string();
        for gone in ["ann@", "hi", "4111", &STANDARD.encode("to ann@example.org")] {
            assert!(!body.contains(gone), "{gone}: {body}");
        }
        assert!(body.contains("please redacted") && body.contains(",7]"), "{body}");
    }

    #[test]
    fn secrets_are_hidden_without_being_named() {
        let body = json!({ "effects": [{ "metadata": [["authorization", "Bearer hunter2"]] }] });
        let body = hidden(body, &[], &["hunter2".to_owned(), String::new()]);
        assert_eq!(body["effects"][0]["metadata"][0][1], "Bearer redacted");
    }
}
