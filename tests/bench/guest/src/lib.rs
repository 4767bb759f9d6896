//! The audit component, which also publishes an event for each event: what it costs when effects
//! go through the outbox.

// The very row that audit makes. Linked as a library, audit would export its own handler too.
#[path = "../../../../components/audit/src/record.rs"]
mod record;

wit_bindgen::generate!({ path: "../../../wit", world: "worker", generate_all });
export!(Component);

use record::{Arrival, Value};
use wharf::worker::publish::{self, NewEvent};
use wharf::worker::{delivery, sql};

struct Component;

impl Guest for Component {
    fn handle(event: Event) -> Result<(), Failure> {
        let echo = NewEvent {
            ty: "com.todo.bench.echoed.v1".into(),
            subject: event.subject,
            time: None,
            data: event.data.clone(),
        };
        let arrival = Arrival {
            pubsub: delivery::pubsub(),
            topic: delivery::topic(),
            wire_type: delivery::wire_type(),
            payload: delivery::wire(),
            recorded_at: now(),
        };
        let event = record::Event {
            id: event.id,
            source: event.source,
            ty: event.ty,
            contract: event.contract,
            time: event.time,
            data: event.data,
        };
        let row: Vec<_> = record::row(event, arrival).into_iter().map(value).collect();
        sql::execute("insert", &row, None).map_err(failed)?;
        publish::publish(&echo).map_err(failed)?;
        Ok(())
    }
}

fn failed(error: impl std::fmt::Debug) -> Failure {
    Failure::Reject(format!("{error:?}"))
}

fn value(value: Value) -> sql::Value {
    match value {
        Value::Null => sql::Value::Null,
        Value::Integer(value) => sql::Value::Integer(value),
        Value::Text(value) => sql::Value::Text(value),
        Value::Time(value) => sql::Value::Timestamp(value),
        Value::Bytes(value) => sql::Value::Bytes(value),
    }
}

#[expect(clippy::disallowed_methods, reason = "in a component this is the host's clock")]
fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}
