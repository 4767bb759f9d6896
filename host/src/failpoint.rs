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
    /// A delivery has its savepoint, and nothing behind it.
    CommitSavepoint,
    /// What it wrote is to stay; next is RELEASE.
    CommitRelease,
    /// What it wrote is not to stay; next is ROLLBACK TO.
    CommitRollback,
    /// That is taken back, and its savepoint is still there.
    CommitRolledBack,
    /// Its savepoint is gone.
    CommitReleased,
    /// What is parked or dead of them keeps its event.
    CommitKept,
    /// What the inbox had before is looked up.
    CommitRepeats,
    /// A claimed delivery has moved on.
    CommitSettled,
    /// Newcomers whose statements were taken back are out of the inbox.
    CommitForgotten,
    /// Whoever waited behind a claimed delivery is put aside no longer.
    CommitFreed,
    /// An insert for many deliveries has run.
    CommitMany,
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
    /// They are no longer in the outbox, and their lanes wait; in one transaction, up to `Finished`.
    EffectsGone,
    /// A call is among them, and its result is not entered.
    ResultLeft,
    /// Its result is entered.
    ResultEntered,
    /// An effect that failed has its next time.
    EffectAgain,
    /// A refused effect is dead, and nothing tells of it.
    EffectDead,
    /// What tells of it is entered.
    ReportEntered,
    /// The next of their lanes are put aside no longer; next is COMMIT.
    EffectsFreed,
    /// That effects are performed is written down.
    Finished,
    /// An event that the host made is about to be entered, in a transaction.
    Enter,
    /// It is entered, and nobody has an answer.
    Entered,
}

impl Point {
    /// In the order of an event's way.
    pub const ALL: [Self; 34] = [
        Self::CommitGathered,
        Self::CommitBegun,
        Self::CommitEntered,
        Self::CommitSavepoint,
        Self::CommitRelease,
        Self::CommitRollback,
        Self::CommitRolledBack,
        Self::CommitReleased,
        Self::CommitKept,
        Self::CommitRepeats,
        Self::CommitSettled,
        Self::CommitForgotten,
        Self::CommitFreed,
        Self::CommitMany,
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
        Self::EffectsGone,
        Self::ResultLeft,
        Self::ResultEntered,
        Self::EffectAgain,
        Self::EffectDead,
        Self::ReportEntered,
        Self::EffectsFreed,
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
            Self::CommitSavepoint => "commit-savepoint",
            Self::CommitRelease => "commit-release",
            Self::CommitRollback => "commit-rollback",
            Self::CommitRolledBack => "commit-rolled-back",
            Self::CommitReleased => "commit-released",
            Self::CommitKept => "commit-kept",
            Self::CommitRepeats => "commit-repeats",
            Self::CommitSettled => "commit-settled",
            Self::CommitForgotten => "commit-forgotten",
            Self::CommitFreed => "commit-freed",
            Self::CommitMany => "commit-many",
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
            Self::EffectsGone => "effects-gone",
            Self::ResultLeft => "result-left",
            Self::ResultEntered => "result-entered",
            Self::EffectAgain => "effect-again",
            Self::EffectDead => "effect-dead",
            Self::ReportEntered => "report-entered",
            Self::EffectsFreed => "effects-freed",
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
