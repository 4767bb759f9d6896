//! The events that every contestant gets, as daprd sends them: `task.created` of the contract
//! `cloudevents`, some 400 bytes each.

use std::fmt::Write as _;

/// Where a consumer takes them.
pub const PATH: &str = "/events/task-events";
/// What daprd calls a single event.
pub const SINGLE: &str = "application/cloudevents+json";
/// What daprd calls a bulk.
pub const BULK: &str = "application/json";
/// Events in a bulk.
pub const IN_BULK: usize = 100;

/// The `id` of an event.
pub fn id(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// One event. Its number makes its id and its subject.
pub fn single(number: u64) -> String {
    let mut text = String::with_capacity(440);
    write(&mut text, number);
    text
}

/// daprd's envelope around `IN_BULK` events, numbered from `first`.
pub fn bulk(first: u64) -> String {
    let mut text = String::with_capacity(IN_BULK * 550 + 200);
    text.push_str(concat!(
        r#"{"id":"b","type":"com.dapr.event.sent.bulk","topic":"task-events","#,
        r#""pubsubname":"todo-pubsub","metadata":{},"entries":["#
    ));
    for (index, number) in (first..).take(IN_BULK).enumerate() {
        let comma = if index == 0 { "" } else { "," };
        _ = write!(text, r#"{comma}{{"entryId":"{index}","event":"#);
        write(&mut text, number);
        text.push_str(r#","metadata":{},"contentType":"application/cloudevents+json"}"#);
    }
    text.push_str("]}");
    text
}

fn write(text: &mut String, number: u64) {
    // Writing to a string does not fail.
    _ = write!(
        text,
        concat!(
            r#"{{"specversion":"1.0","id":"00000000-0000-4000-8000-{number:012}","source":"chat-api","#,
            r#""type":"com.todo.task.created.v1","subject":"{number}","time":"2026-02-03T10:00:00Z","#,
            r#""datacontenttype":"application/json","data":{{"task_id":"{number}","user_id":"u-7a1c","#,
            r#""task":{{"id":"{number}","title":"Water the plants","completed":false,"priority":"medium","#,
            r#""tags":["home"],"due_date":"2026-02-04T18:00:00Z","recurrence":"weekly"}}}}}}"#
        ),
        number = number
    );
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn events_are_json_of_the_size_that_budgets_speak_of() {
        let event = single(123_456);
        assert!((404..=440).contains(&event.len()), "{}", event.len());
        let event: Value = serde_json::from_str(&event).unwrap();
        assert_eq!(event["id"], id(123_456));
        let bulk: Value = serde_json::from_str(&bulk(7)).unwrap();
        assert_eq!(bulk["entries"].as_array().unwrap().len(), IN_BULK);
        assert_eq!(bulk["entries"][99]["event"]["subject"], "106");
    }
}
