//! What can happen, and how often each of it does.

use proptest::prelude::*;

use super::{EVENTS, Ending};
use crate::ledger::model::{Event, LEASE, WINDOW};

#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// The broker delivers, for the first time or again.
    Deliver {
        host: usize,
        event: Event,
    },
    /// A run ends and is committed; the host may die before it can say so.
    End {
        host: usize,
        run: usize,
        ending: Ending,
        answered: bool,
    },
    /// All runs of a host end at the same moment.
    EndAll {
        host: usize,
        endings: [Ending; 4],
        answered: bool,
    },
    Crash {
        host: usize,
    },
    ClaimParked {
        host: usize,
    },
    ClaimOutbox {
        host: usize,
    },
    /// The effect reaches Dapr.
    Perform {
        host: usize,
        effect: usize,
    },
    /// What the relay says of it; without a performance before it, that is a failure.
    Report {
        host: usize,
        effect: usize,
        ending: Ending,
    },
    Retry {
        event: Event,
    },
    Discard {
        event: Event,
    },
    /// What is old and may go, goes.
    Prune {
        host: usize,
    },
    Pass {
        seconds: u64,
    },
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let (host, event, pick) = (0..2usize, 0..EVENTS, 0..4usize);
    let any_event = 0..EVENTS * 4;
    let ending = prop_oneof![
        3 => Just(Ending::Ok),
        3 => Just(Ending::Failed),
        1 => Just(Ending::Rejected),
        1 => Just(Ending::NotWritten),
    ];
    let run_ending = prop_oneof![
        8 => ending.clone(),
        1 => Just(Ending::WrongStatement),
        1 => Just(Ending::WrongCount),
    ];
    let run_endings = prop::array::uniform4(run_ending.clone());
    let answered = prop::bool::weighted(0.8);
    prop_oneof![
        6 => (host.clone(), event).prop_map(|(host, event)| Step::Deliver { host, event }),
        6 => (host.clone(), pick.clone(), run_ending, answered).prop_map(
            |(host, run, ending, answered)| Step::End { host, run, ending, answered }),
        3 => (host.clone(), run_endings, answered).prop_map(
            |(host, endings, answered)| Step::EndAll { host, endings, answered }),
        1 => host.clone().prop_map(|host| Step::Crash { host }),
        4 => host.clone().prop_map(|host| Step::ClaimParked { host }),
        4 => host.clone().prop_map(|host| Step::ClaimOutbox { host }),
        4 => (host.clone(), pick.clone())
            .prop_map(|(host, effect)| Step::Perform { host, effect }),
        4 => (host.clone(), pick, ending)
            .prop_map(|(host, effect, ending)| Step::Report { host, effect, ending }),
        2 => host.prop_map(|host| Step::Prune { host }),
        1 => any_event.clone().prop_map(|event| Step::Retry { event }),
        1 => any_event.prop_map(|event| Step::Discard { event }),
        2 => (0..6u64).prop_map(|seconds| Step::Pass { seconds }),
        2 => Just(Step::Pass { seconds: LEASE.as_secs() }),
        1 => Just(Step::Pass { seconds: WINDOW.as_secs() / 3 }),
    ]
}
