//! The embedded Dapr, playing daprd for the app of this suite.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wharf::backend::embedded::{Embedded, Keep, Options};
use wharf::clock::SystemClock;
use wharf::contract::BindingRules;
use wharf::name::{BindingName, Pubsub, StoreName};

use super::app::{App, TOPICS};
use super::{Part, World};

/// It plays until it is stopped.
pub struct Playing {
    pub world: World,
    embedded: Embedded,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Goes last.
    _folder: TempDir,
}

impl Playing {
    pub async fn start() -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let secrets = r#"{"secrets":{"plain":"p","several":{"a":"1","b":"2"}}}"#;
        std::fs::write(folder.path().join("secrets.json"), secrets).expect("it can be written");
        let app = App::new(vec![("pubsub", TOPICS)], vec!["clock"]);
        let options = options(folder.path(), app.listen().await);
        let embedded = Embedded::open(options).await.expect("its file can be opened");
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let spawning = tasks.clone();
        let keep: Keep = Arc::new(move |_, run| drop(spawning.spawn(run)));
        embedded.start(app.router(), &keep, stop.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let router = embedded.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        embedded.ready().await;
        let world = World {
            name: "embedded",
            backend: Arc::new(embedded.clone()),
            url: format!("http://{address}"),
            app,
            pubsub: "pubsub",
            store: "store",
            secrets: "secrets",
            parts: &[Part::PubSub, Part::State, Part::Other, Part::Health],
            http: reqwest::Client::new(),
        };
        Self { world, embedded, tasks, stop, _folder: folder }
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.embedded.close().await;
    }
}

fn options(folder: &Path, app: SocketAddr) -> Options {
    let store = |name: &str| vec![StoreName::new(name).expect("a store's name")];
    let binding = |name: &str, period: Option<u64>| BindingRules {
        name: BindingName::new(name).expect("a binding's name"),
        period: period.map(Duration::from_secs),
    };
    Options {
        path: folder.join("dapr.db"),
        data: folder.to_owned(),
        pubsubs: vec![Pubsub::new("pubsub").expect("a pubsub's name")],
        state_stores: store("store"),
        secret_stores: store("secrets"),
        bindings: vec![
            binding("clock", Some(2)),
            binding("unwanted-clock", Some(2)),
            binding("notify-http", None),
        ],
        secret_variable: |_| None,
        notify_url: Some(format!("http://{app}/notify")),
        app_id: "app".into(),
        app_token: Some("app-token".into()),
        api_token: None,
        clock: Arc::new(SystemClock),
        retention: Options::RETENTION,
    }
}
