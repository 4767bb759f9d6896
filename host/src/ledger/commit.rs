//! Group commit: one transaction for all deliveries that are ready. No linger: a free committer
//! takes what waits. An error that is one delivery's own costs that delivery only.

mod at_once;
mod transaction;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::error::LedgerError;
use super::fault::Fault;
use super::sql::writer::{TRIES, Writer, Writers};
use super::submission::{Committed, Submission};
use crate::delivery::DeliveryHead;
use crate::effect::Execute;
use crate::failpoint::{Point, visit};
use transaction::{Care, Transaction, failed};

/// As many deliveries as one transaction takes.
const GROUP: usize = 256;

/// From twice as many on, what waits is shared out: while one connection writes, its server's other
/// processors would idle. Smaller transactions cost more than that gains.
const SHARE: usize = 40;

/// As many bytes, about: rows travel as one text, twice as long. One delivery may be larger.
const GROUP_BYTES: usize = 8 << 20;

/// How often others go first while a group still grows. Nothing is waited for.
const YIELDS: usize = 4;

/// A submission and who waits for its answer. If nobody does any more, it is committed all the same.
pub struct Queued {
    pub submission: Submission,
    pub reply: oneshot::Sender<Result<Committed, LedgerError>>,
}

/// What waits to be written. Committers take from it in turns, and write side by side.
pub struct Intake {
    pub queue: mpsc::Receiver<Queued>,
    waiting: VecDeque<Queued>,
}

impl Intake {
    pub fn new(queue: mpsc::Receiver<Queued>) -> Self {
        Self { queue, waiting: VecDeque::new() }
    }
}

/// Writes groups until the host stops, and then what was submitted before.
#[derive(Clone)]
pub struct Committer {
    pub intake: Arc<Mutex<Intake>>,
    /// How many take from it.
    pub committers: usize,
    pub writers: Arc<Writers>,
    pub outbox_changed: Arc<Notify>,
    pub parked_changed: Arc<Notify>,
}

impl Committer {
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let group = {
                let mut intake = self.intake.lock().await;
                let Intake { queue, waiting } = &mut *intake;
                if !gather(queue, waiting, &stop).await {
                    break;
                }
                take_group(waiting, self.committers)
            };
            self.write(group).await;
        }
    }

    /// Writes a group, and answers everyone in it.
    async fn write(&self, group: Vec<Queued>) {
        let writer = match visit(Point::CommitGathered) {
            Ok(()) => self.writers.get().await,
            Err(hit) => Err(hit.into()),
        };
        match writer {
            Ok(mut writer) => {
                let rest = self.write_at_once(&mut writer, group).await;
                self.write_in_steps(&mut writer, rest).await;
            }
            Err(error) => refuse(group, &error),
        }
    }

    /// Gives those that are still to be written.
    async fn write_at_once(&self, writer: &mut Writer, group: Vec<Queued>) -> Vec<Queued> {
        let entered = match at_once::attempt(writer, &group).await {
            Ok(entered) if entered.is_empty() => return group,
            Ok(entered) => visit(Point::Committed).map(|()| entered).map_err(LedgerError::from),
            Err(error) => Err(error),
        };
        let entered = match entered {
            Ok(entered) => entered,
            Err(error) => {
                refuse(group, &error);
                return Vec::new();
            }
        };
        let is_entered = |queued: &Queued| entered.contains(&queued.submission.head.id);
        let (done, rest): (Vec<_>, Vec<_>) = group.into_iter().partition(is_entered);
        let answers = vec![Committed::Done; done.len()];
        self.answer(done, answers);
        rest
    }

    /// In a transaction, in parts where a part's own statements fail.
    async fn write_in_steps(&self, writer: &mut Writer, group: Vec<Queued>) {
        let mut conflicts = 0;
        let mut parts = Vec::new();
        if !group.is_empty() {
            parts.push((group, Care::Together));
        }
        while let Some((part, care)) = parts.pop() {
            match attempt(writer, &part, care).await {
                Ok(answers) => self.answer(part, answers),
                Err(Fault::Ledger(error)) => {
                    let rest = parts.drain(..).flat_map(|(part, _)| part);
                    refuse(part.into_iter().chain(rest).collect(), &error);
                }
                // Another host, or another committer, was in the way: its end frees the way.
                Err(Fault::Conflict(error)) if conflicts < TRIES => {
                    tracing::debug!(error, deliveries = part.len(), "a group is written again");
                    conflicts += 1;
                    parts.push((part, care));
                }
                Err(Fault::Conflict(error) | Fault::Locked { of: None, error }) => {
                    let rest = parts.drain(..).flat_map(|(part, _)| part);
                    let all = part.into_iter().chain(rest).collect();
                    refuse(all, &LedgerError::Unavailable(error));
                }
                Err(Fault::Locked { of: Some(statement), error }) => {
                    let rest = set_aside(part, &statement, &error);
                    parts.extend(Some((rest, care)).filter(|(rest, _)| !rest.is_empty()));
                }
                // Together they took too long, which is nobody's own: a smaller part has as much
                // time.
                Err(Fault::Late(error)) => narrow(part, Care::Apart, None, error, &mut parts),
                Err(Fault::Own { statement, error }) => {
                    narrow(part, care, statement, error, &mut parts);
                }
            }
        }
    }

    fn answer(&self, part: Vec<Queued>, answers: Vec<Committed>) {
        let (mut outbox, mut parked) = (false, false);
        for (queued, answer) in part.into_iter().zip(answers) {
            let (effects, internal) = queued.submission.outcome.effects();
            let written = matches!(answer, Committed::Done | Committed::Dead);
            // A repeat may be of what was written just now, and its answer was lost.
            let is_there = written || matches!(answer, Committed::Repeat(_));
            outbox |= is_there && !effects.is_empty();
            parked |= is_there && !internal.is_empty();
            // Whatever leaves a parked state may free the next of its subject. One that comes to
            // wait behind another changes nothing until that one goes.
            parked |= matches!(answer, Committed::Parked { behind: false });
            parked |= written && queued.submission.claim.is_some();
            // Nobody waits any more: that changes nothing.
            let _gone = queued.reply.send(Ok(answer));
        }
        for (changed, notify) in [(outbox, &self.outbox_changed), (parked, &self.parked_changed)] {
            if changed {
                notify.notify_one();
            }
        }
    }
}

/// Waits for work; `false` when there is none and there will be none.
async fn gather(
    queue: &mut mpsc::Receiver<Queued>,
    waiting: &mut VecDeque<Queued>,
    stop: &CancellationToken,
) -> bool {
    if waiting.is_empty() {
        let first = tokio::select! {
            first = queue.recv() => first,
            () = stop.cancelled(), if !queue.is_closed() => {
                queue.close();
                queue.recv().await
            }
        };
        waiting.extend(first);
    }
    take(queue, waiting);
    // Whoever is about to submit goes first, as often as that brings more: the answers of one group
    // set its successors free, and a commit costs about the same for one delivery as for thirty.
    for _ in 0..YIELDS {
        let before = waiting.len();
        if before == 0 || before >= GROUP {
            break;
        }
        tokio::task::yield_now().await;
        take(queue, waiting);
        if waiting.len() == before {
            break;
        }
    }
    !waiting.is_empty()
}

/// What is there already.
fn take(queue: &mut mpsc::Receiver<Queued>, waiting: &mut VecDeque<Queued>) {
    while waiting.len() < GROUP {
        let Ok(next) = queue.try_recv() else { break };
        waiting.push_back(next);
    }
}

/// Takes what can be written together. A second delivery of the same key waits for the first one's
/// answer to be durable, and of one ordered subject only the first has its turn. What comes after
/// the last that fits waits too, so that none overtakes it. Of very many it takes one committer's
/// share.
pub(in crate::ledger) fn take_group(
    waiting: &mut VecDeque<Queued>,
    committers: usize,
) -> Vec<Queued> {
    let shares = (waiting.len() / SHARE).min(committers).max(1);
    let most = waiting.len().div_ceil(shares);
    let mut keys = HashSet::new();
    let mut subjects = HashSet::new();
    let mut bytes = 0_usize;
    let (mut group, mut later) = (Vec::new(), VecDeque::new());
    for queued in waiting.drain(..) {
        let head = &queued.submission.head;
        let subject = head.subject.as_ref().filter(|_| head.ordered);
        let subject = subject.map(|subject| (head.id.component.clone(), subject.clone()));
        let first_of_subject = subject.is_none_or(|subject| subjects.insert(subject));
        let first = group.len() < most && keys.insert(head.id.clone()) && first_of_subject;
        if first {
            bytes = bytes.saturating_add(queued.submission.bytes());
        }
        if first && (group.is_empty() || bytes <= GROUP_BYTES) {
            group.push(queued);
        } else {
            later.push_back(queued);
        }
    }
    *waiting = later;
    group
}

/// What belongs together is often written together: in one order, so that two groups do not wait for
/// each other crosswise.
fn in_order(group: &[Queued]) -> Vec<&Submission> {
    let mut sorted: Vec<_> = group.iter().map(|queued| &queued.submission).collect();
    sorted.sort_by_key(|submission| {
        let DeliveryHead { id, subject, .. } = &submission.head;
        (&id.component, subject.as_deref(), id.key)
    });
    sorted
}

/// After an error of some delivery's own: once more with each kept apart; if that does not find it
/// (it came at the commit, or took the whole transaction back), in halves, down to the one.
fn narrow(
    mut part: Vec<Queued>,
    care: Care,
    statement: Option<String>,
    error: String,
    parts: &mut Vec<(Vec<Queued>, Care)>,
) {
    if part.len() > 1 {
        match care {
            Care::Together => parts.push((part, Care::Apart)),
            Care::Apart => {
                let second = part.split_off(part.len() / 2);
                parts.extend([(second, Care::Apart), (part, Care::Apart)]);
            }
        }
    } else if let Some(culprit) = part.pop() {
        let _gone = culprit.reply.send(Ok(failed(statement, error)));
    }
}

/// All that would wait for what somebody holds, as this statement did. Gives the others.
fn set_aside(part: Vec<Queued>, locked: &Execute, error: &str) -> Vec<Queued> {
    let waits = |queued: &Queued| {
        queued.submission.outcome.statements().iter().any(|statement| statement.sql == locked.sql)
    };
    let (aside, rest): (Vec<_>, Vec<_>) = part.into_iter().partition(waits);
    for queued in aside {
        let (statement, error) = (locked.statement.clone(), error.to_owned());
        let _gone = queued.reply.send(Ok(Committed::Locked { statement, error }));
    }
    rest
}

fn refuse(queued: Vec<Queued>, error: &LedgerError) {
    tracing::warn!(%error, deliveries = queued.len(), "a group was not committed");
    for queued in queued {
        let _gone = queued.reply.send(Err(error.clone()));
    }
}

/// One transaction; the answers hold once this returns them.
async fn attempt(
    writer: &mut Writer,
    part: &[Queued],
    care: Care,
) -> Result<Vec<Committed>, Fault> {
    let (connection, limit) = writer.begin_limited().await?;
    let written = Transaction::new(connection, care, limit).write(part).await;
    let ended = writer.end(written).await;
    if ended.is_ok() {
        visit(Point::Committed)?;
    }
    if part.iter().any(|queued| !queued.submission.outcome.statements().is_empty()) {
        return ended;
    }
    // Where no component wrote, a commit that fails is nobody's own.
    Ok(ended.map_err(LedgerError::from)?)
}
