//! The parts alone, without Wharf: what does not work here, no story can blame on Wharf.

use std::sync::Arc;

use serde_json::json;
use wharf_test_real::{Kafka, Redis, Scheduler, Sidecar, Yard, component};

use crate::outside::Outside;
use crate::stage::eventually;

pub async fn play(yard: Arc<Yard>) -> anyhow::Result<()> {
    let (kafka, scheduler, redis) =
        futures::try_join!(Kafka::start(&yard, 2), Scheduler::start(&yard), Redis::start(&yard))?;
    let (mut kafka, mut scheduler) = (kafka, scheduler);
    let pubsub = kafka.pubsub("pubsub");
    let store = redis.state_store("store");
    let memory = component("memory", "state.in-memory", &[]);
    let resources = yard.resources("outside", &[&pubsub, &store, &memory])?;
    let sidecar =
        Sidecar { scheduler: Some(scheduler.address()), ..Sidecar::of("outside", resources) };
    let mut outside = Outside::start(&yard, sidecar, &[("pubsub", "things")]).await?;

    let event = |id: &str| json!({ "specversion": "1.0", "id": id, "source": "e2e", "type": "thing", "data": 1 });
    outside.publish("pubsub", "things", &event("1")).await?;
    assert_eq!(outside.came("things", 1).await?[0]["id"], "1");

    let url = outside.daprd.url();
    let job = outside.http.post(format!("{url}/v1.0/jobs/tick"));
    let job = job.json(&json!({ "dueTime": "1s", "data": { "n": 1 } })).send().await?;
    assert_eq!(job.status(), 204);
    assert_eq!(outside.came("tick", 1).await?, [json!({ "n": 1 })]);

    for store in ["store", "memory"] {
        let state = format!("{url}/v1.0/state/{store}");
        let set = outside.http.post(&state).json(&json!([{ "key": "k", "value": "v" }]));
        assert_eq!(set.send().await?.status(), 204);
        let got = outside.http.get(format!("{state}/k")).send().await?;
        assert_eq!(got.text().await?, "\"v\"", "{store}");
    }

    // Everything is killed, and started on what it kept.
    kafka.kill()?;
    scheduler.kill()?;
    outside.daprd.kill()?;
    futures::try_join!(kafka.start_again(), scheduler.start_again())?;
    outside.daprd.start_again().await?;
    outside.daprd.healthy().await?;
    eventually("the broker takes events again", async || {
        outside.publish("pubsub", "things", &event("2")).await.map_err(|error| format!("{error:#}"))
    })
    .await?;
    // The first may come again: that it was handled may not have been written down.
    eventually("the second event comes", async || {
        let came = outside.app.came("things");
        if came.iter().any(|event| event["id"] == "2") { Ok(()) } else { Err(format!("{came:?}")) }
    })
    .await
}
