//! Takes a CloudEvent apart without deciding anything by it. What comes in is hostile: every
//! refusal names the attribute, its value cut short, and what is expected.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

/// The type that daprd gives to a payload which it wrapped itself.
pub const DAPR_WRAPPED: &str = "com.dapr.event.sent";

/// A body taken apart.
#[derive(Debug)]
pub struct Parsed<'a> {
    pub form: Form,
    /// Every attribute but the data; those that are `null` count as absent. Empty for a bare body.
    pub attributes: Map<String, Value>,
    /// JSON text; `null` when the event has no data. Not yet checked to be JSON all the way down.
    pub payload: Cow<'a, str>,
}

/// Whether there was an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    CloudEvent,
    /// JSON that is no CloudEvent: a payload that its producer asked Dapr not to wrap.
    Bare,
}

/// Why a body is no event, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(String);

impl Parsed<'_> {
    /// An attribute that is a string; others count as absent here.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).and_then(Value::as_str)
    }
}

/// Parses a body: structured, or binary where `headers` carry the attributes (`ce_*`, without the
/// prefix).
pub fn parse<'a>(bytes: &'a [u8], headers: &[(String, String)]) -> Result<Parsed<'a>, ParseError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        ParseError(format!("the body is not UTF-8 from byte {} on", error.valid_up_to()))
    })?;
    let parts = match serde_json::from_str::<Parts>(text) {
        Ok(parts) if parts.attributes.contains_key("specversion") => parts,
        _ if is_binary(headers) => return binary(text, headers),
        Ok(_) => return Ok(bare(text)),
        Err(error) => return Err(json_error("the body", &error)),
    };
    structured(parts, headers)
}

/// What a body that is no event says in an attribute all the same, for whoever looks for it: nothing
/// that is longer than an attribute may be.
pub fn readable(bytes: &[u8], headers: &[(String, String)], name: &str) -> Option<String> {
    let of_header =
        headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.clone());
    let of_body = || {
        let parts: Parts<'_> = serde_json::from_slice(bytes).ok()?;
        Some(parts.attributes.get(name)?.as_str()?.to_owned())
    };
    of_header.or_else(of_body).filter(|text| check_length(name, text).is_ok())
}

fn is_binary(headers: &[(String, String)]) -> bool {
    headers.iter().any(|(name, _)| name == "specversion")
}

/// Parses JSON in which no object has a key twice: readers disagree about which of the two counts.
pub fn json(what: &str, text: &str) -> Result<Value, ParseError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Unique.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| json_error(what, &error))
}

/// A value for a reason: JSON, cut after 60 characters.
pub fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("`{}…`", text.get(..end).unwrap_or_default()),
        None => format!("`{text}`"),
    }
}

/// What a reason calls a place in the payload, given as a JSON Pointer.
pub fn data_name(path: &str) -> String {
    format!("`data{}`", path.replace('/', "."))
}

/// What a reason calls a place in the envelope, given as a JSON Pointer.
pub fn attribute_name(path: &str) -> String {
    match path.strip_prefix('/') {
        Some(name) => format!("attribute `{}`", name.replace('/', ".")),
        None => "the envelope".to_owned(),
    }
}

fn structured<'a>(
    parts: Parts<'a>,
    headers: &[(String, String)],
) -> Result<Parsed<'a>, ParseError> {
    let Parts { mut attributes, data } = parts;
    attributes.retain(|_, value| !value.is_null());
    check(&attributes)?;
    let base64 = attributes.shift_remove("data_base64");
    let form = match (&base64, attributes.get("source").and_then(Value::as_str)) {
        (Some(base64), Some("Dapr")) if data.is_none() => {
            // daprd drew this id for this one delivery.
            attributes.shift_remove("id");
            return raw(&from_base64(base64)?, attributes, headers);
        }
        _ => Form::CloudEvent,
    };
    let payload = match (data, base64) {
        (Some(_), Some(_)) => {
            return Err(ParseError("both `data` and `data_base64` are given; use one".into()));
        }
        (Some(data), None) => unquoted(data.get(), &attributes),
        (None, Some(base64)) => Cow::Owned(from_base64(&base64)?),
        (None, None) => Cow::Borrowed("null"),
    };
    Ok(Parsed { form, attributes, payload })
}

/// What daprd wrapped for a subscription to raw payloads. It may have been a CloudEvent, structured or
/// binary: then it is one, as in a bulk, where nothing is wrapped.
fn raw<'a>(
    text: &str,
    wrapped: Map<String, Value>,
    headers: &[(String, String)],
) -> Result<Parsed<'a>, ParseError> {
    let inner = match serde_json::from_str::<Parts>(text) {
        Ok(parts) if parts.attributes.contains_key("specversion") => structured(parts, &[])?,
        _ if is_binary(headers) => binary(text, headers)?,
        _ => {
            let payload = Cow::Owned(text.to_owned());
            return Ok(Parsed { form: Form::Bare, attributes: wrapped, payload });
        }
    };
    let Parsed { form, mut attributes, payload } = inner;
    for name in ["topic", "pubsubname"] {
        if let (None, Some(value)) = (attributes.get(name), wrapped.get(name)) {
            attributes.insert(name.to_owned(), value.clone());
        }
    }
    Ok(Parsed { form, attributes, payload: Cow::Owned(payload.into_owned()) })
}

fn binary<'a>(text: &'a str, headers: &[(String, String)]) -> Result<Parsed<'a>, ParseError> {
    let mut attributes = Map::new();
    for (name, value) in headers {
        if attributes.insert(name.clone(), Value::String(value.clone())).is_some() {
            return Err(ParseError(format!("attribute `{name}` is given twice")));
        }
    }
    check(&attributes)?;
    let payload = if text.trim().is_empty() { "null" } else { text };
    Ok(Parsed { form: Form::CloudEvent, attributes, payload: Cow::Borrowed(payload) })
}

fn bare(text: &str) -> Parsed<'_> {
    Parsed { form: Form::Bare, attributes: Map::new(), payload: Cow::Borrowed(text) }
}

/// CloudEvents 1.0 §3.1: four attributes must be there, and be strings that are not empty.
fn check(attributes: &Map<String, Value>) -> Result<(), ParseError> {
    let version = text_attribute(attributes, "specversion")?;
    if version != Some("1.0") {
        let version = shown(attributes.get("specversion").unwrap_or(&Value::Null));
        return Err(ParseError(format!(
            "attribute `specversion` is {version}; expected `\"1.0\"`"
        )));
    }
    for name in ["id", "source", "type"] {
        match text_attribute(attributes, name)? {
            None => return Err(ParseError(format!("attribute `{name}` is missing"))),
            Some("") => return Err(ParseError(format!("attribute `{name}` is empty"))),
            Some(text) => check_length(name, text)?,
        }
    }
    check_length("subject", text_attribute(attributes, "subject")?.unwrap_or_default())?;
    for name in ["time", "datacontenttype"] {
        text_attribute(attributes, name)?;
    }
    Ok(())
}

/// The ledger's indexes and lanes hold these.
fn check_length(name: &str, text: &str) -> Result<(), ParseError> {
    // Bytes first: they are counted already.
    if text.len() <= 255 || text.chars().count() <= 255 {
        return Ok(());
    }
    let length = text.chars().count();
    Err(ParseError(format!("attribute `{name}` has {length} characters; at most 255 are allowed")))
}

fn text_attribute<'a>(
    attributes: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a str>, ParseError> {
    match attributes.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => {
            Err(ParseError(format!("attribute `{name}` is {}; expected a string", shown(other))))
        }
    }
}

/// Dapr's SDKs publish JSON text without saying that it is JSON; it then arrives as a string.
fn unquoted<'a>(data: &'a str, attributes: &Map<String, Value>) -> Cow<'a, str> {
    let attribute = |name| attributes.get(name).and_then(Value::as_str);
    let is_wrapped = attribute("type") == Some(DAPR_WRAPPED);
    let is_text = attribute("datacontenttype").is_some_and(|kind| !kind.contains("json"));
    if !(data.starts_with('"') && (is_wrapped || is_text)) {
        return Cow::Borrowed(data);
    }
    match serde_json::from_str::<String>(data) {
        Ok(inner) if serde_json::from_str::<Parts>(&inner).is_ok() => Cow::Owned(inner),
        _ => Cow::Borrowed(data),
    }
}

fn from_base64(value: &Value) -> Result<String, ParseError> {
    let refuse = |why: &str| {
        ParseError(format!("`data_base64` is {}; expected base64 of {why}", shown(value)))
    };
    let text = value.as_str().ok_or_else(|| refuse("JSON text, as a string"))?;
    let bytes = BASE64.decode(text).map_err(|_| refuse("JSON text"))?;
    String::from_utf8(bytes).map_err(|_| refuse("UTF-8 text"))
}

fn json_error(what: &str, error: &serde_json::Error) -> ParseError {
    let text = error.to_string();
    if text.starts_with("recursion limit") {
        return ParseError(format!("{what} is nested too deeply; at most 127 levels are allowed"));
    }
    if error.is_data() {
        return ParseError(format!("{what} is not a CloudEvent: {text}"));
    }
    ParseError(format!("{what} is not JSON: {text}"))
}

/// The top level of a structured CloudEvent. The data stays text.
struct Parts<'a> {
    attributes: Map<String, Value>,
    data: Option<&'a RawValue>,
}

impl<'de> de::Deserialize<'de> for Parts<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PartsVisitor)
    }
}

struct PartsVisitor;

impl<'de> Visitor<'de> for PartsVisitor {
    type Value = Parts<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parts<'de>, A::Error> {
        let mut parts = Parts { attributes: Map::with_capacity(16), data: None };
        while let Some(key) = map.next_key::<String>()? {
            if key != "data" {
                insert_once(&mut parts.attributes, key, map.next_value_seed(Unique)?)?;
            } else if parts.data.replace(map.next_value()?).is_some() {
                return Err(twice("data"));
            }
        }
        Ok(parts)
    }
}

/// Reads a value and refuses objects with a key twice.
struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            insert_once(&mut object, key, map.next_value_seed(Self)?)?;
        }
        Ok(Value::Object(object))
    }
}

fn insert_once<E: de::Error>(
    object: &mut Map<String, Value>,
    key: String,
    value: Value,
) -> Result<(), E> {
    match object.entry(key) {
        Entry::Occupied(entry) => Err(twice(entry.key())),
        Entry::Vacant(entry) => {
            entry.insert(value);
            Ok(())
        }
    }
}

fn twice<E: de::Error>(key: &str) -> E {
    E::custom(format_args!("`{key}` is given twice"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: impl AsRef<[u8]>) -> String {
        parse(body.as_ref(), &[]).unwrap_err().to_string()
    }

    fn event(more: &str) -> String {
        format!(r#"{{"specversion":"1.0","id":"i","source":"s","type":"t"{more}}}"#)
    }

    #[test]
    fn data_stays_the_text_that_was_sent() {
        let body = event(r#","data": {"n": 1.0,  "big": 12345678901234567890123}"#);
        let parsed = parse(body.as_bytes(), &[]).unwrap();
        assert!(matches!(
            parsed.payload,
            Cow::Borrowed(r#"{"n": 1.0,  "big": 12345678901234567890123}"#)
        ));
        assert_eq!((parsed.form, parsed.attribute("id")), (Form::CloudEvent, Some("i")));
    }

    #[test]
    fn odd_but_harmless_events_are_read() {
        for (more, payload) in [
            ("", "null"),
            (r#","traceid":17,"traceparent":null,"subject":null"#, "null"),
            (r#","data_base64":"eyJhIjoxfQ==""#, r#"{"a":1}"#),
            (r#","data_base64":null,"data":1"#, "1"),
            (r#","data":"{\"a\":1}""#, r#""{\"a\":1}""#),
            (r#","datacontenttype":"text/plain","data":"{\"a\":1}""#, r#"{"a":1}"#),
            (r#","datacontenttype":"text/plain","data":"hello""#, r#""hello""#),
            (r#","datacontenttype":"text/plain","data":"[1]""#, r#""[1]""#),
        ] {
            let body = event(more);
            assert_eq!(parse(body.as_bytes(), &[]).unwrap().payload, payload, "{more}");
        }
        let wrapped = event(r#","data":"{\"a\":1}""#).replace(r#""t""#, r#""com.dapr.event.sent""#);
        assert_eq!(parse(wrapped.as_bytes(), &[]).unwrap().payload, r#"{"a":1}"#);
    }

    #[test]
    fn an_id_that_daprd_drew_for_one_delivery_is_no_id() {
        let body = event(r#","data_base64":"e30=""#).replace(r#""s""#, r#""Dapr""#);
        let parsed = parse(body.as_bytes(), &[]).unwrap();
        assert_eq!((parsed.form, parsed.attribute("id")), (Form::Bare, None));
    }

    #[test]
    fn hostile_bodies_are_refused_in_words() {
        let without = |name: &str| event("").replace(&format!(r#""{name}":"#), r#""other":"#);
        let of = |name: &str, value: &str| {
            let body = event("");
            let at = body.find(&format!(r#""{name}":"#)).unwrap() + name.len() + 3;
            let end = at + body[at..].find([',', '}']).unwrap();
            format!("{}{value}{}", &body[..at], &body[end..])
        };
        for (body, says) in [
            (String::new(), "the body is not JSON: EOF"),
            ("hello".to_owned(), "the body is not JSON"),
            ("[]".to_owned(), "the body is not a CloudEvent"),
            ("17".to_owned(), "the body is not a CloudEvent"),
            (event("") + "x", "the body is not JSON: trailing characters"),
            (event(r#","id":"j""#), "`id` is given twice"),
            (event(r#","data":1,"data":2"#), "`data` is given twice"),
            (event(r#","x":{"a":1,"a":2}"#), "`a` is given twice"),
            (event(r#","data":1,"data_base64":"MQ==""#), "both `data` and `data_base64`"),
            (
                event(r#","data_base64":"%""#),
                "`data_base64` is `\"%\"`; expected base64 of JSON text",
            ),
            (event(r#","data_base64":"/w==""#), "expected base64 of UTF-8 text"),
            (event(r#","data_base64":1"#), "expected base64 of JSON text, as a string"),
            (event(r#","subject":7"#), "attribute `subject` is `7`; expected a string"),
            (without("id"), "attribute `id` is missing"),
            (without("source"), "attribute `source` is missing"),
            (without("type"), "attribute `type` is missing"),
            (of("id", "null"), "attribute `id` is missing"),
            (of("id", "7"), "attribute `id` is `7`; expected a string"),
            (of("id", "\"\""), "attribute `id` is empty"),
            (of("id", &format!("{:?}", "é".repeat(256))), "has 256 characters; at most 255"),
            (
                event(&format!(r#","subject":{:?}"#, "x".repeat(256))),
                "`subject` has 256 characters",
            ),
            (of("specversion", "\"0.3\""), "`specversion` is `\"0.3\"`; expected `\"1.0\"`"),
            (of("specversion", "null"), "`specversion` is `null`; expected `\"1.0\"`"),
            (of("type", r#""\ud800""#), "the body is not JSON"),
            (event(&format!(r#","x":{}"#, "[".repeat(500))), "nested too deeply"),
        ] {
            let refusal = refusal(&body);
            assert!(refusal.contains(says), "{refusal} is not {says}, for {body}");
            assert!(refusal.len() < 200, "{refusal}");
        }
        assert_eq!(refusal(b"{\"id\": \"\xff\"}"), "the body is not UTF-8 from byte 8 on");
        assert!(
            parse(event("").replace("\"i\"", &format!("{:?}", "é".repeat(255))).as_bytes(), &[])
                .is_ok()
        );
    }

    #[test]
    fn data_is_read_with_the_same_care() {
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        assert!(json("`data`", &deep).unwrap_err().to_string().contains("nested too deeply"));
        let twice = json("`data`", r#"{"a":{"b":1,"b":2}}"#).unwrap_err().to_string();
        assert!(twice.contains("`b` is given twice"), "{twice}");
        assert!(json("`data`", "{} {}").is_err());
        let value = json("`data`", r#"{"a":[1,-2,0.5,"x",true,null]}"#).unwrap();
        assert_eq!(value, serde_json::json!({"a": [1, -2, 0.5, "x", true, null]}));
    }

    #[test]
    fn without_an_envelope_the_body_is_the_payload() {
        let parsed = parse(br#"{"event_type": "created"}"#, &[]).unwrap();
        assert_eq!((parsed.form, &*parsed.payload), (Form::Bare, r#"{"event_type": "created"}"#));
    }

    #[test]
    fn a_header_given_twice_is_refused() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut headers = vec![
            header("specversion", "1.0"),
            header("id", "i"),
            header("source", "s"),
            header("type", "t"),
        ];
        assert_eq!(parse(b"", &headers).unwrap().payload, "null");
        headers.push(header("id", "j"));
        assert!(parse(b"", &headers).unwrap_err().to_string().contains("`id` is given twice"));
    }
}
