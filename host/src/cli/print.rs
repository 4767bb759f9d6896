//! Everything a command prints goes through here. A reader that goes away (`wharf check | head`)
//! ends no command: what it no longer reads is dropped.

use std::fmt::Display;
use std::io::{Write as _, stderr, stdout};

use miette::{LabeledSpan, NamedSource, Report, Severity};
use serde::Serialize;

use crate::app::StartError;
use crate::problem::Problem;

/// A line of what the command found.
pub fn line(text: impl Display) {
    _ = writeln!(stdout(), "{text}");
}

/// Lines in which every column but the last is as wide as its widest cell.
pub fn columns<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// What the command found, for programs.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?);
    Ok(())
}

/// What the command is doing, on stderr.
pub fn note(text: impl Display) {
    _ = writeln!(stderr(), "{text}");
}

/// Why the command failed.
pub fn error(error: &StartError) {
    match error {
        StartError::Problems(found) => problems(found),
        StartError::Other(error) => note(format_args!("error: {error:#}")),
    }
}

/// Each fault with the lines around it, errors first, then how many there are.
pub fn problems(problems: &[Problem]) {
    let (errors, warnings): (Vec<_>, Vec<_>) =
        problems.iter().partition(|problem| problem.is_error());
    for problem in errors.iter().chain(&warnings) {
        match std::fs::read_to_string(&problem.file) {
            Ok(text) if problem.span.is_some() => {
                note(format_args!("{:?}", pointed(problem, text)))
            }
            _ if problem.is_error() => note(format_args!("error: {problem}\n")),
            _ => note(format_args!("warning: {problem}\n")),
        }
    }
    note(counted(errors.len(), warnings.len()));
}

/// Such as `2 problems, 1 warning`.
pub fn counted(errors: usize, warnings: usize) -> String {
    let problems = match errors {
        0 => "no problems".to_owned(),
        1 => "1 problem".to_owned(),
        errors => format!("{errors} problems"),
    };
    match warnings {
        0 => problems,
        1 => format!("{problems}, 1 warning"),
        warnings => format!("{problems}, {warnings} warnings"),
    }
}

fn pointed(problem: &Problem, text: String) -> Report {
    let span = problem.span.clone().unwrap_or_default();
    let mut diagnostic = miette::MietteDiagnostic::new(problem.message.clone())
        .with_label(LabeledSpan::at(span, "here"));
    if !problem.is_error() {
        diagnostic = diagnostic.with_severity(Severity::Warning);
    }
    if let Some(help) = &problem.help {
        diagnostic = diagnostic.with_help(help.clone());
    }
    let name = problem.file.display().to_string();
    Report::from(diagnostic).with_source_code(NamedSource::new(name, text))
}
