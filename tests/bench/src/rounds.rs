//! Turns and rounds: everyone sends the same shape one after the other, then the next shape, and all
//! of it again, so that a machine with moods has them with everyone.

use std::time::Duration;

use crate::contestant::{Database, Kind};
use crate::driven::Driven;
use crate::load::Shape;
use crate::postgres::Server;
use wharf_bench::cpu;
use wharf_test_real::say;

/// What one contestant did with one shape, round by round.
pub struct Measured {
    pub kind: Kind,
    pub database: Database,
    pub shape: Shape,
    pub rounds: Vec<Round>,
}

pub struct Round {
    /// Events per second.
    pub rate: f64,
    /// Sorted; of each request.
    pub latencies: Vec<Duration>,
    /// Microseconds of processor time for each event: the contestant's.
    pub host: Option<f64>,
    /// The database server's.
    pub server: Option<f64>,
}

pub struct Plan {
    pub shapes: Vec<Shape>,
    pub rounds: usize,
    pub turn: Duration,
    /// Before the first round, with each shape.
    pub warm_up: Duration,
}

pub async fn run(
    contestants: &mut [Driven],
    server: Option<&Server>,
    plan: &Plan,
) -> anyhow::Result<Vec<Measured>> {
    let mut measured: Vec<_> = plan
        .shapes
        .iter()
        .flat_map(|shape| contestants.iter().map(move |one| empty(one, *shape)))
        .collect();
    for driven in contestants.iter_mut() {
        let (kind, database) = (driven.contestant.kind, driven.contestant.database);
        say::note(format!("warming up {} on {}", kind.name(), database.name()));
        for shape in &plan.shapes {
            driven.turn(*shape, plan.warm_up).await?;
        }
    }
    let count = contestants.len();
    for round in 0..plan.rounds {
        for (index, shape) in plan.shapes.iter().enumerate() {
            say::note(format!("round {} of {}: {}", round + 1, plan.rounds, shape.name()));
            for turn in 0..count {
                // Nobody is always the one after the same other.
                let who = (turn + round + index) % count;
                let Some(driven) = contestants.get_mut(who) else { continue };
                if let (Some(server), Database::Postgres) = (server, driven.contestant.database) {
                    server.checkpoint().await?;
                }
                let result = take(driven, server, *shape, plan.turn).await?;
                if let Some(measured) = measured.get_mut(index * count + who) {
                    measured.rounds.push(result);
                }
            }
        }
    }
    Ok(measured)
}

fn empty(driven: &Driven, shape: Shape) -> Measured {
    let (kind, database) = (driven.contestant.kind, driven.contestant.database);
    Measured { kind, database, shape, rounds: Vec::new() }
}

async fn take(
    driven: &mut Driven,
    server: Option<&Server>,
    shape: Shape,
    length: Duration,
) -> anyhow::Result<Round> {
    let on_server = driven.contestant.database == Database::Postgres;
    let server = server.filter(|_| on_server).map(Server::id);
    let host = driven.contestant.id();
    let used = || (host.and_then(cpu::tree), server.and_then(cpu::tree));
    let before = used();
    let mut turn = driven.turn(shape, length).await?;
    let after = used();
    let each = |after: Option<Duration>, before: Option<Duration>| {
        let used = after?.saturating_sub(before?);
        Some(used.as_secs_f64() * 1e6 / turn.events.max(1) as f64)
    };
    let (host, server) = (each(after.0, before.0), each(after.1, before.1));
    turn.latencies.sort_unstable();
    let rate = turn.events as f64 / turn.took.as_secs_f64();
    Ok(Round { rate, latencies: turn.latencies, host, server })
}
