//! Counts each event that it commits in a row, tells of it, and takes its time: every kind of
//! effect that could be repeated, from a handler that is slow or fails when its event says so.
//!
//! | data | |
//! | --- | --- |
//! | `turns` | how long it computes first; a million are some milliseconds |
//! | `reject` | then it rejects the event, with this reason |
//! | `store` | it writes `k` to this state store |
//! | `binding` | it calls this binding |
//! | `size` | it publishes so many bytes |

wit_bindgen::generate!({ path: "../../../wit", world: "worker", generate_all });
export!(Component);

use std::fmt::Debug;

use serde_json::{Value as Json, json};
use wharf::worker::publish::{self, NewEvent};
use wharf::worker::sql::{self, Value};
use wharf::worker::{bindings, state};

const SAID: &str = "com.things.said.v1";

struct Component;

impl Guest for Component {
    fn handle(event: Event) -> Result<(), Failure> {
        let data: Json = serde_json::from_str(&event.data).unwrap_or_default();
        spin(data["turns"].as_u64().unwrap_or_default());
        if let Some(reason) = data["reject"].as_str() {
            return Err(Failure::Reject(reason.to_owned()));
        }
        sql::execute("add", &[Value::Text(event.id.clone())], Some(1)).map_err(failed)?;
        if let Some(store) = data["store"].as_str() {
            state::set(store, "k", event.id.as_bytes(), None).map_err(failed)?;
        }
        if let Some(binding) = data["binding"].as_str() {
            bindings::invoke(binding, "create", event.id.as_bytes(), &[]).map_err(failed)?;
        }
        let filler = "x".repeat(data["size"].as_u64().unwrap_or_default() as usize);
        let data = json!({ "counted": event.id, "filler": filler }).to_string();
        let said = NewEvent { ty: SAID.into(), subject: event.subject, time: None, data };
        publish::publish(&said).map_err(failed).map(|_| ())
    }
}

fn spin(turns: u64) {
    for turn in 0..turns {
        std::hint::black_box(turn);
    }
}

fn failed(error: impl Debug) -> Failure {
    Failure::Retry(format!("{error:?}"))
}
