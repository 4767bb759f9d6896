//! What a component reads and writes, on real stores: state in Redis, secrets in a local file.

use std::sync::Arc;

use anyhow::ensure;
use serde_json::{Value, json};
use wharf_test_real::{Redis, Yard, component};
use wharf_tests::built;
use wharf_tests::host::{THINGS, thing};

use crate::project::Project;
use crate::stage::{Stage, eventually};

const GRANTED: &str = r#"
name = "granted"
version = "0.1.0"
[[on]]
event = "com.things.made.v1"
[grants]
publish = ["com.things.said.v1"]
state = ["todo-statestore"]
secrets = { todo-secrets = ["database-url", "better-auth-secret", "deepseek-api-key", "not-there"] }
# Its guest imports these, too.
jobs = ["caps-*"]
bindings = ["notify-file"]
"#;

const SECRETS: &str = r#"{ "database-url": "postgres://db", "better-auth-secret": "one",
    "deepseek-api-key": "two", "others": "three" }"#;

pub async fn play(yard: Arc<Yard>) -> anyhow::Result<()> {
    let mut stage = Stage::set(Arc::clone(&yard), &["echoes"]).await?;
    let redis = Redis::start(&yard).await?;
    let file = yard.write("secrets.json", SECRETS)?.display().to_string();
    stage.resources.retain(|text| !text.contains("name: todo-statestore"));
    stage.resources.push(redis.state_store("todo-statestore"));
    let store = component("todo-secrets", "secretstores.local.file", &[("secretsFile", &file)]);
    stage.resources.push(store);
    let project = Project::new(&yard)?
        .with("granted", built::CAPABILITIES, GRANTED)?
        .contract("things", THINGS)?;
    let host = stage.host("host", &project).await?;

    let said = async |number: u32, steps: Value| {
        let event = thing(number, "s", steps);
        stage.outside.publish("todo-pubsub", "things", &event).await?;
        let count = number as usize;
        let came = stage.outside.came("echoes", count).await?;
        anyhow::Ok(came[count - 1]["data"].clone())
    };
    let secret = |store: &str, key: &str| json!({ "do": "secret", "store": store, "key": key });
    let own = ["database-url", "better-auth-secret", "deepseek-api-key"];
    let came = said(1, own.iter().map(|key| secret("todo-secrets", key)).collect()).await?;
    let values = ["postgres://db", "one", "two"];
    let expected: Vec<_> =
        own.iter().zip(values).map(|(key, value)| json!({ "ok": { *key: value } })).collect();
    ensure!(came == Value::from(expected), "{came}");
    let missing = said(2, json!([secret("todo-secrets", "not-there")])).await?;
    ensure!(missing[0]["error"].is_string(), "{missing}");

    let state = |what: &str| json!({ "do": what, "store": "todo-statestore", "key": "k" });
    let set = json!([{ "do": "set", "store": "todo-statestore", "key": "k", "value": "\0one" }]);
    said(3, set).await?;
    let got = said(4, json!([state("get"), state("delete")])).await?;
    ensure!(got[0]["ok"] == "\0one", "{got}");
    stage.settled().await?;
    let keys = eventually("the key is gone", async || {
        let url = format!("{}/v1.0/state/todo-statestore/k", host.daprd.url());
        let answer = stage.outside.http.get(url).send().await.map_err(|error| error.to_string())?;
        if answer.status() == 204 { Ok(()) } else { Err(answer.status().to_string()) }
    });
    keys.await?;
    let got = said(5, json!([state("get")])).await?;
    ensure!(got[0]["ok"].is_null(), "{got}");

    let other = thing(6, "other", json!([secret("todo-secrets", "others")]));
    stage.outside.publish("todo-pubsub", "things", &other).await?;
    let refused = "SELECT event_id FROM wharf_deliveries WHERE status = 'dead' AND error LIKE \
        '%others%grants%'";
    stage.become_rows(refused, &[&["thing-6"]]).await
}
