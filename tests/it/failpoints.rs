//! A host that fails between two steps of commit, claim and relay, at each of them; `crash` lets it
//! die there.

use std::time::Duration;

use wharf::failpoint::{self, Point};
use wharf_tests::built;
use wharf_tests::host::Setup;
use wharf_tests::tally::Tally;

use crate::calls::{plain, publish, seen, some, suite, until_all_is_done_in_steps};
use crate::errands::{self, Errand, Judged, judge};

/// So many visits fail in a row.
const TIMES: u32 = 3;

#[tokio::test]
async fn an_error_between_any_two_steps_changes_nothing() {
    for point in Point::ALL {
        let host = plain().start().await;
        failpoint::fail(point, TIMES);
        let sent = some(0..40);
        publish(&host, &sent).await;
        // Some come again.
        publish(&host, &some(0..3)).await;
        // What was claimed and lost is free when its lease is over.
        until_all_is_done_in_steps(&host, Duration::from_secs(2)).await;
        let failed = failpoint::failed();
        assert_eq!(failed, TIMES, "{point:?} is not visited");
        let mut tally = Tally::new(suite("error"));
        tally.injected(point.name(), usize::try_from(failed).unwrap());
        judge(&mut tally, &sent, &seen(&host).await, Judged::AsSent);
        host.stop().await;
        tally.finish();
    }
}

#[tokio::test]
async fn what_queued_behind_an_event_that_comes_again_comes_after_it() {
    // Nobody else wants them: the first group is the first event alone.
    let setup = Setup::bare()
        .contract("errands", errands::CONTRACT)
        .guest("errands", built::ERRANDS, errands::MANIFEST)
        .migration("errands", errands::TABLES);
    let host = setup.start().await;
    let events: Vec<_> = (0..3).map(|number| Errand { number, subjects: 1 }.event()).collect();
    failpoint::fail(Point::CommitGathered, 1);
    assert_eq!(host.deliver_bulk(errands::TOPIC, &events).await, ["RETRY"; 3]);
    let rows = "SELECT event_id FROM errands ORDER BY turn";
    assert!(host.rows(rows).await.is_empty());
    assert_eq!(host.deliver_bulk(errands::TOPIC, &events).await, ["SUCCESS"; 3]);
    // One may wait behind an internal event of its subject.
    host.settle().await;
    assert_eq!(host.rows(rows).await, [["run-000000"], ["run-000001"], ["run-000002"]]);
    host.stop().await;
}
