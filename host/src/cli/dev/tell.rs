//! What is said of components whose files changed, and in which words.

use std::time::Duration;

use crate::app::App;
use crate::catalog::swap::Report;
use crate::cli::print;
use crate::name::ComponentId;

/// How much of a compiler's output is kept as a reason, in bytes: its end.
const REASON: usize = 16 << 10;

/// What a swap changed.
pub fn swapped(report: &Report, done: &str) {
    let (name, to) = (&report.component, short(&report.to));
    print::note(match &report.from {
        Some(from) => format!("{name}: {done}, swapped to {to} (was {})", short(from)),
        None => format!("{name}: {done}, runs as {to}"),
    });
    if !report.wider.is_empty() {
        print::note(format!("{name}: grants wider: {}", report.wider.join(", ")));
    }
    for what in &report.later {
        print::note(format!("{name}: {what}"));
    }
    if !report.applied.is_empty() {
        print::note(format!("{name}: migrations applied: {}", report.applied.join(", ")));
    }
}

/// How it came to an offer.
pub fn done(built: bool, took: Duration) -> String {
    match built {
        true => format!("rebuilt in {:.1} s", took.as_secs_f64()),
        false => "read again".to_owned(),
    }
}

/// What a refusal leaves as it was.
pub fn runs_on(app: &App, name: &ComponentId) -> String {
    running(app, name).map_or_else(String::new, |digest| format!(", {digest} runs on"))
}

/// The version that runs.
pub fn running(app: &App, name: &ComponentId) -> Option<String> {
    app.registry.snapshot().component(name).map(|component| short(component.digest()))
}

/// Enough of a digest to tell versions apart.
fn short(digest: &str) -> String {
    let start: String = digest.chars().take(8).collect();
    format!("{start}…")
}

/// A compiler says what is wrong at last.
pub fn end_of(reason: &str) -> &str {
    let start = reason.len().saturating_sub(REASON);
    let start = (start..reason.len()).find(|at| reason.is_char_boundary(*at));
    start.and_then(|start| reason.get(start..)).unwrap_or_default()
}
