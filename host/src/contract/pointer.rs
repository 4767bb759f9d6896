//! JSON Pointers (RFC 6901) that can also take a value out and put one in, which is what a two-way
//! table needs. They lead through objects only: a place in an array moves when another is taken.

use std::fmt;

use serde_json::{Map, Value};

/// A place in a JSON value; the empty one is the whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pointer(Vec<String>);

impl Pointer {
    pub fn new(text: &str) -> Result<Self, String> {
        let rest = match text.strip_prefix('/') {
            Some(rest) => rest,
            None if text.is_empty() => return Ok(Self(Vec::new())),
            None => return Err(format!("`{text}` is not a JSON Pointer: begin it with `/`")),
        };
        rest.split('/').map(|token| unescape(token, text)).collect::<Result<_, _>>().map(Self)
    }

    pub fn of(tokens: &[&str]) -> Self {
        Self(tokens.iter().map(|token| (*token).to_owned()).collect())
    }

    pub fn tokens(&self) -> &[String] {
        &self.0
    }

    /// The number of steps; the table tries the longest first.
    pub fn depth(&self) -> usize {
        self.0.len()
    }

    pub fn get<'v>(&self, root: &'v Value) -> Option<&'v Value> {
        Self::find(root, &self.0)
    }

    /// Follows some tokens of a pointer.
    pub fn find<'v>(root: &'v Value, tokens: &[String]) -> Option<&'v Value> {
        tokens.iter().try_fold(root, |value, token| value.as_object()?.get(token))
    }

    pub fn get_mut<'v>(&self, root: &'v mut Value) -> Option<&'v mut Value> {
        self.0.iter().try_fold(root, |value, token| value.as_object_mut()?.get_mut(token))
    }

    /// Takes the value out, and with it every object that is left empty.
    pub fn take(&self, root: &mut Value) -> Option<Value> {
        match self.0.split_first() {
            None => Some(std::mem::replace(root, Value::Object(Map::new()))),
            Some((first, rest)) => take(root.as_object_mut()?, first, rest),
        }
    }

    /// Puts the value there, making objects on the way. What is there already stays; two objects
    /// become one. Gives back whether the whole value found its place.
    pub fn put(&self, root: &mut Value, value: Value) -> bool {
        put(root, &self.0, value)
    }
}

fn unescape(token: &str, text: &str) -> Result<String, String> {
    let mut parts = token.split('~');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (mark, rest) = match (part.strip_prefix('0'), part.strip_prefix('1')) {
            (Some(rest), _) => ('~', rest),
            (None, Some(rest)) => ('/', rest),
            (None, None) => {
                return Err(format!("`{text}` is not a JSON Pointer: write `~` as `~0`"));
            }
        };
        plain.push(mark);
        plain.push_str(rest);
    }
    Ok(plain)
}

fn take(object: &mut Map<String, Value>, first: &str, rest: &[String]) -> Option<Value> {
    let Some((next, after)) = rest.split_first() else {
        return object.shift_remove(first);
    };
    let inner = object.get_mut(first)?.as_object_mut()?;
    let value = take(inner, next, after)?;
    if inner.is_empty() {
        object.shift_remove(first);
    }
    Some(value)
}

fn put(place: &mut Value, tokens: &[String], value: Value) -> bool {
    let Some((first, rest)) = tokens.split_first() else {
        return merge(place, value);
    };
    let Some(object) = place.as_object_mut() else {
        return false;
    };
    match object.get_mut(first) {
        Some(inner) => put(inner, rest, value),
        None => {
            object.insert(first.clone(), nested(rest, value));
            true
        }
    }
}

fn nested(tokens: &[String], value: Value) -> Value {
    tokens
        .iter()
        .rev()
        .fold(value, |inner, token| Value::Object(Map::from_iter([(token.clone(), inner)])))
}

fn merge(place: &mut Value, value: Value) -> bool {
    match (place, value) {
        (Value::Object(object), Value::Object(more)) => {
            more.into_iter().fold(true, |fits, (key, value)| match object.get_mut(&key) {
                Some(inner) => merge(inner, value) && fits,
                None => {
                    object.insert(key, value);
                    fits
                }
            })
        }
        (place, value) => *place == value,
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|token| write!(f, "/{}", token.replace('~', "~0").replace('/', "~1")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Pointer {
        Pointer::new(text).unwrap()
    }

    #[test]
    fn taking_out_and_putting_back_gives_the_same() {
        let original = json!({"a": {"b/c": {"~d": 1}, "e": null}, "f": [1, {"g": 2}]});
        for pointer in ["/a/b~1c/~0d", "/a/b~1c", "/a", "/f", "/a/e", ""] {
            let mut value = original.clone();
            let taken = at(pointer).take(&mut value).unwrap();
            assert!(at(pointer).put(&mut value, taken), "{pointer}");
            assert_eq!(value, original, "{pointer}");
            assert_eq!(at(pointer).to_string(), pointer);
        }
    }

    #[test]
    fn taking_leaves_no_empty_object_behind() {
        let mut value = json!({"a": {"b": {"c": 1}}, "d": {}});
        assert_eq!(at("/a/b/c").take(&mut value), Some(json!(1)));
        assert_eq!(value, json!({"d": {}}));
        assert_eq!(at("/d/x").take(&mut value), None);
        assert_eq!(value, json!({"d": {}}));
    }

    #[test]
    fn what_is_there_stays() {
        let mut value = json!({"task": {"id": 1}});
        assert!(at("/task").put(&mut value, json!({"title": "x"})));
        assert_eq!(value, json!({"task": {"id": 1, "title": "x"}}));
        assert!(!at("/task").put(&mut value, json!({"id": 2})));
        assert!(!at("/task/id/x").put(&mut value, json!(2)));
        assert_eq!(value, json!({"task": {"id": 1, "title": "x"}}));
    }

    #[test]
    fn only_pointers_are_pointers() {
        assert!(Pointer::new("task_id").unwrap_err().contains("begin it with `/`"));
        assert!(Pointer::new("/a~2").unwrap_err().contains("`~0`"));
    }
}
