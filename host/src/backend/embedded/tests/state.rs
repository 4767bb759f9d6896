//! State through the API, and as the host uses it.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::World;
use crate::backend::{Backend as _, BackendError};
use crate::clock::ManualClock;
use crate::effect::{MAX_STATE_VALUE, StateChange, StateWrite};
use crate::name::StoreName;

const SAVE: &str = "POST /v1.0/state/store";
const TRANSACTION: &str = "POST /v1.0/state/store/transaction";

async fn world(folder: &TempDir) -> World {
    World::open(folder.path(), &ManualClock::default()).await
}

/// The value and the etag of a key.
async fn get(world: &World, key: &str) -> Option<(Value, String)> {
    let line = format!("GET /v1.0/state/store/{key}");
    let (status, headers, value) = world.call_with(&line, &[], "").await;
    match status {
        204 => None,
        200 => {
            assert_eq!(headers["content-type"], "application/json");
            Some((value, headers["etag"].to_str().unwrap().to_owned()))
        }
        other => panic!("{other} {value}"),
    }
}

async fn save(world: &World, entries: &Value) -> u16 {
    world.call(SAVE, entries.to_string()).await.0
}

#[tokio::test]
async fn a_value_is_kept_as_json_with_numbers_as_doubles() {
    let folder = TempDir::new().unwrap();
    let world = world(&folder).await;
    assert_eq!(get(&world, "k").await, None);
    let value = json!({ "b": 9_007_199_254_740_993_u64, "a": [1.5, "<ä>", null] });
    assert_eq!(save(&world, &json!([{ "key": "k", "value": value }, { "key": "n" }])).await, 204);
    let stored = json!({ "a": [1.5, "<ä>", null], "b": 9_007_199_254_740_992_u64 });
    assert_eq!(get(&world, "k").await.unwrap().0, stored);
    assert_eq!(get(&world, "n").await.unwrap().0, Value::Null, "a missing value is null");
    let (status, _) = world.call("PUT /v1.0/state/store", r#"[{"KEY":"k","Value":2}] more"#).await;
    assert_eq!((status, get(&world, "k").await.unwrap().0), (204, json!(2)));
    let (status, _) = world.call("DELETE /v1.0/state/store/k", "").await;
    assert_eq!((status, get(&world, "k").await), (204, None));
    assert_eq!(world.call("DELETE /v1.0/state/store/k", "").await.0, 204, "it was gone before");

    world.stop().await;
    let world = World::open(folder.path(), &ManualClock::default()).await;
    assert!(get(&world, "n").await.is_some(), "it outlives a stop");
    world.stop().await;
}

#[tokio::test]
async fn an_etag_is_new_on_each_write_and_guards_the_next() {
    let folder = TempDir::new().unwrap();
    let world = world(&folder).await;
    let put = |value: u32, etag: &str| json!([{ "key": "k", "value": value, "etag": etag }]);
    assert_eq!(save(&world, &put(1, "1")).await, 409, "there is none yet");
    assert_eq!(save(&world, &put(1, "")).await, 204);
    let (_, first) = get(&world, "k").await.unwrap();
    assert_eq!(save(&world, &put(2, &first)).await, 204);
    let (_, second) = get(&world, "k").await.unwrap();
    assert_ne!(first, second);
    assert_eq!(save(&world, &put(3, &first)).await, 409);
    for (etag, status) in [(first.as_str(), 409), ("x", 400), ("99999999999999999999999", 400)] {
        let delete = world.call_with("DELETE /v1.0/state/store/k", &[("if-match", etag)], "").await;
        assert_eq!((delete.0, &delete.2["errorCode"]), (status, &json!("ERR_STATE_DELETE")));
    }
    assert_eq!(get(&world, "k").await.unwrap().0, json!(2));
    let delete = world.call_with("DELETE /v1.0/state/store/k", &[("if-match", &second)], "").await;
    assert_eq!(delete.0, 204);

    // An etag never comes back, not even for a value that is new again.
    assert_eq!(save(&world, &put(1, "")).await, 204);
    assert_eq!(save(&world, &put(4, &second)).await, 409);
    world.stop().await;
}

#[tokio::test]
async fn a_first_write_claims_a_key() {
    let folder = TempDir::new().unwrap();
    let world = world(&folder).await;
    let put = |concurrency: &str, ttl: &str| {
        json!([{ "key": "k", "value": 1, "metadata": { "ttlInSeconds": ttl },
                 "options": { "concurrency": concurrency } }])
    };
    assert_eq!(save(&world, &put("first-write", "10")).await, 204);
    assert_eq!(save(&world, &put("first-write", "10")).await, 409);
    assert_eq!(save(&world, &put("last-write", "10")).await, 204);
    assert_eq!(save(&world, &put("any-write", "10")).await, 500);
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(save(&world, &put("first-write", "10")).await, 204, "what expired claims nothing");
    world.stop().await;
}

#[tokio::test]
async fn a_value_is_gone_when_its_time_is_over() {
    let folder = TempDir::new().unwrap();
    let world = world(&folder).await;
    let put = |key: &str, ttl: Value| json!([{ "key": key, "value": 1, "metadata": { "ttlInSeconds": ttl } }]);
    for (key, ttl) in [("short", "10"), ("long", "20"), ("none", "-1"), ("zero", "0")] {
        assert_eq!(save(&world, &put(key, json!(ttl))).await, 204);
    }
    for (ttl, status, says) in [
        (json!("-2"), 500, "must be -1 or greater"),
        (json!("2147483648"), 500, "must be -1 or greater"),
        (json!("soon"), 500, "invalid syntax"),
        (json!(5), 400, "cannot unmarshal number"),
    ] {
        let (got, answer) = world.call(SAVE, put("k", ttl.clone()).to_string()).await;
        assert!(got == status && answer.to_string().contains(says), "{ttl}: {got} {answer}");
    }
    let (_, headers, _) = world.call_with("GET /v1.0/state/store/short", &[], "").await;
    assert_eq!(headers["metadata.ttlExpireTime"], "2026-01-01T00:00:10Z");
    let (_, headers, _) = world.call_with("GET /v1.0/state/store/none", &[], "").await;
    assert!(!headers.contains_key("metadata.ttlExpireTime"));

    world.clock.advance(Duration::from_millis(9_999));
    assert!(get(&world, "short").await.is_some());
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(get(&world, "short").await, None);
    assert!(get(&world, "long").await.is_some());
    // Written again without a time, it has none.
    assert_eq!(save(&world, &json!([{ "key": "long", "value": 2 }])).await, 204);
    world.clock.advance(Duration::from_secs(3600));
    assert!(get(&world, "long").await.is_some() && get(&world, "zero").await.is_some());

    // The address has the last word on metadata.
    let line = "POST /v1.0/state/store?metadata.ttlInSeconds=1";
    assert_eq!(world.call(line, put("short", json!("100")).to_string()).await.0, 204);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(get(&world, "short").await, None);
    world.stop().await;
}

#[tokio::test]
async fn what_expired_leaves_the_file() {
    let folder = TempDir::new().unwrap();
    let world = world(&folder).await;
    let put = json!([{ "key": "k", "value": 1, "metadata": { "ttlInSeconds": "10" } }]);
    assert_eq!(save(&world, &put).await, 204);
    world.clock.advance(Duration::from_secs(70));
    // Old things are removed after a write.
    assert_eq!(save(&world, &json!([{ "key": "other" }])).await, 204);
    world.dapr.close().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("dapr.db"));
    let mut file = sqlx::ConnectOptions::connect(&options).await.unwrap();
    let keys: Vec<String> =
        sqlx::query_scalar("SELECT key FROM state").fetch_all(&mut file).await.unwrap();
    assert_eq!(keys, ["wharf||other"]);
}

#[tokio::test]
async fn entries_of_a_save_stand_alone() {
    let folder = TempDir::new().unwrap();
    let world = world(&folder).await;
    let entry = |key: &str, etag: &str| json!({ "key": key, "value": 1, "etag": etag });
    for (entries, status, says) in [
        (
            json!([entry("a", ""), entry("b", "7")]),
            409,
            "possible etag mismatch. error from state store: possible",
        ),
        (json!([entry("b", "7"), entry("b", "x")]), 400, "invalid etag value: possible"),
        (json!([entry("b", "7")]), 409, "store: possible etag mismatch. error from state store\""),
    ] {
        let (got, answer) = world.call(SAVE, entries.to_string()).await;
        let answer = answer.to_string();
        assert!(got == status && answer.contains(says), "{entries}: {got} {answer}");
    }
    assert!(get(&world, "a").await.is_some() && get(&world, "b").await.is_none());
    world.stop().await;
}

#[tokio::test]
async fn many_keys_are_read_at_once() {
    let folder = TempDir::new().unwrap();
    let world = world(&folder).await;
    let ttl = json!({ "ttlInSeconds": "60" });
    save(&world, &json!([{ "key": "a", "value": [1] }, { "key": "b", "metadata": ttl }])).await;
    let (a, b) = (get(&world, "a").await.unwrap().1, get(&world, "b").await.unwrap().1);
    let body = json!({ "keys": ["b", "nope", "a"], "parallelism": 2 });
    let (status, answer) = world.call("POST /v1.0/state/store/bulk", body.to_string()).await;
    let expected = json!([
        { "key": "b", "data": null, "etag": b,
          "metadata": { "ttlExpireTime": "2026-01-01T00:01:00Z" } },
        { "key": "nope" },
        { "key": "a", "data": [1], "etag": a },
    ]);
    assert_eq!((status, answer), (200, expected));
    let (status, answer) = world.call("PUT /v1.0/state/store/bulk", "{}").await;
    assert_eq!((status, answer), (200, json!([])));
    world.stop().await;
}

#[tokio::test]
async fn a_transaction_is_done_whole_or_not_at_all() {
    let folder = TempDir::new().unwrap();
    let world = world(&folder).await;
    save(&world, &json!([{ "key": "old", "value": 1 }])).await;
    let upsert = |key: &str, etag: &str| json!({ "operation": "upsert", "request": { "key": key, "value": 2, "etag": etag } });
    let delete =
        |key: &str| json!({ "operation": "delete", "request": { "key": key, "etag": null } });
    let run = async |operations: Value| {
        let (status, answer) =
            world.call(TRANSACTION, json!({ "operations": operations }).to_string()).await;
        (status, answer.to_string())
    };
    let (status, answer) = run(json!([upsert("a", ""), delete("old"), upsert("b", "77")])).await;
    assert!(status == 500 && answer.contains("ERR_STATE_TRANSACTION"), "{answer}");
    assert!(answer.contains("possible etag mismatch"), "{answer}");
    assert!(get(&world, "a").await.is_none() && get(&world, "old").await.is_some());

    // Later operations see the earlier ones.
    assert_eq!(run(json!([upsert("a", ""), delete("old"), delete("a")])).await.0, 204);
    assert!(get(&world, "a").await.is_none() && get(&world, "old").await.is_none());
    assert_eq!(run(json!([])).await.0, 204);
    let (status, answer) = run(json!([{ "operation": "read", "request": {} }])).await;
    assert!(status == 400 && answer.contains("ERR_NOT_SUPPORTED_STATE_OPERATION"), "{answer}");
    let (status, answer) = run(json!([upsert("a||b", "")])).await;
    assert!(status == 400 && answer.contains("DAPR_STATE_ILLEGAL_KEY"), "{answer}");
    world.stop().await;
}

#[tokio::test]
async fn requests_that_make_no_sense_are_answered_as_daprd_answers_them() {
    let folder = TempDir::new().unwrap();
    let world = world(&folder).await;
    let huge = json!([{ "key": "k", "value": "x".repeat(4 << 20) }]).to_string();
    let fits = json!([{ "key": "k", "value": "x".repeat((4 << 20) - 40) }]).to_string();
    for (line, body, status, says) in [
        ("GET /v1.0/state/nope/k", "", 400, "ERR_STATE_STORE_NOT_FOUND"),
        ("GET /v1.0/state/nope/k", "", 400, "state store nope is not found"),
        ("POST /v1.0/state/nope/transaction", "{}", 400, "DAPR_STATE_NOT_FOUND"),
        (
            "GET /v1.0/state/store/a%7C%7Cb",
            "",
            400,
            "input key/keyPrefix 'a||b' can't contain '||'",
        ),
        (SAVE, r#"[{"key":"a||b"}]"#, 400, "DAPR_STATE_ILLEGAL_KEY"),
        (SAVE, "[]", 204, ""),
        (SAVE, "null", 204, ""),
        (SAVE, "", 400, "\"EOF\""),
        (SAVE, "{}", 400, "ERR_MALFORMED_REQUEST"),
        (SAVE, r#"[{"value":1}]"#, 400, "\\\"key\\\" is a required field"),
        (SAVE, r#"[{"key":5}]"#, 400, "SetRequest.key of type string"),
        (SAVE, &huge, 400, "stream too large"),
        (SAVE, &fits, 204, ""),
        (TRANSACTION, &huge, 400, "failed deserializing HTTP body: stream too large"),
        ("POST /v1.0/state/store/bulk", "[]", 400, "failed deserializing HTTP body"),
        ("DELETE /v1.0/state/store/k?concurrency=no", "", 500, "unrecognized concurrency model"),
        ("DELETE /v1.0/state/store/k?consistency=no", "", 500, "unrecognized consistency model"),
    ] {
        let (got, answer) = world.call(line, body.to_owned()).await;
        let answer = answer.to_string();
        assert!(got == status && answer.contains(says), "{line}: {got} {answer}");
    }
    world.stop().await;

    let folder = TempDir::new().unwrap();
    let clock = ManualClock::default();
    let world =
        World::open_with(folder.path(), &clock, |options| options.state_stores.clear()).await;
    let (status, answer) = world.call("GET /v1.0/state/store/k", "").await;
    assert_eq!((status, &answer["errorCode"]), (500, &json!("ERR_STATE_STORE_NOT_CONFIGURED")));
    world.stop().await;
}

#[tokio::test]
async fn the_host_keeps_bytes_in_strings() {
    let folder = TempDir::new().unwrap();
    let world = world(&folder).await;
    let store = |name: &str| StoreName::new(name).unwrap();
    let set = |value: &[u8], ttl_seconds| StateWrite {
        store: store("store"),
        key: "c/k".into(),
        change: StateChange::Set { value: Bytes::copy_from_slice(value), ttl_seconds },
    };
    let read = async || world.dapr.state(store("store"), "c/k".into()).await;
    assert_eq!(read().await, Ok(None));
    world.dapr.write_state(set(b"\xff\0", Some(5))).await.unwrap();
    assert_eq!(read().await, Ok(Some(Bytes::from_static(b"\xff\0"))));
    assert_eq!(get(&world, "c%2Fk").await.unwrap().0, json!("/wA="));
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(read().await, Ok(None));
    world.dapr.write_state(set(&vec![7; MAX_STATE_VALUE], None)).await.unwrap();
    let delete =
        StateWrite { store: store("store"), key: "c/k".into(), change: StateChange::Delete };
    world.dapr.write_state(delete.clone()).await.unwrap();
    assert_eq!(read().await, Ok(None));

    save(&world, &json!([{ "key": "c/k", "value": { "not": "ours" } }])).await;
    let refused =
        |result: Result<(), BackendError>| matches!(result, Err(BackendError::Refused(_)));
    assert!(refused(read().await.map(|_| ())));
    assert!(refused(world.dapr.state(store("nope"), "k".into()).await.map(|_| ())));
    assert!(refused(world.dapr.write_state(StateWrite { store: store("nope"), ..delete }).await));
    assert!(refused(world.dapr.write_state(set(&vec![7; 3_200_000], None)).await));
    world.dapr.close().await;
    let late = world.dapr.write_state(set(b"", None)).await;
    assert!(matches!(late, Err(BackendError::Unavailable(_))), "{late:?}");
}
