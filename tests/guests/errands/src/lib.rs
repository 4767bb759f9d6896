//! Has an effect of every kind for each event, and then fails where its event says so: what is
//! found of an attempt that failed was not to be there.
//!
//! The data is `{"fails": 2, "how": "trap", "calls": true, "plans": true, "refused": true}`: the
//! first two attempts fail, by a trap, a `retry` or a `reject`, or by a statement that breaks a
//! constraint or misses its row; it calls a binding, schedules a job that is due, and has two effects
//! that never succeed. Every effect carries the event's id and the attempt. What its subject's state
//! was before, and what comes back, the firing and the bindings' results, is written down too.

wit_bindgen::generate!({ path: "../../../wit", world: "worker", generate_all });
export!(Component);

use std::fmt::Debug;

use serde_json::{Value, json};
use wharf::worker::publish::NewEvent;
use wharf::worker::sql::Value as Column;
use wharf::worker::{bindings, jobs, publish, sql, state};

struct Component;

impl Guest for Component {
    fn handle(event: Event) -> Result<(), Failure> {
        let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
        match event.ty.as_str() {
            "com.wharf.job.fired.v1" => news("fired", &data["data"]["errand"]),
            "com.wharf.binding.succeeded.v1" => news("called", &data["effect_id"]),
            "com.wharf.binding.failed.v1" => news("failed", &data["effect_id"]),
            _ => run(&event, &data),
        }
    }
}

fn run(event: &Event, data: &Value) -> Result<(), Failure> {
    let (id, subject) = (event.id.clone(), event.subject.clone().unwrap_or_default());
    let trace = json!({ "errand": id, "attempt": event.attempt }).to_string();
    let attempt = Column::Integer(event.attempt.into());
    let before = state::get("todo-statestore", &subject).map_err(wrong)?.unwrap_or_default();
    let before = String::from_utf8_lossy(&before).into_owned();
    let mut call = String::new();
    if data["calls"] == true {
        call = bindings::invoke("notify-file", "create", trace.as_bytes(), &[]).map_err(wrong)?;
    }
    let columns = [&id, &subject, &call, &before].map(|text| Column::Text(text.clone()));
    sql::execute("note", &[columns.as_slice(), &[attempt]].concat(), None).map_err(wrong)?;
    sql::execute("count", &[Column::Text(subject.clone())], Some(1)).map_err(wrong)?;
    if data["refused"] == true {
        // For 136 years, which Dapr does not take; what comes behind it in its lane goes on.
        let years = Some(u32::MAX);
        state::set("todo-statestore", &subject, b"refused", years).map_err(wrong)?;
        bindings::invoke("notify-http", "create", trace.as_bytes(), &[]).map_err(wrong)?;
    }
    state::set("todo-statestore", &subject, trace.as_bytes(), None).map_err(wrong)?;
    let done = NewEvent {
        ty: "com.errands.done.v1".into(),
        subject: event.subject.clone(),
        time: None,
        data: trace.clone(),
    };
    publish::publish(&done).map_err(wrong)?;
    if data["plans"] == true {
        let name = format!("errand-{id}");
        let due_time = Some(event.time.clone());
        let job = jobs::Job { name, due_time, schedule: None, repeats: None, data: trace };
        jobs::schedule(&job).map_err(wrong)?;
    }
    if u64::from(event.attempt) > data["fails"].as_u64().unwrap_or_default() {
        return Ok(());
    }
    match data["how"].as_str() {
        Some("trap") => panic!("{id} fails"),
        Some("reject") => Err(Failure::Reject(format!("{id} is not wanted"))),
        Some("break") => {
            let columns = [Column::Text(id), Column::Null];
            sql::execute("tell", &columns, Some(1)).map_err(wrong)
        }
        Some("miss") => sql::execute("miss", &[], Some(1)).map_err(wrong),
        _ => Err(Failure::Retry(format!("{id} comes too early"))),
    }
}

fn news(kind: &str, what: &Value) -> Result<(), Failure> {
    let columns = [kind, what.as_str().unwrap_or_default()].map(|text| Column::Text(text.into()));
    sql::execute("tell", &columns, Some(1)).map_err(wrong)
}

fn wrong(error: impl Debug) -> Failure {
    Failure::Reject(format!("{error:?}"))
}
