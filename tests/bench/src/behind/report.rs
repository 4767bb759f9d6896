//! What was measured behind daprd, as tables in Markdown.

use std::path::Path;
use std::time::Duration;

use wharf_test_real::{parts, say};

use super::round::Round;
use super::{AWAIT, Cell, PACE, budget};
use crate::contestant::{Kind, pairs};
use crate::machine::{load, machine};
use crate::postgres::Server;
use crate::spread::Spread;
use crate::text::{median, millis, table, thousands};

/// What one contestant did in one cell, round by round.
pub struct Measured {
    pub kind: Kind,
    pub cell: Cell,
    pub rounds: Vec<Round>,
}

/// Of lone events.
pub struct Latencies {
    pub kind: Kind,
    pub cell: Cell,
    pub sorted: Vec<Duration>,
}

pub struct Report {
    machine: String,
    server: String,
    left_out: Vec<String>,
    measured: Vec<Measured>,
    pub latencies: Vec<Latencies>,
    events: u64,
    took: Duration,
}

impl Report {
    /// `place` is where the databases are.
    pub fn new(place: &Path, server: &Server) -> Self {
        Self {
            machine: machine(place),
            server: format!("PostgreSQL {}, fsync on", server.version()),
            left_out: Vec::new(),
            measured: Vec::new(),
            latencies: Vec::new(),
            events: 0,
            took: Duration::ZERO,
        }
    }

    /// Never in silence: once now, and once in the result.
    pub fn leave_out(&mut self, who: &str, why: &anyhow::Error) {
        say::note(format!("leaving out {who}: {why:#}"));
        self.left_out.push(format!("{who}: {why:#}"));
    }

    /// A further round.
    pub fn took(&mut self, kind: Kind, cell: Cell, round: Round) {
        match self.measured.iter_mut().find(|one| (one.kind, one.cell) == (kind, cell)) {
            Some(one) => one.rounds.push(round),
            None => self.measured.push(Measured { kind, cell, rounds: vec![round] }),
        }
    }

    /// Everyone has had all events, each once.
    pub fn ended(&mut self, events: u64, took: Duration) {
        self.events = events;
        self.took = took;
    }

    pub fn print(&self) {
        let mut text = Vec::new();
        self.head(&mut text);
        self.rates(&mut text);
        self.costs(&mut text);
        self.latencies(&mut text);
        let budgets = budget::all(self);
        if !budgets.is_empty() {
            text.push("\n## Budgets\n".to_owned());
            let rows = budgets.into_iter().map(|budget| budget.row());
            table(&mut text, &["budget", "behind daprd", ""].map(str::to_owned), rows);
        }
        say::result(text.join("\n"));
    }

    fn head(&self, text: &mut Vec<String>) {
        let rounds = self.measured.iter().map(|one| one.rounds.len()).max().unwrap_or_default();
        let [dapr, kafka] = parts::VERSIONS;
        text.push(format!(
            "{}; load {} at the end. {}; {dapr}, {kafka}. Bulks of up to 100, awaited for {} ms. \
             Rounds: {rounds}, medians are shown; it took {:.0} s.",
            self.machine,
            load(),
            self.server,
            AWAIT.as_millis(),
            self.took.as_secs_f64()
        ));
        text.extend(self.spread().warning());
        text.push(format!(
            "{} events were published, and each has one row of everyone's.",
            thousands(self.events as f64)
        ));
        text.extend(self.left_out.iter().map(|who| format!("Left out: {who}")));
    }

    fn rates(&self, text: &mut Vec<String>) {
        let cells = self.cells();
        let pairs = pairs(&self.kinds());
        if !pairs.is_empty() {
            text.push("\n## Ratios behind daprd\n".to_owned());
            text.push(
                "Events per second, divided by those of the other: above 1 is faster.\n".into(),
            );
            let rows = pairs.iter().map(|(one, other)| {
                row(format!("{} / {}", one.name(), other.name()), &cells, |cell| {
                    Some(format!("{:.2}×", self.ratio((*one, cell), (*other, cell))?))
                })
            });
            table(text, &heads(&cells), rows);
        }
        text.push("\n## Events per second behind daprd\n".to_owned());
        self.each(text, |one| Some(thousands(one.median(|round| Some(round.rate))?)));
        text.push(format!("\n{}", self.spread().line()));
    }

    fn costs(&self, text: &mut Vec<String>) {
        text.push("\n## Processor time behind daprd, µs for each event\n".to_owned());
        text.push(
            "The contestant's + the database server's + daprd's + the broker's.\n".to_owned(),
        );
        self.each(text, |one| {
            let used = [0, 1, 2, 3].map(|who| {
                let used = one.median(|round| round.used.get(who).copied().flatten());
                used.map_or_else(|| "–".to_owned(), |used| format!("{used:.0}"))
            });
            Some(used.join(" + "))
        });
        text.push("\n## Events in a callback\n".to_owned());
        self.each(text, |one| Some(format!("{:.1}", one.median(|round| Some(round.in_callback))?)));
    }

    fn latencies(&self, text: &mut Vec<String>) {
        let mut cells: Vec<Cell> = Vec::new();
        for one in &self.latencies {
            if !cells.contains(&one.cell) {
                cells.push(one.cell);
            }
        }
        if cells.is_empty() {
            return;
        }
        text.push("\n## Milliseconds from publishing to the row: p50 / p99\n".to_owned());
        text.push(format!("A lone event every {} ms on average.\n", PACE.as_millis()));
        let rows = self.kinds().into_iter().map(|kind| {
            row(kind.name().to_owned(), &cells, |cell| {
                let (p50, p99) = (self.latency(kind, cell, 50)?, self.latency(kind, cell, 99)?);
                Some(format!("{} / {}", millis(p50), millis(p99)))
            })
        });
        table(text, &heads(&cells), rows);
    }

    /// A table with a row for everyone.
    fn each(&self, text: &mut Vec<String>, cell: impl Fn(&Measured) -> Option<String>) {
        let cells = self.cells();
        let rows = self
            .kinds()
            .into_iter()
            .map(|kind| row(kind.name().to_owned(), &cells, |at| cell(self.of(kind, at)?)));
        table(text, &heads(&cells), rows);
    }

    fn latency(&self, kind: Kind, cell: Cell, percent: usize) -> Option<Duration> {
        let mut of = self.latencies.iter();
        let sorted = &of.find(|one| (one.kind, one.cell) == (kind, cell))?.sorted;
        sorted.get(sorted.len() * percent / 100).copied()
    }

    /// Singly first, each by partitions.
    fn cells(&self) -> Vec<Cell> {
        let mut cells: Vec<Cell> = Vec::new();
        for one in &self.measured {
            if !cells.contains(&one.cell) {
                cells.push(one.cell);
            }
        }
        cells.sort_by_key(|cell| (cell.way.name() == "bulk", cell.partitions));
        cells
    }

    fn kinds(&self) -> Vec<Kind> {
        let kinds = <Kind as clap::ValueEnum>::value_variants().iter().copied();
        kinds.filter(|kind| self.measured.iter().any(|one| one.kind == *kind)).collect()
    }

    fn spread(&self) -> Spread {
        let rates = |one: &Measured| one.rounds.iter().map(|round| round.rate).collect();
        Spread::of(self.measured.iter().map(rates))
    }

    fn of(&self, kind: Kind, cell: Cell) -> Option<&Measured> {
        self.measured.iter().find(|one| (one.kind, one.cell) == (kind, cell))
    }

    /// The median of the ratios of each round.
    pub fn ratio(&self, one: (Kind, Cell), other: (Kind, Cell)) -> Option<f64> {
        let (one, other) = (self.of(one.0, one.1)?, self.of(other.0, other.1)?);
        let rounds = one.rounds.iter().zip(&other.rounds);
        median(rounds.map(|(one, other)| one.rate / other.rate).collect())
    }
}

impl Measured {
    fn median(&self, value: impl Fn(&Round) -> Option<f64>) -> Option<f64> {
        median(self.rounds.iter().filter_map(value).collect())
    }
}

fn heads(cells: &[Cell]) -> Vec<String> {
    std::iter::once(String::new()).chain(cells.iter().map(|cell| cell.name())).collect()
}

fn row(first: String, cells: &[Cell], value: impl Fn(Cell) -> Option<String>) -> Vec<String> {
    let cells = cells.iter().map(|cell| value(*cell).unwrap_or_else(|| "–".to_owned()));
    std::iter::once(first).chain(cells).collect()
}
