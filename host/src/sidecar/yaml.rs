//! YAML with places, cut into documents as daprd cuts it: a document that cannot be read costs
//! daprd that one only, so it costs us that one only.

use std::ops::Range;

use saphyr::{LoadableYamlNode as _, MarkedYaml, Scalar, YamlData};

/// A value and where in the file it begins and ends, in bytes.
#[derive(Debug, Clone)]
pub struct Node {
    pub at: Range<usize>,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Debug, Clone)]
pub struct Key {
    pub at: Range<usize>,
    pub text: String,
}

/// Why a document cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    pub at: Range<usize>,
    pub why: String,
}

impl Node {
    /// A field by its name. daprd reads keys in any case.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.fields().iter().find(|(key, _)| key.text.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }

    /// The same, several levels down.
    pub fn find(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, name| node.get(name))
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text of a field several levels down.
    pub fn text_at(&self, path: &[&str]) -> Option<&str> {
        self.find(path).and_then(Self::text)
    }

    pub fn fields(&self) -> &[(Key, Self)] {
        match &self.value {
            Value::Map(fields) => fields,
            _ => &[],
        }
    }

    pub fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }
}

/// The documents of a file, numbered; empty ones do not count.
pub fn documents(text: &str) -> Vec<(usize, Result<Node, Unreadable>)> {
    let read = |chunk: Range<usize>| {
        let part = text.get(chunk.clone())?;
        match MarkedYaml::load_from_str(part) {
            Ok(roots) => {
                let root = roots.into_iter().next()?;
                let node = Places::of(part, chunk.start).node(&root);
                (!matches!(node.value, Value::Null)).then_some(Ok(node))
            }
            Err(error) => {
                let at = Places::of(part, chunk.start).byte(error.marker().index());
                Some(Err(Unreadable { at: at..at, why: error.info().to_owned() }))
            }
        }
    };
    chunks(text).into_iter().filter_map(read).enumerate().collect()
}

/// daprd's cut: a line that begins with `---`. The rest of that line goes with it.
fn chunks(text: &str) -> Vec<Range<usize>> {
    let mut chunks = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        if line.starts_with("---") {
            // At the very beginning it opens the first document.
            if at > 0 {
                chunks.push(start..at);
            }
            start = end;
        }
        at = end;
    }
    chunks.push(start..text.len());
    chunks
}

/// From the parser's places, in characters, to places in the file, in bytes.
struct Places {
    /// The byte at which each character begins, and the end.
    bytes: Vec<usize>,
}

impl Places {
    fn of(part: &str, offset: usize) -> Self {
        let begins = part.char_indices().map(|(at, _)| offset + at);
        Self { bytes: begins.chain([offset + part.len()]).collect() }
    }

    fn byte(&self, character: usize) -> usize {
        self.bytes.get(character).or(self.bytes.last()).copied().unwrap_or_default()
    }

    fn range(&self, yaml: &MarkedYaml<'_>) -> Range<usize> {
        let (start, end) = (yaml.span.start.index(), yaml.span.end.index());
        self.byte(start)..self.byte(end.max(start))
    }

    fn node(&self, yaml: &MarkedYaml<'_>) -> Node {
        let value = match &yaml.data {
            YamlData::Value(scalar) => match scalar {
                Scalar::Null => Value::Null,
                Scalar::Boolean(value) => Value::Bool(*value),
                #[expect(clippy::cast_precision_loss, reason = "no setting is that large")]
                Scalar::Integer(value) => Value::Number(*value as f64),
                Scalar::FloatingPoint(value) => Value::Number(value.into_inner()),
                Scalar::String(text) => Value::Text(text.clone().into_owned()),
            },
            YamlData::Representation(text, ..) => Value::Text(text.clone().into_owned()),
            YamlData::Sequence(items) => {
                Value::List(items.iter().map(|one| self.node(one)).collect())
            }
            YamlData::Mapping(fields) => {
                let field = |(key, value): (&MarkedYaml<'_>, &MarkedYaml<'_>)| {
                    Some((self.key(key)?, self.node(value)))
                };
                Value::Map(fields.iter().filter_map(field).collect())
            }
            YamlData::Tagged(_, inner) => return self.node(inner),
            YamlData::Alias(_) | YamlData::BadValue => Value::Null,
        };
        Node { at: self.range(yaml), value }
    }

    fn key(&self, yaml: &MarkedYaml<'_>) -> Option<Key> {
        let Node { at, value } = self.node(yaml);
        let text = match value {
            Value::Text(text) => text,
            Value::Bool(value) => value.to_string(),
            Value::Number(value) => value.to_string(),
            Value::Null | Value::List(_) | Value::Map(_) => return None,
        };
        Some(Key { at, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_in_bytes_of_the_file_whatever_stands_before_it() {
        let text = "# é\nkind: A\n---\n# ü\nname: é\nspec:\n  topic: ö-events\n";
        let found = documents(text);
        let (number, Ok(second)) = &found[1] else { panic!("{found:?}") };
        let topic = second.find(&["spec", "topic"]).unwrap();
        assert_eq!((*number, &text[topic.at.clone()]), (1, "ö-events"));
    }

    #[test]
    fn an_unreadable_document_does_not_hide_the_next() {
        let text = "---\nkind: [\n--- # two\nkind: B\n---\n# nothing\n";
        let found = documents(text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].1.is_err());
        assert_eq!(found[1].1.as_ref().unwrap().text_at(&["kind"]), Some("B"));
    }
}
