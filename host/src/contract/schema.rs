//! JSON Schemas, compiled once, whose refusals a person can read: they name the place, the value
//! cut short, and what is expected. No `$ref` leaves its file.

mod fields;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;

use crate::event::parse::shown;

pub use self::fields::Fields;

/// One compiled schema, of draft-07 or 2020-12 as its `$schema` says.
#[derive(Debug)]
pub struct Schema {
    validator: Validator,
    source: Value,
}

impl Schema {
    /// `format` is asserted, whatever the draft says about it; an unknown format or an error in
    /// the schema itself is an error here.
    pub fn compile(source: Value) -> Result<Self, String> {
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .should_ignore_unknown_formats(false)
            .with_format("uuid", is_uuid)
            .with_pattern_options(PatternOptions::regex())
            .offline()
            .build(&source)
            .map_err(|error| compile_reason(&error))?;
        match validator.draft() {
            Draft::Draft7 | Draft::Draft202012 => Ok(Self { validator, source }),
            other => Err(format!("the draft {other:?} is not supported; use draft-07 or 2020-12")),
        }
    }

    /// `None` when the value is valid, else why it is not. `name` turns a place such as
    /// `["task", "title"]` into what a reader calls it.
    pub fn refusal(&self, value: &Value, name: fn(&str) -> String) -> Option<String> {
        if self.validator.is_valid(value) {
            return None;
        }
        let error = self.validator.validate(value).err()?;
        Some(self.reason(&error, name))
    }

    fn reason(&self, error: &ValidationError<'_>, name: fn(&str) -> String) -> String {
        let path = error.instance_path().as_str();
        if let ValidationErrorKind::Required { property } = error.kind() {
            let property = property.as_str().unwrap_or_default();
            return format!("{} is missing", name(&format!("{path}/{property}")));
        }
        let value = shown(error.instance());
        let expected = self.described(error).unwrap_or_else(|| expected(error));
        format!("{} is {value}; expected {expected}", name(path))
    }

    /// The schema's own words, where it has a `description` of a value that a `pattern` or a
    /// choice cannot explain.
    fn described(&self, error: &ValidationError<'_>) -> Option<String> {
        match error.kind() {
            ValidationErrorKind::Pattern { .. }
            | ValidationErrorKind::Format { .. }
            | ValidationErrorKind::AnyOf { .. }
            | ValidationErrorKind::Not { .. }
            | ValidationErrorKind::OneOfNotValid { .. }
            | ValidationErrorKind::OneOfMultipleValid { .. }
            | ValidationErrorKind::FalseSchema => {}
            _ => return None,
        }
        let (parent, _keyword) = error.schema_path().as_str().rsplit_once('/')?;
        Some(self.source.pointer(parent)?.get("description")?.as_str()?.to_owned())
    }
}

fn compile_reason(error: &ValidationError<'_>) -> String {
    let path = error.instance_path().as_str();
    if let ValidationErrorKind::Referencing(error) = error.kind() {
        return format!("a `$ref` does not lead into the same file: {error}");
    }
    if path.is_empty() { error.to_string() } else { format!("`{path}`: {error}") }
}

fn expected(error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::Type { kind: TypeKind::Single(kind) } => format!("type {kind}"),
        ValidationErrorKind::Type { kind: TypeKind::Multiple(kinds) } => {
            let kinds: Vec<_> = kinds.iter().map(|kind| kind.to_string()).collect();
            format!("type {}", kinds.join(" or "))
        }
        ValidationErrorKind::Enum { options } => match options.as_array() {
            Some(options) => {
                let options: Vec<_> = options.iter().map(shown).collect();
                format!("one of {}", options.join(", "))
            }
            None => shown(options),
        },
        ValidationErrorKind::Constant { expected_value } => shown(expected_value),
        ValidationErrorKind::Format { format } => match format.as_str() {
            "date-time" => "an RFC 3339 time with zone, such as 2026-02-03T10:00:00Z".to_owned(),
            format => format!("the format {format}"),
        },
        ValidationErrorKind::Pattern { pattern } => format!("text that matches `{pattern}`"),
        ValidationErrorKind::MinLength { limit } => format!("at least {limit} characters"),
        ValidationErrorKind::MaxLength { limit } => format!("at most {limit} characters"),
        ValidationErrorKind::Minimum { limit } => format!("at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("at most {limit}"),
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            format!("no `{}` in it", unexpected.join("`, `"))
        }
        _ => error.masked_with("it").to_string(),
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(schema: Value, value: &Value) -> Option<String> {
        Schema::compile(schema).unwrap().refusal(value, |path| format!("`{path}`"))
    }

    #[test]
    fn a_refusal_names_place_value_and_expectation() {
        let long = "x".repeat(100);
        for (schema, value, reason) in [
            (json!({"type": "object"}), json!([]), "`` is `[]`; expected type object"),
            (json!({"required": ["user_id"]}), json!({}), "`/user_id` is missing"),
            (
                json!({"properties": {"a": {"type": ["integer", "null"]}}}),
                json!({"a": "1"}),
                "`/a` is `\"1\"`; expected type null or integer",
            ),
            (
                json!({"properties": {"p": {"enum": ["low", "high"]}}}),
                json!({"p": "huge"}),
                "`/p` is `\"huge\"`; expected one of `\"low\"`, `\"high\"`",
            ),
            (
                json!({"properties": {"at": {"format": "date-time"}}}),
                json!({"at": "2026-02-03T10:00:00"}),
                "`/at` is `\"2026-02-03T10:00:00\"`; expected an RFC 3339 time with zone, such as 2026-02-03T10:00:00Z",
            ),
            (
                json!({"properties": {"id": {"pattern": "^a$", "description": "the letter a"}}}),
                json!({"id": "b"}),
                "`/id` is `\"b\"`; expected the letter a",
            ),
            (json!({"const": 1}), json!(2), "`` is `2`; expected `1`"),
            (
                json!({"maxLength": 3}),
                json!(long),
                &format!("`` is `\"{}…`; expected at most 3 characters", "x".repeat(59)),
            ),
        ] {
            assert_eq!(refusal(schema, &value).as_deref(), Some(reason));
        }
    }

    #[test]
    fn both_drafts_assert_formats_uuid_too() {
        for draft in [
            "http://json-schema.org/draft-07/schema#",
            "https://json-schema.org/draft/2020-12/schema",
        ] {
            let schema = json!({"$schema": draft, "format": "uuid"});
            assert!(
                refusal(schema.clone(), &json!("550e8400-e29b-41d4-a716-446655440000")).is_none()
            );
            assert!(refusal(schema.clone(), &json!("550e8400e29b41d4a716446655440000")).is_some());
            assert!(refusal(schema, &json!("not-a-uuid")).is_some());
        }
    }

    #[test]
    fn what_cannot_be_relied_on_is_refused() {
        for (schema, why) in [
            (json!({"$ref": "https://example.com/x.json"}), "`$ref`"),
            (json!({"$ref": "other.json"}), "`$ref`"),
            (json!({"format": "colour"}), "colour"),
            (json!({"type": "strnig"}), "/type"),
            (json!({"pattern": "("}), "pattern"),
            (json!({"$schema": "http://json-schema.org/draft-04/schema#"}), "draft-07"),
        ] {
            let error = Schema::compile(schema).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
