//! What ran when: which version of a component, since when and why.

use std::str::FromStr;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::name::ComponentId;

/// A version of a component that is about to run.
#[derive(Debug, Clone)]
pub struct NewRelease {
    pub component: ComponentId,
    pub digest: String,
    /// As its manifest says.
    pub version: String,
    /// Manifest, wasm and migrations, as a tar.
    pub bundle: Vec<u8>,
    pub at: Timestamp,
    pub why: Why,
}

/// A version of a component that runs, or ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Release {
    pub digest: String,
    pub version: String,
    pub at: Timestamp,
    pub why: Why,
}

/// What made it the running one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// The host started with it.
    Start,
    /// `wharf dev` built it from changed sources.
    Build,
}

impl Why {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Build => "build",
        }
    }
}

impl FromStr for Why {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Start, Self::Build]
            .into_iter()
            .find(|why| why.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no reason for a release"))
    }
}
