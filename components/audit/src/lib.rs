//! Keeps every event, as received, in the table `audit_log`. This file speaks with the host;
//! [`record`] decides what a row says.

pub mod record;

mod world {
    //! Generated from `wit/`.
    #![expect(unsafe_code, reason = "a component's border is memory shared with the host")]
    #![expect(clippy::too_many_arguments, reason = "an event crosses it field by field")]

    wit_bindgen::generate!({ path: "../../wit", world: "worker", generate_all });

    use super::Audit;
    export!(Audit with_types_in self);
}

use record::{Arrival, Event, Value};
use world::wharf::worker::{delivery, sql, types};

struct Audit;

impl world::Guest for Audit {
    fn handle(event: types::Event) -> Result<(), types::Failure> {
        let arrival = Arrival {
            pubsub: delivery::pubsub(),
            topic: delivery::topic(),
            wire_type: delivery::wire_type(),
            payload: delivery::wire(),
            recorded_at: now(),
        };
        let event = Event {
            id: event.id,
            source: event.source,
            ty: event.ty,
            contract: event.contract,
            time: event.time,
            data: event.data,
        };
        let row = record::row(event, arrival).into_iter().map(sql::Value::from);
        sql::execute("insert", &row.collect::<Vec<_>>(), None).map_err(|error| {
            types::Failure::Retry(format!("cannot record the event: {}", text(error)))
        })
    }
}

fn text(error: sql::SqlError) -> String {
    let (sql::SqlError::Denied(text)
    | sql::SqlError::Invalid(text)
    | sql::SqlError::Unavailable(text)
    | sql::SqlError::Failed(text)) = error;
    text
}

impl From<Value> for sql::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(value) => Self::Integer(value),
            Value::Text(value) => Self::Text(value),
            Value::Time(value) => Self::Timestamp(value),
            Value::Bytes(value) => Self::Bytes(value),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "in a component this is the host's clock")]
fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}
