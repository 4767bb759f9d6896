//! Does what its event says, step by step, and publishes what came of it.
//!
//! The data is one step or a list of them, each with a `do`:
//!
//! | do | with | what came of it |
//! | --- | --- | --- |
//! | `set` | `store`, `key`, `value` or `size` (in bytes), `ttl` | |
//! | `get` | `store`, `key` | the value as text, or null |
//! | `delete` | `store`, `key` | |
//! | `secret` | `store`, `key` | its entries |
//! | `schedule` | `name`, `due`, `schedule`, `repeats`, `data` (any JSON) or `text` (as it is) | |
//! | `cancel` | `name` | |
//! | `invoke` | `binding`, `operation`, `value` or `size`, `metadata` (an object of texts) | the id |
//! | `publish` | `type`, `subject`, `data` | the id |
//! | `retry`, `reject` | `reason` | the handler fails, at once |
//!
//! `com.things.said.v1` carries one `{"ok": …}` or `{"error": …}` for each step; the log has them
//! too. An event without steps, such as a firing or a binding's result, is told as
//! `{"type": …, "data": …}`; its own `com.things.said.v1` is left alone.

wit_bindgen::generate!({ path: "../../../wit", world: "worker", generate_all });
export!(Component);

use std::fmt::Debug;

use serde_json::{Value, json};
use wharf::worker::publish::{self, NewEvent};
use wharf::worker::{bindings, jobs, secrets, state};

const SAID: &str = "com.things.said.v1";

struct Component;

impl Guest for Component {
    fn handle(event: Event) -> Result<(), Failure> {
        if event.ty == SAID {
            return Ok(());
        }
        let data = serde_json::from_str(&event.data).unwrap_or_default();
        let said = match &data {
            Value::Array(steps) if steps.iter().all(is_step) => {
                steps.iter().map(step).collect::<Result<Value, _>>()?
            }
            one if is_step(one) => json!([step(one)?]),
            _ => json!({ "type": event.ty, "data": data }),
        };
        let data = said.to_string();
        publish::publish(&NewEvent { ty: SAID.into(), subject: event.subject, time: None, data })
            .map_err(|error| Failure::Reject(format!("{error:?}")))?;
        Ok(())
    }
}

fn is_step(value: &Value) -> bool {
    value["do"].is_string()
}

/// What came of one step; an error ends the handler.
fn step(step: &Value) -> Result<Value, Failure> {
    let (store, key, name) = (text(step, "store"), text(step, "key"), text(step, "name"));
    let came = match step["do"].as_str().unwrap_or_default() {
        "set" => told(state::set(&store, &key, &bytes(step), number(step, "ttl"))),
        "get" => told(state::get(&store, &key).map(|value| match value {
            Some(value) => Value::from(String::from_utf8_lossy(&value)),
            None => Value::Null,
        })),
        "delete" => told(state::delete(&store, &key)),
        "secret" => told(secrets::get(&store, &key).map(Value::from_iter)),
        "schedule" => told(jobs::schedule(&job(step, name))),
        "cancel" => told(jobs::cancel(&name)),
        "invoke" => {
            let (binding, operation) = (text(step, "binding"), text(step, "operation"));
            told(bindings::invoke(&binding, &operation, &bytes(step), &metadata(step)))
        }
        "publish" => {
            let (ty, subject) = (text(step, "type"), maybe(step, "subject"));
            let data = step["data"].to_string();
            told(publish::publish(&NewEvent { ty, subject, time: None, data }))
        }
        "retry" => return Err(Failure::Retry(text(step, "reason"))),
        "reject" => return Err(Failure::Reject(text(step, "reason"))),
        other => json!({ "error": format!("cannot do `{other}`") }),
    };
    println!("{came}");
    Ok(came)
}

fn told<T: Into<Value>, E: Debug>(came: Result<T, E>) -> Value {
    match came {
        Ok(value) => json!({ "ok": value.into() }),
        Err(error) => json!({ "error": format!("{error:?}") }),
    }
}

fn job(step: &Value, name: String) -> jobs::Job {
    jobs::Job {
        name,
        due_time: maybe(step, "due"),
        schedule: maybe(step, "schedule"),
        repeats: number(step, "repeats"),
        data: maybe(step, "text").unwrap_or_else(|| step["data"].to_string()),
    }
}

fn metadata(step: &Value) -> Vec<(String, String)> {
    let entries = step["metadata"].as_object().into_iter().flatten();
    entries.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().into())).collect()
}

fn bytes(step: &Value) -> Vec<u8> {
    match number(step, "size") {
        Some(size) => vec![b'x'; size as usize],
        None => text(step, "value").into_bytes(),
    }
}

fn maybe(step: &Value, key: &str) -> Option<String> {
    step[key].as_str().map(str::to_owned)
}

fn text(step: &Value, key: &str) -> String {
    maybe(step, key).unwrap_or_default()
}

fn number(step: &Value, key: &str) -> Option<u32> {
    step[key].as_u64().and_then(|number| number.try_into().ok())
}
