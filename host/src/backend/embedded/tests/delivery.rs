//! Delivery to a model of an app.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{App, World, in_bulk, in_time, singly, success};
use crate::backend::embedded::{NewMessage, Options, Share, Store};
use crate::clock::{Clock as _, ManualClock};
use crate::name::{Pubsub, Topic};

#[tokio::test]
async fn a_single_event_comes_with_daprds_request() {
    let folder = TempDir::new().unwrap();
    let app = App::new(singly(), |_, _| success());
    let world = World::with_app(&folder, &app).await;
    world.publish("?metadata.partitionKey=k7&metadata.colour=red", json!({ "n": 1 })).await;
    world.settle().await;

    let before: Vec<_> = app.received.lock().unwrap().iter().map(|one| one.path.clone()).collect();
    assert_eq!(before, ["/dapr/config", "/dapr/subscribe", "/orders"]);
    let event = app.events().remove(0);
    for (name, value) in [
        ("content-type", "application/cloudevents+json"),
        ("pubsubname", "shop"),
        ("__topic", "orders"),
        ("__offset", "1"),
        ("__key", "k7"),
        ("__timestamp", "1767225600000"),
        ("colour", "red"),
        ("dapr-api-token", "from-dapr"),
    ] {
        assert_eq!(event.header(name), Some(value), "{name}");
    }
    assert!(event.header("__partition").is_some());
    assert_eq!(event.header("traceparent"), event.body["traceparent"].as_str());
    assert_eq!(event.body["data"], json!({ "n": 1 }));
    assert_eq!(event.body["source"], "wharf");
    world.stop().await;
}

#[tokio::test]
async fn a_single_event_keeps_its_bytes_and_a_bulk_does_not() {
    for (subscriptions, bulk) in [(singly(), false), (in_bulk(10), true)] {
        let folder = TempDir::new().unwrap();
        let app = App::new(subscriptions, |_, _| answer_all("SUCCESS"));
        let world = World::with_app(&folder, &app).await;
        let body = json!({ "n": 9_007_199_254_740_993_u64 });
        world.publish("?metadata.cloudevent.id=a", body).await;
        world.settle().await;
        let event = app.events().remove(0);
        assert_eq!(event.text.contains("9007199254740993"), !bulk, "{}", event.text);
        if bulk {
            assert_eq!(event.body["type"], "com.dapr.event.sent.bulk");
            assert_eq!(
                (&event.body["topic"], &event.body["pubsubname"]),
                (&json!("orders"), &json!("shop"))
            );
            let entry = &event.body["entries"][0];
            assert_eq!(entry["entryId"], "0");
            assert_eq!(entry["contentType"], "application/cloudevents+json");
            assert_eq!(entry["metadata"]["__topic"], "orders");
            assert_eq!(entry["event"]["id"], "a");
            assert_eq!(event.header("pubsubname"), Some("shop"));
            assert_eq!(event.header("content-type"), Some("application/json"));
        }
        world.stop().await;
    }
}

/// A bulk answer for up to ten entries.
fn answer_all(status: &str) -> (u16, String) {
    let statuses: Vec<_> =
        (0..10).map(|n| json!({ "entryId": n.to_string(), "status": status })).collect();
    (200, json!({ "statuses": statuses }).to_string())
}

/// A consumer that looks while an event is written is woken by its commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_while_a_topic_is_subscribed_is_delivered() {
    let pubsub = Pubsub::new("shop").unwrap();
    let message = |topic: &Topic| NewMessage {
        pubsub: pubsub.clone(),
        topic: topic.clone(),
        key: None,
        metadata: Vec::new(),
        body: "{}".into(),
    };
    let folder = TempDir::new().unwrap();
    let clock = Arc::new(ManualClock::default());
    let path = folder.path().join("dapr.db");
    let store = Arc::new(Store::open(&path, clock, Options::RETENTION).await.unwrap());
    let others = Topic::new("others").unwrap();
    for round in 0..5 {
        let topic = Topic::new(format!("topic-{round}")).unwrap();
        // Its transaction is long, and begins with the event.
        let mut messages = vec![message(&topic)];
        messages.resize_with(500, || message(&others));
        let writing = Arc::clone(&store);
        let publish = async {
            let publisher = tokio::spawn(async move { writing.append(messages).await });
            // This thread is busy when the subscription is written, and goes on a little later.
            std::thread::sleep(Duration::from_millis(5));
            publisher.await.unwrap().unwrap();
        };
        let consume = async {
            let subscribed = store.subscribe(&pubsub, &topic, 1).await.unwrap();
            while store.next(subscribed.id, Share::Whole, 1).await.unwrap().is_empty() {
                subscribed.bells[0].notified().await;
            }
        };
        in_time(async { tokio::join!(consume, publish) }).await;
    }
    store.close().await;
}

#[tokio::test]
async fn an_event_comes_again_until_the_answer_settles_it() {
    for (status, text, comes_again) in [
        (200, r#"{"status":"SUCCESS"}"#, false),
        (200, "garbage", false),
        (200, r#"{"status":"DROP"}"#, false),
        (404, "", false),
        (200, r#"{"status":"RETRY"}"#, true),
        (200, r#"{"status":"WHAT"}"#, true),
        (500, "", true),
        (302, "", true),
        (599, "panic", true),
    ] {
        let folder = TempDir::new().unwrap();
        let app = App::new(singly(), move |nth, _| {
            assert!(nth > 0 || text != "panic", "the model breaks the connection");
            if nth == 0 { (status, text.into()) } else { success() }
        });
        let world = World::with_app(&folder, &app).await;
        world.publish("", json!(1)).await;
        world.settle().await;
        assert_eq!(app.events().len(), if comes_again { 2 } else { 1 }, "{status} {text}");
        world.stop().await;
    }
}

#[tokio::test]
async fn attempts_are_a_second_apart() {
    let folder = TempDir::new().unwrap();
    let app = App::new(singly(), |nth, _| if nth < 3 { (503, String::new()) } else { success() });
    let world = World::with_app(&folder, &app).await;
    world.publish("", json!(1)).await;
    for attempts in 1..=3 {
        app.got(attempts).await;
        world.sleeper().await;
        assert_eq!(world.clock.next_wake(), Some(world.clock.now() + Duration::from_secs(1)));
        assert_eq!(app.events().len(), attempts);
        assert_eq!(world.dapr.waiting().await.unwrap(), 1);
        world.clock.advance(Duration::from_secs(1));
    }
    world.settle().await;
    assert_eq!(app.events().len(), 4);
    world.stop().await;
}

#[tokio::test]
async fn a_failing_event_holds_its_partition_and_no_other() {
    let folder = TempDir::new().unwrap();
    let app = App::new(singly(), |_, event| match event.body["data"].as_str() {
        Some("bad") => (500, String::new()),
        _ => success(),
    });
    let world = World::with_app(&folder, &app).await;
    world.publish("?metadata.partitionKey=a", json!("bad")).await;
    world.publish("?metadata.partitionKey=a", json!("behind")).await;
    for n in 0..5 {
        world.publish("?metadata.__key=b", json!(n)).await;
    }
    app.got(6).await;
    let mut acknowledged = world.dapr.acknowledgements();
    in_time(acknowledged.wait_for(|count| *count == 5)).await.unwrap();
    let others: Vec<Value> = app.data().into_iter().filter(Value::is_number).collect();
    assert_eq!(others, [0, 1, 2, 3, 4]);
    assert!(!app.data().contains(&json!("behind")));
    assert_eq!(world.dapr.waiting().await.unwrap(), 2);
    world.stop().await;
}

#[tokio::test]
async fn only_failed_entries_of_a_bulk_are_sent_again_and_later_events_wait() {
    let folder = TempDir::new().unwrap();
    let clock = ManualClock::default();
    let world = World::open(folder.path(), &clock).await;
    for id in ["a", "b", "c", "d"] {
        world.publish(&format!("?metadata.cloudevent.id={id}"), json!(1)).await;
    }
    let statuses = |list: Value| (200, json!({ "statuses": list }).to_string());
    let app = App::new(in_bulk(3), move |nth, _| match nth {
        // One settled, one to retry, one forgotten.
        0 => statuses(json!([
            { "entryId": "1", "status": "SUCCESS" },
            { "entryId": "2", "status": "RETRY" },
        ])),
        1 => (200, "garbage".into()),
        2 => statuses(json!([
            { "entryId": "0", "status": "DROP" },
            { "entryId": "2", "status": "SUCCESS" },
        ])),
        _ => answer_all("SUCCESS"),
    });
    world.start(&app).await;
    world.settle().await;
    let events = app.events();
    let ids: Vec<_> = events.iter().map(super::Received::ids).collect();
    assert_eq!(ids, [vec!["a", "b", "c"], vec!["a", "c"], vec!["a", "c"], vec!["d"]]);
    let entries = events[1].body["entries"].as_array().unwrap();
    assert_eq!((&entries[0]["entryId"], &entries[1]["entryId"]), (&json!("0"), &json!("2")));
    assert_eq!(events[0].body["id"], events[1].body["id"]);
    world.stop().await;
}

/// As daprd does with Kafka: an entry that it can read hides those before it that it cannot.
#[tokio::test]
async fn what_cannot_be_read_fails_a_bulk_only_as_its_last() {
    let folder = TempDir::new().unwrap();
    let world = World::open(folder.path(), &ManualClock::default()).await;
    let text = async || {
        let query = "metadata.rawPayload=true&metadata.partitionKey=k";
        let line = format!("POST /v1.0/publish/shop/orders?{query}");
        assert_eq!(world.call(&line, "text").await.0, 204);
    };
    let event = async |id: &str| {
        let query = format!("?metadata.partitionKey=k&metadata.cloudevent.id={id}");
        world.publish(&query, json!(1)).await;
    };
    text().await;
    event("a").await;
    event("b").await;
    text().await;
    event("behind").await;
    let app = App::new(in_bulk(2), |_, _| answer_all("SUCCESS"));
    world.start(&app).await;
    for times in [2, 3] {
        app.got(times).await;
        world.sleeper().await;
        assert_eq!(world.dapr.waiting().await.unwrap(), 2);
        world.clock.advance(Duration::from_secs(1));
    }
    let events = app.events();
    let ids: Vec<_> = events.iter().take(3).map(super::Received::ids).collect();
    assert_eq!(ids, [["a"], ["b"], ["b"]]);
    assert_ne!(events[1].body["id"], events[2].body["id"]);
    world.stop().await;
}

#[tokio::test]
async fn progress_outlives_a_clean_stop() {
    let folder = TempDir::new().unwrap();
    let clock = ManualClock::default();
    let first = App::new(singly(), |nth, _| if nth < 2 { success() } else { (500, String::new()) });
    let world = World::open(folder.path(), &clock).await;
    world.start(&first).await;
    for n in 0..5 {
        world.publish("?metadata.partitionKey=k", json!(n)).await;
    }
    first.got(3).await;
    world.stop().await;

    let second = App::new(singly(), |_, _| success());
    let world = World::open(folder.path(), &clock).await;
    world.start(&second).await;
    world.settle().await;
    assert_eq!(second.data(), [2, 3, 4]);
    world.stop().await;

    // Single or bulk, it is the same progress.
    let third = App::new(in_bulk(10), |_, _| answer_all("SUCCESS"));
    let world = World::open(folder.path(), &clock).await;
    world.publish("?metadata.cloudevent.id=new", json!(5)).await;
    world.start(&third).await;
    world.settle().await;
    assert_eq!(third.events()[0].ids(), ["new"]);
    assert_eq!(third.events().len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_bulk_that_stops_half_way_forgets_no_failed_entry() {
    let folder = TempDir::new().unwrap();
    let clock = ManualClock::default();
    let world = World::open(folder.path(), &clock).await;
    for id in ["a", "b", "c"] {
        world
            .publish(&format!("?metadata.partitionKey=k&metadata.cloudevent.id={id}"), json!(1))
            .await;
    }
    let statuses = json!({ "statuses": [
        { "entryId": "0", "status": "SUCCESS" },
        { "entryId": "1", "status": "RETRY" },
        { "entryId": "2", "status": "SUCCESS" },
    ] });
    let app = App::new(in_bulk(10), move |_, _| (200, statuses.to_string()));
    world.start(&app).await;
    let mut acknowledged = world.dapr.acknowledgements();
    in_time(acknowledged.wait_for(|count| *count == 1)).await.unwrap();
    world.stop().await;

    let again = App::new(in_bulk(10), |_, _| answer_all("SUCCESS"));
    let world = World::open(folder.path(), &clock).await;
    world.start(&again).await;
    world.settle().await;
    assert_eq!(again.events()[0].ids(), ["b", "c"]);
    world.stop().await;
}

/// What a kill leaves behind: everything is dropped where it stands.
#[test]
fn nothing_acknowledged_is_lost_and_nothing_unanswered_is_acknowledged() {
    let folder = TempDir::new().unwrap();
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    for round in 0..3 {
        let answered = Arc::clone(&answered);
        let (sent, received) = std::sync::mpsc::channel::<()>();
        let received = std::sync::Mutex::new(received);
        let running = runtime();
        running.block_on(async {
            // The first event of each round is answered, the second hangs when the process dies.
            let app = App::new(singly(), move |nth, _| {
                if nth == 0 {
                    answered.fetch_add(1, Ordering::SeqCst);
                    return success();
                }
                let _ = received.lock().unwrap().recv();
                (500, String::new())
            });
            let world = World::open(folder.path(), &ManualClock::default()).await;
            world.publish("?metadata.partitionKey=k", json!(round)).await;
            world.publish("?metadata.partitionKey=k", json!(round)).await;
            world.start(&app).await;
            app.got(2).await;
        });
        running.shutdown_background();
        drop(sent);
    }
    runtime().block_on(async {
        let app = App::new(singly(), |_, _| success());
        let world = World::open(folder.path(), &ManualClock::default()).await;
        world.start(&app).await;
        world.settle().await;
        let (left, answered) = (app.events().len(), answered.load(Ordering::SeqCst));
        assert!(left + answered >= 6, "{left} were left, {answered} answered");
        assert!(left >= 3, "an event that hung was acknowledged: {left}");
        assert_eq!(app.data().last(), Some(&json!(2)));
        world.stop().await;
    });
}

#[tokio::test]
async fn an_expired_event_is_acknowledged_undelivered() {
    for subscriptions in [singly(), in_bulk(10)] {
        let folder = TempDir::new().unwrap();
        let clock = ManualClock::default();
        let world = World::open(folder.path(), &clock).await;
        world.publish("?metadata.ttlInSeconds=60", json!("short")).await;
        world.publish("?metadata.ttlInSeconds=3600", json!("long")).await;
        clock.advance(Duration::from_secs(120));
        let app = App::new(subscriptions, |_, _| answer_all("SUCCESS"));
        world.start(&app).await;
        world.settle().await;
        let text = app.events().iter().map(|event| event.text.clone()).collect::<String>();
        assert!(text.contains("long") && !text.contains("short"), "{text}");
        world.stop().await;
    }
}

#[tokio::test]
async fn raw_payloads_need_a_raw_subscription() {
    // Without it the event can never be delivered, and holds its partition, as behind daprd.
    let folder = TempDir::new().unwrap();
    let app = App::new(singly(), |_, _| success());
    let world = World::with_app(&folder, &app).await;
    world.publish("?metadata.rawPayload=true", json!("no event")).await;
    world.sleeper().await;
    assert_eq!((app.events().len(), world.dapr.waiting().await.unwrap()), (0, 1));
    world.stop().await;

    let raw = |bulk: bool| {
        json!([{ "pubsubname": "shop", "topic": "orders", "route": "orders",
            "metadata": { "rawPayload": "true" }, "bulkSubscribe": { "enabled": bulk } }])
    };
    let app = App::new(raw(false), |_, _| success());
    let world = World::open(folder.path(), &ManualClock::default()).await;
    world.start(&app).await;
    world.settle().await;
    assert_eq!(app.events()[0].body["data_base64"], "Im5vIGV2ZW50Ig==");
    world.stop().await;

    let folder = TempDir::new().unwrap();
    let app = App::new(raw(true), |_, _| answer_all("SUCCESS"));
    let world = World::with_app(&folder, &app).await;
    world.publish("?metadata.rawPayload=true", json!("no event")).await;
    world.settle().await;
    assert_eq!(app.events()[0].body["entries"][0]["event"], "Im5vIGV2ZW50Ig==");
    world.stop().await;
}

#[tokio::test]
async fn an_app_is_asked_when_it_is_healthy() {
    let folder = TempDir::new().unwrap();
    let app = App::new(singly(), |_, _| success());
    app.healthy.store(false, Ordering::SeqCst);
    let world = World::open(folder.path(), &ManualClock::default()).await;
    let mut start = Box::pin(world.start(&app));
    tokio::select! {
        () = &mut start => unreachable!("the app is not healthy"),
        () = world.sleeper() => {}
    }
    assert!(app.received.lock().unwrap().is_empty());
    app.healthy.store(true, Ordering::SeqCst);
    world.clock.advance(Duration::from_secs(1));
    start.as_mut().await;
    drop(start);
    assert_eq!(app.received.lock().unwrap().len(), 2);
    world.stop().await;
}

#[tokio::test]
async fn old_messages_are_removed_and_others_kept() {
    let folder = TempDir::new().unwrap();
    let clock = ManualClock::default();
    let world = World::open(folder.path(), &clock).await;
    world.publish("", json!("old")).await;
    clock.advance(Duration::from_secs(6 * 24 * 60 * 60));
    world.publish("", json!("young")).await;
    assert_eq!(world.stored("orders").await.len(), 2);
    clock.advance(Duration::from_secs(2 * 24 * 60 * 60));
    world.publish("", json!("new")).await;
    // The next transaction comes after the removal.
    world.publish("", json!("newer")).await;
    let data: Vec<_> = world.stored("orders").await.iter().map(|one| one["data"].clone()).collect();
    assert_eq!(data, ["young", "new", "newer"]);
    world.stop().await;
}
