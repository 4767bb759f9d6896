//! A group in one statement instead of a transaction, where that is all it takes: on PostgreSQL, when
//! every delivery just came in, is done, and leaves nothing but inserts that can be for many, and
//! effects.

use std::collections::{BTreeMap, HashSet};

use super::{Queued, in_order};
use crate::delivery::DeliveryId;
use crate::ledger::database::Connection;
use crate::ledger::error::LedgerError;
use crate::ledger::postgres::{AtOnce, is_gone};
use crate::ledger::sql::group;
use crate::ledger::sql::row;
use crate::ledger::sql::writer::Writer;
use crate::ledger::submission::Outcome;

/// Gives those that are committed as done. For the others a transaction is due: repeats, what waits
/// behind a parked one, and all of them where one has an error of its own.
pub async fn attempt(
    writer: &mut Writer,
    queued: &[Queued],
) -> Result<HashSet<DeliveryId>, LedgerError> {
    let none = Ok(HashSet::new());
    let Connection::Postgres(open) = writer.connection().await? else { return none };
    if !open.writes_at_once() {
        return none;
    }
    let Some(at_once) = at_once(queued)? else { return none };
    match open.write_at_once(at_once).await {
        Ok(Some(rows)) => rows.iter().map(row::id).collect(),
        Ok(None) => none,
        // The server refused all of it; or the connection died while nobody used it, or just now: what
        // was written all the same will be a repeat, on the connection that `begin` opens anew.
        Err(error) if error.as_database_error().is_some() || is_gone(&error) => {
            tracing::debug!(%error, deliveries = queued.len(), "a group is written in steps");
            none
        }
        Err(error) => writer.checked(Err(error.into())),
    }
}

/// Inserts of so many components. Each selection of them is a text of its own, to be planned and kept
/// by the server.
const MOST_INSERTS: usize = 2;

/// `None` when the group takes a transaction.
fn at_once(queued: &[Queued]) -> Result<Option<AtOnce<'_>>, LedgerError> {
    let mut newcomers = Vec::with_capacity(queued.len());
    let mut inserts: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for submission in in_order(queued) {
        let head = &submission.head;
        let Outcome::Done { statements, internal, .. } = &submission.outcome else {
            return Ok(None);
        };
        if submission.claim.is_some() || !internal.is_empty() {
            return Ok(None);
        }
        for statement in statements {
            if statement.many.is_none() || statement.expect.is_some() {
                return Ok(None);
            }
            inserts.entry(&*statement.sql).or_default().push((&head.id, statement));
        }
        newcomers.push((head, submission.attempts));
    }
    if inserts.len() > MOST_INSERTS {
        return Ok(None);
    }
    let effects: Vec<_> = queued.iter().flat_map(|queued| queued.submission.leaving()).collect();
    let inbox = (group::ENTER_DONE, group::done(&mut newcomers));
    let outbox = match effects.as_slice() {
        [] => None,
        effects => Some((group::ADD_EFFECTS, group::leaving(effects)?)),
    };
    Ok(Some(AtOnce { inbox, inserts, outbox }))
}
