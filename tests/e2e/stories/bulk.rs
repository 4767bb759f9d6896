//! Bulks of which some entries are handled, some dead and some turned away: daprd sends the last
//! again, and only those.

use std::sync::Arc;

use anyhow::ensure;
use serde_json::{Value, json};
use wharf_test_real::Yard;
use wharf_tests::host::{event, id};

use crate::outside::published;
use crate::project::Project;
use crate::restarts::CREATED;
use crate::stage::Stage;

const BULKS: u32 = 5;
const ENTRIES: u32 = 100;

/// Every tenth breaks its schema.
fn is_broken(number: u32) -> bool {
    number % 10 == 3
}

pub async fn play(yard: Arc<Yard>) -> anyhow::Result<()> {
    let stage = Stage::set(Arc::clone(&yard), &[]).await?;
    // Most of a full bulk has no room.
    let few = [("WHARF_INGRESS__MAX_EVENTS", "20".to_owned())];
    let host = stage.host_with("host", &Project::audit(&yard)?, &few).await?;
    let url = format!("{}/v1.0/publish/bulk/todo-pubsub/task-events", stage.outside.daprd.url());
    for bulk in 0..BULKS {
        let entries = (0..ENTRIES).map(|entry| {
            let number = bulk * ENTRIES + entry;
            let mut event = event(CREATED, number);
            if is_broken(number) {
                event["data"] = json!({ "task_id": 1 });
            }
            json!({ "entryId": entry.to_string(), "event": event, "contentType": "application/cloudevents+json",
                "metadata": { "partitionKey": "one" } })
        });
        let entries: Vec<Value> = entries.collect();
        published("task-events", stage.outside.http.post(&url).json(&entries)).await?;
    }
    let all = 0..BULKS * ENTRIES;
    let dead = all.clone().filter(|number| is_broken(*number)).count().to_string();
    let died = "SELECT component, count(*)::text FROM wharf_deliveries WHERE status = 'dead' \
        GROUP BY component";
    stage.become_rows(died, &[&["-", &dead]]).await?;
    let ids: Vec<_> = all.filter(|number| !is_broken(*number)).map(id).collect();
    stage.audited(CREATED, &ids).await?;
    ensure!(host.count("wharf_ingress_turned_away_total").await? > 0.0, "none was turned away");
    ensure!(host.count("wharf_repeats_total").await? == 0.0, "what was taken came again");
    Ok(())
}
