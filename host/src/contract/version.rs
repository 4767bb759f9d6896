//! Versions of event types: `….v1` in a type's name, `1.2.0` in a field. A consumer takes every
//! minor version of a major one that it knows, and no other.

/// Which names a contract claims, as its document writes them: `com.todo.<domain>.<action>.v<N>`.
/// `<N>` is a number from 1, any other placeholder a word of a-z, 0-9, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypePattern {
    text: String,
}

impl TypePattern {
    pub fn new(text: &str) -> Result<Self, String> {
        let is_balanced = text.split('<').skip(1).all(|part| part.matches('>').count() == 1);
        if is_balanced && !text.starts_with('<') && text.contains('<') {
            return Ok(Self { text: text.to_owned() });
        }
        Err(format!(
            "`{text}` is not a pattern of types; write it like `com.shop.<noun>.<verb>.v<N>`"
        ))
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What every claimed type begins with.
    pub fn prefix(&self) -> &str {
        self.text.split('<').next().unwrap_or_default()
    }

    pub fn matches(&self, ty: &str) -> bool {
        let Some(mut rest) = ty.strip_prefix(self.prefix()) else {
            return false;
        };
        for part in self.text.split('<').skip(1) {
            let (placeholder, literal) = part.split_once('>').unwrap_or((part, ""));
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            let fits = if placeholder == "N" { is_number(word) } else { !word.is_empty() };
            match after.strip_prefix(literal) {
                Some(after) if fits => rest = after,
                _ => return false,
            }
        }
        rest.is_empty()
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_'
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && !word.starts_with('0') && word.bytes().all(|b| b.is_ascii_digit())
}

/// Splits `com.todo.task.created.v1` into `com.todo.task.created` and `1`.
pub fn split_type(ty: &str) -> Option<(&str, &str)> {
    let (base, major) = ty.rsplit_once(".v")?;
    (is_number(major) && !base.is_empty()).then_some((base, major))
}

/// A semantic version: `1.0.0`, no more, no less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SchemaVersion {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl std::str::FromStr for SchemaVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: Option<&str>| {
            let part = part.filter(|part| *part == "0" || is_number(part))?;
            part.parse::<u32>().ok()
        };
        let mut parts = text.split('.');
        let version = (number(parts.next()), number(parts.next()), number(parts.next()));
        match (version, parts.next()) {
            ((Some(major), Some(minor), Some(patch)), None) => Ok(Self { major, minor, patch }),
            _ => Err(format!("`{text}` is not a version; expected one like 1.0.0")),
        }
    }
}

impl std::fmt::Display for SchemaVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_claims_what_it_says() {
        let pattern = TypePattern::new("com.todo.<domain>.<action>.v<N>").unwrap();
        assert_eq!(pattern.prefix(), "com.todo.");
        for good in ["com.todo.task.created.v1", "com.todo.ai.tool-called.v12"] {
            assert!(pattern.matches(good), "{good}");
        }
        for bad in [
            "com.todo.task.created",
            "com.todo.task.created.v",
            "com.todo.task.created.v0",
            "com.todo.task.created.v01",
            "com.todo.task.created.v1.2",
            "com.todo.task.Created.v1",
            "com.todo.task..v1",
            "com.todo.created.v1",
            "com.todo.task.created.vx",
            "org.todo.task.created.v1",
        ] {
            assert!(!pattern.matches(bad), "{bad}");
        }
        assert!(TypePattern::new("<domain>").is_err());
        assert!(TypePattern::new("com.todo").is_err());
        assert!(TypePattern::new("com.<a.v<N>").is_err());
    }

    #[test]
    fn types_are_split_at_their_version() {
        assert_eq!(split_type("a.b.v2"), Some(("a.b", "2")));
        for whole in ["a.b", "a.b.v", "a.b.vx", "a.b.v0", ".v1"] {
            assert_eq!(split_type(whole), None, "{whole}");
        }
    }

    #[test]
    fn versions_are_three_numbers() {
        let version: SchemaVersion = "1.10.0".parse().unwrap();
        assert_eq!((version.major, version.minor, version.patch), (1, 10, 0));
        assert_eq!(version.to_string(), "1.10.0");
        for bad in ["", "1", "1.0", "1.0.0.0", "1.0.x", "01.0.0", "+1.0.0", "1.0.99999999999"] {
            assert!(bad.parse::<SchemaVersion>().is_err(), "{bad}");
        }
    }
}
