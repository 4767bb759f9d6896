//! The one place that prints: results on stdout, progress on stderr.

use std::fmt::Display;
use std::io::{Write as _, stderr, stdout};

/// A part of the result.
pub fn result(text: impl Display) {
    // A reader that went away wants no more.
    _ = writeln!(stdout(), "{text}");
}

/// What is being done.
pub fn note(text: impl Display) {
    _ = writeln!(stderr(), "{text}");
}
