//! What an app's answer to a delivery means to daprd. The tables differ: an empty body settles a
//! single event, and fails a bulk; a job's body is not read. Field names match in any case, as Go reads JSON.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::Verdict;

/// Reads the answer to one event.
pub fn single(status: u16, body: &[u8]) -> Verdict {
    match status {
        200..=299 => match first_object(body).as_ref().map(|answer| field(answer, "status")) {
            // A status that is not a string fails to parse, and daprd skips what fails to parse.
            Some(Some(Value::String(status))) => of_status(status, Verdict::Acknowledge),
            Some(_) | None => Verdict::Acknowledge,
        },
        404 => Verdict::Drop("the app answered 404, which daprd takes as done".into()),
        other => Verdict::Retry(format!("the app answered {other}")),
    }
}

/// Reads the answer to a bulk: a verdict for each of these entries, in their order.
pub fn bulk(status: u16, body: &[u8], entries: &[String]) -> Vec<Verdict> {
    let all = |verdict: Verdict| vec![verdict; entries.len()];
    match status {
        200..=299 => match statuses(body) {
            Some(statuses) => entries.iter().map(|entry| of_entry(&statuses, entry)).collect(),
            None => all(Verdict::Retry("the app's answer has no readable statuses".into())),
        },
        404 => all(Verdict::Drop("the app answered 404, which daprd takes as done".into())),
        other => all(Verdict::Retry(format!("the app answered {other}"))),
    }
}

/// Reads the answer to a job.
pub fn job(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Acknowledge,
        404 => Verdict::Drop("the app answered 404, which daprd takes as done".into()),
        other => Verdict::Retry(format!("the app answered {other}")),
    }
}

fn of_status(status: &str, empty: Verdict) -> Verdict {
    match status {
        "" => empty,
        "SUCCESS" => Verdict::Acknowledge,
        "DROP" => Verdict::Drop("the app answered DROP".into()),
        "RETRY" => Verdict::Retry("the app answered RETRY".into()),
        other => Verdict::Retry(format!("the app answered the unknown status `{other}`")),
    }
}

fn of_entry(statuses: &HashMap<String, Vec<String>>, entry: &str) -> Verdict {
    let missing = Verdict::Retry("the app gave no status for an entry".into());
    let Some(given) = statuses.get(entry) else { return missing };
    // Should an entry have several, the one that keeps it wins.
    let mut verdicts = given.iter().map(|status| of_status(status, missing.clone()));
    let first = verdicts.next();
    verdicts
        .fold(first, |kept, next| match kept {
            Some(Verdict::Retry(_)) => kept,
            _ => Some(next),
        })
        .unwrap_or(missing)
}

/// The statuses by entry; `None` when any part has the wrong type, as Go then fails the whole.
fn statuses(body: &[u8]) -> Option<HashMap<String, Vec<String>>> {
    let mut by_entry: HashMap<String, Vec<String>> = HashMap::new();
    let list = match first_value(body)? {
        Value::Object(answer) => match field(&answer, "statuses") {
            Some(Value::Array(list)) => list.clone(),
            Some(Value::Null) | None => Vec::new(),
            Some(_) => return None,
        },
        Value::Null => Vec::new(),
        _ => return None,
    };
    for item in list {
        let Value::Object(item) = item else {
            if item.is_null() {
                continue;
            }
            return None;
        };
        let (id, status) = (string(&item, "entryId")?, string(&item, "status")?);
        by_entry.entry(id).or_default().push(status);
    }
    Some(by_entry)
}

/// A missing string is empty; one of another type is an error.
fn string(object: &Map<String, Value>, name: &str) -> Option<String> {
    match field(object, name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Null) | None => Some(String::new()),
        Some(_) => None,
    }
}

fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.iter().rfind(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn first_object(body: &[u8]) -> Option<Map<String, Value>> {
    match first_value(body)? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

/// What follows the first value is not read.
fn first_value(body: &[u8]) -> Option<Value> {
    serde_json::Deserializer::from_slice(body).into_iter().next()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(verdict: &Verdict) -> char {
        match verdict {
            Verdict::Acknowledge => 'A',
            Verdict::Drop(_) => 'D',
            Verdict::Retry(_) => 'R',
        }
    }

    #[test]
    fn a_single_answer_is_read_as_daprd_reads_it() {
        for (status, body, expected) in [
            (200, "", 'A'),
            (204, "", 'A'),
            (200, "OK", 'A'),
            (200, "[1]", 'A'),
            (200, "null", 'A'),
            (200, "{}", 'A'),
            (200, r#"{"status":""}"#, 'A'),
            (200, r#"{"status":null}"#, 'A'),
            (200, r#"{"status":5}"#, 'A'),
            (200, r#"{"status":"SUCCESS"}"#, 'A'),
            (299, r#"{"status":"RETRY"}"#, 'R'),
            (200, r#"{"Status":"RETRY"}"#, 'R'),
            (200, r#"{"status":"SUCCESS","status":"RETRY"}"#, 'R'),
            (200, r#"{"status":"RETRY"} and more"#, 'R'),
            (200, r#"{"status":"DROP"}"#, 'D'),
            (200, r#"{"status":"success"}"#, 'R'),
            (200, r#"{"status":"LATER"}"#, 'R'),
            (404, r#"{"status":"SUCCESS"}"#, 'D'),
            (199, "", 'R'),
            (302, "", 'R'),
            (400, "", 'R'),
            (500, r#"{"status":"SUCCESS"}"#, 'R'),
        ] {
            let verdict = single(status, body.as_bytes());
            assert_eq!(letter(&verdict), expected, "{status} {body}: {verdict:?}");
        }
    }

    #[test]
    fn a_bulk_answer_is_read_as_daprd_reads_it() {
        for (status, body, expected) in [
            (
                200,
                r#"{"statuses":[{"entryId":"0","status":"SUCCESS"},{"entryId":"1","status":"RETRY"},{"entryId":"2","status":"DROP"}]}"#,
                "ARD",
            ),
            (
                200,
                r#"{"statuses":[{"entryId":"1","status":"SUCCESS"},{"entryId":"9","status":"SUCCESS"}]}"#,
                "RAR",
            ),
            (
                200,
                r#"{"statuses":[{"entryId":"0","status":""},{"entryId":"1","status":"success"},{"entryId":"2"}]}"#,
                "RRR",
            ),
            (
                200,
                r#"{"statuses":[{"entryId":"0","status":"RETRY"},{"entryId":"0","status":"SUCCESS"}]}"#,
                "RRR",
            ),
            (
                200,
                r#"{"statuses":[{"entryId":"0","status":"SUCCESS"},{"entryId":1,"status":"SUCCESS"}]}"#,
                "RRR",
            ),
            (200, r#"{"statuses":"SUCCESS"}"#, "RRR"),
            (200, r#"{"status":"SUCCESS"}"#, "RRR"),
            (200, "", "RRR"),
            (200, "OK", "RRR"),
            (200, "null", "RRR"),
            (404, "", "DDD"),
            (503, r#"{"statuses":[{"entryId":"0","status":"SUCCESS"}]}"#, "RRR"),
        ] {
            let verdicts = bulk(status, body.as_bytes(), &["0", "1", "2"].map(String::from));
            let letters: String = verdicts.iter().map(letter).collect();
            assert_eq!(letters, expected, "{status} {body}: {verdicts:?}");
        }
    }
}
