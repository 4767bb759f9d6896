//! Names as types, so that a topic cannot stand where a component belongs.
//! They are cheap to clone: every event carries several.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// Why a text is not a name. The text says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}: {rule}")]
pub struct NameError {
    text: String,
    what: &'static str,
    rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and makes it a name.
            pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
                let text = text.as_ref();
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(NameError { text: text.to_owned(), what: $what, rule: $rule })
                }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// A WebAssembly component, as its manifest names it. `-` stands for no component at all:
    /// the ledger keeps under it what could not be decoded.
    ComponentId,
    "a component name",
    "use 1 to 63 of a-z, 0-9 and -, beginning with a letter",
    |text| text == "-" || is_label(text)
);

name!(
    /// A contract, as its folder under `contracts/` is called.
    ContractName,
    "a contract name",
    "use 1 to 63 of a-z, 0-9 and -, beginning with a letter",
    is_label
);

name!(
    /// A Dapr pubsub component.
    Pubsub,
    "a pubsub name",
    "use 1 to 255 characters without control characters",
    is_text
);

name!(
    /// A topic of a pubsub.
    Topic,
    "a topic",
    "use 1 to 255 characters without control characters",
    is_text
);

name!(
    /// A Dapr state store or secret store.
    StoreName,
    "a store name",
    "use 1 to 255 characters without control characters",
    is_text
);

name!(
    /// A Dapr binding.
    BindingName,
    "a binding name",
    "use 1 to 255 characters without control characters and without `/`",
    |text| is_text(text) && !text.contains('/')
);

name!(
    /// A job of Dapr's scheduler.
    JobName,
    "a job name",
    "use 1 to 255 characters without control characters and without / \\ # ?",
    |text| is_text(text) && !text.contains(['/', '\\', '#', '?'])
);

name!(
    /// The `type` attribute of a CloudEvent (CloudEvents 1.0 §3.1.1), canonical or as on the wire.
    EventType,
    "an event type",
    "use 1 to 255 characters without control characters",
    is_text
);

name!(
    /// What orders effects: only a lane's lowest waiting sequence is performed.
    Lane,
    "a lane",
    "use 1 to 1024 characters",
    |text| !text.is_empty() && text.chars().count() <= 1024
);

impl Lane {
    /// Names joined by `/`; a hash of them where that would be too long.
    pub fn of(parts: &[&str]) -> Self {
        let joined = parts.join("/");
        Self::new(&joined).unwrap_or_else(|_| {
            let parts: Vec<_> = parts.iter().map(|part| part.as_bytes()).collect();
            Self(EventKey::of(&parts).to_string().into())
        })
    }
}

impl Lane {
    /// The lane of a key of a state store, as the store knows it.
    pub fn of_state(store: &StoreName, key: &str) -> Self {
        Self::of(&["state", store.as_str(), key])
    }
}

impl ComponentId {
    /// The owner of events that no component could be given.
    pub fn none() -> Self {
        Self("-".into())
    }
}

fn is_label(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn is_text(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= 255 && !text.chars().any(char::is_control)
}

impl JobName {
    /// Of a name, with an app id and a namespace of 63 bytes each before it: the scheduler takes 512.
    const MOST_BYTES: usize = 377;

    /// Why a job cannot be scheduled under this name, though others may have one that is called so.
    pub fn refusal(&self) -> Option<String> {
        let text = self.as_str();
        let why = if text.contains('%') {
            // It stands in the path of the callback as it is, and never comes back, or as another.
            "holds `%`, with which daprd cannot call back"
        } else if text.contains('|') {
            "holds `|`, which Dapr refuses"
        } else if text.trim() != text {
            "begins or ends with a space, which Dapr cuts off"
        } else if matches!(text, "." | "..") {
            "is a step in a path, and gets lost there"
        } else if text.len() > Self::MOST_BYTES {
            "has more than 377 bytes, which Dapr's scheduler may refuse"
        } else {
            return None;
        };
        Some(format!("the name `{self}` {why}; use another"))
    }
}

/// Whether a table is the host's or the database's own. No component is granted one of these.
/// `name` is lower case.
pub fn is_reserved_table(name: &str) -> bool {
    const PREFIXES: [&str; 5] = ["wharf_", "sqlite_", "pragma_", "pg_", "_sqlx_"];
    /// Those of SQLite are there without being created, and a table would hide them.
    const NAMES: [&str; 15] = [
        "bytecode",
        "dbstat",
        "fts3tokenize",
        "information_schema",
        // Functions that may stand where tables do.
        "json_array_elements",
        "json_array_elements_text",
        "json_each",
        "json_each_text",
        "json_tree",
        "jsonb_array_elements",
        "jsonb_array_elements_text",
        "jsonb_each",
        "jsonb_each_text",
        "jsonb_object_keys",
        "tables_used",
    ];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || NAMES.contains(&name)
}

/// What identifies an event: the first 16 bytes of a SHA-256 over the contract's identity fields.
/// Written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventKey(pub [u8; 16]);

impl EventKey {
    /// Hashes the parts; each is preceded by its length, so that `("ab", "c")` and `("a", "bc")` differ.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(hash(parts).split_at(16).0);
        Self(key)
    }
}

/// An id that is the same whenever the same parts are given: SHA-256 cut to a UUID with version 4
/// bits, so that it passes where a contract insists on version 4.
pub fn derived_id(parts: &[&[u8]]) -> uuid::Uuid {
    uuid::Builder::from_random_bytes(EventKey::of(parts).0).into_uuid()
}

/// Two lower-case digits for each byte.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().map_or('0', char::from);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EventKey {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        match u128::from_str_radix(text, 16) {
            Ok(number) if digits => Ok(Self(number.to_be_bytes())),
            _ => Err(NameError {
                text: text.to_owned(),
                what: "an event key",
                rule: "use the 32 hexadecimal digits that `wharf deliveries` shows",
            }),
        }
    }
}

impl Serialize for EventKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(ComponentId::new("audit").is_ok());
        assert!(ComponentId::new("-").is_ok());
        for bad in ["", "Audit", "1a", "a b", "a/b", &"a".repeat(64)] {
            assert!(ComponentId::new(bad).is_err(), "{bad}");
        }
        assert!(Topic::new("todo.events").is_ok());
        assert!(Topic::new("a\nb").is_err());
    }

    #[test]
    fn a_job_is_called_as_dapr_can_call_it() {
        let refusal = |text: &str| JobName::new(text).unwrap().refusal();
        let long = "é".repeat(188);
        for fine in ["a", "a b+c\"é;1", "a.b", "...", long.as_str()] {
            assert_eq!(refusal(fine), None);
        }
        let longer = "é".repeat(189);
        for (bad, says) in [
            ("a%41", "holds `%`"),
            ("a|b", "holds `|`"),
            (" a", "a space"),
            ("a\u{a0}", "a space"),
            (".", "a path"),
            ("..", "a path"),
            (longer.as_str(), "377 bytes"),
        ] {
            assert!(refusal(bad).is_some_and(|why| why.contains(says)), "{bad}");
        }
        for bad in ["", "a/b", "a\\b", "a#b", "a?b", "a\nb", "a\u{85}b", &"a".repeat(256)] {
            assert!(JobName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_survive_text_and_tell_parts_apart() {
        let key = EventKey::of(&[b"ab", b"c"]);
        assert_ne!(key, EventKey::of(&[b"a", b"bc"]));
        assert_eq!(key.to_string().parse(), Ok(key));
        assert!("+1234567890123456789012345678901".parse::<EventKey>().is_err());
    }

    #[test]
    fn derived_ids_are_version_4() {
        let id = derived_id(&[b"audit", b"key", b"0"]);
        assert_eq!(id.get_version_num(), 4);
        assert_eq!(id, derived_id(&[b"audit", b"key", b"0"]));
    }
}
