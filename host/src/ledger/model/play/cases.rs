//! Many schedules, until everything that can happen has happened.

use std::collections::BTreeSet;
use std::sync::Mutex;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::Play;
use super::database::Beside;
use super::schedule::{Step, step};

#[test]
fn the_rules_keep_the_promises() {
    play(1000, async || None);
}

#[test]
fn sqlite_follows_the_rules() {
    play(48, async || Some(Beside::on_sqlite().await));
}

wharf_test_postgres::tests_with_postgres! {
    #[test]
    fn postgres_follows_the_rules() {
        play(32, async || Some(Beside::on_postgres().await));
    }
}

/// Among so many there is everything, however rare.
const RARE: u32 = 5000;

/// Plays so many schedules. What was not met by then is looked for by the rules alone, which is
/// quick, and what they find is played as well, until everything was met.
fn play(cases: u32, beside: impl AsyncFn() -> Option<Beside>) {
    let missing: Mutex<BTreeSet<_>> = Mutex::new(EVERYTHING.iter().copied().collect());
    let play = |schedule| {
        let met = block_on(async { Play::new(beside().await).run(schedule).await });
        assert!(met.iter().all(|what| EVERYTHING.contains(what)), "{met:?}");
        missing.lock().unwrap().retain(|what| !met.contains(what));
    };
    run(cases, play);
    run(RARE, |schedule| {
        let missing = missing.lock().unwrap().clone();
        if !missing.is_empty() {
            let met = block_on(Play::new(None).run(schedule.clone()));
            if !met.is_disjoint(&missing) {
                play(schedule);
            }
        }
    });
    let missing = missing.into_inner().unwrap();
    assert!(missing.is_empty(), "never met: {missing:?}");
}

fn run(cases: u32, play: impl Fn(Vec<Step>)) {
    let config = ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 400,
        ..ProptestConfig::with_cases(cases)
    };
    let mut runner = TestRunner::new(config);
    let played = runner.run(&prop::collection::vec(step(), 1..120), |schedule| {
        play(schedule);
        Ok(())
    });
    played.unwrap_or_else(|error| panic!("{error}\n{runner}"));
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// What can happen.
const EVERYTHING: &[&str] = &[
    "a call is given up",
    "a claimed one is dead",
    "a claimed one is done",
    "a claimed one is parked again",
    "a claimed one's count is wrong",
    "a claimed one's statement fails",
    "a dead delivery is discarded",
    "a dead delivery is retried",
    "a delivery is put aside",
    "a delivery is set free",
    "a discard is refused",
    "a discarded one sets the next free",
    "a late failure",
    "a late refusal",
    "a late success",
    "a late result",
    "a newcomer is dead",
    "a newcomer is done",
    "a newcomer is parked",
    "a newcomer is parked behind another",
    "a newcomer's count is wrong",
    "a newcomer's statement fails",
    "a parked delivery is discarded",
    "a repeat of a dead one",
    "a repeat of a discarded one",
    "a repeat of a done one",
    "a repeat of a parked one",
    "a report is refused",
    "a retry is refused",
    "a second page of deliveries",
    "a stranded delivery is found",
    "a stranded effect is found",
    "a table is held",
    "an effect is performed",
    "an effect is put aside",
    "an effect is refused",
    "an effect is set free",
    "an effect is tried again",
    "an effect waits, no attempt used",
    "an internal event enters",
    "an internal event enters again",
    "deliveries are changed by filter",
    "deliveries are counted",
    "deliveries are passed by by a filter",
    "deliveries are pruned",
    "its refused letter goes",
    "nothing is old enough",
    "pruning passes by",
    "refused effects are discarded",
    "refused effects are retried",
    "told as an event",
    "told on a topic",
];
