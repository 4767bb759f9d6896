//! An event that is published is audited, exactly once.

use serde_json::json;
use wharf_tests::host::{Setup, event, id};

#[tokio::test]
async fn a_published_event_is_audited() {
    let host = Setup::audit().start().await;
    host.publish("task-events", &event("com.todo.task.created.v1", 1)).await;
    host.settle().await;

    let rows = host
        .rows("SELECT event_id, type, event_type, source, contract, pubsub, topic, user_id, entity_id FROM audit_log")
        .await;
    let ty = "com.todo.task.created.v1";
    assert_eq!(
        rows,
        [[&id(1), ty, ty, "test", "cloudevents", "todo-pubsub", "task-events", "ann", "t-1"]]
    );

    let (_, deliveries) = host.admin("/deliveries").await;
    assert_eq!(deliveries[0]["status"], "done");
    assert_eq!(deliveries[0]["event"], json!({ "id": id(1), "type": ty, "subject": "t-1" }));
    let consumed = format!(
        "events_consumed_total{{topic=\"task-events\",consumer=\"audit\",event_type=\"{ty}\"}} 1"
    );
    let metrics = host.metrics().await;
    assert!(metrics.contains(&consumed), "{metrics}");
    host.stop().await;
}

#[tokio::test]
async fn a_repeat_is_counted_and_changes_nothing() {
    let host = Setup::audit().start().await;
    for _ in 0..2 {
        host.publish("task-events", &event("com.todo.task.created.v1", 1)).await;
        host.settle().await;
    }
    assert_eq!(host.rows("SELECT count(*) FROM audit_log").await, [["1"]]);
    assert_eq!(host.deliveries().await, [["audit done 1", ""]]);
    let metrics = host.metrics().await;
    assert!(metrics.contains("wharf_repeats_total{component=\"audit\"} 1"), "{metrics}");
    host.stop().await;
}

#[tokio::test]
async fn the_same_event_twice_at_the_same_moment_is_one() {
    let host = Setup::audit().start().await;
    let one = event("com.todo.task.created.v1", 1);
    let statuses = host.deliver_bulk("task-events", &vec![one.clone(); 10]).await;
    assert_eq!(statuses, ["SUCCESS"; 10]);
    let singly = (0..10).map(|_| host.deliver("task-events", one.to_string()));
    for (status, answer) in futures::future::join_all(singly).await {
        assert_eq!((status.as_u16(), answer), (200, json!({ "status": "SUCCESS" })));
    }
    assert_eq!(host.rows("SELECT count(*) FROM audit_log").await, [["1"]]);
    let metrics = host.metrics().await;
    assert!(metrics.contains("wharf_repeats_total{component=\"audit\"} 19"), "{metrics}");
    host.stop().await;
}

#[tokio::test]
async fn a_restart_finds_its_data() {
    let host = Setup::audit().start().await;
    host.publish("task-events", &event("com.todo.task.created.v1", 1)).await;
    host.settle().await;
    let host = host.restart().await;
    host.publish("task-events", &event("com.todo.task.created.v1", 1)).await;
    host.publish("task-events", &event("com.todo.task.updated.v1", 2)).await;
    host.settle().await;
    let rows = host.rows("SELECT entity_id FROM audit_log ORDER BY entity_id").await;
    assert_eq!(rows, [["t-1"], ["t-2"]]);
    host.stop().await;
}
