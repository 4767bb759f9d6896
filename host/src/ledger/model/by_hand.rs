//! What people do to deliveries: to one, or to all that match.

use super::outbox::OutboxRow;
use super::{Component, Id, Model, Row};
use crate::clock::Timestamp;
use crate::delivery::DeliveryStatus;
use crate::ledger::state_machine::Delivery;
use crate::ledger::{ByHand, Deed};

/// Which deliveries are meant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filter {
    pub(super) component: Option<Component>,
    pub(super) status: Option<DeliveryStatus>,
    pub(super) refused: bool,
}

impl Model {
    /// In order of entry.
    pub(super) fn matching(&self, filter: Filter) -> Vec<Id> {
        let Filter { component, status, refused } = filter;
        let dead = |id: &Id| self.outbox.values().any(|row| row.of == *id && row.is_dead());
        let matches = |(id, row): &(&Id, &Row)| {
            component.is_none_or(|component| component == id.component)
                && status.is_none_or(|status| status == row.state.status)
                && (!refused || dead(id))
        };
        let mut matching: Vec<_> = self.rows.iter().filter(matches).collect();
        matching.sort_by_key(|(_, row)| row.sequence);
        matching.into_iter().map(|(id, _)| *id).collect()
    }

    /// Gives the effects that go, too. `None` when nothing is to be done.
    pub(super) fn deed(
        &mut self,
        deed: Deed,
        id: Id,
        now: Timestamp,
    ) -> Option<(ByHand, Vec<i64>)> {
        match deed {
            Deed::Retry => Some(self.retry(id, now)),
            Deed::Discard => Some(self.discard(id)),
            Deed::Count => None,
        }
    }

    /// The delivery runs again, and what told of its death goes; of any other, the refused effects
    /// are performed again. Gives what goes.
    pub(super) fn retry(&mut self, id: Id, now: Timestamp) -> (ByHand, Vec<i64>) {
        match self.by_hand(id, |row| row.retry(now)) {
            ByHand::Changed => {
                let gone = self.give_up(id);
                let left = "a dead delivery is retried";
                self.meet(if gone.is_empty() { left } else { "its refused letter goes" });
                (ByHand::Changed, gone)
            }
            ByHand::Refused(_) if self.revive(id, now) => {
                self.meet("refused effects are retried");
                (ByHand::Changed, Vec::new())
            }
            unchanged @ (ByHand::Refused(_) | ByHand::Unknown) => {
                self.meet("a retry is refused");
                (unchanged, Vec::new())
            }
        }
    }

    /// The delivery goes, if it may, and its refused effects. Gives those.
    pub(super) fn discard(&mut self, id: Id) -> (ByHand, Vec<i64>) {
        let was = self.rows.get(&id).map(|row| row.state.status);
        let changed = self.by_hand(id, Delivery::discard);
        if was == Some(DeliveryStatus::Parked) {
            let freed = id.line().is_some_and(|line| self.free_line(line));
            if freed {
                self.meet("a discarded one sets the next free");
            }
        }
        let gone = self.give_up(id);
        match (changed, was) {
            (ByHand::Changed, Some(DeliveryStatus::Parked)) => {
                self.meet("a parked delivery is discarded");
            }
            (ByHand::Changed, _) => self.meet("a dead delivery is discarded"),
            (ByHand::Refused(_), _) if !gone.is_empty() => {
                self.meet("refused effects are discarded");
                return (ByHand::Changed, gone);
            }
            (ByHand::Refused(_) | ByHand::Unknown, _) => self.meet("a discard is refused"),
        }
        (changed, gone)
    }

    fn give_up(&mut self, id: Id) -> Vec<i64> {
        let dead = |_: &i64, row: &mut OutboxRow| row.of == id && row.is_dead();
        self.outbox.extract_if(.., dead).map(|(sequence, _)| sequence).collect()
    }

    fn by_hand(
        &mut self,
        id: Id,
        to: impl FnOnce(Delivery) -> Result<Delivery, DeliveryStatus>,
    ) -> ByHand {
        let Some(row) = self.rows.get_mut(&id) else { return ByHand::Unknown };
        match to(row.state) {
            Ok(state) => {
                (row.state, row.aside) = (state, false);
                ByHand::Changed
            }
            Err(status) => ByHand::Refused(status),
        }
    }
}
