//! The database beside the model, and the model's numbers as deliveries, effects and statements.

use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::runs::{Ended, Ending, Run};
use crate::clock::Timestamp;
use crate::delivery::{DeliveryHead, DeliveryId};
use crate::effect::{Call, Execute, Many, Outgoing, OutgoingEvent, SqlValue};
use crate::event::{Arrival, WireEvent};
use crate::ledger::model::{Effect, Event, Kind, ordered};
use crate::ledger::state_machine::Verdict;
use crate::ledger::{
    Ledger, LedgerOptions, Migration, NewDelivery, NewEffect, Outcome, Place, Submission,
};
use crate::manifest::Database;
use crate::name::{BindingName, ComponentId, ContractName, EventKey, Lane, Pubsub, Topic};

/// Two hosts on one database.
pub(super) struct Beside {
    pub(super) ledgers: [Ledger; 2],
    /// How the insert of [`statements`] is run for several rows.
    many: Arc<Many>,
    _folder: TempDir,
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
        // Of several committers, which one is first is not known.
        let options = LedgerOptions { committers: 1, ..LedgerOptions::of(place) };
        let open = || Ledger::open(options.clone(), &tasks, stop.clone());
        let ledgers = [open().await.unwrap(), open().await.unwrap()];
        let sql = "CREATE TABLE written (run INTEGER PRIMARY KEY)".into();
        let table = Migration { set: "audit".into(), name: "1".into(), sql };
        ledgers[0].migrate(&[table]).await.unwrap();
        let many = Arc::new(many(ledgers[0].database()));
        Self { ledgers, many, _folder: folder }
    }

    pub(super) fn submission(&self, ended: &Ended, arrived: Timestamp) -> Submission {
        submission(ended, arrived, &self.many)
    }

    /// What it says of a run that is written twice.
    pub(super) fn repeated(&self, run: &Run) -> String {
        match self.ledgers[0].database() {
            Database::Sqlite => "UNIQUE constraint failed: written.run".to_owned(),
            Database::Postgres => format!(
                "duplicate key value violates unique constraint \"written_pkey\": \
                 Key (run)=({}) already exists.",
                run.number
            ),
        }
    }
}

pub(super) fn component() -> ComponentId {
    ComponentId::new("audit").unwrap()
}

pub(super) fn id(event: Event) -> DeliveryId {
    DeliveryId { component: component(), key: EventKey::of(&[&event.to_le_bytes()]) }
}

fn head(event: Event, arrived: Timestamp) -> DeliveryHead {
    DeliveryHead {
        id: id(event),
        subject: ordered(event).then(|| "s".to_owned()),
        ordered: ordered(event),
        contract: None,
        pubsub: None,
        topic: None,
        digest: String::new(),
        event_id: event.to_string(),
        event_type: "t".into(),
        received_at: arrived,
    }
}

fn wire() -> Arc<WireEvent> {
    Arc::new(WireEvent { bytes: Bytes::from_static(b"{}"), arrival: Arrival::default() })
}

pub(super) fn internal(event: Event, arrived: Timestamp) -> NewDelivery {
    NewDelivery { head: head(event, arrived), wire: wire() }
}

fn outgoing(effect: &Effect) -> Outgoing {
    let id = effect.id.clone();
    match effect.kind {
        Kind::Publish => Outgoing::Publish(OutgoingEvent {
            pubsub: Pubsub::new("p").unwrap(),
            topic: Topic::new("t").unwrap(),
            id,
            content_type: "application/json".into(),
            payload: Bytes::new(),
            partition_key: None,
        }),
        Kind::Call => Outgoing::Invoke(Call {
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
        Ending::Failed | Ending::Rejected | Ending::NotWritten => Vec::new(),
    }
}

pub(super) fn number(run: usize) -> SqlValue {
    SqlValue::Integer(run.try_into().unwrap())
}

fn submission(ended: &Ended, arrived: Timestamp, many: &Arc<Many>) -> Submission {
    let Ended { run, ending, handed } = ended;
    let outbox = handed.effects.iter().zip(0..).map(|(effect, index)| NewEffect {
        lane: Lane::new(effect.lane.to_string()).unwrap(),
        index,
        outgoing: outgoing(effect),
    });
    let outbox = outbox.collect();
    let internal = handed.internal.iter().map(|event| self::internal(*event, arrived)).collect();
    let error = "it failed".to_owned();
    let outcome = match handed.verdict {
        Verdict::Done => {
            Outcome::Done { statements: statements(run, *ending, many), outbox, internal }
        }
        Verdict::Parked { due } => Outcome::Parked { due, error },
        Verdict::Dead => Outcome::Dead { error, outbox, internal },
    };
    Submission {
        head: head(handed.event, arrived),
        wire: wire(),
        claim: handed.claim,
        attempts: handed.attempts,
        log: Vec::new(),
        outcome,
    }
}
