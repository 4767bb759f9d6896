//! Events that nobody can handle: each is dead, with the reason, on the dead-letter topic, and those
//! behind it in its partition go on.

use std::sync::Arc;

use anyhow::ensure;
use serde_json::{Value, json};
use wharf_e2e::Yard;
use wharf_tests::built;
use wharf_tests::host::event;

use crate::project::Project;
use crate::stage::{Stage, eventually};

const CREATED: &str = "com.todo.task.created.v1";
const KEY: &str = "metadata.partitionKey=one";

/// Traps on one event.
const FRAGILE: &str = "name = \"fragile\"\nversion = \"1\"\n\
    [[on]]\nevent = \"com.todo.task.updated.v1\"\n";

pub async fn play(yard: Arc<Yard>) -> anyhow::Result<()> {
    let letters = ["task-events-dlq", "reminder-events-dlq"];
    let stage = Stage::set(Arc::clone(&yard), &letters).await?;
    let project = Project::audit(&yard)?.with("fragile", built::TRAP, FRAGILE)?;
    let _host = stage.host("host", &project).await?;
    let outside = &stage.outside;
    let publish = async |topic: &str, kind: &str, body: Vec<u8>, more: &str| {
        let url = outside.daprd.url();
        let url = format!("{url}/v1.0/publish/todo-pubsub/{topic}?{KEY}{more}");
        let request = outside.http.post(url).header("content-type", kind).body(body);
        let status = request.send().await?.status();
        ensure!(status == 204, "{topic}: {status}");
        Ok(())
    };
    let cloud_event = "application/cloudevents+json";
    let one = |number| event(CREATED, number).to_string().into_bytes();
    let mut traps = event("com.todo.task.updated.v1", 50);
    traps["data"]["task"]["title"] = json!("panic");
    let mut broken = event(CREATED, 51);
    broken["id"] = json!("no UUID");
    let mut major = event("com.todo.task.created.v2", 52);
    major["subject"] = json!("t-1");
    let raw = "&metadata.rawPayload=true";

    // One partition, in this order: the last one passes only if the others do not stop it.
    publish("task-events", cloud_event, one(1), "").await?;
    publish("task-events", cloud_event, broken.to_string().into_bytes(), "").await?;
    publish("task-events", cloud_event, major.to_string().into_bytes(), "").await?;
    publish("task-events", cloud_event, traps.to_string().into_bytes(), "").await?;
    publish("task-events", "application/octet-stream", b"\0no JSON".to_vec(), raw).await?;
    publish("task-events", "application/json", b"[1, 2]".to_vec(), raw).await?;
    publish("task-events", cloud_event, one(2), "").await?;
    // The same where events come one at a time.
    publish("reminder-events", "application/octet-stream", b"\0no JSON".to_vec(), raw).await?;
    publish("reminder-events", "text/plain", b"hello".to_vec(), "").await?;
    publish("reminder-events", cloud_event, one(3), "").await?;

    let audited = format!("SELECT count(*)::text FROM audit_log WHERE type = '{CREATED}'");
    stage.become_rows(&audited, &[&["3"]]).await?;
    let dead = "SELECT component, topic, count(*)::text FROM wharf_deliveries \
        WHERE status = 'dead' GROUP BY component, topic ORDER BY component, topic";
    stage
        .become_rows(
            dead,
            &[
                &["-", "reminder-events", "2"],
                &["-", "task-events", "4"],
                &["fragile", "task-events", "1"],
            ],
        )
        .await?;
    for (topic, count) in [("task-events-dlq", 5), ("reminder-events-dlq", 2)] {
        let came = eventually(&format!("{count} letters on {topic}"), async || {
            let came = outside.app.came(topic);
            if came.len() == count { Ok(came) } else { Err(format!("{came:?}")) }
        })
        .await?;
        let without = came.iter().find(|letter: &&Value| letter["wharfreason"].is_null());
        ensure!(without.is_none(), "a letter without a reason: {without:?}");
    }
    Ok(())
}
