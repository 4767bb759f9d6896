//! What was measured, as tables in Markdown.

use std::path::Path;
use std::time::Duration;

use crate::budget;
use crate::contestant::{Database, Kind, pairs};
use crate::driven::Driven;
use crate::load::Shape;
use crate::machine::{load, machine};
use crate::parts::Parts;
use crate::postgres::Server;
use crate::rounds::{Measured, Round};
use crate::spread::Spread;
use crate::text::{median, millis, table, thousands};
use wharf_test_real::say;

pub struct Report {
    machine: String,
    server: Option<String>,
    left_out: Vec<String>,
    verified: Vec<Verified>,
    pub measured: Vec<Measured>,
    pub parts: Vec<(Kind, Database, Parts)>,
}

struct Verified {
    kind: Kind,
    database: Database,
    acknowledged: u64,
    refused: u64,
}

impl Report {
    /// `place` is where the databases are.
    pub fn new(place: &Path) -> Self {
        Self {
            machine: machine(place),
            server: None,
            left_out: Vec::new(),
            verified: Vec::new(),
            measured: Vec::new(),
            parts: Vec::new(),
        }
    }

    pub fn server(&mut self, server: &Server) {
        self.server = Some(format!("PostgreSQL {}, fsync on", server.version()));
    }

    /// Never in silence: once now, and once in the result.
    pub fn leave_out(&mut self, who: &str, why: &anyhow::Error) {
        say::note(format!("leaving out {who}: {why:#}"));
        self.left_out.push(format!("{who}: {why:#}"));
    }

    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    pub fn verified(&mut self, driven: &Driven, refused: u64) {
        let (kind, database) = (driven.contestant.kind, driven.contestant.database);
        let acknowledged = driven.acknowledged();
        self.verified.push(Verified { kind, database, acknowledged, refused });
    }

    /// The Wharfs that took part.
    pub fn wharfs(&self) -> Vec<(Kind, Database)> {
        let wharfs = self.verified.iter().filter(|one| one.kind.is_wharf());
        wharfs.map(|one| (one.kind, one.database)).collect()
    }

    pub fn print(&self, took: Duration) {
        let mut text = Vec::new();
        self.head(&mut text, took);
        for database in [Database::Postgres, Database::Sqlite] {
            self.database(&mut text, database);
        }
        self.parts(&mut text);
        let budgets = budget::all(self);
        if !budgets.is_empty() {
            text.push("\n## Budgets\n".to_owned());
            let rows = budgets.into_iter().map(|budget| budget.row());
            table(&mut text, &["budget", "called directly", ""].map(str::to_owned), rows);
        }
        say::result(text.join("\n"));
    }

    fn head(&self, text: &mut Vec<String>, took: Duration) {
        let server = self.server.as_deref().unwrap_or("no PostgreSQL");
        let rounds = self.measured.iter().map(|one| one.rounds.len()).max().unwrap_or_default();
        text.push(format!(
            "{}; load {} at the end. {server}. Rounds: {rounds}, medians are shown; it took {:.0} s.",
            self.machine,
            load(),
            took.as_secs_f64()
        ));
        text.extend(Spread::of(self.measured.iter().map(Measured::rates)).warning());
        let acknowledged: u64 = self.verified.iter().map(|one| one.acknowledged).sum();
        text.push(format!(
            "{} events were acknowledged, and each has its row.",
            thousands(acknowledged as f64)
        ));
        for Verified { kind, database, acknowledged, refused } in &self.verified {
            if *refused > 0 {
                text.push(format!(
                    "{} on {} refused {refused} events and acknowledged {acknowledged}.",
                    kind.name(),
                    database.name()
                ));
            }
        }
        for who in &self.left_out {
            text.push(format!("Left out: {who}"));
        }
    }

    fn database(&self, text: &mut Vec<String>, database: Database) {
        let (kinds, shapes) = (self.kinds(database), self.shapes());
        if kinds.is_empty() {
            return;
        }
        let name = database.name();
        let columns = |first: &str| {
            let shapes = shapes.iter().map(|shape| shape.name());
            std::iter::once(first.to_owned()).chain(shapes).collect::<Vec<_>>()
        };
        let row = |first: String, cell: &dyn Fn(Shape) -> Option<String>| {
            let cells = shapes.iter().map(|shape| cell(*shape).unwrap_or_else(|| "–".to_owned()));
            std::iter::once(first).chain(cells).collect::<Vec<_>>()
        };
        let pairs = pairs(&kinds);
        if !pairs.is_empty() {
            text.push(format!("\n## Ratios on {name}\n"));
            text.push(
                "Events per second, divided by those of the other: above 1 is faster.\n".into(),
            );
            let rows = pairs.iter().map(|(one, other)| {
                row(format!("{} / {}", one.name(), other.name()), &|shape| {
                    Some(format!("{:.2}×", self.ratio(*one, *other, database, shape)?))
                })
            });
            table(text, &columns(""), rows);
        }
        let each = |cell: &dyn Fn(&Measured) -> Option<String>| {
            let of = |kind: Kind| {
                row(kind.name().to_owned(), &|shape| cell(self.of(kind, database, shape)?))
            };
            kinds.iter().map(|kind| of(*kind)).collect::<Vec<_>>()
        };
        text.push(format!("\n## Events per second on {name}\n"));
        let rates = each(&|one| Some(thousands(one.median(|round| Some(round.rate))?)));
        table(text, &columns(""), rows(rates));
        let of = self.measured.iter().filter(|one| one.database == database);
        text.push(format!("\n{}", Spread::of(of.map(Measured::rates)).line()));
        text.push(format!("\n## Milliseconds to the answer on {name}: p50 / p99\n"));
        let latencies = each(&|one| {
            let (p50, p99) = (one.latency(50)?, one.latency(99)?);
            Some(format!("{} / {}", millis(p50), millis(p99)))
        });
        table(text, &columns(""), rows(latencies));
        text.push(format!("\n## Processor time on {name}, µs for each event\n"));
        if database == Database::Postgres {
            text.push("The contestant's + the database server's.\n".to_owned());
        }
        let times = each(&|one| {
            let host = format!("{:.0}", one.median(|round| round.host)?);
            let server = one.median(|round| round.server).map(|server| format!(" + {server:.0}"));
            Some(host + &server.unwrap_or_default())
        });
        table(text, &columns(""), rows(times));
    }

    fn parts(&self, text: &mut Vec<String>) {
        if self.parts.is_empty() {
            return;
        }
        text.push("\n## Processor time by part, µs for each event\n".to_owned());
        let columns: Vec<_> = self
            .parts
            .iter()
            .flat_map(|(kind, database, parts)| {
                [Shape::Single(32), Shape::Bulk(1)].map(|shape| Column {
                    report: self,
                    kind: *kind,
                    database: *database,
                    shape,
                    parts,
                })
            })
            .collect();
        let heads = columns.iter().map(|column| {
            let (kind, database) = (column.kind.name(), column.database.name());
            format!("{kind}, {database}, {}", column.shape.name())
        });
        let heads: Vec<_> = std::iter::once(String::new()).chain(heads).collect();
        let rows = Column::ROWS.iter().map(|(name, cell)| {
            let cells = columns.iter().map(|column| match cell(column) {
                Some(micros) => format!("{micros:.1}"),
                None => "–".to_owned(),
            });
            std::iter::once((*name).to_owned()).chain(cells).collect()
        });
        table(text, &heads, rows);
    }

    fn kinds(&self, database: Database) -> Vec<Kind> {
        let of = self.verified.iter().filter(|one| one.database == database);
        of.map(|one| one.kind).collect()
    }

    fn shapes(&self) -> Vec<Shape> {
        let mut shapes = Vec::new();
        for one in &self.measured {
            if !shapes.contains(&one.shape) {
                shapes.push(one.shape);
            }
        }
        shapes
    }

    pub fn of(&self, kind: Kind, database: Database, shape: Shape) -> Option<&Measured> {
        self.measured
            .iter()
            .find(|one| one.kind == kind && one.database == database && one.shape == shape)
    }

    pub fn rate(&self, kind: Kind, database: Database, shape: Shape) -> Option<f64> {
        self.of(kind, database, shape)?.median(|round| Some(round.rate))
    }

    /// The median of the ratios of each round.
    pub fn ratio(&self, one: Kind, other: Kind, database: Database, shape: Shape) -> Option<f64> {
        let (one, other) = (self.of(one, database, shape)?, self.of(other, database, shape)?);
        let rounds = one.rounds.iter().zip(&other.rounds);
        median(rounds.map(|(one, other)| one.rate / other.rate).collect())
    }

    pub fn parts_of(&self, wanted: Kind, on: Database) -> Option<&Parts> {
        let mut found =
            self.parts.iter().filter(|(kind, database, _)| (*kind, *database) == (wanted, on));
        found.next().map(|(_, _, parts)| parts)
    }

    /// What remains of a host's time for each event, in µs.
    pub fn rest(&self, kind: Kind, database: Database, shape: Shape) -> Option<f64> {
        let parts = self.parts_of(kind, database)?;
        Column { report: self, kind, database, shape, parts }.rest()
    }
}

impl Measured {
    fn rates(&self) -> Vec<f64> {
        self.rounds.iter().map(|round| round.rate).collect()
    }

    pub fn median(&self, value: impl Fn(&Round) -> Option<f64>) -> Option<f64> {
        median(self.rounds.iter().filter_map(value).collect())
    }

    /// The median over rounds of a percentile.
    pub fn latency(&self, percent: usize) -> Option<Duration> {
        let at = |round: &Round| {
            let index = round.latencies.len() * percent / 100;
            round.latencies.get(index).map(Duration::as_secs_f64)
        };
        self.median(at).map(Duration::from_secs_f64)
    }
}

/// One host's time by part.
struct Column<'a> {
    report: &'a Report,
    kind: Kind,
    database: Database,
    shape: Shape,
    parts: &'a Parts,
}

/// A part's name, and what it takes.
type PartRow = (&'static str, fn(&Column<'_>) -> Option<f64>);

impl Column<'_> {
    const ROWS: [PartRow; 10] = [
        ("parse", |column| Some(column.parse())),
        ("decode and validate", |column| Some(column.parts.decode)),
        ("sandbox", |column| Some(column.parts.sandbox)),
        ("commit", |column| Some(column.commit().host)),
        ("relay", |column| Some(column.parts.relay?.host)),
        ("the rest: HTTP, dispatch, metrics, log", |column| column.rest()),
        ("**the host, whole**", |column| column.whole()?.median(|round| round.host)),
        ("database server: commit", |column| column.commit().server),
        ("database server: relay", |column| column.parts.relay?.server),
        ("**database server, whole**", |column| column.whole()?.median(|round| round.server)),
    ];

    fn parse(&self) -> f64 {
        match self.shape {
            Shape::Single(_) => self.parts.parse.single,
            Shape::Bulk(_) => self.parts.parse.bulk,
        }
    }

    fn commit(&self) -> crate::parts::Cost {
        match self.shape {
            Shape::Single(_) => self.parts.commit.single,
            Shape::Bulk(_) => self.parts.commit.bulk,
        }
    }

    fn whole(&self) -> Option<&Measured> {
        self.report.of(self.kind, self.database, self.shape)
    }

    fn rest(&self) -> Option<f64> {
        let relay = self.parts.relay.map_or(0.0, |relay| relay.host);
        let known =
            self.parse() + self.parts.decode + self.parts.sandbox + self.commit().host + relay;
        Some(self.whole()?.median(|round| round.host)? - known)
    }
}

fn rows(rows: Vec<Vec<String>>) -> impl Iterator<Item = Vec<String>> {
    rows.into_iter()
}
