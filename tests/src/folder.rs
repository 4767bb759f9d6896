//! Folders of tests.

#![expect(clippy::panic, reason = "a harness fails its test by panicking")]

use std::fs;
use std::path::Path;

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    copied(from, to).unwrap_or_else(|error| panic!("{} cannot be copied: {error}", from.display()));
}

fn copied(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let from = entry?.path();
        let Some(name) = from.file_name() else { continue };
        if from.is_dir() {
            copied(&from, &to.join(name))?;
        } else {
            fs::copy(&from, to.join(name))?;
        }
    }
    Ok(())
}
