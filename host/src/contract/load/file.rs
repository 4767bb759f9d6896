//! The shape of contract.toml, with the place of everything that may be wrong beyond its syntax.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

/// Text whose place is known.
pub type Text = Spanned<String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub name: Text,
    pub description: String,
    pub pubsub: Text,
    /// The names that the contract claims, such as `com.todo.<domain>.<action>.v<N>`.
    pub types: Option<Text>,
    /// The payload's place of the type, for dialects whose envelope does not tell.
    pub type_at: Option<Text>,
    #[serde(default)]
    pub strict: bool,
    /// Canonical places; source and id when left out.
    pub identity: Option<Vec<Text>>,
    #[serde(default)]
    pub subject: Vec<Text>,
    pub retry: Vec<Text>,
    pub dead_letter: Text,
    #[serde(default)]
    pub envelope: Envelope,
    #[serde(default)]
    pub stores: Stores,
    #[serde(rename = "topic")]
    pub topics: Vec<Topic>,
    #[serde(rename = "event")]
    pub events: Vec<Event>,
    #[serde(rename = "job", default)]
    pub jobs: Vec<Job>,
    #[serde(rename = "binding", default)]
    pub bindings: Vec<Binding>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    pub schema: Option<Text>,
    /// Whether a payload may come without an envelope.
    #[serde(default)]
    pub bare: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stores {
    #[serde(default)]
    pub state: Vec<Text>,
    #[serde(default)]
    pub secrets: Vec<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    pub name: Text,
    pub path: Text,
    #[serde(default = "usual_bulk")]
    pub bulk: Spanned<Bulk>,
    #[serde(default)]
    pub raw: bool,
    pub retention: Text,
    #[serde(default = "one")]
    pub partitions: u32,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "bulk must be true, false or { max = 100, await = \"250ms\" }")]
pub enum Bulk {
    Simple(bool),
    Full(BulkLimits),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BulkLimits {
    pub max: u32,
    #[serde(rename = "await")]
    pub await_: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    #[serde(rename = "type")]
    pub ty: Text,
    pub topic: Option<Text>,
    pub consumers: Vec<Text>,
    pub schema: Option<Text>,
    /// The envelope's type where it is not the canonical one.
    pub wire_type: Option<String>,
    #[serde(default)]
    pub when: BTreeMap<Text, Value>,
    pub version: Option<Version>,
    pub fields: Option<Spanned<Vec<Spanned<Field>>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    pub wire: Text,
    pub is: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// A place in the payload.
    pub wire: Option<Text>,
    /// An attribute of the CloudEvent, instead of `wire`.
    pub envelope: Option<Text>,
    pub canonical: Option<Text>,
    #[serde(rename = "as")]
    pub cast: Option<Cast>,
    pub zone: Option<Text>,
    #[serde(default)]
    pub or: Vec<Text>,
    pub default: Option<Value>,
    #[serde(rename = "const")]
    pub constant: Option<Value>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cast {
    Integer,
    String,
    Time,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    pub name: String,
    pub path: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    pub name: Text,
    pub period: Option<Text>,
}

fn usual_bulk() -> Spanned<Bulk> {
    Spanned::new(0..0, Bulk::Simple(true))
}

fn one() -> u32 {
    1
}
