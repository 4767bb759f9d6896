//! The real program dies between two steps of commit, claim and relay, at each of them, and is
//! started again: what was published is done, once where that is promised. `failpoints` lets it
//! fail there.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Client;
use wharf::failpoint::Point;
use wharf_tests::tally::Tally;

use crate::errands::{self, Database, Errand, Judged, Seen, judge};
use crate::kill::{pass_a_minute, place, stop};
use crate::program::{Place, until};

/// Each has what leads to every point: one that dies, some that fail first, each in its own way,
/// a call, a job, and effects that are refused.
const EACH: u32 = 17;

#[tokio::test]
async fn a_death_between_any_two_steps_changes_nothing_on_sqlite() {
    let place = place();
    let ledger = Database::Sqlite(place.path(".wharf/ledger.db"));
    survives("crash, SQLite", place, ledger).await;
}

wharf_test_postgres::tests_with_postgres! {
    #[tokio::test]
    async fn a_death_between_any_two_steps_changes_nothing_on_postgresql() {
        let url = wharf_test_postgres::schema("crash").await.url;
        let place = place().with("DATABASE_URL", &url);
        survives("crash, PostgreSQL", place, Database::Postgres(url)).await;
    }
}

async fn survives(suite: &str, mut place: Place, ledger: Database) {
    // Makes the ledger, and compiles the components.
    stop(&place, place.start().await).await;
    let http = Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
    let mut sent = BTreeSet::new();
    let mut tally = Tally::new(suite);
    for point in Point::ALL {
        // A start claims by itself: there it dies later.
        let claims = matches!(point, Point::ClaimDeliveries | Point::ClaimEffects);
        let visits = if claims { 8 } else { 1 };
        place = place.with("FAILPOINTS", format!("{}:{visits}", point.name()));
        let mut running = place.start().await;
        let first = u32::try_from(sent.len()).unwrap();
        // The first comes twice.
        for number in (first..first + EACH).chain([first]) {
            let errand = Errand { number, subjects: 7 };
            sent.insert(errand);
            // It may be dead already: then it is published later.
            if !publish(&http, running.dapr, errand).await {
                break;
            }
        }
        let died = running.died().await;
        assert_eq!(died, Some(6), "{point:?} is not visited: {}", place.stderr());
        tally.injected(point.name(), 1);
        pass_a_minute(&ledger).await;

        // Whoever publishes repeats what was not taken, as events that may have come before.
        place = place.without("FAILPOINTS");
        let running = place.start().await;
        for number in first..first + EACH {
            let errand = Errand { number, subjects: 7 };
            sent.insert(errand);
            assert!(publish(&http, running.dapr, errand).await, "{}", place.stderr());
        }
        until(&format!("all is done after {point:?}"), async || is_done(&ledger, &sent).await)
            .await;
        stop(&place, running).await;
        let seen = Seen::of(&ledger, &[place.path(".wharf")]).await;
        let mut found = Tally::new(format!("{suite}, {}", point.name()));
        judge(&mut found, &sent, &seen, Judged::AsSent);
        found.finish();
    }
    let seen = Seen::of(&ledger, &[place.path(".wharf")]).await;
    judge(&mut tally, &sent, &seen, Judged::AsSent);
    tally.finish();
}

/// Gives whether it was taken.
async fn publish(http: &Client, dapr: std::net::SocketAddr, errand: Errand) -> bool {
    let url = format!("http://{dapr}/v1.0/publish/todo-pubsub/{}", errands::TOPIC);
    let request = http.post(url).header("content-type", "application/cloudevents+json");
    request.body(errand.event().to_string()).send().await.is_ok()
}

async fn is_done(ledger: &Database, sent: &BTreeSet<Errand>) -> bool {
    let plans = sent.iter().filter(|one| one.plans() && one.succeeds().is_some()).count();
    let calls = sent.iter().filter(|one| one.calls() && one.succeeds().is_some()).count();
    let refused = sent.iter().filter(|one| one.is_refused()).count();
    let reports = sent.iter().filter(|one| one.succeeds().is_none()).count() + refused;
    let expected = [sent.len(), sent.len(), plans, calls, refused, reports, 0, 0];
    let expected = expected.map(|number| number.to_string());
    ledger.rows(DONE).await == [expected]
}

const DONE: &str = "SELECT \
    CAST((SELECT count(DISTINCT event_id) FROM audit_log WHERE type = 'com.errands.run.v1') AS TEXT), \
    CAST((SELECT count(*) FROM wharf_deliveries WHERE status IN ('done', 'dead') \
        AND component = 'errands' AND event_type = 'com.errands.run.v1') AS TEXT), \
    CAST((SELECT count(DISTINCT what) FROM errand_news WHERE kind = 'fired') AS TEXT), \
    CAST((SELECT count(DISTINCT what) FROM errand_news WHERE kind = 'called') AS TEXT), \
    CAST((SELECT count(DISTINCT what) FROM errand_news WHERE kind = 'failed') AS TEXT), \
    CAST((SELECT count(DISTINCT event_id) FROM audit_log \
        WHERE type = 'com.todo.audit.failed.v1') AS TEXT), \
    CAST((SELECT count(*) FROM wharf_deliveries WHERE status = 'parked') AS TEXT), \
    CAST((SELECT count(*) FROM wharf_outbox WHERE status = 'waiting') AS TEXT)";
