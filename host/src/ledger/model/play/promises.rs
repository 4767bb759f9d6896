//! What must hold after each step, and that the database has what the model has.

use super::schedule::BOTH;
use super::{Play, RETENTION, database};
use crate::delivery::DeliveryStatus;
use crate::effect::SqlValue;
use crate::ledger::model::{Id, Kind};
use crate::ledger::{ComponentCounts, Counts, Ledger};

impl Play {
    /// The promises that hold at every moment.
    pub(super) fn check(&self) {
        for (id, times) in &self.committed {
            assert!(*times <= 1, "the effects of {id} were committed {times} times");
        }
        for id in &self.acknowledged {
            assert!(self.knows(*id), "{id} was acknowledged and is gone");
        }
        for (sequence, id) in &self.promised {
            let ended = self.performed.contains(sequence) || self.given_up.contains(sequence);
            let waits = self.model.outbox.contains_key(sequence);
            assert!(waits || ended, "{id} is gone and was never performed");
        }
        for (id, times) in &self.results {
            assert!(self.knows(*id), "{id} was to be told");
            assert!(*times == 1 || id.kind == Kind::Failed, "{id} was told {times} times");
        }
        self.check_results();
    }

    /// The database has what the model has, and says so.
    pub(super) async fn same(&self) {
        if let Some(ledger) = self.ledger(0) {
            self.same_rows(ledger).await;
            self.same_counts(ledger).await;
        }
    }

    fn knows(&self, id: Id) -> bool {
        self.model.rows.contains_key(&id) || self.pruned.contains(&id)
    }

    /// The result of a call is there when the call is over, not before. What was refused and then
    /// performed by hand has two: one of each kind.
    fn check_results(&self) {
        for id in self.committed.keys().filter(|id| id.kind == Kind::Came) {
            let call = format!("{id}/call");
            let Some((sequence, _)) = self.promised.iter().find(|(_, id)| **id == call) else {
                panic!("{call} was not made")
            };
            let result = |kind| Id { kind, ..*id };
            let row = self.model.outbox.get(sequence);
            let over = row.is_none() && !self.given_up.contains(sequence);
            assert_eq!(self.knows(result(Kind::Succeeded)), over, "{call}");
            let refused = row.is_some_and(|row| row.is_dead());
            assert!(self.knows(result(Kind::Failed)) || !refused, "{call}");
        }
        for id in self.model.rows.keys().filter(|id| !matches!(id.kind, Kind::Came | Kind::Fired)) {
            assert!(self.results.contains_key(id), "nothing left {id}");
        }
    }

    /// Once all have worked for long enough.
    pub(super) fn check_ends(&self) {
        for (number, first) in &self.delivered {
            for component in BOTH {
                let id = Id { component: *component, kind: Kind::Came, number: *number };
                let lost = !self.acknowledged.contains(&id) && *first + RETENTION < self.now;
                assert!(lost || self.knows(id), "{id} is gone");
            }
        }
        let parked = self.model.rows.values();
        let parked = parked.filter(|row| row.state.status == DeliveryStatus::Parked).count();
        assert_eq!(parked, 0, "deliveries wait for ever");
        let waiting = self.model.outbox.values().filter(|row| row.waits()).count();
        assert_eq!(waiting, 0, "effects wait for ever");
    }

    /// All that decides, in order of entry.
    async fn same_rows(&self, ledger: &Ledger) {
        let sql = "SELECT component, event_id, status, claim, attempts, next_attempt_at, behind, \
                       received_at FROM wharf_deliveries ORDER BY sequence";
        let mut rows: Vec<_> = self.model.rows.iter().collect();
        rows.sort_by_key(|(_, row)| row.sequence);
        let ours: Vec<_> = rows
            .into_iter()
            .map(|(id, row)| {
                let (event, state) = (database::event(*id), row.state);
                vec![
                    text(database::component(id.component).as_str()),
                    text(&event),
                    text(state.status.as_str()),
                    SqlValue::Integer(state.claim),
                    SqlValue::Integer(state.attempts.into()),
                    time(state.due),
                    SqlValue::Integer(row.aside.into()),
                    time(Some(row.arrived)),
                ]
            })
            .collect();
        assert_eq!(ask(ledger, sql).await, ours);
        let sql = "SELECT sequence, lane, status, claim, attempts, next_attempt_at, behind, since \
                   FROM wharf_outbox ORDER BY sequence";
        let rows = self.model.outbox.iter().map(|(sequence, row)| {
            let state = row.state;
            vec![
                SqlValue::Integer(*sequence),
                text(&row.effect.lane.to_string()),
                text(state.status.as_str()),
                SqlValue::Integer(state.claim),
                SqlValue::Integer(state.attempts.into()),
                time(Some(state.due)),
                SqlValue::Integer(row.aside.into()),
                time(Some(row.since)),
            ]
        });
        assert_eq!(ask(ledger, sql).await, rows.collect::<Vec<_>>());
        let written = ask(ledger, "SELECT run FROM written ORDER BY run").await;
        let ours = self.written.iter().map(|run| vec![database::number(*run)]);
        assert_eq!(written, ours.collect::<Vec<_>>(), "the components' own rows");
    }

    /// What the ledger says of itself.
    async fn same_counts(&self, ledger: &Ledger) {
        let count = |of, status| {
            let rows = self.model.rows.iter();
            let rows = rows.filter(|(id, row)| id.component == of && row.state.status == status);
            rows.count() as u64
        };
        let components = BOTH.iter().filter(|of| {
            let left = |status| count(**of, status) > 0;
            left(DeliveryStatus::Parked)
                || left(DeliveryStatus::Dead)
                || left(DeliveryStatus::Discarded)
        });
        let components = components.map(|of| ComponentCounts {
            component: database::component(*of),
            parked: count(*of, DeliveryStatus::Parked),
            dead: count(*of, DeliveryStatus::Dead),
        });
        let rows = || self.model.outbox.values();
        let ours = Counts {
            components: components.collect(),
            outbox_waiting: rows().filter(|row| row.waits()).count() as u64,
            outbox_dead: rows().filter(|row| row.is_dead()).count() as u64,
            outbox_oldest: rows().filter(|r| r.waits() && !r.aside).map(|r| r.since).min(),
        };
        assert_eq!(ledger.counts().await, Ok(ours));
        for of in BOTH {
            let due = ledger.next_due(&[database::component(*of)]).await;
            assert_eq!(due, Ok(self.model.next_due(*of)));
        }
    }
}

async fn ask(ledger: &Ledger, sql: &str) -> Vec<Vec<SqlValue>> {
    let rows = ledger.query(sql, &[], 10_000, || {}).await.unwrap();
    rows.into_iter().map(|row| row.into_iter().map(|(_, value)| value).collect()).collect()
}

fn text(text: &str) -> SqlValue {
    SqlValue::Text(text.to_owned())
}

fn time(time: Option<crate::clock::Timestamp>) -> SqlValue {
    time.map_or(SqlValue::Null, |time| SqlValue::Integer(time.timestamp_micros()))
}
