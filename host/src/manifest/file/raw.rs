//! The keys of `component.toml`, as written. Every value carries its place.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use crate::manifest::{Access, Build, Order};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawManifest {
    pub name: Spanned<String>,
    pub version: Spanned<String>,
    #[serde(default)]
    pub description: String,
    pub migrations: Option<Vec<Spanned<PathBuf>>>,
    #[serde(default)]
    pub order: Order,
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    pub build: Option<Build>,
    #[serde(default)]
    pub on: Vec<Spanned<RawWant>>,
    #[serde(default)]
    pub grants: RawGrants,
    #[serde(default)]
    pub sql: BTreeMap<Spanned<String>, Spanned<RawStatement>>,
    #[serde(default)]
    pub limits: RawLimits,
    #[serde(default)]
    pub recording: RawRecording,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawWant {
    pub event: Option<Spanned<String>>,
    pub job: Option<Spanned<String>>,
    pub binding: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct RawGrants {
    #[serde(default)]
    pub publish: Vec<Spanned<String>>,
    #[serde(default)]
    pub tables: BTreeMap<Spanned<String>, Access>,
    #[serde(default)]
    pub state: Vec<Spanned<String>>,
    #[serde(default)]
    pub secrets: BTreeMap<Spanned<String>, Vec<Spanned<String>>>,
    #[serde(default)]
    pub jobs: Vec<Spanned<String>>,
    #[serde(default)]
    pub bindings: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawStatement {
    pub execute: Option<RawSqlText>,
    pub query: Option<RawSqlText>,
    #[serde(default)]
    pub many: bool,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected SQL text, or { postgres = \"…\", sqlite = \"…\" }")]
pub enum RawSqlText {
    Any(Arc<str>),
    Each(EachDatabase),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EachDatabase {
    pub postgres: Option<Arc<str>>,
    pub sqlite: Option<Arc<str>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct RawLimits {
    pub time: Option<Spanned<String>>,
    pub memory: Option<Spanned<String>>,
    pub fuel: Option<Spanned<u64>>,
    pub effects: Option<Spanned<u32>>,
    pub output: Option<Spanned<String>>,
    pub concurrency: Option<Spanned<u32>>,
    pub max_parked: Option<Spanned<u64>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct RawRecording {
    pub enabled: Option<bool>,
    #[serde(default)]
    pub redact: Vec<Spanned<String>>,
}
