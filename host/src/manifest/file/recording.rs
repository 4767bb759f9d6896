//! `[recording]`: whether invocations are kept, and what of their events is not. A pointer that
//! could point at nothing is refused: what it was meant to hide would be kept.

use toml::Spanned;

use super::Reader;
use super::raw::RawRecording;
use crate::manifest::Recording;

impl Reader<'_> {
    pub(super) fn recording(&mut self, raw: &RawRecording) -> Recording {
        let redact = raw.redact.iter().filter_map(|pointer| self.redacted(pointer)).collect();
        Recording { enabled: raw.enabled.unwrap_or(true), redact }
    }

    fn redacted(&mut self, raw: &Spanned<String>) -> Option<String> {
        let pointer = raw.get_ref();
        match check(pointer) {
            Ok(()) => Some(pointer.clone()),
            Err(why) => {
                let message = format!("`{pointer}` in `redact` {why}");
                let help = "point into the event's data, such as \"/data/email\"; \
                            or at /id, /source or /subject";
                self.problem(raw.span(), message, help);
                None
            }
        }
    }
}

fn check(pointer: &str) -> Result<(), &'static str> {
    let mut parts = pointer.split('/');
    if parts.next() != Some("") || pointer.is_empty() {
        return Err("does not begin with /");
    }
    // RFC 6901 §3: ~0 stands for ~ and ~1 for /.
    let mut escapes = pointer.split('~').skip(1);
    if !escapes.all(|after| after.starts_with(['0', '1'])) {
        return Err("has a ~ that is not ~0 or ~1");
    }
    match (parts.next(), parts.next()) {
        (Some("data"), _) | (Some("id" | "source" | "subject"), None) => Ok(()),
        _ => Err("points at nothing that can be left out"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::manifest::Manifest;

    fn recording(text: &str) -> Result<Recording, String> {
        let text =
            format!("name = \"a\"\nversion = \"1\"\n[[on]]\nevent = \"x\"\n[recording]\n{text}\n");
        let manifest = Manifest::parse(Path::new("component.toml"), &text);
        let recording = manifest.map(|manifest| manifest.recording);
        recording.map_err(|problems| problems.iter().map(|p| format!("{p}\n")).collect())
    }

    #[test]
    fn everything_is_kept_unless_it_is_said_otherwise() {
        assert_eq!(recording(""), Ok(Recording::default()));
        assert_eq!(recording("enabled = false").map(|recording| recording.enabled), Ok(false));
        let pointers = ["/data/email", "/data", "/data/a~1b/0", "/subject"].map(str::to_owned);
        let read = recording(&format!("redact = {pointers:?}"));
        assert_eq!(read, Ok(Recording { enabled: true, redact: pointers.to_vec() }));
    }

    #[test]
    fn a_pointer_that_hides_nothing_is_refused() {
        for (pointer, says) in [
            ("data/email", "does not begin with /"),
            ("", "does not begin with /"),
            ("/email", "points at nothing"),
            ("/type", "points at nothing"),
            ("/subject/x", "points at nothing"),
            ("/data/a~2b", "a ~ that is not"),
            ("/data/a~", "a ~ that is not"),
        ] {
            let error = recording(&format!("redact = [\"{pointer}\"]")).unwrap_err();
            assert!(error.starts_with("component.toml:6:"), "{pointer}: {error}");
            assert!(error.contains(says), "{pointer}: {error}");
        }
        let error = recording("redacted = []").unwrap_err();
        assert!(error.contains("did you mean `redact`?"), "{error}");
    }
}
