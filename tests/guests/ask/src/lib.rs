//! Reads with a query, then writes what holds only if exactly one row is touched.

wit_bindgen::generate!({ path: "../../../wit", world: "worker", generate_all });
export!(Component);

use wasi::config::store;
use wharf::worker::sql::{self, SqlError, Value};

struct Component;

impl Guest for Component {
    fn handle(event: Event) -> Result<(), Failure> {
        let id = Value::Text(event.subject.unwrap_or_default());
        let rows = sql::query("find", std::slice::from_ref(&id)).map_err(retry)?;
        let Some(row) = rows.first() else {
            return Err(Failure::Reject("there is no such row".into()));
        };
        let step = store::get("step").ok().flatten().and_then(|step| step.parse().ok());
        let count = match row.columns.first() {
            Some((_, Value::Integer(count))) => Value::Integer(count + step.unwrap_or(1)),
            other => return Err(Failure::Reject(format!("{other:?} is not a count"))),
        };
        sql::execute("set", &[id, count], Some(1)).map_err(retry)
    }
}

fn retry(error: SqlError) -> Failure {
    Failure::Retry(format!("{error:?}"))
}
