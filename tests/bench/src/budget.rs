//! What the design allows, beside what was measured. Budgets that speak of daprd and Kafka are
//! compared with what was measured without them: daprd keeps one event in flight for each of its 8
//! partitions, or one bulk.

use crate::contestant::{Database, Kind};
use crate::load::Shape;
use crate::report::Report;

const LONE: Shape = Shape::Single(1);
const PARTITIONS: Shape = Shape::Single(8);
const SINGLE: Shape = Shape::Single(32);
const BULK: Shape = Shape::Bulk(1);

/// One line.
pub struct Verdict {
    what: String,
    figure: String,
    is_met: bool,
}

impl Verdict {
    pub fn row(self) -> Vec<String> {
        let verdict = if self.is_met { "met" } else { "**missed**" };
        vec![self.what, self.figure, verdict.to_owned()]
    }

    pub fn ratio(what: &str, budget: f64, ratio: f64) -> Self {
        Self {
            what: format!("{what}: ≥ {budget}×"),
            figure: format!("{ratio:.2}×"),
            is_met: ratio >= budget,
        }
    }

    fn at_most(what: &str, budget: f64, unit: &str, figure: f64) -> Self {
        Self {
            what: format!("{what}: ≤ {budget} {unit}"),
            figure: format!("{figure:.1} {unit}"),
            is_met: figure <= budget,
        }
    }
}

/// Those of which both sides were measured.
pub fn all(report: &Report) -> Vec<Verdict> {
    ratios(report).into_iter().chain(times(report)).flatten().collect()
}

fn ratios(report: &Report) -> Vec<Option<Verdict>> {
    let on = Database::Postgres;
    let same = |what: &str, other, shape, budget| {
        let ratio = report.ratio(Kind::Wharf, other, on, shape)?;
        Some(Verdict::ratio(what, budget, ratio))
    };
    // Ours in bulk; theirs singly, since daprd gives them nothing else.
    let bulk = |what: &str, other, budget| {
        let ours = report.rate(Kind::Wharf, on, BULK)?;
        Some(Verdict::ratio(what, budget, ours / report.rate(other, on, PARTITIONS)?))
    };
    vec![
        same("32 in flight, beside native-inbox", Kind::NativeInbox, SINGLE, 0.8),
        same("32 in flight, beside native-outbox", Kind::NativeOutbox, SINGLE, 0.8),
        same("bulks, beside native-inbox", Kind::NativeInbox, BULK, 0.7),
        same("bulks, beside native-outbox", Kind::NativeOutbox, BULK, 0.7),
        report
            .ratio(Kind::WharfPublish, Kind::NativeOutbox, on, BULK)
            .map(|ratio| Verdict::ratio("bulks, wharf-publish beside native-outbox", 0.7, ratio)),
        bulk("bulks, beside native-insert with 8 in flight", Kind::NativeInsert, 4.0),
        bulk("bulks, beside fastapi with 8 in flight", Kind::Fastapi, 8.0),
        bulk("bulks, beside express with 8 in flight", Kind::Express, 7.0),
    ]
}

fn times(report: &Report) -> Vec<Option<Verdict>> {
    let lone = report.of(Kind::Wharf, Database::Postgres, LONE);
    let lone = lone.and_then(|lone| lone.latency(50)).map(|p50| {
        let what = "a lone event on PostgreSQL, ingress to durable, p50";
        Verdict::at_most(what, 3.0, "ms", p50.as_secs_f64() * 1e3)
    });
    let commit = report.parts_of(Kind::WharfPublish, Database::Postgres).map(|parts| {
        let what = "commit of 100 with outbox rows on PostgreSQL, both sides";
        let both = parts.commit.bulk.host + parts.commit.bulk.server.unwrap_or_default();
        Verdict::at_most(what, 50.0, "µs", both)
    });
    let sqlite = report.rate(Kind::Wharf, Database::Sqlite, SINGLE).map(|rate| Verdict {
        what: "32 in flight on SQLite: ≥ 5,000 /s".to_owned(),
        figure: format!("{rate:.0} /s"),
        is_met: rate >= 5000.0,
    });
    let mut verdicts = vec![lone, commit, sqlite];
    for database in [Database::Postgres, Database::Sqlite] {
        for (shape, budget) in [(SINGLE, 30.0), (BULK, 12.0)] {
            let rest = report.rest(Kind::Wharf, database, shape).map(|rest| {
                let what = format!("the host's own work on {}, {}", database.name(), shape.name());
                Verdict::at_most(&what, budget, "µs", rest)
            });
            verdicts.push(rest);
        }
    }
    verdicts
}
