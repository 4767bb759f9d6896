//! A file that may grow no further: nothing is acknowledged that is not written.

use serde_json::json;
use wharf_tests::host::{Host, Setup, event, id};
use wharf_tests::tally::Tally;

use crate::calls::{plain, publish, seen, some, suite, until_all_is_done};
use crate::errands::{Judged, judge};
use crate::faults::until_all_is_taken;

const CREATED: &str = "com.todo.task.created.v1";

#[tokio::test]
async fn a_full_ledger_acknowledges_nothing_until_it_may_grow() {
    let mut setup = Setup::audit();
    setup.config.ledger.max_page_count = Some(160);
    let host = setup.start().await;
    let large = |number| {
        let mut event = event(CREATED, number);
        event["data"]["task"]["description"] = "x".repeat(50_000).into();
        event
    };
    let mut taken = 0;
    while host.deliver("task-events", large(taken).to_string()).await.1
        == json!({ "status": "SUCCESS" })
    {
        taken += 1;
        assert!(taken < 20, "it never gets full");
    }
    assert!(taken > 0, "it is full from the start");
    // Only what was acknowledged is there, and that for good.
    let rows =
        async |host: &Host| host.rows("SELECT event_id FROM audit_log ORDER BY event_id").await;
    let ids = |count| (0..count).map(|number| vec![id(number)]).collect::<Vec<_>>();
    assert_eq!(rows(&host).await, ids(taken));
    for number in 0..taken + 5 {
        host.publish("task-events", &large(number)).await;
    }
    assert_eq!(host.ingress(reqwest::Method::GET, "/health").await.0, 503);
    assert_eq!(rows(&host).await, ids(taken));

    let host = host.restart_with(|config| config.ledger.max_page_count = None).await;
    until_all_is_taken(&host).await;
    assert_eq!(rows(&host).await, ids(taken + 5));
    assert!(host.messages("task-events-dlq").await.is_empty());
    host.stop().await;
}

#[tokio::test]
async fn errands_go_on_when_a_full_ledger_may_grow() {
    let mut setup = plain();
    setup.config.ledger.max_page_count = Some(240);
    let mut host = setup.start().await;
    let mut sent = 0;
    let mut fills = 0;
    while fills < 3 {
        publish(&host, &some(sent..sent + 10)).await;
        sent += 10;
        host.app.work().ended().await;
        if host.ingress(reqwest::Method::GET, "/health").await.0 == 503 {
            fills += 1;
            host = host
                .restart_with(|config| {
                    config.ledger.max_page_count =
                        config.ledger.max_page_count.map(|pages| pages + 40);
                })
                .await;
        }
        assert!(sent < 2000, "it never gets full");
    }
    let host = host.restart_with(|config| config.ledger.max_page_count = None).await;
    until_all_is_done(&host).await;
    let mut tally = Tally::new(suite("ledger"));
    tally.injected("its file may grow no further", fills);
    judge(&mut tally, &some(0..sent), &seen(&host).await, Judged::AsSent);
    host.stop().await;
    tally.finish();
}
