//! Which fields a schema knows, for whoever spells one wrongly: validation lets most of them pass.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Schema;

/// What a schema says of the fields of one object.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// Empty where it names none: then any may be meant.
    pub known: BTreeSet<String>,
    /// Whether it refuses all others.
    pub closed: bool,
}

/// References may go round in a circle.
const DEEPEST: usize = 16;

impl Schema {
    /// The fields of the object at `place`, which is such as `["task", "owner"]`.
    pub fn fields(&self, place: &[String]) -> Fields {
        let mut parts = self.parts(&self.source, DEEPEST);
        for name in place {
            let below = parts.iter().filter_map(|part| part.get("properties")?.get(name));
            parts = below.flat_map(|schema| self.parts(schema, DEEPEST)).collect();
        }
        // What a name must look like, or what any may hold, is no list of names.
        let is_free = |part: &&Value| {
            part.get("patternProperties").is_some()
                || part.get("additionalProperties").is_some_and(Value::is_object)
        };
        if parts.iter().any(is_free) {
            return Fields::default();
        }
        let names = parts.iter().filter_map(|part| part.get("properties")?.as_object());
        let names = names.flat_map(|names| names.keys().cloned());
        let refuses = |keyword| move |part: &&Value| part.get(keyword) == Some(&Value::Bool(false));
        let closed = parts.iter().any(refuses("additionalProperties"))
            || parts.iter().any(refuses("unevaluatedProperties"));
        Fields { known: names.collect(), closed }
    }

    /// A schema with those that it is made of.
    fn parts<'a>(&'a self, schema: &'a Value, depth: usize) -> Vec<&'a Value> {
        let Some(depth) = depth.checked_sub(1) else { return Vec::new() };
        let reference =
            schema.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'));
        let referred = reference.and_then(|pointer| self.source.pointer(pointer));
        let one = ["if", "then", "else"].into_iter().filter_map(|keyword| schema.get(keyword));
        let many =
            ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|keyword| schema.get(keyword));
        let many = many.filter_map(Value::as_array).flatten();
        let below = referred.into_iter().chain(one).chain(many);
        std::iter::once(schema).chain(below.flat_map(|schema| self.parts(schema, depth))).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(schema: Value, place: &[&str]) -> (Vec<String>, bool) {
        let place: Vec<_> = place.iter().map(ToString::to_string).collect();
        let found = Schema::compile(schema).unwrap().fields(&place);
        (found.known.into_iter().collect(), found.closed)
    }

    #[test]
    fn fields_are_found_through_references_and_choices() {
        let task = json!({ "properties": { "title": {}, "next": { "$ref": "#/$defs/task" } },
                           "additionalProperties": false });
        let schema = json!({
            "properties": { "id": {}, "task": { "$ref": "#/$defs/task" }, "free": {},
                            "named": { "additionalProperties": { "type": "string" } } },
            "allOf": [{ "properties": { "user": {} } }],
            "$defs": { "task": task },
        });
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (place, known, closed) in [
            (&[][..], &["free", "id", "named", "task", "user"][..], false),
            (&["task"], &["next", "title"], true),
            (&["task", "next", "next"], &["next", "title"], true),
            (&["free"], &[], false),
            (&["named"], &[], false),
            (&["nowhere"], &[], false),
        ] {
            assert_eq!(fields(schema.clone(), place), (names(known), closed), "{place:?}");
        }
    }
}
