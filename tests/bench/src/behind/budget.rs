//! What the design allows behind daprd and Kafka, on 8 partitions, beside what was measured there.

use super::report::Report;
use super::{Cell, Way};
use crate::budget::Verdict;
use crate::contestant::Kind;

const SINGLE: Cell = Cell { partitions: 8, way: Way::Single };
const BULK: Cell = Cell { partitions: 8, way: Way::Bulk };

/// Those of which both sides were measured.
pub fn all(report: &Report) -> Vec<Verdict> {
    let beside = |ours: (Kind, Cell), theirs: (Kind, Cell), budget| {
        let (our, their) = (ours.1.way.name(), theirs.1.way.name());
        let what = match our == their {
            true => format!("{our}, {} beside {}", ours.0.name(), theirs.0.name()),
            false => format!("{our}, {} beside {}, {their}", ours.0.name(), theirs.0.name()),
        };
        Some(Verdict::ratio(&what, budget, report.ratio(ours, theirs)?))
    };
    let wharf = |cell, other, budget| beside((Kind::Wharf, cell), (other, cell), budget);
    // The budget is against what they get when nobody asks daprd for bulks; with bulks is told, too.
    let singly = |other, budget| beside((Kind::Wharf, BULK), (other, SINGLE), budget);
    let verdicts = [
        singly(Kind::NativeInsert, 4.0),
        wharf(BULK, Kind::NativeInsert, 4.0),
        singly(Kind::Fastapi, 8.0),
        wharf(BULK, Kind::Fastapi, 8.0),
        singly(Kind::Express, 7.0),
        wharf(BULK, Kind::Express, 7.0),
        wharf(BULK, Kind::NativeInbox, 0.7),
        wharf(BULK, Kind::NativeOutbox, 0.7),
        beside((Kind::WharfPublish, BULK), (Kind::NativeOutbox, BULK), 0.7),
        wharf(SINGLE, Kind::NativeInbox, 0.8),
        wharf(SINGLE, Kind::NativeOutbox, 0.8),
    ];
    verdicts.into_iter().flatten().collect()
}
