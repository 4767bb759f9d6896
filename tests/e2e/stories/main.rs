//! `cargo e2e`: Wharf beside real sidecars, a real broker and a real scheduler. Each story has all
//! of these of its own; when it fails, their logs stay.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "stories are tests")]

mod away;
mod between;
mod bulk;
mod capabilities;
mod command_line;
mod conformance;
mod flows;
mod host;
mod ingress;
mod list;
mod outside;
mod parts;
mod poison;
mod project;
mod replicas;
mod report;
mod restarts;
mod run;
mod sdks;
mod shipped;
mod stage;
mod weather;

use std::process::ExitCode;

use clap::Parser;
use wharf_test_real::{parts as needed, say};

/// Run stories with the real parts: daprd, scheduler, Kafka, PostgreSQL, Redis
///
/// The first time they are fetched and built, which takes minutes; they are kept in
/// ~/.cache/wharf/parts (WHARF_PARTS names another folder).
#[derive(Parser)]
#[command(name = "cargo e2e", bin_name = "cargo e2e")]
pub struct Arguments {
    /// Only stories whose name holds one of these
    filter: Vec<String>,
    /// Say which there are
    #[arg(long)]
    list: bool,
    /// How many run at the same time
    #[arg(long, value_name = "N", default_value_t = 1)]
    at_once: usize,
    /// Leave the folders of stories that are through, too
    #[arg(long)]
    keep: bool,
    /// Only build what they need
    #[arg(long)]
    prepare: bool,
    /// Do not build the host: it is there, as `wharf-e2e-host` beside this program
    #[arg(long)]
    no_build: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let wanted = |name: &str| {
        arguments.filter.is_empty() || arguments.filter.iter().any(|part| name.contains(part))
    };
    let stories: Vec<_> = list::STORIES.iter().filter(|story| wanted(story.name)).collect();
    if arguments.list {
        stories.iter().for_each(|story| say::result(format!("{:24} {}", story.name, story.tells)));
        return ExitCode::SUCCESS;
    }
    if stories.is_empty() {
        say::note("no story has such a name; `cargo e2e --list` says which there are");
        return ExitCode::FAILURE;
    }
    let mut wanted = Vec::new();
    for part in stories.iter().flat_map(|story| story.needs) {
        if !wanted.contains(part) {
            wanted.push(*part);
        }
    }
    let build = if arguments.no_build { || Ok(()) } else { host::build };
    let ready = needed::ready(&wanted).and_then(|()| build());
    if let Err(error) = ready {
        say::note(format!("cargo e2e: {error:#}"));
        return ExitCode::FAILURE;
    }
    if arguments.prepare {
        return ExitCode::SUCCESS;
    }
    match run::all(&stories, &arguments) {
        Ok(told) => report::print(&told),
        Err(error) => {
            say::note(format!("cargo e2e: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
