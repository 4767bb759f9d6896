//! Dapr's own SDKs as producers: what they send arrives as it was written.

use std::sync::Arc;

use anyhow::ensure;
use serde_json::Value;
use wharf_test_real::{Process, Yard, parts};
use wharf_tests::host::{event, id};

use crate::project::Project;
use crate::restarts::CREATED;
use crate::stage::{PATIENCE, Stage};

const EVENTS: u32 = 20;

pub async fn play(yard: Arc<Yard>) -> anyhow::Result<()> {
    let stage = Stage::set(Arc::clone(&yard), &[]).await?;
    let _host = stage.host("host", &Project::audit(&yard)?).await?;
    let (python, node) = (parts::python()?, parts::javascript()?);
    let programs = [
        ("python", [python.join("venv/bin/python"), python.join("publish.py")]),
        ("javascript", ["node".into(), node.join("publish.js")]),
    ];
    let mut ids = Vec::new();
    for (first, (language, program)) in (0..).step_by(EVENTS as usize).zip(programs) {
        let numbers = first..first + EVENTS;
        let lines = numbers.clone().map(|number| {
            let mut event = event(CREATED, number);
            event["data"]["task"]["title"] = Value::from(format!("Wäsche ☀ {language}"));
            event.to_string() + "\n"
        });
        let file = yard.write(&format!("{language}.jsonl"), &lines.collect::<String>())?;
        let [interpreter, script] = program.map(|path| path.display().to_string());
        let file = file.display().to_string();
        let command = [&*interpreter, &*script, "todo-pubsub", "task-events", &*file];
        let daprd = &stage.outside.daprd;
        let variables = [
            ("DAPR_HTTP_PORT", daprd.port().to_string()),
            ("DAPR_GRPC_PORT", daprd.grpc_port().to_string()),
        ];
        let log = yard.log(language);
        let mut producer = Process::start(language, &command, &variables, &yard.path("."), &log)?;
        let status = producer.wait(PATIENCE).await?;
        ensure!(status.success(), "{language} ended with {status}:\n{}", producer.said());
        ids.extend(numbers.map(id));
    }
    stage.audited_once(CREATED, &ids).await?;
    let titles = "SELECT convert_from(payload, 'UTF8')::json->'data'->'task'->>'title' AS title, \
        count(*)::text FROM audit_log GROUP BY title ORDER BY title";
    let many = EVENTS.to_string();
    let expected: [&[&str]; 2] = [&["Wäsche ☀ javascript", &many], &["Wäsche ☀ python", &many]];
    stage.become_rows(titles, &expected).await
}
