//! What must hold after each step, and that the database has what the model has.

use std::collections::HashSet;

use super::calls::{FAILED, SUCCEEDED};
use super::{EVENTS, Play, RETENTION, calls, database};
use crate::delivery::DeliveryStatus;
use crate::ledger::model::{Effect, Event, OutboxRow, ordered};
use crate::ledger::record::EffectStatus;
use crate::ledger::{DeliveryFilter, Ledger};

impl Play {
    /// The promises that hold at every moment.
    pub(super) async fn check(&self) {
        for (event, times) in &self.committed {
            assert!(*times <= 1, "the effects of {event} were committed {times} times");
        }
        for event in &self.acknowledged {
            let known = self.model.rows.contains_key(event) || self.pruned.contains(event);
            assert!(known, "{event} was acknowledged and is gone");
        }
        let waiting = self.model.outbox.values().map(|row| &row.id).collect::<HashSet<_>>();
        for id in self.promised.iter().filter(|id| !waiting.contains(id)) {
            let ended = self.performed.contains(id) || self.given_up.contains(id);
            assert!(ended, "{id} is gone and was never performed");
        }
        self.check_results();
        if let Some(ledger) = self.ledger(0) {
            self.same_rows(ledger).await;
        }
    }

    /// The result of a call is there when the call is over, not before, and once. What was refused and
    /// then performed by hand has two: one of each kind.
    fn check_results(&self) {
        for event in 0..EVENTS {
            let Some(Effect { id, .. }) = calls::call(event) else { continue };
            let row = self.model.outbox.values().find(|row| row.id == id);
            let known =
                |event| self.model.rows.contains_key(&event) || self.pruned.contains(&event);
            let (succeeded, failed) = (event + SUCCEEDED, event + FAILED);
            assert!(self.results.get(&succeeded).is_none_or(|times| *times == 1), "{id} twice");
            for result in [succeeded, failed] {
                let told = self.results.contains_key(&result);
                assert_eq!(told, known(result), "{result} and what tells of it");
            }
            if !self.promised.contains(&id) {
                assert!(!known(succeeded) && !known(failed), "{id} was not made");
                continue;
            }
            let over = row.is_none() && !self.given_up.contains(&id);
            assert_eq!(known(succeeded), over, "{id}");
            let refused = row.is_some_and(|row| row.state.status == EffectStatus::Dead);
            assert!(known(failed) || !refused, "{id}");
        }
    }

    /// Once all have worked for long enough.
    pub(super) fn check_ends(&self) {
        for (event, first) in &self.delivered {
            let Some(row) = self.model.rows.get(event) else {
                let lost = !self.acknowledged.contains(event) && *first + RETENTION < self.now;
                assert!(lost || self.pruned.contains(event), "{event} is gone");
                continue;
            };
            assert_ne!(row.state.status, DeliveryStatus::Parked, "{event} never comes to its end");
        }
        let waits = |row: &&OutboxRow| row.state.status == EffectStatus::Waiting;
        assert_eq!(self.model.outbox.values().filter(waits).count(), 0, "effects wait for ever");
    }

    async fn same_rows(&self, ledger: &Ledger) {
        let filter = DeliveryFilter { limit: 100, ..DeliveryFilter::default() };
        let theirs = ledger.deliveries(&filter).await.unwrap();
        let mut theirs: Vec<_> = theirs
            .into_iter()
            .rev()
            .map(|row| {
                let event = row.head.event_id.parse::<Event>().unwrap();
                (event, row.status, row.attempts, row.due)
            })
            .collect();
        let mut rows: Vec<_> = self.model.rows.iter().collect();
        rows.sort_by_key(|(_, row)| row.sequence);
        let mut ours: Vec<_> = rows
            .into_iter()
            .map(|(event, row)| (*event, row.state.status, row.state.attempts, row.state.due))
            .collect();
        // Those of the subject first, in their order; of the others, order means nothing.
        for rows in [&mut theirs, &mut ours] {
            rows.sort_by_key(|(event, ..)| (!ordered(*event)).then_some(*event));
        }
        assert_eq!(theirs, ours);
        let written =
            ledger.query("SELECT run FROM written ORDER BY run", &[], 10_000, || {}).await;
        let written: Vec<_> = written.unwrap().into_iter().map(|row| row[0].1.clone()).collect();
        let ours: Vec<_> = self.written.iter().map(|run| database::number(*run)).collect();
        assert_eq!(written, ours, "the components' own rows");
        let dead = self.model.outbox.values().filter(|r| r.state.status == EffectStatus::Dead);
        let counts = ledger.counts().await.unwrap();
        let all = counts.outbox_waiting + counts.outbox_dead;
        assert_eq!(
            (all, counts.outbox_dead),
            (self.model.outbox.len() as u64, dead.count() as u64)
        );
    }
}
