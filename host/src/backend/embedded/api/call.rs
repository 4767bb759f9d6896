//! Which of Dapr's calls a request is. The path is cleaned as a whole, then split, then each
//! parameter is unescaped as a query is (`+` is a space), all as daprd does.

use axum::http::Method;
use percent_encoding::percent_decode_str;

use crate::name::Pubsub;

/// Where a publish goes. The topic is not checked yet: daprd leaves that to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub pubsub: Pubsub,
    pub topic: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    Publish(Target),
    PublishBulk(Target),
    State {
        store: String,
        call: StateCall,
    },
    Secret {
        store: String,
        key: String,
    },
    Secrets {
        store: String,
    },
    Job {
        name: String,
        call: JobCall,
    },
    Binding {
        name: String,
    },
    Metadata,
    Health,
    OutboundHealth,
    /// Whatever daprd does not know, it takes for a service invocation.
    Other {
        invokes: bool,
    },
}

/// Which call of a state store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateCall {
    Save,
    Get(String),
    Delete(String),
    Bulk,
    Transaction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobCall {
    Schedule,
    Get,
    Delete,
}

/// An error is the text of a 400.
pub fn parse(method: &Method, path: &str) -> Result<Call, String> {
    let segments = clean(path);
    let writes = *method == Method::POST || *method == Method::PUT;
    let reads = *method == Method::GET;
    Ok(match segments.as_slice() {
        ["v1.0", "state", store, rest @ ..] => match state(method, rest)? {
            Some(call) => Call::State { store: unescape("storeName", store)?, call },
            None => Call::Other { invokes: false },
        },
        ["v1.0", "secrets", store, "bulk"] if reads => {
            Call::Secrets { store: unescape("secretStoreName", store)? }
        }
        ["v1.0", "secrets", store, key] if reads => {
            Call::Secret { store: unescape("secretStoreName", store)?, key: unescape("key", key)? }
        }
        ["v1.0" | "v1.0-alpha1", "jobs", name] => match job(method) {
            Some(call) => Call::Job { name: unescape("name", name)?, call },
            None => Call::Other { invokes: false },
        },
        ["v1.0", "bindings", name] if writes => Call::Binding { name: unescape("name", name)? },
        ["v1.0" | "v1.0-alpha1", "publish", "bulk", pubsub, topic @ ..]
            if writes && !topic.is_empty() =>
        {
            Call::PublishBulk(target(pubsub, topic)?)
        }
        ["v1.0", "publish", pubsub, topic @ ..] if writes && !topic.is_empty() => {
            Call::Publish(target(pubsub, topic)?)
        }
        ["v1.0", "metadata"] if reads => Call::Metadata,
        ["v1.0", "healthz"] if reads => Call::Health,
        ["v1.0", "healthz", "outbound"] if reads => Call::OutboundHealth,
        ["v1.0", "invoke", _, "method", ..] => Call::Other { invokes: true },
        _ => Call::Other { invokes: false },
    })
}

/// What follows the store's name.
fn state(method: &Method, rest: &[&str]) -> Result<Option<StateCall>, String> {
    let writes = *method == Method::POST || *method == Method::PUT;
    Ok(match rest {
        [] if writes => Some(StateCall::Save),
        ["bulk"] if writes => Some(StateCall::Bulk),
        ["transaction"] if writes => Some(StateCall::Transaction),
        [key] if *method == Method::GET => Some(StateCall::Get(unescape("key", key)?)),
        [key] if *method == Method::DELETE => Some(StateCall::Delete(unescape("key", key)?)),
        _ => None,
    })
}

fn job(method: &Method) -> Option<JobCall> {
    match *method {
        Method::POST => Some(JobCall::Schedule),
        Method::GET => Some(JobCall::Get),
        Method::DELETE => Some(JobCall::Delete),
        _ => None,
    }
}

/// Doubled slashes, `.` and `..` resolved; the rest still escaped.
fn clean(path: &str) -> Vec<&str> {
    path.split('/').fold(Vec::new(), |mut segments, segment| {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
        segments
    })
}

fn target(pubsub: &str, topic: &[&str]) -> Result<Target, String> {
    let pubsub = Pubsub::new(unescape("pubsubname", pubsub)?).map_err(|error| error.to_string())?;
    Ok(Target { pubsub, topic: unescape("*", &topic.join("/"))? })
}

fn unescape(name: &str, text: &str) -> Result<String, String> {
    let fail = |why: &str| format!("failed to unescape request parameter \"{name}\". Error: {why}");
    let hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let mut escapes = text.split('%').skip(1).map(str::as_bytes);
    if let Some(bad) = escapes.find(|rest| !hex(rest.first()) || !hex(rest.get(1))) {
        let bad: String = String::from_utf8_lossy(bad).chars().take(2).collect();
        return Err(fail(&format!("invalid URL escape \"%{bad}\"")));
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(|text| text.into_owned()).map_err(|_| fail("not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_daprd_reads_them() {
        for (method, path, expected) in [
            (Method::POST, "/v1.0/publish/p/t", "publish p t"),
            (Method::PUT, "/v1.0/publish/p/t/", "publish p t"),
            (Method::POST, "//v1.0//publish/x/../p/a/b/c", "publish p a/b/c"),
            (Method::POST, "/v1.0/publish/my+p%20q/a%2Fb%2Bc", "publish my p q a/b+c"),
            (Method::POST, "/v1.0/publish/bulk/t", "publish bulk t"),
            (Method::POST, "/v1.0/publish/bulk/p/t/u", "bulk p t/u"),
            (Method::POST, "/v1.0-alpha1/publish/bulk/p/t", "bulk p t"),
            (Method::POST, "/v1.0-alpha1/publish/p/t", "other false"),
            (Method::GET, "/v1.0/publish/p/t", "other false"),
            (Method::POST, "/v1.0/publish/p/", "other false"),
            (Method::PUT, "/v1.0/state/s", "state s Save"),
            (Method::GET, "/v1.0/state/s", "other false"),
            (Method::GET, "/v1.0/state/s/a%2Fb", "state s Get(\"a/b\")"),
            (Method::GET, "/v1.0/state/s/a/b", "other false"),
            (Method::GET, "/v1.0/state/s/bulk", "state s Get(\"bulk\")"),
            (Method::DELETE, "/v1.0/state/s/k", "state s Delete(\"k\")"),
            (Method::POST, "/v1.0/state/s/bulk", "state s Bulk"),
            (Method::PUT, "/v1.0/state/s/transaction", "state s Transaction"),
            (Method::POST, "/v1.0/state/s/k", "other false"),
            (Method::GET, "/v1.0/secrets/v/k", "secret v k"),
            (Method::GET, "/v1.0/secrets/v/bulk", "secrets v"),
            (Method::POST, "/v1.0/secrets/v/k", "other false"),
            (Method::POST, "/v1.0/jobs/j", "job j Schedule"),
            (Method::PUT, "/v1.0/jobs/j", "other false"),
            (Method::GET, "/v1.0-alpha1/jobs/j", "job j Get"),
            (Method::DELETE, "/v1.0-alpha1/jobs/j%20k", "job j k Delete"),
            (Method::PUT, "/v1.0/bindings/b", "binding b"),
            (Method::GET, "/v1.0/bindings/b", "other false"),
            (Method::GET, "/v1.0/metadata", "metadata"),
            (Method::GET, "/v1.0/healthz/", "health"),
            (Method::GET, "/v1.0/healthz/outbound", "outbound"),
            (Method::POST, "/v1.0/healthz", "other false"),
            (Method::POST, "/v1.0/invoke/app/method/x", "other true"),
            (Method::GET, "/", "other false"),
        ] {
            let call = match parse(&method, path).unwrap() {
                Call::Publish(Target { pubsub, topic }) => format!("publish {pubsub} {topic}"),
                Call::PublishBulk(Target { pubsub, topic }) => format!("bulk {pubsub} {topic}"),
                Call::State { store, call } => format!("state {store} {call:?}"),
                Call::Secret { store, key } => format!("secret {store} {key}"),
                Call::Secrets { store } => format!("secrets {store}"),
                Call::Job { name, call } => format!("job {name} {call:?}"),
                Call::Binding { name } => format!("binding {name}"),
                Call::Metadata => "metadata".into(),
                Call::Health => "health".into(),
                Call::OutboundHealth => "outbound".into(),
                Call::Other { invokes } => format!("other {invokes}"),
            };
            assert_eq!(call, expected, "{method} {path}");
        }
        for bad in ["%", "%2", "%zz", "%ff"] {
            assert!(parse(&Method::POST, &format!("/v1.0/publish/p/{bad}")).is_err(), "{bad}");
        }
    }
}
