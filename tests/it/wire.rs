//! The ingress answers exactly as daprd reads it: a wrong status or word there would lose events.

use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use wharf::config::Subscriptions;
use wharf_tests::host::{Host, Setup, bulk, event, id};

const CREATED: &str = "com.todo.task.created.v1";
const JSON: (&str, &str) = ("content-type", "application/json");
const EVENT: (&str, &str) = ("content-type", "application/cloudevents+json");
const PUBSUB: (&str, &str) = ("pubsubname", "todo-pubsub");

#[tokio::test]
async fn dapr_is_told_what_to_subscribe() {
    let host = Setup::audit().start().await;
    let (status, config) = host.ingress(Method::GET, "/dapr/config").await;
    assert_eq!((status, config), (StatusCode::OK, json!({})));
    let (status, subscriptions) = host.ingress(Method::GET, "/dapr/subscribe").await;
    assert_eq!(status, StatusCode::OK);
    let bulk = json!({ "enabled": true, "maxMessagesCount": 100, "maxAwaitDurationMs": 250 });
    let expected = json!([
        { "pubsubname": "todo-pubsub", "topic": "task-events",
          "route": "/events/task-events", "bulkSubscribe": bulk },
        { "pubsubname": "todo-pubsub", "topic": "reminder-events",
          "route": "/events/reminder-events" },
        { "pubsubname": "todo-pubsub", "topic": "recurring-events",
          "route": "/events/recurring-events", "bulkSubscribe": bulk },
    ]);
    assert_eq!(subscriptions, expected);
    host.stop().await;

    let mut declared = Setup::audit();
    declared.config.ingress.subscriptions = Subscriptions::Declarative;
    let host = declared.start().await;
    assert_eq!(host.ingress(Method::GET, "/dapr/subscribe").await, (StatusCode::OK, json!([])));
    assert_eq!(host.deliver("task-events", event(CREATED, 1).to_string()).await.0, StatusCode::OK);
    assert_eq!(host.rows("SELECT count(*) FROM audit_log").await, [["1"]]);
    host.stop().await;
}

#[tokio::test]
async fn a_bulk_has_a_status_for_each_entry_in_order() {
    let host = Setup::audit().start().await;
    let mut envelope = bulk("task-events", &[event(CREATED, 1), json!({}), event(CREATED, 2)]);
    for (entry, id) in envelope["entries"].as_array_mut().unwrap().iter_mut().zip(["z", "", "a"]) {
        entry["entryId"] = id.into();
    }
    let answer = host.callback("/events/task-events", &[JSON], envelope.to_string()).await;
    let statuses = json!({ "statuses": [
        { "entryId": "z", "status": "SUCCESS" },
        { "entryId": "", "status": "SUCCESS" },
        { "entryId": "a", "status": "SUCCESS" },
    ] });
    assert_eq!(answer, (StatusCode::OK, statuses));

    let empty = bulk("task-events", &[]).to_string();
    let answer = host.callback("/events/task-events", &[JSON], empty).await;
    assert_eq!(answer, (StatusCode::OK, json!({ "statuses": [] })));
    host.stop().await;
}

#[tokio::test]
async fn entries_without_a_route_are_acknowledged_and_counted() {
    let host = Setup::audit().start().await;
    let envelope = bulk("task-events", &[event(CREATED, 1), event(CREATED, 2)]).to_string();
    let statuses = json!({ "statuses": [
        { "entryId": "0", "status": "SUCCESS" },
        { "entryId": "1", "status": "SUCCESS" },
    ] });
    assert_eq!(host.callback("/", &[JSON], envelope).await, (StatusCode::OK, statuses));
    assert_eq!(host.count("wharf_unrouted_entries_total").await, 2);
    assert!(host.deliveries().await.is_empty());
    host.stop().await;
}

/// daprd takes 404 for done: an event or a job would be lost.
#[tokio::test]
async fn a_callback_that_nobody_wants_is_never_404() {
    let host = Setup::audit().start().await;
    let event = event(CREATED, 1).to_string();
    for path in
        ["/", "/nobody", "/job/reminder-1", "/job/a/b", "/job/", "/job", "/dapr/x", "/events"]
    {
        let (status, answer) = host.callback(path, &[EVENT, PUBSUB], event.clone()).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{path}: {answer}");
        let (status, answer) = host.callback(path, &[JSON], "").await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{path}: {answer}");
    }
    for path in ["/dapr/config", "/dapr/subscribe", "/health"] {
        let (status, _) = host.callback(path, &[EVENT], event.clone()).await;
        assert_ne!(status, StatusCode::NOT_FOUND, "{path}");
        assert!(!status.is_success(), "{path}");
    }
    assert!(host.deliveries().await.is_empty());
    host.stop().await;
}

/// daprd starts an input binding when its probe is answered with 2xx or 405.
#[tokio::test]
async fn a_binding_that_nobody_wants_is_not_started() {
    let host = Setup::audit().start().await;
    for path in ["/cron", "/anything/at/all", "/events/task-events", "/job/x"] {
        let (status, _) = host.ingress(Method::OPTIONS, path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    host.stop().await;
}

#[tokio::test]
async fn only_dapr_may_call() {
    let mut setup = Setup::audit();
    setup.config.ingress.token = Some("s3cret".to_owned());
    let host = setup.start().await;
    let event = event(CREATED, 1).to_string();
    for token in ["", "s3cre", "s3cret!", "S3CRET"] {
        let headers = [EVENT, PUBSUB, ("dapr-api-token", token)];
        for path in ["/events/task-events", "/job/x", "/"] {
            let (status, _) = host.callback(path, &headers, event.clone()).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{path} with `{token}`");
        }
    }
    assert_eq!(host.ingress(Method::GET, "/dapr/subscribe").await.0, StatusCode::UNAUTHORIZED);
    assert!(host.deliveries().await.is_empty());
    // daprd sends no token with its health probe.
    assert_eq!(host.ingress(Method::GET, "/health").await.0, StatusCode::OK);
    let headers = [EVENT, PUBSUB, ("dapr-api-token", "s3cret")];
    let answer = host.callback("/events/task-events", &headers, event).await;
    assert_eq!(answer, (StatusCode::OK, json!({ "status": "SUCCESS" })));
    assert_eq!(host.deliveries().await, [["audit done 1", ""]]);
    host.stop().await;
}

#[tokio::test]
async fn a_trace_is_kept_only_when_it_is_one() {
    let host = Setup::audit().start().await;
    let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let zero = "00-00000000000000000000000000000000-0000000000000000-00";
    for (number, given, kept) in [
        (1, Some(valid), format!("{valid} a=b")),
        (2, Some(zero), "none".to_owned()),
        (3, Some("garbage"), "none".to_owned()),
        (4, None, "none".to_owned()),
    ] {
        // Dead, since a done delivery keeps nothing.
        let mut bad = event("com.todo.task.created.v2", number);
        bad["traceid"] = json!(17);
        bad["traceparent"] = json!({ "not": "a string" });
        let mut headers = vec![EVENT, PUBSUB, ("tracestate", "a=b")];
        headers.extend(given.map(|parent| ("traceparent", parent)));
        let (_, answer) = host.callback("/events/task-events", &headers, bad.to_string()).await;
        assert_eq!(answer, json!({ "status": "SUCCESS" }));
        let trace = host
            .rows(
                "SELECT coalesce(arrival->>'$.trace.parent' || ' ' || (arrival->>'$.trace.state'), 'none') \
                 FROM wharf_deliveries WHERE component = '-' ORDER BY sequence DESC LIMIT 1",
            )
            .await;
        assert_eq!(trace, [[kept]], "{given:?}");
    }
    let mut odd = event(CREATED, 5);
    odd["traceid"] = json!(17);
    host.deliver("task-events", odd.to_string()).await;
    assert_eq!(host.rows("SELECT event_id FROM audit_log WHERE error IS NULL").await, [[id(5)]]);
    host.stop().await;
}

/// An event's attributes as a record's headers in Kafka's binary mode.
fn in_headers(whole: &Value) -> Vec<(String, String)> {
    let attribute = |name: &str| {
        (format!("ce_{name}"), whole[name].as_str().unwrap_or_else(|| panic!("{name}")).to_owned())
    };
    ["specversion", "id", "source", "type", "subject", "time"].map(attribute).to_vec()
}

/// With Kafka's binary mode the attributes come in headers, and the body is the data; daprd labels
/// it `application/cloudevents+json` all the same.
#[tokio::test]
async fn an_event_in_binary_mode_is_understood() {
    let host = Setup::audit().start().await;
    let whole = event(CREATED, 1);
    let attributes = in_headers(&whole);
    let mut headers = vec![EVENT, PUBSUB];
    headers.extend(attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let data = whole["data"].to_string();
    let answer = host.callback("/events/task-events", &headers, data.clone()).await;
    assert_eq!(answer, (StatusCode::OK, json!({ "status": "SUCCESS" })));
    assert_eq!(host.deliveries().await, [["audit done 1", ""]]);
    let row = host.rows("SELECT event_id, source, entity_id, payload FROM audit_log");
    assert_eq!(row.await, [[&id(1), "test", "t-1", &data]]);
    host.stop().await;
}

/// In a bulk they are metadata of the entry, and the content type of the record is, too.
#[tokio::test]
async fn an_entry_in_binary_mode_is_understood() {
    let host = Setup::audit().start().await;
    let plain = event(CREATED, 1);
    let binary = |number: u32, is_escaped: bool| {
        let mut whole = event(CREATED, number);
        whole["source"] = json!("urn:a b");
        let mut headers = in_headers(&whole);
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        let escaped = |text: String| match is_escaped {
            true => text.replace(':', "%3A").replace('/', "%2F").replace(' ', "+"),
            false => text,
        };
        let metadata = headers.into_iter().map(|(name, value)| (name, escaped(value).into()));
        (metadata.collect::<serde_json::Map<_, Value>>(), whole["data"].clone())
    };
    let (two, three, four) = (binary(2, false), binary(3, true), binary(4, false));
    let four_raw = json!(STANDARD.encode(four.1.to_string()));
    let mut envelope = bulk("task-events", &[plain, two.1.clone(), three.1, four_raw]);
    for (entry, metadata) in [(1, two.0), (2, three.0), (3, four.0)] {
        envelope["entries"][entry]["metadata"] = metadata.into();
    }
    let (_, answer) = host.callback("/events/task-events", &[JSON], envelope.to_string()).await;
    let answers = answer["statuses"].as_array().unwrap().iter().map(|entry| &entry["status"]);
    assert_eq!(answers.collect::<Vec<_>>(), ["SUCCESS"; 4]);
    let rows = host.rows("SELECT event_id, source FROM audit_log ORDER BY event_id").await;
    let urn = "urn:a b".to_owned();
    let expected =
        [[id(1), "test".into()], [id(2), urn.clone()], [id(3), urn.clone()], [id(4), urn]];
    assert_eq!(rows, expected);
    host.stop().await;
}

#[tokio::test]
async fn a_raw_entry_is_read_from_its_base64() {
    let host = Setup::audit().start().await;
    let text = event(CREATED, 1).to_string();
    let mut envelope = bulk("task-events", &[json!(STANDARD.encode(&text))]);
    envelope["entries"][0]["contentType"] = "application/octet-stream".into();
    let answer = host.callback("/events/task-events", &[JSON], envelope.to_string()).await;
    assert_eq!(answer.1["statuses"][0]["status"], "SUCCESS");
    let rows = host.rows("SELECT event_id, payload FROM audit_log").await;
    assert_eq!(rows, [[id(1), text]]);
    host.stop().await;
}

/// In a single delivery daprd wraps what it took for bytes.
#[tokio::test]
async fn a_cloud_event_in_a_raw_payload_is_read() {
    let host = Setup::audit().start().await;
    let text = event(CREATED, 1).to_string();
    let wrapped = json!({ "specversion": "1.0", "id": "drawn", "source": "Dapr", "topic": "x",
        "type": "com.dapr.event.sent", "datacontenttype": "application/octet-stream",
        "data_base64": STANDARD.encode(&text) });
    let (_, answer) =
        host.callback("/events/task-events", &[EVENT, PUBSUB], wrapped.to_string()).await;
    assert_eq!(answer, json!({ "status": "SUCCESS" }));
    assert_eq!(host.rows("SELECT event_id, source FROM audit_log").await, [[&id(1), "test"]]);

    // One in binary mode, too: its data is wrapped, its attributes are headers all the same.
    let whole = event(CREATED, 2);
    let mut binary = wrapped;
    binary["data_base64"] = STANDARD.encode(whole["data"].to_string()).into();
    let attributes = in_headers(&whole);
    let mut headers = vec![EVENT, PUBSUB];
    headers.extend(attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let (_, answer) = host.callback("/events/task-events", &headers, binary.to_string()).await;
    assert_eq!(answer, json!({ "status": "SUCCESS" }));
    let ids = host.rows("SELECT event_id FROM audit_log ORDER BY event_id").await;
    assert_eq!(ids, [[id(1)], [id(2)]]);
    host.stop().await;
}

/// For a raw payload daprd draws another id at each delivery; Kafka's position stays the same.
#[tokio::test]
async fn a_position_tells_a_repeat_of_an_event_without_an_id() {
    let host = Setup::audit().start().await;
    let raw = |id: &str| {
        json!({ "specversion": "1.0", "id": id, "source": "Dapr", "type": "com.dapr.event.sent",
                "datacontenttype": "application/octet-stream",
                "data_base64": STANDARD.encode("{}") })
    };
    for (id, offset) in [("a", "7"), ("b", "7"), ("c", "8")] {
        let headers =
            [EVENT, PUBSUB, ("__topic", "task-events"), ("__partition", "3"), ("__offset", offset)];
        let body = raw(id).to_string();
        let (_, answer) = host.callback("/events/task-events", &headers, body).await;
        assert_eq!(answer, json!({ "status": "SUCCESS" }));
    }
    // The same place, told by a bulk.
    let mut envelope = bulk("task-events", &[raw("d")]);
    envelope["entries"][0]["metadata"] = json!({ "__partition": "3", "__offset": "8" });
    host.callback("/events/task-events", &[JSON], envelope.to_string()).await;
    host.settle().await;
    let dead = host.rows("SELECT error FROM wharf_deliveries WHERE component = '-'").await;
    assert_eq!(dead.len(), 2, "{dead:?}");
    assert_eq!(host.count("wharf_repeats_total{component=\"-\"}").await, 2);
    host.stop().await;
}

/// daprd makes a header of each of a record's, and sends for ever what is refused.
#[tokio::test]
async fn a_record_with_hundreds_of_headers_is_taken() {
    let host = Setup::audit().start().await;
    let with = |headers: usize| {
        let names: Vec<_> = (0..headers).map(|number| format!("x-{number}")).collect();
        let host = &host;
        async move {
            let own = names.iter().map(|name| (name.as_str(), "v"));
            let headers: Vec<_> = [EVENT, PUBSUB].into_iter().chain(own).collect();
            host.callback("/events/task-events", &headers, event(CREATED, 1).to_string()).await
        }
    };
    assert_eq!(with(500).await, (StatusCode::OK, json!({ "status": "SUCCESS" })));
    assert_eq!(host.deliveries().await, [["audit done 1", ""]]);
    let (status, _) = with(5000).await;
    assert_eq!(status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(host.ingress(Method::GET, "/health").await.0, StatusCode::OK);
    host.stop().await;
}

#[tokio::test]
async fn health_tells_whether_the_ledger_can_be_written() {
    let mut setup = Setup::audit();
    setup.config.ledger.busy_timeout = std::time::Duration::from_millis(50);
    let host = setup.start().await;
    let version = env!("CARGO_PKG_VERSION");
    let healthy = json!({ "status": "healthy", "service": "wharf", "version": version });
    assert_eq!(host.ingress(Method::GET, "/health").await, (StatusCode::OK, healthy.clone()));

    let mut other = host.other_program().await;
    other.lock().await;
    let (status, body) = host.ingress(Method::GET, "/health").await;
    assert_eq!((status, &body["status"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("unhealthy")));
    assert!(body["reason"].as_str().unwrap().contains("goes on by itself"), "{body}");
    other.unlock().await;
    assert_eq!(host.ingress(Method::GET, "/health").await, (StatusCode::OK, healthy));
    host.stop().await;
}

#[tokio::test]
async fn a_host_that_stops_takes_nothing_and_says_so() {
    let host = Setup::audit().start().await;
    host.app.stop().await;
    let single = request("/events/task-events", EVENT, event(CREATED, 1).to_string());
    assert_eq!(answer(&host, single).await, (200, json!({ "status": "RETRY" })));
    let two = bulk("task-events", &[event(CREATED, 1), json!("bad")]).to_string();
    let (status, statuses) = answer(&host, request("/events/task-events", JSON, two)).await;
    let expected =
        json!([{ "entryId": "0", "status": "RETRY" }, { "entryId": "1", "status": "RETRY" }]);
    assert_eq!((status, &statuses["statuses"]), (200, &expected));
    let probe = Request::get("/health").body(Body::empty()).unwrap();
    let (status, body) = answer(&host, probe).await;
    assert_eq!((status, &body["reason"]), (503, &json!("starting or stopping")));

    let host = host.restart().await;
    assert!(host.deliveries().await.is_empty());
    host.deliver("task-events", event(CREATED, 1).to_string()).await;
    assert_eq!(host.deliveries().await, [["audit done 1", ""]]);
    host.stop().await;
}

fn request(path: &str, content_type: (&str, &str), body: String) -> Request<Body> {
    let request = Request::post(path).header(content_type.0, content_type.1);
    request.header(PUBSUB.0, PUBSUB.1).body(Body::from(body)).unwrap()
}

/// Calls the routes themselves: the listener is closed.
async fn answer(host: &Host, request: Request<Body>) -> (u16, Value) {
    let answer = host.app.ingress().oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}
