//! The files in dapr/ as they are, but for the places of what they name, with all that they hold: a
//! reminder goes through them, other apps stay outside, and subscriptions come from files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use wharf_test_real::{Daprd, Redis, Sidecar, Yard};
use wharf_tests::host::{event, id, root};

use crate::project::Project;
use crate::restarts::CREATED;
use crate::stage::{Stage, eventually, from_now};

/// The files in dapr/local, with the places of a stage in them, and what they name beside it.
pub struct Local {
    pub files: Vec<String>,
    pub notes: PathBuf,
    /// It runs as long as this value is there.
    pub redis: Redis,
}

impl Local {
    pub async fn of(stage: &Stage) -> anyhow::Result<Self> {
        let redis = Redis::start(&stage.yard).await?;
        let notes = stage.yard.folder("notes")?;
        let secrets = stage.yard.write("secrets.json", "{}")?;
        let database = PgConnectOptions::from_url(&stage.database.parse()?)?;
        let postgres = format!(
            "host={} port={} user={} dbname={} sslmode=disable",
            database.get_host(),
            database.get_port(),
            database.get_username(),
            database.get_database().unwrap_or_default()
        );
        let sink = format!("http://127.0.0.1:{}/sink/notify-http", stage.outside.app.port);
        let places = [
            ("localhost:9092", stage.kafka.address()),
            ("localhost:6379", redis.address()),
            (
                "host=localhost port=5432 user=wharf password=wharf dbname=wharf sslmode=disable",
                postgres,
            ),
            ("dapr/secrets.json", secrets.display().to_string()),
            ("/tmp/wharf-notifications", notes.display().to_string()),
            ("http://localhost:9000/notify", sink),
        ];
        let mut files = files(&root().join("dapr/local"))?;
        for (place, real) in &places {
            let named = files.iter().any(|text| text.contains(place));
            ensure!(named, "no file in dapr/local names {place}");
            for text in &mut files {
                *text = text.replace(place, real);
            }
        }
        Ok(Self { files, notes, redis })
    }
}

pub async fn play(yard: Arc<Yard>) -> anyhow::Result<()> {
    let mut stage = Stage::set(Arc::clone(&yard), &[]).await?;
    let folder = root().join("dapr");
    let Local { files: local, notes, redis: _redis } = Local::of(&stage).await?;
    stage.resources = local;
    stage.config = Some(folder.join("local/config.yaml"));
    let project = Project::todo(&yard)?.counting()?;
    let mut host = stage.host("host", &project).await?;

    stage.outside.publish("todo-pubsub", "task-events", &event(CREATED, 0)).await?;
    let mut reminder = event("com.todo.reminder.scheduled.v1", 1);
    reminder["data"] = json!({
        "reminder_id": id(1), "task_id": "t-1", "user_id": "ann", "title": "Water the plants",
        "remind_at": from_now(Duration::from_secs(3)), "due_date": "2026-02-04T18:00:00Z",
    });
    // Its topic is delivered singly, with headers as headers: this name is none.
    let topic = "reminder-events?metadata.my%20header=1";
    stage.outside.publish("todo-pubsub", topic, &reminder).await?;
    stage.audited(CREATED, &[id(0)]).await?;
    eventually("the note is in its folder", async || {
        let notes = fs::read_dir(&notes).map_err(|error| error.to_string())?;
        if notes.count() == 1 { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await?;
    stage.settled().await?;

    // What another app may call without the Configuration it may not call with it.
    let caller = Daprd::start(&yard, Sidecar::of("caller", yard.folder("none")?)).await?;
    let (status, said) = invoke(&stage, &caller, "health").await?;
    ensure!(status == 403, "another app calls the host: {status} {said}");
    host.stop().await?;
    host.daprd.stop().await?;

    // The same contract's subscriptions from files, the host naming none.
    stage.config = None;
    stage.resources.extend(files(&folder.join("subscriptions/cloudevents"))?);
    let files = [("WHARF_INGRESS__SUBSCRIPTIONS", "declarative".to_owned())];
    let declared = stage.host_with("declared", &project, &files).await?;
    // Another one, which does not remember where the first host was.
    let caller = Daprd::start(&yard, Sidecar::of("other-caller", yard.folder("none")?)).await?;
    let (status, said) = invoke(&stage, &caller, "health").await?;
    ensure!(status == 200, "nor may it without the Configuration: {status} {said}");
    // Not even so may another app fire a job or tick a binding.
    let (status, said) = invoke(&stage, &caller, "job/anything").await?;
    ensure!(status == 403, "another app fires a job: {status} {said}");
    stage.outside.publish("todo-pubsub", "task-events", &event(CREATED, 2)).await?;
    stage.audited_once(CREATED, &[id(0), id(2)]).await?;
    ensure!(declared.count("events_consumed_total").await? > 0.0, "nothing came by the files");
    Ok(())
}

/// A folder's YAML, but for the Configuration, which is no resource.
fn files(folder: &Path) -> anyhow::Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut files: Vec<_> =
        entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    files.retain(|file| !file.ends_with("config.yaml"));
    files.sort();
    files.iter().map(|file| Ok(fs::read_to_string(file)?)).collect()
}

/// What another app is answered, once its daprd has found the host's.
async fn invoke(stage: &Stage, caller: &Daprd, method: &str) -> anyhow::Result<(u16, String)> {
    let url = format!("{}/v1.0/invoke/wharf/method/{method}", caller.url());
    eventually("the host's daprd is found", async || {
        let request = match method {
            "health" => stage.outside.http.get(&url),
            _ => stage.outside.http.post(&url).json(&Value::Null),
        };
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let said = answer.text().await.map_err(|error| error.to_string())?;
        match status == 500 && said.contains("ERR_DIRECT_INVOKE") {
            true => Err(said),
            false => Ok((status, said)),
        }
    })
    .await
}
