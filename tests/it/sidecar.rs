//! What the host says to a sidecar, and what each of its answers means. The sidecar here is a fake
//! that answers as told; tests/e2e asks the real one.

mod answers;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use wharf::backend::dapr::Sidecar;
use wharf::backend::{Backend as _, BackendError};
use wharf::config::DaprEndpoint;
use wharf::effect::{Call, OutgoingEvent, OutgoingJob, StateChange, StateWrite};
use wharf::event::Trace;
use wharf::name::{BindingName, ContractName, JobName, Pubsub, StoreName, Topic};

/// A sidecar that answers as told, then 204.
#[derive(Clone, Default)]
struct Fake {
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// The other end of each call's connection.
    callers: Arc<Mutex<BTreeSet<SocketAddr>>>,
}

/// What it was asked.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    /// Method, path and query, as they came.
    line: String,
    token: String,
    content_type: String,
    traceparent: String,
    body: Value,
}

impl Fake {
    async fn start() -> (Self, Sidecar) {
        let fake = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(fake.clone());
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        let endpoint = DaprEndpoint { url, token: Some("token".into()) };
        (fake, Sidecar::new(&endpoint).unwrap())
    }

    fn answers(&self, status: u16, body: &impl ToString) {
        self.answers.lock().unwrap().push_back((status, body.to_string()));
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

async fn answer(
    State(fake): State<Fake>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    request: Request,
) -> (StatusCode, String) {
    fake.callers.lock().unwrap().insert(caller);
    let (parts, body) = request.into_parts();
    let header = |name: &str| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let text = || Value::from(String::from_utf8_lossy(&body).into_owned());
    fake.asked.lock().unwrap().push(Asked {
        line: format!("{} {}", parts.method, parts.uri),
        token: header("dapr-api-token"),
        content_type: header("content-type"),
        traceparent: header("traceparent"),
        body: serde_json::from_slice(&body).unwrap_or_else(|_| text()),
    });
    let answer = fake.answers.lock().unwrap().pop_front();
    let (status, body) = answer.unwrap_or((204, String::new()));
    (StatusCode::from_u16(status).unwrap(), body)
}

fn event(topic: &str, number: u32, key: Option<&str>) -> OutgoingEvent {
    OutgoingEvent {
        pubsub: Pubsub::new("kafka").unwrap(),
        topic: Topic::new(topic).unwrap(),
        id: format!("e-{number}"),
        content_type: "application/cloudevents+json".into(),
        payload: json!({ "id": format!("e-{number}"), "data": number }).to_string().into(),
        partition_key: key.map(str::to_owned),
    }
}

fn set(key: &str, ttl_seconds: Option<u32>) -> StateWrite {
    let change = StateChange::Set { value: Bytes::from_static(b"\0\xff"), ttl_seconds };
    StateWrite { store: StoreName::new("store").unwrap(), key: key.into(), change }
}

fn job() -> OutgoingJob {
    OutgoingJob {
        name: JobName::new("j 1").unwrap(),
        due: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        schedule: Some("@every 1m".into()),
        repeats: Some(3),
        data: r#"{"n":1}"#.into(),
    }
}

fn call(data: &'static [u8]) -> Call {
    Call {
        id: "call-1".into(),
        binding: BindingName::new("mail").unwrap(),
        operation: "create".into(),
        data: Bytes::from_static(data),
        metadata: vec![("to".into(), "ann".into())],
        contract: ContractName::new("c").unwrap(),
        subject: None,
        trace: Trace::new("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None),
    }
}

async fn publish_one(sidecar: &Sidecar) -> Result<(), BackendError> {
    sidecar.publish(vec![event("t", 1, None)]).await.remove(0)
}

#[tokio::test]
async fn each_call_is_what_daprs_api_asks_for() {
    let (fake, sidecar) = Fake::start().await;
    let store = || StoreName::new("store").unwrap();
    publish_one(&sidecar).await.unwrap();
    sidecar.write_state(set("a/k", Some(60))).await.unwrap();
    let delete = StateWrite { change: StateChange::Delete, ..set("a/k", None) };
    sidecar.write_state(delete).await.unwrap();
    sidecar.state(store(), "a/k".into()).await.unwrap();
    sidecar.secret(store(), "key".into()).await.unwrap();
    sidecar.schedule(job()).await.unwrap();
    sidecar.cancel(job().name).await.unwrap();
    sidecar.invoke(call(b"{\"a\":1}")).await.unwrap();
    let asked = fake.asked();
    let policy = json!({ "constant": { "interval": "1s" } });
    let expected = [
        ("POST /v1.0/publish/kafka/t", json!({ "id": "e-1", "data": 1 })),
        (
            "POST /v1.0/state/store",
            json!([{ "key": "a/k", "value": "AP8=", "metadata": { "ttlInSeconds": "60" } }]),
        ),
        ("DELETE /v1.0/state/store/a%2Fk", json!("")),
        ("GET /v1.0/state/store/a%2Fk", json!("")),
        ("GET /v1.0/secrets/store/key", json!("")),
        (
            "POST /v1.0/jobs/j%201",
            json!({ "schedule": "@every 1m", "repeats": 3, "dueTime": "2026-01-01T00:00:00.000000Z",
                    "data": { "n": 1 }, "overwrite": true, "failurePolicy": policy }),
        ),
        ("DELETE /v1.0/jobs/j%201", json!("")),
        (
            "POST /v1.0/bindings/mail",
            json!({ "operation": "create", "data": { "a": 1 },
                    "metadata": { "Idempotency-Key": "call-1", "idempotency-key": "call-1", "to": "ann" } }),
        ),
    ];
    assert_eq!(asked.len(), expected.len());
    for (asked, (line, body)) in asked.iter().zip(&expected) {
        assert_eq!((asked.line.as_str(), &asked.body), (*line, body));
        assert_eq!(asked.token, "token");
    }
    assert_eq!(asked[0].content_type, "application/cloudevents+json");
    assert_eq!(asked[7].traceparent, call(b"").trace.unwrap().parent);
}

#[tokio::test]
async fn calls_one_after_the_other_share_a_connection() {
    let (fake, sidecar) = Fake::start().await;
    for _ in 0..20 {
        publish_one(&sidecar).await.unwrap();
        sidecar.cancel(job().name).await.unwrap();
    }
    assert_eq!((fake.lines().len(), fake.callers.lock().unwrap().len()), (40, 1));
}

#[tokio::test]
async fn a_sidecar_that_does_not_answer_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let sidecar = Sidecar::new(&DaprEndpoint { url, token: None }).unwrap();
    let began = Instant::now();
    let store = StoreName::new("store").unwrap();
    let (published, read) =
        tokio::join!(publish_one(&sidecar), sidecar.state(store, "a/k".to_owned()));
    assert!(matches!(published, Err(BackendError::Unavailable(_))), "{published:?}");
    assert!(matches!(read, Err(BackendError::Unavailable(_))), "{read:?}");
    let took = began.elapsed();
    assert!(took > Duration::from_secs(10) && took < Duration::from_secs(30), "{took:?}");
}

#[tokio::test]
async fn every_part_of_a_path_is_encoded() {
    let (fake, sidecar) = Fake::start().await;
    let mut one = event("a/b+c d?#%é..", 1, Some("ann & bob+"));
    one.pubsub = Pubsub::new("p/q").unwrap();
    sidecar.publish(vec![one.clone()]).await.remove(0).unwrap();
    let path = "/v1.0/publish/p%2Fq/a%2Fb%2Bc%20d%3F%23%25%C3%A9..";
    assert_eq!(fake.lines(), [format!("POST {path}?metadata.partitionKey=ann+%26+bob%2B")]);
    // Not even encoded would they come through.
    for topic in [".", ".."] {
        one.topic = Topic::new(topic).unwrap();
        let refused = sidecar.publish(vec![one.clone()]).await.remove(0);
        assert!(matches!(refused, Err(BackendError::Refused(_))), "{refused:?}");
    }
    assert_eq!(fake.lines(), [""; 0]);
}

#[tokio::test]
async fn what_has_no_envelope_gets_its_id_from_here() {
    let (fake, sidecar) = Fake::start().await;
    let mut one = event("t", 1, None);
    one.content_type = "text/plain".into();
    sidecar.publish(vec![one]).await.remove(0).unwrap();
    let asked = fake.asked().remove(0);
    assert_eq!(asked.line, "POST /v1.0/publish/kafka/t?metadata.cloudevent.id=e-1");
    assert_eq!(asked.content_type, "text/plain");
}

#[tokio::test]
async fn a_bulk_has_one_event_of_a_lane_and_says_which_failed() {
    let (fake, sidecar) = Fake::start().await;
    let failed = json!([{ "entryId": "1", "error": "kafka: client has run out of brokers" }]);
    let code = "ERR_PUBSUB_PUBLISH_MESSAGE";
    fake.answers(500, &json!({ "failedEntries": failed, "errorCode": code }));
    let batch = vec![event("t", 0, Some("a")), event("t", 1, Some("b")), event("t", 2, Some("a"))];
    let results = sidecar.publish(batch).await;
    assert_eq!(results[0], Ok(()));
    assert!(matches!(&results[1], Err(BackendError::Unavailable(_))), "{results:?}");
    assert_eq!(results[2], Ok(()));
    let asked = fake.asked();
    let entry = |number: u32, key: &str| {
        json!({ "entryId": number.to_string(), "contentType": "application/cloudevents+json",
                "event": { "id": format!("e-{number}"), "data": number },
                "metadata": { "partitionKey": key } })
    };
    assert_eq!(asked[0].line, "POST /v1.0/publish/bulk/kafka/t");
    assert_eq!(asked[0].body, json!([entry(0, "a"), entry(1, "b")]));
    assert_eq!(asked[1].line, "POST /v1.0/publish/kafka/t?metadata.partitionKey=a");
    assert_eq!(asked.len(), 2);
}

#[tokio::test]
async fn one_events_fault_is_not_the_bulks() {
    let (fake, sidecar) = Fake::start().await;
    fake.answers(400, &json!({ "errorCode": "ERR_PUBSUB_EVENTS_SER", "message": "no" }));
    fake.answers(204, &"");
    fake.answers(400, &json!({ "errorCode": "ERR_PUBSUB_EVENTS_SER", "message": "no" }));
    let results = sidecar.publish(vec![event("t", 0, None), event("t", 1, None)]).await;
    assert_eq!(results[0], Ok(()));
    assert!(matches!(&results[1], Err(BackendError::Refused(_))), "{results:?}");
    assert_eq!(fake.lines().len(), 3);
}

#[tokio::test]
async fn a_bulk_that_changes_a_number_is_none() {
    let (fake, sidecar) = Fake::start().await;
    let mut exact = event("t", 0, None);
    exact.payload = Bytes::from_static(br#"{"id":"e-0","data":9007199254740993}"#);
    let results = sidecar.publish(vec![exact, event("t", 1, None), event("t", 2, None)]).await;
    assert_eq!(results, [Ok(()), Ok(()), Ok(())]);
    let mut lines = fake.lines();
    lines.sort();
    assert_eq!(lines, ["POST /v1.0/publish/bulk/kafka/t", "POST /v1.0/publish/kafka/t"]);
}

/// Redis counts down on what it was told before, and other stores take -1 for a time that is over.
#[tokio::test]
async fn a_value_without_a_time_to_live_stays_in_redis_too() {
    let (fake, sidecar) = Fake::start().await;
    let set_in =
        |store: &str| StateWrite { store: StoreName::new(store).unwrap(), ..set("k", None) };
    let components = json!({ "components": [
        { "name": "store", "type": "state.redis" }, { "name": "other", "type": "state.mongodb" },
    ] });
    for (store, asks, metadata) in [
        ("store", true, json!({ "ttlInSeconds": "-1" })),
        ("store", false, json!({ "ttlInSeconds": "-1" })),
        ("other", true, Value::Null),
        ("other", false, Value::Null),
    ] {
        if asks {
            fake.answers(200, &&components);
        }
        sidecar.write_state(set_in(store)).await.unwrap();
        let asked = fake.asked();
        assert_eq!(asked.len(), 1 + usize::from(asks), "{store}: {asked:?}");
        assert_eq!(asked.last().unwrap().body[0]["metadata"], metadata, "{store}");
    }
}

#[tokio::test]
async fn what_is_read_is_what_was_written() {
    let (fake, sidecar) = Fake::start().await;
    let store = || StoreName::new("store").unwrap();
    fake.answers(200, &"\"AP8=\"");
    let value = sidecar.state(store(), "k".into()).await;
    assert_eq!(value, Ok(Some(Bytes::from_static(b"\0\xff"))));
    fake.answers(204, &"");
    assert_eq!(sidecar.state(store(), "k".into()).await, Ok(None));
    fake.answers(200, &"{\"foreign\":1}");
    let foreign = sidecar.state(store(), "k".into()).await;
    assert!(matches!(foreign, Err(BackendError::Refused(_))), "{foreign:?}");

    fake.answers(200, &r#"{"user":"ann","password":"x"}"#);
    let secret = sidecar.secret(store(), "s".into()).await.unwrap().unwrap();
    let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(secret, [entry("password", "x"), entry("user", "ann")]);
    fake.answers(200, &"\"hunter2\"");
    let broken = sidecar.secret(store(), "s".into()).await.unwrap_err();
    assert!(!broken.to_string().contains("hunter2"), "{broken}");

    fake.answers(200, &"thanks");
    assert_eq!(sidecar.invoke(call(b"")).await, Ok(Bytes::from_static(b"thanks")));
    for (data, sent) in
        [(&b"text"[..], json!("text")), (b"\"text\"", json!("text")), (b"\xff", json!("/w=="))]
    {
        fake.asked();
        sidecar.invoke(Call { data: Bytes::from_static(data), ..call(b"") }).await.unwrap();
        assert_eq!(fake.asked().remove(0).body["data"], sent);
    }
}

#[tokio::test]
async fn some_answers_have_their_own_meaning() {
    let (fake, sidecar) = Fake::start().await;
    let gone = json!({ "errorCode": "ERR_SECRET_GET", "message": "secret s not found" });
    fake.answers(500, &gone);
    assert_eq!(sidecar.secret(StoreName::new("x").unwrap(), "s".into()).await, Ok(None));
    // Some codes stand among the details only.
    let details = json!([{ "reason": "DAPR_SCHEDULER_SCHEDULE_EMPTY" }]);
    fake.answers(400, &json!({ "errorCode": "", "message": "", "details": details }));
    let refused = sidecar.schedule(job()).await;
    assert!(matches!(refused, Err(BackendError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn a_sidecar_that_is_away_did_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let sidecar = Sidecar::new(&DaprEndpoint { url, token: None }).unwrap();
    let away = publish_one(&sidecar).await;
    assert!(matches!(away, Err(BackendError::Away(_))), "{away:?}");
}
