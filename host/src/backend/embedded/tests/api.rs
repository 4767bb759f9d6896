//! Status codes and bodies of the Dapr API, and what it stores.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::{App, World, singly, success};
use crate::backend::{Backend as _, BackendError};
use crate::clock::ManualClock;
use crate::effect::OutgoingEvent;
use crate::name::{Pubsub, Topic};

const JSON: &str = "application/json";
const CLOUD_EVENT: &str = "application/cloudevents+json";

async fn call(world: &World, line: &str, ty: &str, body: impl Into<Body>) -> (StatusCode, String) {
    let (method, path) = line.split_once(' ').unwrap();
    let request = Request::builder().method(method).uri(path).header("content-type", ty);
    let answer = world.dapr.router().oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let status = answer.status();
    let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

const PUBLISH: &str = "POST /v1.0/publish/shop/orders";
const BULK: &str = "POST /v1.0/publish/bulk/shop/orders";

#[tokio::test]
async fn calls_are_answered_as_daprd_answers_them() {
    let folder = TempDir::new().unwrap();
    let world = World::open(folder.path(), &ManualClock::default()).await;
    let raw = "POST /v1.0/publish/shop/orders?metadata.rawPayload=yes";
    let slashes = "POST /v1.0/publish/shop/a%2Fb/c+d";
    let no_app = "failed getting app id either from the URL path or the header dapr-app-id";
    for (line, ty, body, status, words) in [
        (PUBLISH, JSON, "{}", 204, ""),
        ("PUT /v1.0/publish/shop/orders", JSON, "not json", 204, ""),
        (PUBLISH, "", "", 204, ""),
        (slashes, CLOUD_EVENT, r#"{"id":"1"} and more"#, 204, ""),
        ("POST /v1.0/publish/nope/orders", JSON, "{}", 404, "\"pubsub nope is not found\""),
        ("POST /v1.0/publish/nope/orders", JSON, "{}", 404, "\"ERR_PUBSUB_NOT_FOUND\""),
        ("POST /v1.0/publish/bulk/orders", JSON, "[]", 404, "\"pubsub bulk is not found\""),
        (PUBLISH, CLOUD_EVENT, "not json", 500, "ERR_PUBSUB_CLOUD_EVENTS_SER"),
        (PUBLISH, CLOUD_EVENT, "[]", 500, "\"cannot create cloudevent\""),
        (PUBLISH, CLOUD_EVENT, "", 500, "\"cannot create cloudevent\""),
        (raw, JSON, "{}", 400, "rawPayload value must be a valid boolean: actual is 'yes'"),
        (raw, JSON, "{}", 400, "ERR_PUBSUB_REQUEST_METADATA"),
        ("POST /v1.0/publish/shop/a%00b", JSON, "{}", 500, "ERR_PUBSUB_PUBLISH_MESSAGE"),
        ("POST /v1.0/publish/shop/%zz", JSON, "{}", 400, "failed to unescape request parameter"),
        ("POST /v1.0/publish/shop", JSON, "{}", 404, "ERR_DIRECT_INVOKE"),
        ("GET /v1.0/publish/shop/orders", JSON, "", 404, no_app),
        ("POST /v1.0/invoke/x/method/y", JSON, "", 500, "invoke API is not ready"),
        ("GET /v1.0/healthz", "", "", 500, "ERR_HEALTH_NOT_READY"),
        ("GET /v1.0/healthz/outbound", "", "", 204, ""),
    ] {
        let (got, text) = call(&world, line, ty, body).await;
        assert_eq!((got.as_u16(), text.contains(words)), (status, true), "{line}: {got} {text}");
    }
    assert_eq!(world.stored("a/b/c d").await.len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn bulks_are_answered_as_daprd_answers_them() {
    let folder = TempDir::new().unwrap();
    let world = World::open(folder.path(), &ManualClock::default()).await;
    let entry = |id: &str, event: Value, ty: &str| json!({ "entryId": id, "event": event, "contentType": ty });
    let nameless = json!({ "event": {}, "contentType": JSON });
    let twice = json!([entry("1", json!({}), JSON), entry("1", json!(""), "text/plain")]);
    for (body, status, words) in [
        (json!([]), 204, ""),
        (json!({}), 400, "error when unmarshaling the request for topic orders pubsub shop"),
        (json!("no list"), 400, "ERR_PUBSUB_EVENTS_SER"),
        (twice, 400, "entryId is duplicated or not present for entry"),
        (json!([nameless]), 400, "entryId is duplicated or not present for entry"),
        (json!([entry("1", json!({}), "text/plain")]), 400, "mismatch between contentType"),
        (json!([entry("1", json!("!"), "application/octet-stream")]), 400, "decode base64"),
        (json!([entry("1", json!("x"), "image/png")]), 400, "mismatch between contentType"),
        (json!([entry("1", json!([]), CLOUD_EVENT)]), 500, "cannot create cloudevent"),
    ] {
        let (got, text) = call(&world, BULK, JSON, body.to_string()).await;
        assert_eq!((got.as_u16(), text.contains(words)), (status, true), "{body}: {got} {text}");
    }
    let (got, text) = call(&world, BULK, JSON, "").await;
    assert!(got == 400 && text.contains("ERR_PUBSUB_EVENTS_SER"), "{text}");
    let huge = format!("[{}", " ".repeat(4 << 20));
    let (got, text) = call(&world, BULK, JSON, huge).await;
    assert!(got == 400 && text.contains("stream too large"), "{text}");
    assert!(world.stored("orders").await.is_empty());
    world.stop().await;
}

#[tokio::test]
async fn what_cannot_be_stored_is_not_answered_with_success() {
    let folder = TempDir::new().unwrap();
    let world = World::open(folder.path(), &ManualClock::default()).await;
    let options = SqliteConnectOptions::new().filename(folder.path().join("dapr.db"));
    let mut other = options.connect().await.unwrap();
    sqlx::query("ALTER TABLE messages RENAME TO away").execute(&mut other).await.unwrap();
    let (status, text) = call(&world, PUBLISH, JSON, "{}").await;
    assert!(status == 500 && text.contains("ERR_PUBSUB_PUBLISH_MESSAGE"), "{text}");
    let bulk = json!([{ "entryId": "7", "event": {}, "contentType": JSON }]);
    let (status, text) = call(&world, BULK, JSON, bulk.to_string()).await;
    assert_eq!(status, 500);
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["errorCode"], "ERR_PUBSUB_PUBLISH_MESSAGE");
    assert_eq!(answer["failedEntries"][0]["entryId"], "7");

    sqlx::query("ALTER TABLE away RENAME TO messages").execute(&mut other).await.unwrap();
    assert_eq!(call(&world, PUBLISH, JSON, "{}").await.0, 204);
    assert_eq!(world.stored("orders").await.len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn an_error_has_daprs_details() {
    let folder = TempDir::new().unwrap();
    let world = World::open(folder.path(), &ManualClock::default()).await;
    let (_, text) = call(&world, PUBLISH, CLOUD_EVENT, "[]").await;
    assert_eq!(
        serde_json::from_str::<Value>(&text).unwrap(),
        json!({
            "errorCode": "ERR_PUBSUB_CLOUD_EVENTS_SER",
            "message": "cannot create cloudevent",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ResourceInfo",
                    "resource_type": "pubsub", "resource_name": "shop", "owner": "",
                    "description": "cannot create cloudevent",
                },
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "domain": "dapr.io", "reason": "DAPR_PUBSUB_CLOUD_EVENT_CREATION",
                    "metadata": { "appID": "wharf", "error": "the body is not a JSON object" },
                },
            ],
        })
    );
    world.stop().await;
}

#[tokio::test]
async fn a_body_above_four_mebibytes_is_too_large() {
    let folder = TempDir::new().unwrap();
    let world = World::open(folder.path(), &ManualClock::default()).await;
    let (status, text) = call(&world, PUBLISH, "text/plain", "x".repeat((4 << 20) + 1)).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text.contains("in pubsub shop: stream too large"), "{text}");
    let (status, _) = call(&world, PUBLISH, "text/plain", "x".repeat(4 << 20)).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(world.stored("orders").await.len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_token_is_asked_of_all_but_health_checks() {
    let folder = TempDir::new().unwrap();
    let world = World::open(folder.path(), &ManualClock::default()).await;
    let mut shared = std::sync::Arc::into_inner(world.dapr.0).unwrap();
    shared.api_token = Some("secret".into());
    let dapr = super::Embedded(std::sync::Arc::new(shared));
    for (path, token, status) in [
        ("/v1.0/metadata", None, 401),
        ("/v1.0/metadata", Some("wrong"), 401),
        ("/v1.0/metadata", Some(""), 401),
        ("/v1.0/metadata", Some("secre"), 401),
        ("/v1.0/metadata", Some("secret!"), 401),
        ("/v1.0/metadata", Some("Secret"), 401),
        ("/v1.0/metadata", Some("secret"), 200),
        ("/v1.0/healthz/outbound", None, 204),
        ("/v1.0/healthz", None, 500),
        ("/v1.0/nothing", None, 401),
    ] {
        let mut request = Request::get(path);
        if let Some(token) = token {
            request = request.header("dapr-api-token", token);
        }
        let request = request.body(Body::empty()).unwrap();
        let answer = dapr.router().oneshot(request).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path} {token:?}");
    }
}

#[tokio::test]
async fn a_ready_dapr_is_healthy_and_names_its_subscriptions() {
    let folder = TempDir::new().unwrap();
    let world = World::with_app(&folder, &App::new(singly(), |_, _| success())).await;
    assert_eq!(call(&world, "GET /v1.0/healthz", "", "").await.0, 204);
    assert_eq!(call(&world, "GET /v1.0/healthz?appid=wharf", "", "").await.0, 204);
    let (status, text) = call(&world, "GET /v1.0/healthz?appid=other", "", "").await;
    assert!(status == 500 && text.contains("ERR_HEALTH_APPID_NOT_MATCH"), "{text}");
    let (_, text) = call(&world, "GET /v1.0/metadata", "", "").await;
    let metadata: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(metadata["id"], "wharf");
    assert_eq!(metadata["components"][0]["name"], "shop");
    assert_eq!(metadata["subscriptions"][0]["rules"][0]["path"], "/orders");
    world.stop().await;
}

#[tokio::test]
async fn a_bulk_is_stored_entry_by_entry() {
    let folder = TempDir::new().unwrap();
    let world = World::open(folder.path(), &ManualClock::default()).await;
    let body = json!([
        { "entryId": "1", "event": { "n": 1 }, "contentType": "application/json" },
        { "entryId": "2", "event": { "id": "e", "source": "me" }, "contentType": CLOUD_EVENT },
        { "entryId": "3", "event": "AQI=", "contentType": "application/octet-stream",
          "metadata": { "cloudevent.id": "three" } },
        { "entryId": "4", "event": "hello", "contentType": "text/plain" },
    ]);
    let line = "POST /v1.0/publish/bulk/shop/orders?metadata.cloudevent.type=t";
    let (status, text) = call(&world, line, "application/json", body.to_string()).await;
    assert_eq!((status, text.as_str()), (StatusCode::NO_CONTENT, ""));
    let stored = world.stored("orders").await;
    assert_eq!(stored[0]["data"], json!({ "n": 1 }));
    // Only an entry that has metadata of its own takes the request's into its envelope.
    assert_eq!(stored[0]["type"], "com.dapr.event.sent");
    assert_eq!((&stored[1]["id"], &stored[1]["topic"]), (&json!("e"), &json!("orders")));
    assert_eq!((&stored[2]["id"], &stored[2]["type"]), (&json!("three"), &json!("t")));
    assert_eq!(stored[2]["data_base64"], "AQI=");
    assert_eq!(stored[3]["data"], "hello");
    world.stop().await;
}

#[tokio::test]
async fn the_relay_publishes_with_its_own_ids() {
    let folder = TempDir::new().unwrap();
    let world = World::open(folder.path(), &ManualClock::default()).await;
    let event = |pubsub: &str, content_type: &str, payload: String| OutgoingEvent {
        pubsub: Pubsub::new(pubsub).unwrap(),
        topic: Topic::new("orders").unwrap(),
        id: "mine".into(),
        content_type: content_type.into(),
        payload: payload.into(),
        partition_key: Some("k".into()),
    };
    let results = world.dapr.publish(vec![
        event("shop", CLOUD_EVENT, r#"{"id":"e1"}"#.into()),
        event("nope", CLOUD_EVENT, "{}".into()),
        event("shop", CLOUD_EVENT, "no".into()),
        event("shop", "application/json", "{}".into()),
        event("shop", "text/plain", "x".repeat((4 << 20) + 1)),
    ]);
    let results = results.await;
    let refused: Vec<_> =
        results.iter().map(|one| matches!(one, Err(BackendError::Refused(_)))).collect();
    assert_eq!(refused, [false, true, true, false, true], "{results:?}");
    let stored = world.stored("orders").await;
    assert_eq!((&stored[0]["id"], &stored[1]["id"]), (&json!("e1"), &json!("mine")));

    world.dapr.close().await;
    let late = world.dapr.publish(vec![event("shop", CLOUD_EVENT, "{}".into())]).await;
    assert!(matches!(late.as_slice(), [Err(BackendError::Unavailable(_))]), "{late:?}");
}
