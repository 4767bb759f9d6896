//! Writes a group within one transaction: the inbox first, then the statements of what it let in,
//! then what they leave for the relay.

use std::collections::{BTreeMap, HashMap};

use chrono::SubsecRound as _;

use super::{Queued, in_order};
use crate::delivery::{DeliveryHead, DeliveryId, DeliveryStatus};
use crate::effect::Execute;
use crate::failpoint::{Point, visit};
use crate::ledger::database::Connection;
use crate::ledger::error::LedgerError;
use crate::ledger::fault::Fault;
use crate::ledger::limit::Limit;
use crate::ledger::sql::claims;
use crate::ledger::sql::group::{self, Kept, Leaving, Newcomer};
use crate::ledger::state_machine::{Delivery, Turn, Verdict, writes_effects};
use crate::ledger::submission::{Committed, NewDelivery, NewEffect, Outcome, Submission};
use crate::name::ComponentId;

/// How much a group is kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// Only those that expect a number of rows have a savepoint.
    Together,
    /// Each has one.
    Apart,
}

/// A group being written.
pub struct Transaction<'a> {
    connection: &'a mut Connection,
    care: Care,
    limit: Limit,
    answers: HashMap<&'a DeliveryId, Committed>,
    /// Newcomers whose statements were taken back: their row goes too.
    undone: Vec<&'a DeliveryId>,
    /// Ordered subjects that have one parked delivery less.
    left: Vec<(ComponentId, String)>,
    /// Inserts that wait for each other's rows, by their text.
    many: BTreeMap<&'a str, Vec<&'a Execute>>,
}

impl<'a> Transaction<'a> {
    pub fn new(connection: &'a mut Connection, care: Care, limit: Limit) -> Self {
        Self {
            connection,
            care,
            limit,
            answers: HashMap::new(),
            undone: Vec::new(),
            left: Vec::new(),
            many: BTreeMap::new(),
        }
    }

    /// The answers, in the order of the group.
    pub async fn write(mut self, part: &'a [Queued]) -> Result<Vec<Committed>, Fault> {
        visit(Point::CommitBegun)?;
        let submissions = || part.iter().map(|queued| &queued.submission);
        let sorted = in_order(part);
        let newcomers = sorted.iter().copied().filter(|submission| submission.claim.is_none());
        self.newcomers(newcomers.collect()).await?;
        for submission in sorted {
            if let Some(claim) = submission.claim {
                let answer = self.settle(submission, claim).await?;
                self.answers.insert(&submission.head.id, answer);
            }
        }
        if !self.undone.is_empty() {
            group::forget(self.connection, &self.undone).await?;
            visit(Point::CommitForgotten)?;
        }
        if !self.left.is_empty() {
            claims::free_deliveries(self.connection, &self.left).await?;
            visit(Point::CommitFreed)?;
        }
        self.many().await?;
        visit(Point::CommitStatements)?;
        self.effects(submissions()).await?;
        visit(Point::CommitWritten)?;
        let unanswered = || Fault::from(LedgerError::Unavailable("no answer".into()));
        submissions()
            .map(|submission| self.answers.remove(&submission.head.id).ok_or_else(unanswered))
            .collect()
    }

    /// Enters what just came in, and runs the statements of what is done with that.
    async fn newcomers(&mut self, submissions: Vec<&'a Submission>) -> Result<(), Fault> {
        if submissions.is_empty() {
            return Ok(());
        }
        let mut rows: Vec<_> = submissions.iter().map(|submission| newcomer(submission)).collect();
        let entered = group::enter(self.connection, &mut rows).await?;
        visit(Point::CommitEntered)?;
        let (mut kept, mut repeats) = (Vec::new(), Vec::new());
        for submission in submissions {
            let id = &submission.head.id;
            let Some(row) = entered.get(id) else {
                repeats.push(id);
                continue;
            };
            let answer = match row.status {
                DeliveryStatus::Done => self.newcomer_statements(submission).await?,
                DeliveryStatus::Parked | DeliveryStatus::Dead | DeliveryStatus::Discarded => {
                    kept.push(keep(submission));
                    entered_as(submission, row)
                }
            };
            self.answers.insert(id, answer);
        }
        if !kept.is_empty() {
            group::keep(self.connection, &kept).await?;
            visit(Point::CommitKept)?;
        }
        self.repeats(&repeats).await
    }

    async fn repeats(&mut self, ids: &[&'a DeliveryId]) -> Result<(), Fault> {
        if ids.is_empty() {
            return Ok(());
        }
        let statuses = group::statuses(self.connection, ids).await?;
        visit(Point::CommitRepeats)?;
        for id in ids {
            if let Some(status) = statuses.get(id) {
                self.answers.insert(id, Committed::Repeat(*status));
            }
        }
        Ok(())
    }

    async fn newcomer_statements(
        &mut self,
        submission: &'a Submission,
    ) -> Result<Committed, Fault> {
        let statements = submission.outcome.statements();
        let apart = self.stands_apart(statements);
        if apart {
            group::savepoint(self.connection).await?;
        }
        let answer = self.statements(statements, apart).await?;
        if apart {
            self.close(&answer).await?;
        }
        if answer != Committed::Done {
            self.undone.push(&submission.head.id);
        }
        Ok(answer)
    }

    /// Moves a claimed row on, and runs the statements that go with it.
    async fn settle(&mut self, submission: &'a Submission, claim: i64) -> Result<Committed, Fault> {
        let (outcome, statements) = (&submission.outcome, submission.outcome.statements());
        let apart = self.stands_apart(statements);
        if apart {
            group::savepoint(self.connection).await?;
        }
        let to = Delivery::settled(claim, outcome.verdict(), submission.attempts);
        let (error, log) = (outcome.error(), &submission.log);
        let settled =
            group::settle(self.connection, &submission.head, claim, to, error, log).await?;
        visit(Point::CommitSettled)?;
        let answer = match (&settled, outcome.verdict()) {
            (None, _) => Committed::Superseded,
            (Some(_), Verdict::Done) => self.statements(statements, apart).await?,
            (Some(_), Verdict::Parked { .. }) => Committed::Parked { behind: false },
            (Some(_), Verdict::Dead) => Committed::Dead,
        };
        if let (Some(Some(subject)), Committed::Done | Committed::Dead) = (settled, &answer) {
            self.left.push((submission.head.id.component.clone(), subject));
        }
        if apart {
            self.close(&answer).await?;
        }
        Ok(answer)
    }

    /// Whether what it writes must be possible to take back by itself.
    fn stands_apart(&self, statements: &[Execute]) -> bool {
        let expects = statements.iter().any(|statement| statement.expect.is_some());
        expects || (self.care == Care::Apart && !statements.is_empty())
    }

    async fn close(&mut self, answer: &Committed) -> Result<(), Fault> {
        match answer {
            Committed::StatementFailed { statement, error } => {
                // Some errors take the savepoint with them, and the whole transaction.
                let (statement, error) = (Some(statement.clone()), error.clone());
                let undone = group::undo(self.connection).await;
                undone.map_err(|fault| match fault {
                    Fault::Own { .. } => Fault::Own { statement, error },
                    other @ (Fault::Ledger(_)
                    | Fault::Conflict(_)
                    | Fault::Late(_)
                    | Fault::Locked { .. }) => other,
                })
            }
            Committed::Unexpected { .. } | Committed::Locked { .. } => {
                Ok(group::undo(self.connection).await.map_err(LedgerError::from)?)
            }
            Committed::Done
            | Committed::Parked { .. }
            | Committed::Dead
            | Committed::Repeat(_)
            | Committed::Superseded => Ok(group::release(self.connection).await?),
        }
    }

    /// Without a savepoint, an error of the delivery's own is the whole group's.
    async fn statements(&mut self, all: &'a [Execute], apart: bool) -> Result<Committed, Fault> {
        for statement in all {
            if !apart && statement.many.is_some() {
                self.many.entry(&statement.sql).or_default().push(statement);
                continue;
            }
            let touched = match self.connection.run(statement, &self.limit).await {
                Ok(touched) => touched,
                Err(Fault::Own { statement, error }) if apart => {
                    return Ok(failed(statement, error));
                }
                Err(fault) => return Err(fault),
            };
            if let Some(expected) = statement.expect.filter(|expected| *expected != touched) {
                let statement = statement.statement.clone();
                return Ok(Committed::Unexpected { statement, expected, touched });
            }
        }
        Ok(Committed::Done)
    }

    /// Runs the inserts that waited for each other, each with all of its rows.
    async fn many(&mut self) -> Result<(), Fault> {
        for inserts in std::mem::take(&mut self.many).into_values() {
            self.connection.run_many(&inserts, &self.limit).await?;
            visit(Point::CommitMany)?;
        }
        Ok(())
    }

    /// Only of those that are written as they asked.
    async fn effects(
        &mut self,
        submissions: impl Iterator<Item = &'a Submission>,
    ) -> Result<(), Fault> {
        let mut outbox: Vec<Leaving<'_>> = Vec::new();
        let mut internal: Vec<&NewDelivery> = Vec::new();
        for submission in submissions {
            let status = match self.answers.get(&submission.head.id) {
                Some(Committed::Done) => DeliveryStatus::Done,
                Some(Committed::Dead) => DeliveryStatus::Dead,
                Some(
                    Committed::Parked { .. }
                    | Committed::Repeat(_)
                    | Committed::Superseded
                    | Committed::StatementFailed { .. }
                    | Committed::Locked { .. }
                    | Committed::Unexpected { .. },
                )
                | None => continue,
            };
            if writes_effects(status) {
                outbox.extend(submission.leaving());
                internal.extend(submission.outcome.effects().1);
            }
        }
        if !outbox.is_empty() {
            group::add_effects(self.connection, &outbox).await?;
            visit(Point::CommitEffects)?;
        }
        Ok(group::add_internal(self.connection, internal).await?)
    }
}

pub fn failed(statement: Option<String>, error: String) -> Committed {
    Committed::StatementFailed { statement: statement.unwrap_or_else(|| "commit".into()), error }
}

fn newcomer(submission: &Submission) -> Newcomer<'_> {
    Newcomer {
        head: &submission.head,
        free: entering(submission, Turn::Free),
        behind: entering(submission, Turn::Behind),
    }
}

fn entering(submission: &Submission, turn: Turn) -> Delivery {
    let Submission { head, attempts, outcome, .. } = submission;
    Delivery::enter(outcome.verdict(), *attempts, head.received_at, turn)
}

/// What to say of a newcomer that is parked or dead.
fn entered_as(submission: &Submission, row: &Delivery) -> Committed {
    match row.status {
        DeliveryStatus::Dead => Committed::Dead,
        DeliveryStatus::Parked | DeliveryStatus::Done | DeliveryStatus::Discarded => {
            Committed::Parked { behind: *row != entering(submission, Turn::Free) }
        }
    }
}

fn keep(submission: &Submission) -> Kept<'_> {
    let waits = "it waits behind an earlier delivery of its subject";
    Kept {
        id: &submission.head.id,
        wire: &submission.wire,
        error: submission.outcome.error().unwrap_or(waits),
        log: &submission.log,
    }
}

impl Submission {
    /// Its effects, for the outbox.
    pub(super) fn leaving(&self) -> impl Iterator<Item = Leaving<'_>> {
        let (effects, _) = self.outcome.effects();
        let DeliveryHead { id, received_at, .. } = &self.head;
        effects.iter().map(|effect| Leaving { id, since: *received_at, effect })
    }
}

impl Outcome {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Done { .. } => Verdict::Done,
            // As the row will say it: it is compared with what comes back.
            Self::Parked { due, .. } => Verdict::Parked { due: due.trunc_subsecs(6) },
            Self::Dead { .. } => Verdict::Dead,
        }
    }

    pub(super) fn statements(&self) -> &[Execute] {
        match self {
            Self::Done { statements, .. } => statements,
            Self::Parked { .. } | Self::Dead { .. } => &[],
        }
    }

    pub(in crate::ledger) fn effects(&self) -> (&[NewEffect], &[NewDelivery]) {
        match self {
            Self::Done { outbox, internal, .. } | Self::Dead { outbox, internal, .. } => {
                (outbox, internal)
            }
            Self::Parked { .. } => (&[], &[]),
        }
    }
}
