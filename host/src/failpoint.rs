//! Where a test lets the host fail or die: between every two steps of commit, claim and relay. The
//! feature `failpoints`, which only the tests turn on, compiles it in; else [`visit`] is nothing.
//!
//! In a process of its own a host dies at the point that the variable `FAILPOINTS` names, when it
//! comes there for the third time, say: `FAILPOINTS=commit-begun:3`. In a test's process `fail` lets
//! it fail. That holds for the calling thread alone, on which a test's whole host runs: the hosts
//! of other tests are none of its business.

/// A step that is done, or is about to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// A group is gathered, and nothing is written.
    CommitGathered,
    /// Its transaction has begun.
    CommitBegun,
    /// Its newcomers are in the inbox.
    CommitEntered,
    /// What is parked or dead of them keeps its event.
    CommitKept,
    /// A claimed delivery has moved on.
    CommitSettled,
    /// The components' statements have run.
    CommitStatements,
    /// The effects are in the outbox.
    CommitEffects,
    /// Internal events are entered; next is COMMIT.
    CommitWritten,
    /// COMMIT is done, and nobody has an answer.
    Committed,
    /// Parked deliveries are about to be claimed.
    ClaimDeliveries,
    /// They are claimed, and none runs.
    ClaimedDeliveries,
    /// A handler has run, and nothing of it is committed.
    Ran,
    /// Effects are about to be claimed.
    ClaimEffects,
    /// They are claimed, and none is performed.
    ClaimedEffects,
    /// Dapr has performed effects, and that is not written down.
    Performed,
    /// A call is no longer in the outbox, and its result is not entered; in one transaction.
    ResultLeft,
    /// That effects are performed is written down.
    Finished,
    /// An event that the host made is about to be entered, in a transaction.
    Enter,
    /// It is entered, and nobody has an answer.
    Entered,
}

impl Point {
    /// In the order of an event's way.
    pub const ALL: [Self; 19] = [
        Self::CommitGathered,
        Self::CommitBegun,
        Self::CommitEntered,
        Self::CommitKept,
        Self::CommitSettled,
        Self::CommitStatements,
        Self::CommitEffects,
        Self::CommitWritten,
        Self::Committed,
        Self::ClaimDeliveries,
        Self::ClaimedDeliveries,
        Self::Ran,
        Self::ClaimEffects,
        Self::ClaimedEffects,
        Self::Performed,
        Self::ResultLeft,
        Self::Finished,
        Self::Enter,
        Self::Entered,
    ];

    /// As `FAILPOINTS` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::CommitGathered => "commit-gathered",
            Self::CommitBegun => "commit-begun",
            Self::CommitEntered => "commit-entered",
            Self::CommitKept => "commit-kept",
            Self::CommitSettled => "commit-settled",
            Self::CommitStatements => "commit-statements",
            Self::CommitEffects => "commit-effects",
            Self::CommitWritten => "commit-written",
            Self::Committed => "committed",
            Self::ClaimDeliveries => "claim-deliveries",
            Self::ClaimedDeliveries => "claimed-deliveries",
            Self::Ran => "ran",
            Self::ClaimEffects => "claim-effects",
            Self::ClaimedEffects => "claimed-effects",
            Self::Performed => "performed",
            Self::ResultLeft => "result-left",
            Self::Finished => "finished",
            Self::Enter => "enter",
            Self::Entered => "entered",
        }
    }
}

/// A test wanted it to fail here.
#[derive(Debug, thiserror::Error)]
#[error("a test lets it fail at {0:?}")]
pub struct Hit(pub Point);

#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn visit(_: Point) -> Result<(), Hit> {
    Ok(())
}

#[cfg(feature = "failpoints")]
pub use planned::{fail, failed, visit};

#[cfg(feature = "failpoints")]
mod planned {
    use std::cell::Cell;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::{Hit, Point};

    thread_local! {
        static PLAN: Cell<Option<Plan>> = const { Cell::new(None) };
    }

    #[derive(Clone, Copy)]
    struct Plan {
        point: Point,
        /// How many visits are still to fail.
        left: u32,
        failed: u32,
    }

    /// The next visits of this thread fail, so many of them; instead of what was planned before.
    pub fn fail(point: Point, times: u32) {
        PLAN.set(Some(Plan { point, left: times, failed: 0 }));
    }

    /// How many visits of this thread have failed as planned.
    pub fn failed() -> u32 {
        PLAN.get().map_or(0, |plan| plan.failed)
    }

    /// Fails where a test wants it, or does not return.
    pub fn visit(point: Point) -> Result<(), Hit> {
        die(point);
        let Some(plan) = PLAN.get().filter(|plan| plan.point == point && plan.left > 0) else {
            return Ok(());
        };
        PLAN.set(Some(Plan { left: plan.left - 1, failed: plan.failed + 1, ..plan }));
        Err(Hit(point))
    }

    fn die(point: Point) {
        static DEATH: OnceLock<Option<(String, AtomicU32)>> = OnceLock::new();
        let Some((name, left)) = DEATH.get_or_init(death) else { return };
        if name == point.name() && left.fetch_sub(1, Ordering::AcqRel) == 1 {
            std::process::abort();
        }
    }

    #[expect(clippy::disallowed_methods, reason = "no setting: a test's word to a process")]
    fn death() -> Option<(String, AtomicU32)> {
        let planned = std::env::var("FAILPOINTS").ok()?;
        let (name, visits) = planned.split_once(':')?;
        Some((name.to_owned(), AtomicU32::new(visits.parse().ok()?)))
    }
}
