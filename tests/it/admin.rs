//! The admin API, as people and tools see it.

use serde_json::json;
use wharf_tests::host::{Setup, event};

#[tokio::test]
async fn it_says_what_runs_and_how_it_is() {
    let host = Setup::audit().start().await;
    let (status, health) = host.admin("/health").await;
    assert_eq!((status.as_u16(), &health["status"]), (200, &json!("healthy")));
    let outbox = json!({ "waiting": 0, "dead": 0, "oldest": null, "lag_seconds": 0.0 });
    assert_eq!(health["ledger"]["outbox"], outbox);
    assert_eq!(host.admin("/health/live").await.1, json!({ "status": "alive" }));

    let (_, components) = host.admin("/components").await;
    assert_eq!(components[0]["name"], "audit");
    assert_eq!(components[0]["grants"]["tables"], json!({ "audit_log": "write" }));
    assert_eq!(components[0]["limits"]["time"], 1.0);
    assert_eq!(components[0]["digest"].as_str().unwrap().len(), 64);
    host.stop().await;
}

#[tokio::test]
async fn deliveries_are_listed_newest_first_and_filtered() {
    let host = Setup::audit().start().await;
    for number in 1..=3 {
        host.publish("task-events", &event("com.todo.task.created.v1", number)).await;
        host.settle().await;
    }
    host.deliver("task-events", "not JSON").await;
    host.settle().await;
    let subjects = async |query: &str| {
        let (status, list) = host.admin(&format!("/deliveries{query}")).await;
        assert_eq!(status.as_u16(), 200, "{list}");
        let list = list.as_array().unwrap().iter();
        list.map(|d| d["event"]["subject"].as_str().unwrap_or("-").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(subjects("?limit=2&component=audit").await, ["-", "t-3"]);
    assert_eq!(subjects("?status=dead").await, ["-"]);
    assert_eq!(subjects("?component=audit&status=done").await, ["-", "t-3", "t-2", "t-1"]);
    assert_eq!(subjects("?topic=task-events&type=com.todo.task.created.v1&limit=1").await, ["t-3"]);
    assert_eq!(subjects("?status=dead&error=not+JSON").await, ["-"]);

    let (_, dead) = host.admin("/deliveries?status=dead").await;
    let delivery = dead[0]["delivery"].as_str().unwrap();
    let (_, shown) = host.admin(&format!("/deliveries/{delivery}")).await;
    assert_eq!(shown["received"], "not JSON");
    assert_eq!(shown["error"], dead[0]["error"]);
    host.stop().await;
}

#[tokio::test]
async fn a_wrong_question_is_answered_with_the_right_one() {
    let host = Setup::audit().start().await;
    let nobody = format!("/deliveries/audit/{}", "0".repeat(32));
    for (path, status, says) in [
        ("/deliveries?status=lost", 400, "use done, parked, dead or discarded"),
        ("/deliveries?colour=red", 400, "unknown field `colour`"),
        ("/deliveries?limit=many", 400, "limit"),
        ("/deliveries?component=A", 400, "`A` is not a component name"),
        ("/deliveries/audit/12", 400, "32 hexadecimal digits"),
        (&nobody, 404, "there is no delivery"),
        ("/deliveries?component=nobody", 404, "those that run: audit"),
        ("/deliveries?since=soon", 400, "how long ago"),
        ("/nothing", 404, "try /components"),
    ] {
        let (answered, body) = host.admin(path).await;
        assert_eq!(answered.as_u16(), status, "{path}: {body}");
        let error = body["error"].as_str().unwrap();
        assert!(error.contains(says), "{path}: {error}");
    }
    host.stop().await;
}

#[tokio::test]
async fn a_token_guards_all_but_health_and_metrics() {
    let mut setup = Setup::audit();
    setup.config.admin.token = Some("secret".to_owned());
    let host = setup.start().await;
    for (path, status) in
        [("/components", 401), ("/deliveries", 401), ("/health", 200), ("/metrics", 200)]
    {
        assert_eq!(host.admin(path).await.0.as_u16(), status, "{path}");
    }
    assert_eq!(host.admin_with_token("/components", "secret").await.0.as_u16(), 200);
    assert_eq!(host.admin_with_token("/components", "guess").await.0.as_u16(), 401);
    host.stop().await;
}
