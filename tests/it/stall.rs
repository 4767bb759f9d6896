//! A host that stalls in the middle of a transaction, as a machine that swaps or a frozen container
//! does: the others wait for it no longer than PostgreSQL lets it be idle, and what it does when it
//! wakes changes nothing.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use reqwest::Client;
use sqlx::{Connection as _, PgConnection};
use wharf_tests::tally::Tally;

use crate::errands::{self, Database, Errand, Judged, Seen, judge};
use crate::kill::{place, stop};
use crate::program::{Running, until};

/// As `[ledger] query_timeout` is set here: so long a transaction may be idle.
const IDLE: Duration = Duration::from_secs(8);

/// What a busy machine may take on top of that.
const SLACK: Duration = Duration::from_secs(20);

/// So that none of what is used here fails.
const SUBJECTS: u32 = 8;

fn errand(number: u32) -> Errand {
    Errand { number, subjects: SUBJECTS }
}

/// Delivers as daprd does; gives whether it was taken.
async fn deliver(http: &Client, host: &Running, errand: Errand) -> bool {
    let url = format!("http://{}/events/{}", host.ingress, errands::TOPIC);
    let request = http.post(url).header("content-type", "application/cloudevents+json");
    let request = request.header("pubsubName", "todo-pubsub").body(errand.event().to_string());
    match request.send().await {
        Ok(answer) => answer.text().await.is_ok_and(|text| text.contains("SUCCESS")),
        Err(_) => false,
    }
}

wharf_test_postgres::tests_with_postgres! {
    #[tokio::test]
    async fn a_host_that_stalls_in_a_transaction_holds_up_nobody_for_long() {
        let url = wharf_test_postgres::schema("stall").await.url;
        let ledger = Database::Postgres(url.clone());
        let of = |place: crate::program::Place| {
            place.with("DATABASE_URL", &url).with("WHARF_LEDGER__QUERY_TIMEOUT", IDLE.as_secs())
        };
        let places = [of(place()), of(place()).with("WHARF_LEDGER__BUSY_TIMEOUT", 1)];
        let stalls = places[0].start().await;
        let goes_on = places[1].start().await;
        let http = Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
        assert!(deliver(&http, &stalls, errand(0)).await);

        // What comes of it has the same subject: its call's result, and its job.
        until("the first is through", async || ledger.rows(THROUGH).await == [["3"]]).await;

        // Another program holds a row that the next one needs, so that its transaction is known to be
        // under way when the host stalls; then its statement ends, and nobody goes on with it.
        let mut other = PgConnection::connect(&url).await.unwrap();
        let mut watch = PgConnection::connect(&url).await.unwrap();
        let own: i32 =
            sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut other).await.unwrap();
        let mut held = other.begin().await.unwrap();
        let row = "SELECT n FROM errand_counts WHERE subject = 's-0' FOR UPDATE";
        sqlx::query(row).execute(&mut *held).await.unwrap();
        let next = errand(SUBJECTS);
        assert_eq!(next.subject(), "s-0");
        let stalled = async {
            let mut waiting: Option<i32> = None;
            until("it waits for the row", async || {
                let found = sqlx::query_scalar(WAITING).bind(own).fetch_optional(&mut watch).await;
                waiting = found.unwrap();
                waiting.is_some()
            })
            .await;
            stalls.send("STOP").await;
            held.rollback().await.unwrap();
            until("its transaction is idle", async || {
                let found = sqlx::query_scalar(IDLING).bind(waiting).fetch_one(&mut watch).await;
                found.unwrap()
            })
            .await;
            let began = Instant::now();
            // Of another subject, at once; of the same event, when the other's transaction is gone.
            assert!(deliver(&http, &goes_on, errand(1)).await);
            while !deliver(&http, &goes_on, next).await {
                assert!(began.elapsed() < IDLE + SLACK, "the other host is held up for too long");
            }
            let took = began.elapsed();
            stalls.send("CONT").await;
            took
        };
        let (taken, took) = futures::future::join(deliver(&http, &stalls, next), stalled).await;
        assert!(took < IDLE + SLACK, "{took:?}");
        assert!(!taken, "it was taken back, and is to come again: {}", places[0].stderr());
        // Its connections are gone; with new ones it finds that the event is known by now.
        until("it is known", async || deliver(&http, &stalls, next).await).await;
        let mut sent = BTreeSet::from([errand(0), errand(1), next]);
        for number in [2, 4, 5] {
            while !deliver(&http, &stalls, errand(number)).await {}
            sent.insert(errand(number));
        }
        until("all is done", async || {
            ledger.rows(LEFT).await == [["0"]] && ledger.rows(ENDED).await == [[sent.len().to_string()]]
        })
        .await;
        let daprs: Vec<_> = places.iter().map(|place| place.path(".wharf")).collect();
        for (place, running) in places.iter().zip([stalls, goes_on]) {
            stop(place, running).await;
        }
        let mut tally = Tally::new("stall, PostgreSQL");
        tally.injected("SIGSTOP in the middle of a transaction", 1);
        let seen = Seen::of(&ledger, &daprs).await;
        judge(&mut tally, &sent, &seen, Judged::AcrossHosts);
        tally.finish();
    }
}

/// Who waits for a connection.
const WAITING: &str = "SELECT pid FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))";
const IDLING: &str = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity \
    WHERE pid = $1 AND state LIKE 'idle in transaction%')";
const LEFT: &str = "SELECT CAST((SELECT count(*) FROM wharf_outbox WHERE status = 'waiting') + \
    (SELECT count(*) FROM wharf_deliveries WHERE status = 'parked') AS TEXT)";
const THROUGH: &str = "SELECT CAST(count(*) AS TEXT) FROM wharf_deliveries \
    WHERE component = 'errands' AND status = 'done'";
const ENDED: &str = "SELECT CAST(count(*) AS TEXT) FROM wharf_deliveries \
    WHERE component = 'errands' AND status IN ('done', 'dead') \
    AND event_type = 'com.errands.run.v1'";
