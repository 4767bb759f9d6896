//! The component types that daprd has, and the metadata names that each reads.
//! `components.txt` is written by `.ci/dapr-components` from Dapr's own sources.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// One type in one version.
#[derive(Debug)]
pub struct Row {
    pub version: &'static str,
    /// Empty where this does not know them: then any name will do.
    names: Vec<&'static str>,
    /// Those that must be there, each with its other names.
    pub required: Vec<Vec<&'static str>>,
}

/// By type.
static TABLE: LazyLock<BTreeMap<&'static str, Vec<Row>>> = LazyLock::new(|| {
    let mut table = BTreeMap::<_, Vec<Row>>::new();
    for line in include_str!("components.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut columns = line.split('\t');
        let (Some(ty), Some(version)) = (columns.next(), columns.next()) else { continue };
        let names = columns.next().unwrap_or_default().split_whitespace().collect();
        let required = columns.next().unwrap_or_default().split_whitespace();
        let required = required.map(|names| names.split('|').collect()).collect();
        table.entry(ty).or_default().push(Row { version, names, required });
    }
    table
});

/// What the runtime itself reads of every component of a category, beside what the type does.
const RUNTIME: [(&str, &[&str]); 5] = [
    (
        "pubsub",
        &[
            "consumerID",
            "allowedTopics",
            "protectedTopics",
            "publishingScopes",
            "subscriptionScopes",
        ],
    ),
    (
        "state",
        &[
            "keyPrefix",
            "actorStateStore",
            "primaryEncryptionKey",
            "secondaryEncryptionKey",
            "outboxPublishPubsub",
            "outboxPublishTopic",
            "outboxPubsub",
            "outboxDiscardWhenMissingState",
        ],
    ),
    ("bindings", &["direction", "route"]),
    ("lock", &["keyPrefix"]),
    ("secretstores", &[]),
];

pub fn rows(ty: &str) -> Option<&'static [Row]> {
    TABLE.get(ty.to_ascii_lowercase().as_str()).map(Vec::as_slice)
}

pub fn types() -> impl Iterator<Item = &'static str> {
    TABLE.keys().copied()
}

impl Row {
    /// Every name that a component of this type may have.
    pub fn names(&self, category: &str) -> Option<Vec<&'static str>> {
        let runtime = RUNTIME.iter().find(|(name, _)| *name == category);
        let runtime = runtime.map(|(_, names)| *names).unwrap_or_default();
        (!self.names.is_empty()).then(|| self.names.iter().chain(runtime).copied().collect())
    }
}
