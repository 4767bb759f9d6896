//! What health says of loops that end.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures::future::BoxFuture;
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::*;
use crate::clock::{ManualClock, Timestamp};
use crate::effect::OutgoingJob;
use crate::name::JobName;

/// A clock that fails who waited until it passed midnight.
struct Midnight(ManualClock);

impl Clock for Midnight {
    fn now(&self) -> Timestamp {
        let now = self.0.now();
        assert_eq!(now, ManualClock::default().now(), "past midnight");
        now
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        self.0.sleep_until(at)
    }

    fn draw(&self) -> [u8; 32] {
        self.0.draw()
    }
}

async fn health(app: &App) -> StatusCode {
    let request = Request::get("/health").body(Body::empty()).unwrap();
    app.ingress().oneshot(request).await.unwrap().status()
}

async fn becomes(app: &App, status: StatusCode) {
    let changed = async {
        while health(app).await != status {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), changed).await.unwrap();
}

async fn built(folder: &TempDir) -> App {
    let data = folder.path().to_owned();
    let config = Config { data, cache: Some(folder.path().join("cache")), ..Config::default() };
    let clock = Arc::new(ManualClock::default());
    App::build(config, Vec::new(), Vec::new(), clock).await.unwrap()
}

#[tokio::test]
async fn an_embedded_loop_that_ends_makes_the_host_unready() {
    let folder = TempDir::new().unwrap();
    let mut app = built(&folder).await;
    app.dapr.close().await;
    let clock = ManualClock::default();
    let midnight: Arc<dyn Clock> = Arc::new(Midnight(clock.clone()));
    let embedded = dapr::embedded(&app.config, &Contracts::default(), &midnight).await.unwrap();
    app.dapr = Dapr::Embedded(embedded.clone());
    app.start();
    embedded.ready().await;
    let job = OutgoingJob {
        name: JobName::new("late").unwrap(),
        due: Some(clock.now() + Duration::from_secs(10)),
        schedule: None,
        repeats: None,
        data: "1".into(),
    };
    embedded.schedule(job).await.unwrap();
    becomes(&app, StatusCode::OK).await;
    clock.advance(Duration::from_secs(10));
    becomes(&app, StatusCode::SERVICE_UNAVAILABLE).await;
    app.stop().await;
}

#[tokio::test]
async fn a_stop_is_no_failure_of_a_loop() {
    let folder = TempDir::new().unwrap();
    let app = built(&folder).await;
    app.start();
    app.dapr.embedded().unwrap().ready().await;
    app.stop.cancel();
    app.loops.close();
    app.loops.wait().await;
    assert_eq!(health(&app).await, StatusCode::OK);
    app.stop().await;
}
