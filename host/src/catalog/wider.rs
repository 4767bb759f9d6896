//! What a new version of a component may do that the running one may not. A swap says it, so that
//! nobody is surprised.

use serde_json::Value;

use crate::manifest::Grants;

/// Each grant that is new, such as ``publish com.todo.x.v1`` or ``tables tasks (write)``. Works on
/// what the grants say as JSON, so that a new kind of grant cannot be forgotten.
pub fn wider(before: &Grants, after: &Grants) -> Vec<String> {
    let json = |grants| serde_json::to_value(grants).unwrap_or_default();
    let (before, after) = (json(before), json(after));
    let kinds = after.as_object().into_iter().flatten();
    kinds
        .flat_map(|(kind, after)| {
            let before = named(before.get(kind));
            let new = named(Some(after)).into_iter().filter(move |grant| !covered(grant, &before));
            new.map(move |(name, how)| match how {
                Some(how) => format!("{kind} {name} ({how})"),
                None => format!("{kind} {name}"),
            })
        })
        .collect()
}

/// A name, and how far it is granted where there are degrees.
type Grant = (String, Option<String>);

/// Grants are a list of names, or a table from names to degrees.
fn named(grants: Option<&Value>) -> Vec<Grant> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match grants {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(names)) => names.iter().map(|name| (text(name), None)).collect(),
        Some(Value::Object(table)) => {
            table.iter().map(|(name, how)| (name.clone(), Some(text(how)))).collect()
        }
        Some(other) => vec![(text(other), None)],
    }
}

fn covered((name, how): &Grant, before: &[Grant]) -> bool {
    before.iter().any(|(old, old_how)| {
        let matches = match old.strip_suffix('*') {
            Some(stem) => name.starts_with(stem),
            None => name == old,
        };
        // To write includes to read; of other degrees nothing is known.
        let is_enough = old_how == how || old_how.as_deref() == Some("write");
        matches && is_enough
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;

    fn grants(text: &str) -> Grants {
        let text = format!("name = \"a\"\nversion = \"1\"\non = [{{ event = \"x\" }}]\n{text}");
        Manifest::parse("component.toml".as_ref(), &text).unwrap().grants
    }

    #[test]
    fn only_what_is_new_or_reaches_further_is_told() {
        let before = "[grants]\npublish = [\"a\"]\ntables = { r = \"read\", w = \"write\" }";
        for (after, told) in [
            (before, vec![]),
            ("[grants]\ntables = { w = \"read\" }", vec![]),
            (
                "[grants]\npublish = [\"a\", \"b\"]\ntables = { r = \"write\", t = \"read\" }",
                vec!["publish b", "tables r (write)", "tables t (read)"],
            ),
        ] {
            assert_eq!(wider(&grants(before), &grants(after)), told, "{after}");
        }
        assert_eq!(wider(&Grants::default(), &grants(before)).len(), 3);
    }

    #[test]
    fn a_pattern_covers_the_names_that_it_matches() {
        let before = [("recurring-*".to_owned(), None)];
        assert!(covered(&("recurring-7".to_owned(), None), &before));
        assert!(!covered(&("reminder-7".to_owned(), None), &before));
        assert!(!covered(&("*".to_owned(), None), &before));
    }
}
