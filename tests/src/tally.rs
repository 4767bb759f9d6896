//! What the suites of faults print: one row for each fault, with how often it was injected and
//! what was found of each promise. tests/README.md says how to see them.

#![expect(clippy::print_stdout, reason = "a suite's result is what it prints")]

/// What every suite asks after its faults. The order of the table's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// Each event is decided once by each component, as it should be; none is lost.
    Decided,
    /// Rows and counters are exact.
    Sql,
    /// Each publish, call, job, state write and dead letter is seen, always with the same id.
    Effects,
    /// Nothing is seen of an attempt that did not commit.
    Uncommitted,
    /// Within a subject and a lane nothing overtakes.
    Order,
    /// Nothing is left over when the fault is gone.
    GoesOn,
}

impl Promise {
    pub const ALL: [Self; 6] =
        [Self::Decided, Self::Sql, Self::Effects, Self::Uncommitted, Self::Order, Self::GoesOn];

    /// The heading of its column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decided => "decided once",
            Self::Sql => "SQL exact",
            Self::Effects => "effects seen, same id",
            Self::Uncommitted => "nothing uncommitted",
            Self::Order => "order",
            Self::GoesOn => "goes on by itself",
        }
    }
}

/// Faults that came together, and what was found.
pub struct Tally {
    suite: String,
    faults: Vec<(String, usize)>,
    findings: Vec<Finding>,
}

struct Finding {
    promise: Promise,
    checked: usize,
    broken: Vec<String>,
}

impl Tally {
    /// `suite` says what was tested, such as `kill, SQLite`.
    pub fn new(suite: impl Into<String>) -> Self {
        Self { suite: suite.into(), faults: Vec::new(), findings: Vec::new() }
    }

    /// A fault that came so many times; one that never came is a test that tests nothing.
    pub fn injected(&mut self, fault: impl Into<String>, times: usize) {
        self.faults.push((fault.into(), times));
    }

    /// How many things were looked at, and those that break the promise.
    pub fn found(&mut self, promise: Promise, checked: usize, broken: Vec<String>) {
        self.findings.push(Finding { promise, checked, broken });
    }

    /// The promises that are broken.
    pub fn broken(&self) -> Vec<Promise> {
        let broken = self.findings.iter().filter(|found| !found.broken.is_empty());
        broken.map(|found| found.promise).collect()
    }

    /// Prints a row for each fault, then fails if a promise is broken or a fault never came.
    #[track_caller]
    pub fn finish(self) {
        let cells: Vec<_> = Promise::ALL.into_iter().map(|promise| self.cell(promise)).collect();
        for (fault, times) in &self.faults {
            println!("| {} | {fault} | {times} | {} |", self.suite, cells.join(" | "));
        }
        let idle: Vec<_> = self.faults.iter().filter(|(_, times)| *times == 0).collect();
        assert!(idle.is_empty(), "{}: these never came: {idle:?}", self.suite);
        let broken: Vec<_> =
            self.findings.iter().filter(|found| !found.broken.is_empty()).collect();
        let told = broken.iter().map(|found| {
            let (name, broken) = (found.promise.name(), &found.broken);
            let shown = broken.iter().take(20).cloned().collect::<Vec<_>>().join("\n    ");
            format!("\n  {name}: {} broken:\n    {shown}", broken.len())
        });
        assert!(broken.is_empty(), "{}:{}", self.suite, told.collect::<String>());
    }

    /// `312 kept`, `2 of 312 broken`, or `–` for what the suite does not look at.
    fn cell(&self, promise: Promise) -> String {
        let found: Vec<_> = self.findings.iter().filter(|one| one.promise == promise).collect();
        let checked: usize = found.iter().map(|one| one.checked).sum();
        match found.iter().map(|one| one.broken.len()).sum::<usize>() {
            _ if found.is_empty() => "–".to_owned(),
            0 => format!("{checked} kept"),
            broken => format!("{broken} of {checked} broken"),
        }
    }
}
