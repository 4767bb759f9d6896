//! A fault in a file that people write: what is wrong, where, and what to do. `wharf check`
//! prints every one of them; loading stops at them.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// One fault in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub file: PathBuf,
    /// Bytes from the start of the file, where the place is known.
    #[serde(skip)]
    pub span: Option<std::ops::Range<usize>>,
    /// Counted from 1, where the place is known.
    pub line: Option<usize>,
    /// Lower case, names the thing.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    pub severity: Severity,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does not work, or loses something.
    #[default]
    Error,
    /// It works, but perhaps not as meant.
    Warning,
}

impl Problem {
    /// A fault of the file as a whole.
    pub fn in_file(file: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        let (file, message) = (file.into(), message.into());
        Self { file, span: None, line: None, message, help: None, severity: Severity::Error }
    }

    /// A fault at a place of a text.
    pub fn at(
        file: impl Into<PathBuf>,
        text: &str,
        span: std::ops::Range<usize>,
        message: impl Into<String>,
    ) -> Self {
        let before = text.as_bytes().iter().take(span.start);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        Self { span: Some(span), line: Some(line), ..Self::in_file(file, message) }
    }

    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    #[must_use]
    pub fn warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// From a TOML error: an unknown key gets the nearest right one as its help.
    pub fn from_toml(file: &Path, text: &str, error: &toml::de::Error) -> Self {
        let message = error.message().lines().collect::<Vec<_>>().join("; ");
        let problem = match error.span() {
            Some(span) => Self::at(file, text, span, &message),
            None => Self::in_file(file, &message),
        };
        match nearest_key(&message) {
            Some(key) => problem.help(format!("did you mean `{key}`?")),
            None => problem,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// serde says ``unknown field `a`, expected one of `b`, `c` ``; the closest of them is worth naming.
fn nearest_key(message: &str) -> Option<&str> {
    let rest = message.split_once("unknown field `")?.1;
    let (unknown, rest) = rest.split_once('`')?;
    nearest(unknown, rest.split('`').skip(1).step_by(2))
}

/// The known name that is most like the given one, if one is much like it: a slip of the pen.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .min()
        .filter(|(distance, known)| *distance <= (known.len().max(name.len()) / 2).min(5))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its errors are of interest")]
    struct Limits {
        memory: Option<String>,
        fuel: Option<u64>,
    }

    #[test]
    fn an_unknown_key_names_its_line_and_the_nearest_right_one() {
        let text = "fuel = 1\nmemmory = \"16MiB\"\n";
        let error = toml::from_str::<Limits>(text).unwrap_err();
        let problem = Problem::from_toml(Path::new("component.toml"), text, &error);
        assert_eq!(problem.line, Some(2));
        assert!(problem.to_string().contains("did you mean `memory`?"), "{problem}");
    }
}
