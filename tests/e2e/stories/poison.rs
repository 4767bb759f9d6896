//! Events that nobody can handle: each is dead, with the reason, on the dead-letter topic, and those
//! behind it in its partition go on.

use std::sync::Arc;

use anyhow::ensure;
use serde_json::{Value, json};
use wharf_test_real::Yard;
use wharf_tests::built;
use wharf_tests::host::{THINGS, event, thing};

use crate::outside::published;
use crate::project::Project;
use crate::stage::{Stage, eventually};

const CREATED: &str = "com.todo.task.created.v1";
const KEY: &str = "metadata.partitionKey=one";

/// Traps on one event.
const FRAGILE: &str =
    "name = \"fragile\"\nversion = \"1\"\n[[on]]\nevent = \"com.things.made.v1\"\n";

pub async fn play(yard: Arc<Yard>) -> anyhow::Result<()> {
    let letters = ["task-events-dlq", "reminder-events-dlq", "recurring-events-dlq", "things-dlq"];
    let stage = Stage::set(Arc::clone(&yard), &letters).await?;
    let project = Project::audit(&yard)?.contract("things", THINGS)?;
    let mut project = project.with("fragile", built::TRAP, FRAGILE)?;
    // Singly, daprd would keep for ever what it cannot read.
    for topic in ["reminder-events", "recurring-events"] {
        let topic = format!("name = \"{topic}\"\n");
        let raw = format!("{topic}raw = true\n");
        project = project.edited("contracts/cloudevents/contract.toml", &topic, &raw)?;
    }
    let mut host = stage.host("host", &project).await?;
    let outside = &stage.outside;
    let publish = async |topic: &str, kind: &str, body: Vec<u8>, more: &str| {
        let url = outside.daprd.url();
        let url = format!("{url}/v1.0/publish/todo-pubsub/{topic}?{KEY}{more}");
        published(topic, outside.http.post(url).header("content-type", kind).body(body)).await
    };
    let cloud_event = "application/cloudevents+json";
    let one = |number| event(CREATED, number).to_string().into_bytes();
    let bytes = |event: Value| event.to_string().into_bytes();
    let mut broken = event(CREATED, 51);
    broken["id"] = json!("no UUID");
    let major = event("com.todo.task.created.v2", 52);
    let mut reminder = event("com.todo.reminder.scheduled.v1", 3);
    reminder["data"] = json!({
        "reminder_id": "r-1", "task_id": "t-1", "user_id": "ann", "title": "Water the plants",
        "remind_at": "2026-02-04T18:00:00Z", "due_date": "2026-02-04T18:00:00Z",
    });
    let raw = "&metadata.rawPayload=true";

    // Of each topic one partition, in this order: the last passes only if the others do not stop it.
    publish("task-events", cloud_event, one(1), "").await?;
    publish("task-events", cloud_event, bytes(broken.clone()), "").await?;
    publish("task-events", cloud_event, bytes(major), "").await?;
    // Of a type that nobody knows: acknowledged.
    publish("task-events", "text/plain", b"hello".to_vec(), "").await?;
    // daprd itself cannot read these. In a bulk it logs them and goes on; the host never hears of it.
    publish("task-events", "application/octet-stream", b"\0no JSON".to_vec(), raw).await?;
    publish("task-events", "application/json", b"[1, 2]".to_vec(), raw).await?;
    publish("task-events", cloud_event, one(2), "").await?;
    // Where events come one at a time, and raw, the host hears of all.
    publish("reminder-events", "application/octet-stream", b"\0no JSON".to_vec(), raw).await?;
    publish("reminder-events", cloud_event, bytes(broken), "").await?;
    publish("reminder-events", "application/json", b"{\"a\": 1}".to_vec(), raw).await?;
    publish("reminder-events", cloud_event, bytes(reminder), "").await?;
    // So it does in bulk and raw, of one that nothing follows.
    publish("recurring-events", "application/octet-stream", b"\0no JSON".to_vec(), raw).await?;
    publish("things", cloud_event, bytes(thing(1, "s-1", "panic")), "").await?;
    publish("things", cloud_event, bytes(thing(2, "s-2", "fine")), "").await?;

    let audited = "SELECT type, count(*)::text FROM audit_log WHERE type <> \
        'com.todo.audit.failed.v1' GROUP BY type ORDER BY type";
    let expected: [&[&str]; 3] =
        [&["com.things.made.v1", "2"], &["com.todo.reminder.scheduled.v1", "1"], &[CREATED, "2"]];
    stage.become_rows(audited, &expected).await?;
    let ended = "SELECT component, topic, status, count(*)::text FROM wharf_deliveries \
        WHERE status = 'dead' OR component = 'fragile' \
        GROUP BY component, topic, status ORDER BY component, topic, status";
    let expected: [&[&str]; 5] = [
        &["-", "recurring-events", "dead", "1"],
        &["-", "reminder-events", "dead", "3"],
        &["-", "task-events", "dead", "2"],
        &["fragile", "things", "dead", "1"],
        &["fragile", "things", "done", "1"],
    ];
    stage.become_rows(ended, &expected).await?;
    for (topic, count) in letters.into_iter().zip([2, 3, 1, 1]) {
        let came = eventually(&format!("{count} letters on {topic}"), async || {
            let came = outside.app.came(topic);
            if came.len() == count { Ok(came) } else { Err(format!("{came:?}")) }
        })
        .await?;
        let without = came.iter().find(|letter: &&Value| letter["wharfreason"].is_null());
        ensure!(without.is_none(), "a letter without a reason: {without:?}");
    }

    // Where all of a bulk is such, daprd repeats it, and what comes behind it waits.
    let log = host.daprd.process.log().len();
    publish(
        "task-events",
        "application/octet-stream",
        b"\0no JSON".to_vec(),
        "&metadata.rawPayload=true",
    )
    .await?;
    let repeated = async |times: usize| {
        eventually("daprd tries to read it again", async || {
            let said = host.daprd.process.log().split_off(log);
            let tried = said.matches("error deserializing one of the messages").count();
            if tried >= times { Ok(()) } else { Err(format!("{tried} times")) }
        })
        .await
    };
    repeated(1).await?;
    publish("task-events", cloud_event, one(4), "").await?;
    repeated(3).await?;
    let behind = format!("SELECT count(*)::text FROM audit_log WHERE type = '{CREATED}'");
    stage.become_rows(&behind, &[&["2"]]).await?;
    // A daprd that begins anew reads both in one bulk.
    host.daprd.stop().await?;
    host.daprd.start_again().await?;
    stage.become_rows(&behind, &[&["3"]]).await
}
