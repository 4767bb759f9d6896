//! `wharf serve`: built components beside a sidecar, which is a fake here.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use wharf::catalog::{bundle, load};
use wharf_tests::host::event;

use crate::program::{Place, Running, until};

/// A sidecar that takes everything, and remembers what it was asked.
#[derive(Clone, Default)]
struct Taking(Arc<Mutex<Vec<String>>>);

impl Taking {
    async fn start() -> (Self, String) {
        let taking = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(take).with_state(taking.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (taking, url)
    }

    fn was_asked(&self, line: &str) -> bool {
        self.0.lock().unwrap().iter().any(|asked| asked.starts_with(line))
    }
}

async fn take(State(Taking(asked)): State<Taking>, request: Request) -> StatusCode {
    let token = request.headers().get("dapr-api-token").and_then(|token| token.to_str().ok());
    let line = format!("{} {} {token:?}", request.method(), request.uri());
    asked.lock().unwrap().push(line);
    StatusCode::NO_CONTENT
}

async fn deliver(running: &Running, event: &Value) -> Value {
    let url = format!("http://{}/events/task-events", running.ingress);
    let request = reqwest::Client::new().post(url).header("pubsubName", "todo-pubsub");
    let answer = request.body(event.to_string()).send().await.unwrap();
    answer.json().await.unwrap()
}

#[tokio::test]
async fn what_is_built_runs_beside_a_sidecar() {
    let (taking, url) = Taking::start().await;
    let place = Place::new().with("DAPR_HTTP_ENDPOINT", &url).with("DAPR_API_TOKEN", "sidecar's");
    let running = place.serve().await;
    assert_eq!(format!("http://{}", running.dapr), url);

    let subscribed = format!("http://{}/dapr/subscribe", running.ingress);
    let subscribed: Value = reqwest::get(subscribed).await.unwrap().json().await.unwrap();
    assert!(!subscribed.as_array().unwrap().is_empty());
    let sound = event("com.todo.task.created.v1", 1);
    assert_eq!(deliver(&running, &sound).await, json!({ "status": "SUCCESS" }));
    let mut broken = event("com.todo.task.created.v1", 2);
    broken["data"] = json!("no task");
    assert_eq!(deliver(&running, &broken).await, json!({ "status": "SUCCESS" }));
    // What died is published through the sidecar.
    let letter = "POST /v1.0/publish/todo-pubsub/task-events-dlq";
    until("the dead letter is published", async || taking.was_asked(letter)).await;
    assert!(taking.0.lock().unwrap().iter().all(|asked| asked.ends_with("Some(\"sidecar's\")")));
    let listed = running.admin("/deliveries").await;
    assert!(listed.contains("done") && listed.contains("dead"), "{listed}");
    assert!(running.signal("TERM").await.success());
    assert!(!place.path(".wharf/dapr.db").exists(), "nothing is embedded");
}

#[tokio::test]
async fn a_bundle_runs_without_a_folder() {
    let place = Place::new();
    let folder = place.path("components/audit");
    let offer = load::read(&folder, &folder.join("audit.wasm")).unwrap_or_else(|_| panic!("read"));
    std::fs::write(place.path("components/audit.tar"), bundle::pack(&offer).unwrap()).unwrap();
    place.run(&["serve"]).await.failed_with(&["`audit` is also offered by"]);
    std::fs::remove_dir_all(folder).unwrap();
    let running = place.serve().await;
    assert!(running.greeting.contains("components=\"audit\""), "{}", running.greeting);
    let listed = running.admin("/components").await;
    assert!(listed.contains(&offer.digest), "{listed}");
    let second = place.run(&["serve"]).await;
    second.failed_with(&["another `wharf`", "WHARF_DATA=FOLDER"]);
    assert!(running.signal("TERM").await.success());

    std::fs::write(place.path("components/audit.tar"), "no tar").unwrap();
    place.run(&["serve"]).await.failed_with(&["components/audit.tar", "it is not a tar"]);
}

#[tokio::test]
async fn the_embedded_dapr_is_a_choice() {
    let place = Place::new().with("WHARF_BACKEND", "embedded");
    let running = place.serve().await;
    assert!(place.path(".wharf/dapr.db").exists());
    assert!(running.signal("TERM").await.success());
}

#[tokio::test]
async fn the_configuration_is_shown_without_its_secrets() {
    let place = Place::new()
        .with("APP_API_TOKEN", "hush-1")
        .with("DAPR_API_TOKEN", "hush-2")
        .with("WHARF_ADMIN__TOKEN", "hush-3")
        .with("DATABASE_URL", "postgres://u:hush-4@db/w")
        .with("WHARF_DAPR__NOTIFY_URL", "http://u:hush-5@n/w")
        .with("DAPR_HTTP_PORT", "3999");
    let shown = place.run(&["serve", "--print-config"]).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(!shown.stdout.contains("hush"), "{}", shown.stdout);
    assert_eq!(shown.stdout.matches("(hidden)").count(), 5, "{}", shown.stdout);
    for line in ["backend = \"dapr\"", "endpoint = \"http://127.0.0.1:3999\"", "[relay]"] {
        assert!(shown.stdout.contains(line), "no {line} in:\n{}", shown.stdout);
    }
    // What is shown is a configuration.
    let text: String = shown
        .stdout
        .lines()
        .filter(|line| !line.contains("hidden"))
        .fold(String::new(), |text, line| format!("{text}{line}\n"));
    place.write("wharf.toml", &text);
    let place = place.without("DATABASE_URL").without("DAPR_HTTP_PORT");
    let again = place.run(&["serve", "--config", "wharf.toml", "--print-config"]).await;
    assert!(again.stdout.contains("endpoint = \"http://127.0.0.1:3999\""), "{again:?}");

    let place = place.with("DAPR_HTTP_ENDPOINT", "https://example.com");
    place.run(&["serve"]).await.failed_with(&["[dapr] endpoint", "plain http://"]);
}

#[tokio::test]
async fn the_line_of_an_event_that_cannot_be_read_says_which_and_where_it_is() {
    let (_taking, url) = Taking::start().await;
    let place = Place::new().with("DAPR_HTTP_ENDPOINT", &url).with("WHARF_ADMIN__TOKEN", "t");
    let running = place.serve().await;
    let mut no_source = event("com.todo.task.created.v1", 1);
    no_source["source"] = Value::Null;
    let mut no_task = event("com.todo.task.created.v1", 2);
    no_task["data"] = json!("a secret");
    let post = format!("http://{}/events/task-events", running.ingress);
    for (body, position, says) in [
        (no_source.to_string(), "3/7", "no JSON, or no CloudEvent"),
        (no_task.to_string(), "3/8", "breaks the schema"),
        ("oops".to_owned(), "3/9", "no JSON, or no CloudEvent"),
    ] {
        let (partition, offset) = position.split_once('/').unwrap();
        let request = reqwest::Client::new().post(&post).header("pubsubName", "todo-pubsub");
        let request = request.header("__partition", partition).header("__offset", offset);
        assert_eq!(request.body(body.clone()).send().await.unwrap().status(), 200);
        let at = format!("position=\"{position}\"");
        until("it is logged", async || place.stderr().contains(&at)).await;
        let logged = place.stderr();
        let line = logged.lines().find(|line| line.contains(&at)).unwrap();
        for part in ["WARN", "pubsub=\"todo-pubsub\"", "topic=\"task-events\"", says] {
            assert!(line.contains(part), "no `{part}` in {line}");
        }
        if let Ok(event) = body.parse::<Value>() {
            for part in [format!("event={}", event["id"]), format!("type={}", event["type"])] {
                assert!(line.contains(&part), "no `{part}` in {line}");
            }
        }
        assert!(!line.contains("a secret"), "{line}");

        // Its key finds it, with the whole reason.
        let (_, id) = line.split_once("delivery=").unwrap();
        let id = id.split(' ').next().unwrap();
        let admin = format!("http://{}", running.admin);
        let shown = place.run(&["deliveries", id, "--admin", &admin]).await;
        assert_eq!(shown.code, Some(0), "{shown:?}");
        assert!(shown.stdout.contains("dead") && shown.stdout.contains(id), "{shown:?}");
    }
    assert!(running.signal("TERM").await.success());
}
