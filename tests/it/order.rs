//! Events of one subject take effect in the order in which they came, also when one of them fails.

use std::time::Duration;

use serde_json::Value;
use wharf_tests::built;
use wharf_tests::host::{Host, Setup, THING, thing};

/// Publishes what it gets; data of many bytes is too much for its memory.
fn echo(order: &str) -> Setup {
    let manifest = format!(
        "name = \"echo\"\nversion = \"1\"\norder = \"{order}\"\n[[on]]\nevent = \"{THING}\"\n\
         [grants]\npublish = [\"com.todo.echo.v1\"]\n[limits]\nmemory = \"4MiB\"\n"
    );
    Setup::bare().things().guest("echo", built::ECHO_PUBLISH, &manifest)
}

fn too_much() -> Value {
    "x".repeat(4 << 20).into()
}

/// The data that was published, in order.
async fn echoed(host: &Host) -> Vec<Value> {
    host.messages("echoes").await.iter().map(|event| event["data"].clone()).collect()
}

async fn states(host: &Host) -> Vec<String> {
    host.deliveries().await.into_iter().map(|row| row[0].clone()).collect()
}

#[tokio::test]
async fn later_events_of_a_subject_wait_behind_a_parked_one() {
    let host = echo("subject").start().await;
    let first = [thing(1, "s", too_much()), thing(2, "s", 2), thing(3, "other", 3)];
    assert_eq!(host.deliver_bulk("things", &first).await, ["SUCCESS"; 3]);
    host.settle().await;
    // One that comes on its own, later, waits as well.
    host.deliver("things", thing(4, "s", 4).to_string()).await;
    host.settle().await;
    assert_eq!(echoed(&host).await, [3], "only the other subject goes on");
    let mut waiting = states(&host).await;
    waiting.sort();
    assert_eq!(waiting[0], "echo done 1");
    assert!(waiting[1..].iter().all(|state| state.starts_with("echo parked ")), "{waiting:?}");

    for seconds in [1, 2] {
        host.advance(Duration::from_secs(seconds)).await;
        assert_eq!(echoed(&host).await, [3], "still behind the first");
    }
    // The first one's last attempt: it is dead, and the others have their turn.
    host.advance(Duration::from_secs(4)).await;
    assert_eq!(echoed(&host).await, [3, 2, 4]);
    let dead = host.rows("SELECT event_id, attempts FROM wharf_deliveries WHERE status = 'dead'");
    assert_eq!(dead.await, [["thing-1", "4"]]);
    let attempts = host.rows(
        "SELECT event_id, attempts FROM wharf_deliveries WHERE status = 'done' ORDER BY event_id",
    );
    assert_eq!(
        attempts.await,
        [["thing-2", "1"], ["thing-3", "1"], ["thing-4", "1"]],
        "waiting uses up no attempt"
    );
    host.stop().await;
}

#[tokio::test]
async fn without_order_nobody_waits() {
    let host = echo("none").start().await;
    let bulk = [thing(1, "s", too_much()), thing(2, "s", 2), thing(3, "s", 3)];
    assert_eq!(host.deliver_bulk("things", &bulk).await, ["SUCCESS"; 3]);
    host.settle().await;
    let mut echoed = echoed(&host).await;
    echoed.sort_by_key(Value::as_u64);
    assert_eq!(echoed, [2, 3]);
    let mut states = states(&host).await;
    states.sort();
    assert_eq!(states, ["echo done 1", "echo done 1", "echo parked 1"]);
    host.stop().await;
}

#[tokio::test]
async fn a_bulk_commits_each_subject_in_the_order_of_its_entries() {
    let host = echo("subject").start().await;
    let bulk: Vec<_> = (0..60).map(|n| thing(n, ["a", "b", "c"][n as usize % 3], n)).collect();
    assert_eq!(host.deliver_bulk("things", &bulk).await, vec!["SUCCESS"; 60]);
    host.settle().await;
    for (rest, subject) in ["a", "b", "c"].into_iter().enumerate() {
        let messages = host.messages("echoes").await;
        let of_subject = messages.iter().filter(|event| event["subject"] == subject);
        let data: Vec<_> = of_subject.map(|event| event["data"].as_u64().unwrap()).collect();
        let expected: Vec<_> = (0..20).map(|turn| turn * 3 + rest as u64).collect();
        assert_eq!(data, expected, "{subject}");
    }
    host.stop().await;
}
