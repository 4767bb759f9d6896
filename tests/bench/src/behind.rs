//! The same contestants behind the real thing: each beside a daprd of its own, that takes events from
//! one Kafka broker. One at a time has a sidecar that runs; it is measured by the rows that come.

mod budget;
mod latency;
mod pair;
mod report;
mod round;
mod site;

use std::time::{Duration, Instant};

use anyhow::bail;
use clap::{Args, ValueEnum};
use wharf_test_real::parts::{self, Part};
use wharf_test_real::{Yard, say};

use crate::contestant::{Database, Kind, Surroundings};
use crate::postgres::Server;
use crate::prepare::Built;
use pair::Pair;
use report::{Latencies, Report};
use site::Site;

/// Measure the same behind the real daprd and Kafka, by the rows in PostgreSQL
///
/// Starts a broker, a PostgreSQL, and everyone with a daprd of their own, on 127.0.0.1. A topic is
/// filled, then everyone in turn gets all of it. It fails when an event has not exactly one row. What
/// daprd and Kafka need is built or fetched the first time, as for `cargo e2e`.
#[derive(Args)]
#[command(after_help = "Examples:
  cargo bench-whole behind-dapr                      everything: 15 to 20 minutes after building
  cargo bench-whole behind-dapr --quick              does it all work? The figures say little
  cargo bench-whole behind-dapr --quick --only wharf --partitions 3 --ways bulk
  cargo bench-whole behind-dapr --partitions 8 --only wharf,native-inbox,native-outbox --rounds 9")]
pub struct Arguments {
    /// One round of few events
    #[arg(long)]
    quick: bool,
    /// Who takes part
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME,…")]
    only: Vec<Kind>,
    /// How many partitions the topic has; a broker is started for each
    #[arg(long, value_delimiter = ',', value_name = "N,…", default_value = "1,3,8")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=64))]
    partitions: Vec<u16>,
    /// How daprd delivers
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WAY,…")]
    #[arg(default_value = "single,bulk")]
    ways: Vec<Way>,
    /// How often everyone gets a topic's events in each way; 1 to 20
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20), default_value_t = 3)]
    rounds: u32,
    /// So many times the events of a turn; 0.1 to 20
    #[arg(long, value_parser = scale, value_name = "FACTOR", default_value = "1")]
    scale: f64,
    /// Leave out the latency of lone events
    #[arg(long)]
    no_latency: bool,
    /// Use what was built before
    #[arg(long)]
    no_build: bool,
    /// Leave the folder with the logs of everything
    #[arg(long)]
    keep: bool,
}

/// How long daprd waits for a bulk to be full: as the contracts that come with Wharf have it.
pub const AWAIT: Duration = Duration::from_millis(250);
/// Between lone events, on average.
pub const PACE: Duration = Duration::from_millis(40);

/// How daprd delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// One event in a callback
    Single,
    /// Up to 100 events in a callback
    Bulk,
}

/// What everyone is measured with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    pub partitions: u16,
    pub way: Way,
}

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Bulk => "bulk",
        }
    }
}

impl Cell {
    /// As the tables call it.
    pub fn name(self) -> String {
        let plural = if self.partitions == 1 { "" } else { "s" };
        format!("{} partition{plural}, {}", self.partitions, self.way.name())
    }

    /// A turn's events: a few seconds of most contestants. Singly, more partitions take more at once.
    fn events(self) -> f64 {
        match self.way {
            Way::Single => 1_200.0 + 800.0 * f64::from(self.partitions),
            Way::Bulk => 20_000.0,
        }
    }
}

fn scale(text: &str) -> Result<f64, String> {
    let scale = text.parse::<f64>().map_err(|error| error.to_string())?;
    match (0.1..=20.0).contains(&scale) {
        true => Ok(scale),
        false => Err(format!("{scale} is not between 0.1 and 20")),
    }
}

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    parts::ready(&[Part::Dapr, Part::Kafka, Part::Postgres])?;
    let built = Built::build(!arguments.no_build).await?;
    let yard = Yard::new("behind")?;
    let measured = Box::pin(measure(arguments, &built, &yard)).await;
    if arguments.keep || measured.is_err() {
        say::note(format!("the logs of everything are in {}", yard.keep().display()));
    }
    measured?.print();
    Ok(())
}

async fn measure(arguments: &Arguments, built: &Built, yard: &Yard) -> anyhow::Result<Report> {
    let server = Server::start().await?;
    let place = yard.folder("contestants")?;
    let mut report = Report::new(&place, &server);
    let around = Surroundings { built, server: Some(&server), place: &place };
    let mut pairs = start(arguments, &around, yard, &mut report).await;
    if pairs.is_empty() {
        bail!("nobody can take part");
    }
    let began = Instant::now();
    let mut next = 0;
    for partitions in &arguments.partitions {
        say::note(format!("starting Kafka for topics of {partitions}"));
        let site = Site::start(*partitions, next).await?;
        let mut play = Play { arguments, site, server: &server, report: &mut report };
        let played = play.all(&mut pairs).await;
        if arguments.keep || played.is_err() {
            say::note(format!("the broker's logs are in {}", play.site.keep().display()));
        }
        played?;
        next = play.site.published().end;
    }
    for pair in pairs {
        pair.end(next).await?;
    }
    report.ended(next, began.elapsed());
    Ok(report)
}

async fn start(
    arguments: &Arguments,
    around: &Surroundings<'_>,
    yard: &Yard,
    report: &mut Report,
) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for kind in arguments.wanted() {
        say::note(format!("starting {} and its daprd", kind.name()));
        match Pair::start(kind, around, yard).await {
            Ok(pair) => pairs.push(pair),
            Err(error) => report.leave_out(kind.name(), &error),
        }
    }
    pairs
}

impl Arguments {
    fn wanted(&self) -> Vec<Kind> {
        let kinds = match self.only.is_empty() {
            true => Kind::value_variants(),
            false => &self.only,
        };
        kinds.iter().copied().filter(|kind| kind.runs_on(Database::Postgres)).collect()
    }

    fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds as usize }
    }

    fn events(&self, cell: Cell) -> u64 {
        let scale = if self.quick { 0.1 } else { self.scale };
        (cell.events() * scale) as u64
    }

    /// Lone events, of which the first few do not count.
    fn lone(&self) -> u64 {
        if self.quick { 30 } else { 220 }
    }
}

/// With one broker.
struct Play<'a> {
    arguments: &'a Arguments,
    site: Site,
    server: &'a Server,
    report: &'a mut Report,
}

impl Play<'_> {
    async fn all(&mut self, pairs: &mut [Pair]) -> anyhow::Result<()> {
        self.rounds(pairs).await?;
        // Where the most can happen at once.
        let most = self.arguments.partitions.iter().max();
        if self.arguments.no_latency || Some(&self.site.partitions) != most {
            return Ok(());
        }
        self.latencies(pairs).await?;
        for pair in pairs {
            pair.open(&self.site, Way::Bulk).await?;
            pair.has(&self.site.published()).await?;
            pair.close().await?;
        }
        Ok(())
    }

    /// In a round everyone has a turn with each way; nobody is always the one after the same other.
    async fn rounds(&mut self, pairs: &mut [Pair]) -> anyhow::Result<()> {
        let (rounds, count) = (self.arguments.rounds(), pairs.len());
        for round in 0..rounds {
            for (index, way) in self.arguments.ways.iter().enumerate() {
                let cell = Cell { partitions: self.site.partitions, way: *way };
                let events = self.site.fill(self.arguments.events(cell)).await?;
                for turn in 0..count {
                    let Some(pair) = pairs.get_mut((turn + round + index) % count) else {
                        continue;
                    };
                    let kind = pair.contestant.kind;
                    let taken = pair.turn(&self.site, self.server, *way, events.clone()).await?;
                    say::note(format!(
                        "round {} of {rounds}, {}: {}: {:.0} events/s",
                        round + 1,
                        cell.name(),
                        kind.name(),
                        taken.rate,
                    ));
                    self.report.took(kind, cell, taken);
                }
            }
        }
        Ok(())
    }

    async fn latencies(&mut self, pairs: &mut [Pair]) -> anyhow::Result<()> {
        for way in &self.arguments.ways {
            let cell = Cell { partitions: self.site.partitions, way: *way };
            for pair in &mut *pairs {
                let kind = pair.contestant.kind;
                say::note(format!("lone events, {}: {}", cell.name(), kind.name()));
                let sorted = latency::of(pair, &mut self.site, *way, self.arguments.lone()).await?;
                self.report.latencies.push(Latencies { kind, cell, sorted });
            }
        }
        Ok(())
    }
}
