//! What can happen, and how often each of it does.

use proptest::prelude::*;

use super::{EVENTS, Ending};
use crate::delivery::DeliveryStatus;
use crate::ledger::Deed;
use crate::ledger::model::by_hand::Filter;
use crate::ledger::model::{Component, LEASE, WINDOW};

#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// The broker delivers to both components, for the first time or again.
    Deliver {
        host: usize,
        number: usize,
    },
    /// A job fires or a binding ticks, and both components want it; again on another host.
    Enter {
        host: usize,
        number: usize,
    },
    /// A run ends and is committed; the host may die before it can say so.
    End {
        host: usize,
        run: usize,
        ending: Ending,
        answered: bool,
    },
    /// All runs of a host end at the same moment; somebody may hold the components' table.
    EndAll {
        host: usize,
        endings: [Ending; 4],
        answered: bool,
        held: bool,
    },
    Crash {
        host: usize,
    },
    ClaimParked {
        host: usize,
        of: &'static [Component],
        limit: usize,
    },
    ClaimOutbox {
        host: usize,
        limit: usize,
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
    /// The same of all that a host has claimed, performed or not.
    ReportAll {
        host: usize,
        endings: [Ending; 4],
    },
    /// A delivery, by its place among all.
    ByHand {
        deed: Deed,
        delivery: usize,
    },
    ByFilter {
        deed: Deed,
        filter: Filter,
    },
    /// A host of another version takes what is earlier and sets nobody free.
    Strand,
    FreeStranded {
        host: usize,
    },
    /// What is old and may go, goes.
    Prune {
        host: usize,
    },
    Pass {
        seconds: u64,
    },
}

pub(super) const BOTH: &[Component] = &[Component::Audit, Component::Recurring];

fn filter() -> impl Strategy<Value = Filter> {
    let component = prop::option::of(prop::sample::select(BOTH));
    let which = prop_oneof![
        3 => Just((None, true)),
        1 => Just((None, false)),
        4 => prop::sample::select(vec![
            DeliveryStatus::Dead,
            DeliveryStatus::Parked,
            DeliveryStatus::Done,
            DeliveryStatus::Discarded,
        ]).prop_map(|status| (Some(status), false)),
    ];
    (component, which).prop_map(|(component, (status, refused))| Filter {
        component,
        status,
        refused,
    })
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let (host, number, pick) = (0..2usize, 0..EVENTS, 0..6usize);
    let limit = prop_oneof![3 => Just(100usize), 1 => 1..4usize];
    let of = prop_oneof![
        4 => Just(BOTH),
        1 => Just(&BOTH[..1]),
        1 => Just(&BOTH[1..]),
    ];
    let ending = prop_oneof![
        6 => Just(Ending::Ok),
        4 => Just(Ending::Failed),
        4 => Just(Ending::Rejected),
        2 => Just(Ending::Away),
        1 => Just(Ending::NotWritten),
    ];
    let run_ending = prop_oneof![
        9 => ending.clone(),
        1 => Just(Ending::Saturated),
        1 => Just(Ending::WrongStatement),
        1 => Just(Ending::WrongCount),
    ];
    let run_endings = prop::array::uniform4(run_ending.clone());
    let endings = prop::array::uniform4(ending.clone());
    let answered = prop::bool::weighted(0.8);
    let held = prop::bool::weighted(0.1);
    let deed =
        prop_oneof![4 => Just(Deed::Retry), 3 => Just(Deed::Discard), 1 => Just(Deed::Count)];
    let by_hand = prop_oneof![Just(Deed::Retry), Just(Deed::Discard)];
    prop_oneof![
        6 => (host.clone(), number.clone())
            .prop_map(|(host, number)| Step::Deliver { host, number }),
        1 => (host.clone(), number).prop_map(|(host, number)| Step::Enter { host, number }),
        6 => (host.clone(), pick.clone(), run_ending, answered).prop_map(
            |(host, run, ending, answered)| Step::End { host, run, ending, answered }),
        5 => (host.clone(), run_endings, answered, held).prop_map(
            |(host, endings, answered, held)| Step::EndAll { host, endings, answered, held }),
        1 => host.clone().prop_map(|host| Step::Crash { host }),
        4 => (host.clone(), of, limit.clone())
            .prop_map(|(host, of, limit)| Step::ClaimParked { host, of, limit }),
        4 => (host.clone(), limit).prop_map(|(host, limit)| Step::ClaimOutbox { host, limit }),
        8 => (host.clone(), pick.clone())
            .prop_map(|(host, effect)| Step::Perform { host, effect }),
        3 => (host.clone(), pick, ending)
            .prop_map(|(host, effect, ending)| Step::Report { host, effect, ending }),
        4 => (host.clone(), endings)
            .prop_map(|(host, endings)| Step::ReportAll { host, endings }),
        2 => host.clone().prop_map(|host| Step::Prune { host }),
        2 => (by_hand, 0..20usize)
            .prop_map(|(deed, delivery)| Step::ByHand { deed, delivery }),
        2 => (deed, filter()).prop_map(|(deed, filter)| Step::ByFilter { deed, filter }),
        1 => Just(Step::Strand),
        1 => host.prop_map(|host| Step::FreeStranded { host }),
        2 => (0..6u64).prop_map(|seconds| Step::Pass { seconds }),
        2 => Just(Step::Pass { seconds: LEASE.as_secs() }),
        1 => Just(Step::Pass { seconds: WINDOW.as_secs() / 3 }),
    ]
}
