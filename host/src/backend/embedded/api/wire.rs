//! Request bodies as Go reads JSON into structs: names in any case, what is unknown left out, null
//! the same as missing, and nothing read behind the first value.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value};

/// The first value of a body.
pub fn first_value(body: &Bytes) -> Result<Value, String> {
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    match values.next() {
        Some(value) => value.map_err(|error| error.to_string()),
        None => Err("EOF".to_owned()),
    }
}

/// An object on its way into the struct of that name.
pub struct Object<'a> {
    of: &'static str,
    fields: Option<&'a Map<String, Value>>,
}

impl<'a> Object<'a> {
    /// Null is an empty one.
    pub fn new(of: &'static str, value: &'a Value) -> Result<Self, String> {
        match value {
            Value::Object(fields) => Ok(Self { of, fields: Some(fields) }),
            Value::Null => Ok(Self { of, fields: None }),
            other => {
                Err(format!("json: cannot unmarshal {} into Go value of type {of}", kind(other)))
            }
        }
    }

    pub fn field(&self, name: &str) -> Option<&'a Value> {
        let named = self.fields?.iter().rfind(|(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value).filter(|value| !value.is_null())
    }

    pub fn text(&self, name: &str) -> Result<Option<String>, String> {
        match self.field(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.mismatch(name, other, "string")),
        }
    }

    pub fn texts(&self, name: &str) -> Result<BTreeMap<String, String>, String> {
        let fields = match self.field(name) {
            None => return Ok(BTreeMap::new()),
            Some(Value::Object(fields)) => fields,
            Some(other) => return Err(self.mismatch(name, other, "map[string]string")),
        };
        let texts = fields.iter().map(|(key, value)| match value {
            Value::String(text) => Ok((key.clone(), text.clone())),
            Value::Null => Ok((key.clone(), String::new())),
            other => Err(self.mismatch(name, other, "string")),
        });
        texts.collect()
    }

    pub fn list(&self, name: &str) -> Result<&'a [Value], String> {
        match self.field(name) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(self.mismatch(name, other, "array")),
        }
    }

    fn mismatch(&self, name: &str, value: &Value, wanted: &str) -> String {
        let (of, kind) = (self.of, kind(value));
        format!("json: cannot unmarshal {kind} into Go struct field {of}.{name} of type {wanted}")
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
