//! A job's JSON, as protobuf's JSON mapping reads and writes it: every field in camelCase or as the
//! .proto file has it, numbers as text too, unknown fields left out.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::backend::embedded::{AskedJob, FailurePolicy, doubled};

/// The body of a POST.
#[derive(Debug, Default)]
pub struct Posted {
    /// Belongs into the path.
    pub name: String,
    pub asked: AskedJob,
    pub overwrite: bool,
}

/// An empty body asks for nothing.
pub fn read(body: &Bytes) -> Result<Posted, String> {
    if body.is_empty() {
        return Ok(Posted::default());
    }
    let value: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let fields = object("the job", &value)?;
    let policy = field(fields, "failurePolicy", "failure_policy");
    let asked = AskedJob {
        schedule: text(fields, "schedule", "schedule")?,
        repeats: number(fields, "repeats", "repeats")?,
        due_time: text(fields, "dueTime", "due_time")?,
        ttl: text(fields, "ttl", "ttl")?,
        // Null is a value here.
        data: fields.get("data").map(|data| doubled(data.clone()).to_string()),
        policy: policy.map(self::policy).transpose()?.unwrap_or_default(),
    };
    let overwrite = match field(fields, "overwrite", "overwrite") {
        None => false,
        Some(Value::Bool(overwrite)) => *overwrite,
        Some(_) => return Err(invalid("overwrite", "true or false")),
    };
    Ok(Posted { name: text(fields, "name", "name")?.unwrap_or_default(), asked, overwrite })
}

/// The answer to a GET; `None` for a job without data, which protobuf cannot write.
pub fn write(name: &str, asked: &AskedJob) -> Option<Value> {
    let data: Value = serde_json::from_str(asked.data.as_deref()?).ok()?;
    let mut job = Map::from_iter([("name".to_owned(), Value::from(name))]);
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            job.insert(name.to_owned(), value);
        }
    };
    add("schedule", asked.schedule.clone().map(Value::from));
    add("repeats", asked.repeats.map(Value::from));
    add("dueTime", asked.due_time.clone().map(Value::from));
    add("ttl", asked.ttl.clone().map(Value::from));
    let any = json!({ "@type": "type.googleapis.com/google.protobuf.Value", "value": data });
    add("data", Some(any));
    add("failurePolicy", Some(written_policy(&asked.policy)));
    Some(job.into())
}

fn policy(value: &Value) -> Result<FailurePolicy, String> {
    let fields = object("failurePolicy", value)?;
    let (drop, constant) = (field(fields, "drop", "drop"), field(fields, "constant", "constant"));
    match (drop, constant) {
        (Some(_), Some(_)) => Err(invalid("failurePolicy", "either `drop` or `constant`")),
        (Some(drop), None) => object("drop", drop).map(|_| FailurePolicy::Drop),
        (None, Some(constant)) => {
            let fields = object("constant", constant)?;
            let interval = text(fields, "interval", "interval")?;
            let interval = interval.map(|text| seconds(&text)).transpose()?;
            let max_retries = number(fields, "maxRetries", "max_retries")?;
            Ok(FailurePolicy::Constant { interval, max_retries })
        }
        (None, None) => Ok(FailurePolicy::default()),
    }
}

fn written_policy(policy: &FailurePolicy) -> Value {
    match policy {
        FailurePolicy::Drop => json!({ "drop": {} }),
        FailurePolicy::Constant { interval, max_retries } => {
            let mut constant = Map::new();
            if let Some(interval) = interval {
                constant.insert("interval".to_owned(), written_seconds(*interval).into());
            }
            if let Some(max_retries) = max_retries {
                constant.insert("maxRetries".to_owned(), (*max_retries).into());
            }
            json!({ "constant": constant })
        }
    }
}

/// The most seconds of a protobuf duration: ten thousand years.
const MOST_SECONDS: u64 = 315_576_000_000;

/// A protobuf duration: `3s`, `0.5s`.
fn seconds(text: &str) -> Result<Duration, String> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.strip_suffix('s').unwrap_or_default();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let nanos = format!("{fraction:0<9}");
    let parts = (digits(whole) && digits(fraction) && nanos.len() == 9).then_some(());
    parts
        .and_then(|()| Some(Duration::new(whole.parse().ok()?, nanos.parse().ok()?)))
        .filter(|duration| duration.as_secs() <= MOST_SECONDS)
        .ok_or_else(|| {
            let wanted = format!("seconds such as \"3s\" or \"0.5s\", at most {MOST_SECONDS}");
            invalid("interval", &wanted)
        })
}

/// With three, six or nine digits behind the point, or none.
fn written_seconds(duration: Duration) -> String {
    let fraction = match duration.subsec_nanos() {
        0 => String::new(),
        nanos if nanos % 1_000_000 == 0 => format!(".{:03}", nanos / 1_000_000),
        nanos if nanos % 1_000 == 0 => format!(".{:06}", nanos / 1_000),
        nanos => format!(".{nanos:09}"),
    };
    format!("{}{fraction}s", duration.as_secs())
}

type Fields = Map<String, Value>;

fn object<'a>(what: &str, value: &'a Value) -> Result<&'a Fields, String> {
    value.as_object().ok_or_else(|| invalid(what, "an object"))
}

/// Null is the same as missing.
fn field<'a>(fields: &'a Fields, camel: &str, proto: &str) -> Option<&'a Value> {
    fields.get(camel).or_else(|| fields.get(proto)).filter(|value| !value.is_null())
}

fn text(fields: &Fields, camel: &str, proto: &str) -> Result<Option<String>, String> {
    match field(fields, camel, proto) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(invalid(camel, "a string")),
    }
}

fn number(fields: &Fields, camel: &str, proto: &str) -> Result<Option<u32>, String> {
    let number = match field(fields, camel, proto) {
        None => return Ok(None),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    let whole = number
        .filter(|number| number.trunc() == *number && (0.0..=f64::from(u32::MAX)).contains(number));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is whole and within range"
    )]
    let number = whole.map(|number| number as u32);
    number.map(Some).ok_or_else(|| invalid(camel, "a whole number of 32 bits"))
}

fn invalid(field: &str, wanted: &str) -> String {
    format!("proto: invalid value for field {field}: give {wanted}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Posted, String> {
        read(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn a_job_is_read_as_protobuf_reads_it() {
        let posted = read_text(
            r#"{"schedule": "@daily", "repeats": "3", "due_time": "10s", "ttl": "1h",
                "data": {"n": 9007199254740993}, "overwrite": true, "colour": "red",
                "failure_policy": {"constant": {"interval": "1.5s", "max_retries": 2.0}}}"#,
        );
        let Posted { asked, overwrite, .. } = posted.unwrap();
        assert!(overwrite);
        assert_eq!(asked.schedule.as_deref(), Some("@daily"));
        assert_eq!((asked.due_time.as_deref(), asked.repeats), (Some("10s"), Some(3)));
        assert_eq!(asked.data.as_deref(), Some(r#"{"n":9007199254740992}"#));
        let policy = FailurePolicy::Constant {
            interval: Some(Duration::from_millis(1500)),
            max_retries: Some(2),
        };
        assert_eq!(asked.policy, policy);
        let data = |text: &str| read_text(text).unwrap().asked.data;
        assert_eq!((data("{}"), data(r#"{"data": null}"#)), (None, Some("null".into())));
        for text in ["", "{}", r#"{"failurePolicy": null}"#, r#"{"failurePolicy": {}}"#] {
            assert_eq!(read_text(text).unwrap().asked, AskedJob::default(), "{text}");
        }
    }

    #[test]
    fn what_is_no_job_is_refused() {
        for text in [
            "[{}]",
            "{",
            "{} {}",
            r#"{"repeats": -1}"#,
            r#"{"repeats": 1.5}"#,
            r#"{"repeats": 4294967296}"#,
            r#"{"schedule": 5}"#,
            r#"{"overwrite": "true"}"#,
            r#"{"failurePolicy": {"drop": {}, "constant": {}}}"#,
            r#"{"failurePolicy": {"constant": {"interval": "3"}}}"#,
            r#"{"failurePolicy": {"constant": {"interval": "s"}}}"#,
            r#"{"failurePolicy": {"constant": {"interval": "-3s"}}}"#,
            r#"{"failurePolicy": {"constant": {"interval": "1.0000000001s"}}}"#,
            r#"{"failurePolicy": {"constant": {"interval": "315576000001s"}}}"#,
            r#"{"failurePolicy": {"constant": {"interval": "99999999999999999999s"}}}"#,
        ] {
            assert!(read_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_protobuf_writes_them() {
        for (nanos, expected) in
            [(0, "2s"), (500_000_000, "2.500s"), (1_000, "2.000001s"), (1, "2.000000001s")]
        {
            assert_eq!(written_seconds(Duration::new(2, nanos)), expected);
        }
    }
}
