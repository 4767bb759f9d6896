//! The database beside the model, and the model's numbers as deliveries, effects and statements.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::runs::{Ended, Ending, Run};
use crate::clock::Timestamp;
use crate::delivery::{DeliveryHead, DeliveryId};
use crate::effect::{Call, Execute, Many, Outgoing, OutgoingEvent, SqlValue};
use crate::event::{Arrival, WireEvent};
use crate::ledger::model::by_hand::Filter;
use crate::ledger::model::outbox::{Effect, EffectKind, Finished};
use crate::ledger::model::{Component, Id, LEASE};
use crate::ledger::state_machine::{Performance, Verdict};
use crate::ledger::tests::Other;
use crate::ledger::{
    ClaimedDelivery, ClaimedEffect, DeliveryFilter, EffectResult, FinishedEffect, Ledger,
    LedgerOptions, Migration, NewDelivery, NewEffect, Outcome, Place, Submission,
};
use crate::manifest::Database;
use crate::name::{BindingName, ComponentId, ContractName, EventKey, Lane, Pubsub, Topic};

/// More than there are rows: each walk claims or puts aside.
const WALKS: usize = 1000;

/// Two hosts on one database.
pub(super) struct Beside {
    pub(super) ledgers: [Ledger; 2],
    place: Place,
    /// How the insert of [`statements`] is run for several rows.
    many: Arc<Many>,
    _folder: TempDir,
}

/// Who holds what components write to.
pub(super) struct Holder(Other);

impl Holder {
    pub(super) async fn let_go(mut self) {
        self.0.run("ROLLBACK").await;
    }
}

impl Beside {
    pub(super) async fn on_sqlite() -> Self {
        let folder = TempDir::new().unwrap();
        let place = Place::File(folder.path().join("ledger.db"));
        Self::open(place, folder).await
    }

    pub(super) async fn on_postgres() -> Self {
        let place = Place::Url(wharf_test_postgres::schema("model").await.url);
        Self::open(place, TempDir::new().unwrap()).await
    }

    async fn open(place: Place, folder: TempDir) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let options = LedgerOptions {
            // Of several committers, which one is first is not known.
            committers: 1,
            // So long a step takes in which somebody holds what it needs.
            busy_timeout: Duration::from_millis(50),
            ..LedgerOptions::of(place.clone())
        };
        let open = || Ledger::open(options.clone(), &tasks, stop.clone());
        let ledgers = [open().await.unwrap(), open().await.unwrap()];
        let sql = "CREATE TABLE written (run INTEGER PRIMARY KEY)".into();
        let table = Migration { set: "audit".into(), name: "1".into(), sql };
        ledgers[0].migrate(&[table]).await.unwrap();
        let many = Arc::new(many(ledgers[0].database()));
        Self { ledgers, place, many, _folder: folder }
    }

    /// In SQLite, whoever writes holds all tables.
    pub(super) fn is_held_whole(&self) -> bool {
        self.ledgers[0].database() == Database::Sqlite
    }

    pub(super) async fn hold(&self) -> Holder {
        let mut other = Other::at(&self.place).await;
        let whole = self.is_held_whole();
        other.run(if whole { "BEGIN IMMEDIATE" } else { "BEGIN; LOCK TABLE written" }).await;
        Holder(other)
    }

    pub(super) async fn strand(&self) {
        let deliveries = "UPDATE wharf_deliveries SET behind = 1 \
            WHERE status = 'parked' AND ordered = 1 AND subject IS NOT NULL";
        let effects = "UPDATE wharf_outbox SET behind = 1 WHERE status = 'waiting'";
        Other::at(&self.place).await.run(&format!("{deliveries}; {effects}")).await;
    }

    /// A claim that has looked at much ends, and how much that is depends on the machine: it goes on
    /// as long as it says itself that something is due.
    pub(super) async fn claim_parked(
        &self,
        host: usize,
        now: Timestamp,
        of: &[Component],
        limit: usize,
    ) -> Vec<ClaimedDelivery> {
        let of: Vec<_> = of.iter().map(|of| component(*of)).collect();
        let (ledger, limit) = (&self.ledgers[host], u32::try_from(limit).unwrap());
        for _walk in 0..WALKS {
            let claimed = ledger.claim_parked(now, LEASE, &of, limit).await.unwrap();
            let next = ledger.next_due(&of).await.unwrap().parked;
            if !claimed.is_empty() || next.is_none_or(|next| next > now) {
                return claimed;
            }
        }
        panic!("deliveries are due, and none is claimed")
    }

    /// Likewise.
    pub(super) async fn claim_outbox(
        &self,
        host: usize,
        now: Timestamp,
        limit: usize,
    ) -> Vec<ClaimedEffect> {
        let (ledger, limit) = (&self.ledgers[host], u32::try_from(limit).unwrap());
        for _walk in 0..WALKS {
            let claimed = ledger.claim_outbox(now, LEASE, limit).await.unwrap();
            let next = ledger.next_due(&[]).await.unwrap().outbox;
            if !claimed.is_empty() || next.is_none_or(|next| next > now) {
                return claimed;
            }
        }
        panic!("effects are due, and none is claimed")
    }

    pub(super) fn submission(&self, ended: &Ended) -> Submission {
        submission(ended, &self.many)
    }

    pub(super) fn finished(&self, finished: &Finished, now: Timestamp) -> FinishedEffect {
        let Finished { sequence, claim, performance, effects, internal } = finished;
        let internal = internal.iter().map(|id| self::internal(*id, now)).collect();
        let result = match *performance {
            Performance::Performed => EffectResult::Performed { internal },
            Performance::Again { due, attempts } => {
                EffectResult::Again { at: due, attempts, error: "away".into() }
            }
            Performance::Dead => {
                let outbox = outbox(effects);
                EffectResult::Dead { error: "refused".into(), outbox, internal }
            }
        };
        FinishedEffect { sequence: *sequence, claim: *claim, result }
    }

    /// What it says of a run that is written twice.
    pub(super) fn repeated(&self, run: usize) -> String {
        match self.ledgers[0].database() {
            Database::Sqlite => "UNIQUE constraint failed: written.run".to_owned(),
            Database::Postgres => format!(
                "duplicate key value violates unique constraint \"written_pkey\": \
                 Key (run)=({run}) already exists."
            ),
        }
    }
}

pub(super) fn component(component: Component) -> ComponentId {
    let name = match component {
        Component::Audit => "audit",
        Component::Recurring => "recurring",
    };
    ComponentId::new(name).unwrap()
}

/// The same event has the same key for either component.
pub(super) fn event(id: Id) -> String {
    format!("{:?}-{}", id.kind, id.number)
}

pub(super) fn id(id: Id) -> DeliveryId {
    let key = EventKey::of(&[event(id).as_bytes()]);
    DeliveryId { component: component(id.component), key }
}

/// Where order does not matter, there is no subject, or the component does not ask for order.
fn head(id: Id, arrived: Timestamp) -> DeliveryHead {
    let subject = id.line().map_or(id.number % 2, |(_, subject)| subject);
    DeliveryHead {
        id: self::id(id),
        subject: (id.line().is_some() || subject == 0).then(|| format!("s{subject}")),
        ordered: id.line().is_some() || subject == 1,
        contract: None,
        pubsub: None,
        topic: None,
        digest: String::new(),
        event_id: event(id),
        event_type: "t".into(),
        received_at: arrived,
    }
}

pub(super) fn filter(filter: Filter, limit: u32) -> DeliveryFilter {
    let Filter { component, status, refused } = filter;
    let component = component.map(self::component);
    DeliveryFilter { component, status, refused, limit, ..DeliveryFilter::default() }
}

fn wire() -> Arc<WireEvent> {
    Arc::new(WireEvent { bytes: Bytes::from_static(b"{}"), arrival: Arrival::default() })
}

pub(super) fn internal(id: Id, arrived: Timestamp) -> NewDelivery {
    NewDelivery { head: head(id, arrived), wire: wire() }
}

fn outgoing(effect: &Effect) -> Outgoing {
    let id = effect.id.clone();
    match effect.kind {
        EffectKind::Publish | EffectKind::Report => Outgoing::Publish(OutgoingEvent {
            pubsub: Pubsub::new("p").unwrap(),
            topic: Topic::new("t").unwrap(),
            id,
            content_type: "application/json".into(),
            payload: Bytes::new(),
            partition_key: None,
        }),
        EffectKind::Call => Outgoing::Invoke(Call {
            id,
            binding: BindingName::new("mail").unwrap(),
            operation: "create".into(),
            data: Bytes::new(),
            metadata: Vec::new(),
            contract: ContractName::new("c").unwrap(),
            subject: None,
            trace: None,
        }),
    }
}

fn many(database: Database) -> Many {
    match database {
        Database::Sqlite => {
            let text = "INSERT INTO written (run) VALUES (?), (?)".into();
            Many::Values { texts: vec![(2, text)], order: vec![0] }
        }
        Database::Postgres => Many::Unnest {
            head: "INSERT INTO written (run) SELECT r.p1 FROM ".into(),
            tail: "".into(),
        },
    }
}

/// A run that is done leaves its number, some with others in one statement, some with a count.
fn statements(run: &Run, ending: Ending, many: &Arc<Many>) -> Vec<Execute> {
    let insert = |expect| Execute {
        statement: "insert".into(),
        sql: "INSERT INTO written (run) VALUES ($1)".into(),
        many: (run.number.is_multiple_of(2)).then(|| Arc::clone(many)),
        params: vec![number(run.number)],
        expect,
    };
    let expect = (run.number.is_multiple_of(3)).then_some(1);
    match ending {
        Ending::Ok => vec![insert(expect)],
        Ending::WrongStatement => vec![insert(expect), insert(expect)],
        Ending::WrongCount => vec![insert(Some(2))],
        Ending::Failed
        | Ending::Rejected
        | Ending::Away
        | Ending::Saturated
        | Ending::NotWritten => Vec::new(),
    }
}

pub(super) fn number(run: usize) -> SqlValue {
    SqlValue::Integer(run.try_into().unwrap())
}

fn outbox(effects: &[Effect]) -> Vec<NewEffect> {
    let outbox = effects.iter().zip(0..).map(|(effect, index)| NewEffect {
        lane: Lane::new(effect.lane.to_string()).unwrap(),
        index,
        outgoing: outgoing(effect),
    });
    outbox.collect()
}

fn submission(ended: &Ended, many: &Arc<Many>) -> Submission {
    let Ended { run, ending, handed, now } = ended;
    let outbox = outbox(&handed.effects);
    let internal = handed.internal.iter().map(|id| self::internal(*id, *now)).collect();
    let error = "it failed".to_owned();
    let outcome = match handed.verdict {
        Verdict::Done => {
            Outcome::Done { statements: statements(run, *ending, many), outbox, internal }
        }
        Verdict::Parked { due } => Outcome::Parked { due, error },
        Verdict::Dead => Outcome::Dead { error, outbox, internal },
    };
    Submission {
        head: head(handed.id, handed.arrived),
        wire: wire(),
        claim: handed.claim,
        attempts: handed.attempts,
        log: Vec::new(),
        outcome,
    }
}
