//! Secrets through the API, and as the host uses them.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use super::World;
use crate::backend::{Backend as _, BackendError};
use crate::clock::ManualClock;
use crate::name::StoreName;

const FILE: &str = r#"{
    "vault": { "db": "hunter2", "many": { "user": "ann", "password": "hunter3" }, "from-env": "filed" },
    "other": { "elsewhere": "hunter4" }
}"#;

#[tokio::test]
async fn secrets_come_from_the_file_else_from_the_environment() {
    let folder = TempDir::new().unwrap();
    let world = World::open(folder.path(), &ManualClock::default()).await;
    let get = async |path: &str| world.call(&format!("GET /v1.0/secrets/{path}"), "").await;
    assert_eq!(get("vault/from-env").await, (200, json!({ "from-env": "outside" })));
    assert_eq!(get("vault/bulk").await, (200, json!({})));
    let (status, answer) = get("vault/db").await;
    assert_eq!((status, &answer["errorCode"]), (500, &json!("ERR_SECRET_GET")));
    let says = "failed getting secret with key db from secret store vault: secret db not found";
    assert_eq!(answer["message"], says);

    fs::write(folder.path().join("secrets.json"), FILE).unwrap();
    assert_eq!(get("vault/db").await, (200, json!({ "db": "hunter2" })));
    let many = json!({ "user": "ann", "password": "hunter3" });
    assert_eq!(get("vault/many").await, (200, many.clone()));
    assert_eq!(get("vault/from-env").await, (200, json!({ "from-env": "filed" })));
    assert_eq!(get("vault/elsewhere").await.0, 500, "another store's");
    let all =
        json!({ "db": { "db": "hunter2" }, "many": many, "from-env": { "from-env": "filed" } });
    assert_eq!(get("vault/bulk").await, (200, all));
    let (status, answer) = get("nope/db").await;
    assert_eq!((status, &answer["errorCode"]), (401, &json!("ERR_SECRET_STORE_NOT_FOUND")));
    assert_eq!(get("nope/bulk").await.0, 401);

    fs::write(folder.path().join("secrets.json"), "{\"vault\": {\"db\": hunter2}}").unwrap();
    let (status, answer) = get("vault/db").await;
    let text = answer.to_string();
    assert!(status == 500 && text.contains("secrets.json: no JSON"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    world.stop().await;
}

#[tokio::test]
async fn without_a_secret_store_there_is_none_to_find() {
    let folder = TempDir::new().unwrap();
    let clock = ManualClock::default();
    let world = World::open_with(folder.path(), &clock, |options| options.secret_stores.clear());
    let world = world.await;
    let (status, answer) = world.call("GET /v1.0/secrets/vault/db", "").await;
    assert_eq!((status, &answer["errorCode"]), (500, &json!("ERR_SECRET_STORES_NOT_CONFIGURED")));
    world.stop().await;
}

#[tokio::test]
async fn the_host_is_told_what_is_missing_and_what_is_broken() {
    let folder = TempDir::new().unwrap();
    let world = World::open(folder.path(), &ManualClock::default()).await;
    let secret = async |store: &str, name: &str| {
        world.dapr.secret(StoreName::new(store).unwrap(), name.into()).await
    };
    assert_eq!(secret("vault", "db").await, Ok(None));
    fs::write(folder.path().join("secrets.json"), FILE).unwrap();
    let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(secret("vault", "db").await, Ok(Some(vec![entry("db", "hunter2")])));
    let many = vec![entry("password", "hunter3"), entry("user", "ann")];
    assert_eq!(secret("vault", "many").await, Ok(Some(many)));
    assert!(matches!(secret("nope", "db").await, Err(BackendError::Refused(_))));
    fs::write(folder.path().join("secrets.json"), "[\"hunter2\"]").unwrap();
    let Err(BackendError::Unavailable(why)) = secret("vault", "db").await else { panic!("broken") };
    assert!(why.contains("secrets.json: give an object") && !why.contains("hunter2"), "{why}");
    world.stop().await;
}
