//! Measures Wharf as a whole beside consumers written by hand, in one run on one machine, and prints
//! tables of ratios. tests/bench/README.md says what is measured and how.

mod behind;
mod budget;
mod contestant;
mod driven;
mod load;
mod machine;
mod parts;
mod postgres;
mod prepare;
mod report;
mod rounds;
mod spread;
mod text;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use wharf_test_real::say;

use contestant::{Database, Kind, Surroundings};
use driven::Driven;
use load::Shape;
use postgres::Server;
use prepare::Built;
use report::Report;
use rounds::Plan;

/// Measure Wharf beside consumers written by hand, and print tables of ratios
///
/// Builds what it needs, starts everything on 127.0.0.1 with a PostgreSQL of its own, and stops it
/// all. Who cannot take part is named, with the reason. It fails when anyone has lost an event.
#[derive(Parser)]
#[command(name = "cargo bench-whole", bin_name = "cargo bench-whole")]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  cargo bench-whole                                  everything called directly: about 6 minutes
                                                     after building
  cargo bench-whole behind-dapr                      everything behind daprd and Kafka
  cargo bench-whole --quick                          does it all work? The figures say little
  cargo bench-whole --only wharf,native-outbox       these two
  cargo bench-whole --databases postgres --shapes 32,bulk --rounds 9")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// One round of short turns
    #[arg(long)]
    quick: bool,
    /// Who takes part
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME,…")]
    only: Vec<Kind>,
    /// On which databases
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME,…")]
    databases: Vec<Database>,
    /// How events come: so many single ones in flight, or `bulk`: envelopes of 100, one at a time;
    /// `bulk*4`: four at a time
    #[arg(long, value_delimiter = ',', value_name = "SHAPE,…", default_value = "1,8,32,128,bulk")]
    shapes: Vec<Shape>,
    /// How often everyone has a turn with each shape; 1 to 20
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20), default_value_t = 3)]
    rounds: u32,
    /// How long a turn is; 0.1 to 10
    #[arg(long, value_parser = turn, value_name = "SECONDS", default_value = "1.4")]
    turn: Duration,
    /// Leave out processor time by part
    #[arg(long)]
    no_parts: bool,
    /// Use what was built before
    #[arg(long)]
    no_build: bool,
}

#[derive(Subcommand)]
enum Command {
    BehindDapr(behind::Arguments),
}

fn turn(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|error| error.to_string())?;
    match (0.1..=10.0).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err(format!("{seconds} is not between 0.1 and 10")),
    }
}

/// The load comes from this one thread.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            // What was started is dropped with it, and so ended.
            done = async { match &arguments.command {
                None => Box::pin(run(&arguments)).await,
                Some(Command::BehindDapr(behind)) => Box::pin(behind::run(behind)).await,
            } } => done,
            _ = interrupt.recv() => bail!("interrupted; everything that was started is ended"),
            _ = terminate.recv() => bail!("terminated; everything that was started is ended"),
        }
    };
    match done.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::note(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let built = Built::build(!arguments.no_build).await?;
    let folder = TempDir::with_prefix("wharf-bench-").context("no temporary folder")?;
    let mut report = Report::new(folder.path());
    let server = match arguments.wants_on(Database::Postgres) {
        true => server(&mut report).await,
        false => None,
    };
    let around = Surroundings { built: &built, server: server.as_ref(), place: folder.path() };
    let mut contestants = start(arguments, &around, &mut report).await;
    if contestants.is_empty() {
        bail!("nobody can take part: {}", report.left_out().join("; "));
    }
    let began = Instant::now();
    report.measured = rounds::run(&mut contestants, server.as_ref(), &arguments.plan()).await?;
    for driven in &contestants {
        report.verified(driven, driven.verify().await?);
    }
    for driven in contestants {
        driven.contestant.stop().await?;
    }
    if !arguments.no_parts {
        measure_parts(arguments, &around, &mut report).await?;
    }
    report.print(began.elapsed());
    Ok(())
}

async fn server(report: &mut Report) -> Option<Server> {
    match Server::start().await {
        Ok(server) => {
            report.server(&server);
            Some(server)
        }
        Err(error) => {
            report.leave_out("everyone on PostgreSQL", &error);
            None
        }
    }
}

async fn start(
    arguments: &Arguments,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Vec<Driven> {
    let mut contestants = Vec::new();
    for (kind, database) in arguments.wanted() {
        if database == Database::Postgres && around.server.is_none() {
            continue;
        }
        let name = format!("{} on {}", kind.name(), database.name());
        say::note(format!("starting {name}"));
        match Driven::start(kind, database, around).await {
            Ok(contestant) => contestants.push(contestant),
            Err(error) => report.leave_out(&name, &error),
        }
    }
    contestants
}

async fn measure_parts(
    arguments: &Arguments,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let events = if arguments.quick { 2_000 } else { 12_000 };
    for (kind, database) in report.wharfs() {
        say::note(format!("processor time of {} on {} by part", kind.name(), database.name()));
        let parts = parts::measure(kind, database, events, around).await?;
        report.parts.push((kind, database, parts));
    }
    Ok(())
}

impl Arguments {
    fn wants_on(&self, database: Database) -> bool {
        self.wanted().iter().any(|(_, wanted)| *wanted == database)
    }

    fn wanted(&self) -> Vec<(Kind, Database)> {
        let databases = match self.databases.is_empty() {
            true => &[Database::Sqlite, Database::Postgres],
            false => &*self.databases,
        };
        let kinds = match self.only.is_empty() {
            true => <Kind as clap::ValueEnum>::value_variants(),
            false => &self.only,
        };
        let on = |database: Database| {
            let kinds = kinds.iter().filter(move |kind| kind.runs_on(database));
            kinds.map(move |kind| (*kind, database))
        };
        databases.iter().flat_map(|database| on(*database)).collect()
    }

    fn plan(&self) -> Plan {
        let shapes = self.shapes.clone();
        match self.quick {
            true => Plan {
                shapes,
                rounds: 1,
                turn: Duration::from_millis(150),
                warm_up: Duration::from_millis(30),
            },
            false => Plan {
                shapes,
                rounds: self.rounds as usize,
                turn: self.turn,
                warm_up: Duration::from_millis(300),
            },
        }
    }
}
