//! What is printed when all are through: the table of tests/README.md, and what failed.

use std::process::ExitCode;
use std::time::Duration;

use wharf_test_real::say;

use crate::run::Told;

pub fn print(told: &[Told]) -> ExitCode {
    let whole: Duration = told.iter().map(|one| one.took).sum();
    say::result("| story | shows | seconds |\n| --- | --- | --- |");
    for Told { story, took, fault } in told {
        let seconds = match fault {
            None => format!("{:.0}", took.as_secs_f64()),
            Some(_) => "FAILED".to_owned(),
        };
        say::result(format!("| {} | {} | {seconds} |", story.name, story.tells));
    }
    let failed: Vec<_> = told.iter().filter(|one| one.fault.is_some()).collect();
    let names: Vec<_> = failed.iter().map(|one| one.story.name).collect();
    let (through, many) = (told.len() - failed.len(), told.len());
    say::note(format!("{through} of {many} stories are through, {:.0} s", whole.as_secs_f64()));
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    say::note(format!("failed: {}", names.join(", ")));
    ExitCode::FAILURE
}
