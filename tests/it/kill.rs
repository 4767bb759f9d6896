//! The promise that everything else serves: kill the process at any moment, as often as you like,
//! and every event that was acknowledged has had its effect exactly once.

#![expect(
    clippy::print_stdout,
    reason = "shown when the test fails, with the seed that draws the same moments"
)]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use futures::future::{join, join_all};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};
use wharf_tests::host::{event, id};

use crate::program::{Place, Running, until};

const KILLS: usize = 12;
const PRODUCERS: usize = 20;
/// Milliseconds after the start at which a kill comes.
const MOMENTS: Range<u64> = 50..400;

#[tokio::test]
async fn every_acknowledged_event_is_audited_once_however_often_the_process_is_killed() {
    let place = without_a_key_of_its_own();
    let (producers, mut moments) = (Producers::default(), Moments::drawn());
    let (mut hits, mut interrupted) = (0, 0);
    for round in 1..=KILLS {
        let running = place.start().await;
        let (dapr, moment) = (running.dapr, moments.next());
        let (in_flight, ()) =
            join(kill(running, moment, &producers), producers.publish(dapr)).await;
        let audited = rows(&place, AUDITED).await;
        let left = producers.missing(&audited).len();
        println!(
            "kill {round} after {moment:?}: {in_flight} requests in flight, {} acknowledged so \
             far, {left} of them not audited yet",
            producers.acknowledged.borrow().len(),
        );
        hits += usize::from(in_flight == PRODUCERS);
        interrupted += usize::from(left > 0);
    }
    let acknowledged = producers.acknowledged.borrow().len();
    assert!(hits >= 10, "only {hits} kills came with {PRODUCERS} events in flight");
    assert!(interrupted > 0, "no kill came between an acknowledgement and its audit");
    assert!(acknowledged >= 200, "only {acknowledged} events were acknowledged");

    let running = place.start().await;
    settle(&place, &running, &producers).await;
    assert_eq!(running.signal("TERM").await.code(), Some(0), "{}", place.stderr());

    let audited = rows(&place, AUDITED).await;
    let lost = producers.missing(&audited);
    assert!(lost.is_empty(), "{} acknowledged events are lost: {lost:?}", lost.len());
    let twice: Vec<_> = audited.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{} events are audited more than once: {twice:?}", twice.len());
    let was_sent = |id: &String| producers.sent.borrow().contains(id);
    assert!(audited.keys().all(was_sent), "an event that nobody sent");
    let done = BTreeMap::from([("done".to_owned(), audited.len() as i64)]);
    assert_eq!(
        rows(&place, "SELECT status, count(*) FROM wharf_deliveries GROUP BY 1").await,
        done
    );
}

const AUDITED: &str = "SELECT event_id, count(*) FROM audit_log GROUP BY 1";

/// The audit log's own key would hide an event that is handled twice.
fn without_a_key_of_its_own() -> Place {
    let place = Place::new();
    place.edit("components/audit/component.toml", "ON CONFLICT DO NOTHING", "");
    let migration = "components/audit/migrations/sqlite/0001_audit_log.sql";
    place.edit(migration, ",\n    PRIMARY KEY (contract, source, event_id, type)", "");
    place
}

/// Gives how many requests were in flight when the kill came.
async fn kill(running: Running, moment: Duration, producers: &Producers) -> usize {
    tokio::time::sleep(moment).await;
    let in_flight = producers.in_flight.get();
    running.kill().await;
    in_flight
}

/// What producers know: they have an id acknowledged only when Dapr's 204 has come back.
#[derive(Default)]
struct Producers {
    number: Cell<u32>,
    in_flight: Cell<usize>,
    sent: RefCell<BTreeSet<String>>,
    acknowledged: RefCell<BTreeSet<String>>,
}

impl Producers {
    /// All of them publish one event after the other, until the process is gone.
    async fn publish(&self, dapr: SocketAddr) {
        let url = format!("http://{dapr}/v1.0/publish/todo-pubsub/task-events");
        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
        let producer = async || while self.publish_one(&http, &url).await {};
        join_all((0..PRODUCERS).map(|_| producer())).await;
    }

    /// Gives whether the process still answered.
    async fn publish_one(&self, http: &reqwest::Client, url: &str) -> bool {
        let number = self.number.get() + 1;
        self.number.set(number);
        self.sent.borrow_mut().insert(id(number));
        let body = event("com.todo.task.created.v1", number).to_string();
        let request = http.post(url).header("content-type", "application/cloudevents+json");
        self.in_flight.set(self.in_flight.get() + 1);
        let answer = request.body(body).send().await;
        self.in_flight.set(self.in_flight.get() - 1);
        let Ok(answer) = answer else { return false };
        assert_eq!(answer.status(), 204);
        self.acknowledged.borrow_mut().insert(id(number));
        true
    }

    /// What was acknowledged and is not there.
    fn missing(&self, audited: &BTreeMap<String, i64>) -> Vec<String> {
        let acknowledged = self.acknowledged.borrow();
        acknowledged.iter().filter(|id| !audited.contains_key(*id)).cloned().collect()
    }
}

/// Waits until nothing is handled any more; longer, while something acknowledged is not audited.
async fn settle(place: &Place, running: &Running, producers: &Producers) {
    let (mut before, mut quiet) = (BTreeSet::new(), 0);
    until("nothing is handled any more", async || {
        let now = running.admin("/metrics").await;
        let now = now.lines().filter(|line| {
            line.starts_with("events_consumed_total") || line.starts_with("wharf_repeats_total")
        });
        let now: BTreeSet<_> = now.map(str::to_owned).collect();
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
        let patience =
            if producers.missing(&rows(place, AUDITED).await).is_empty() { 25 } else { 250 };
        quiet >= patience
    })
    .await;
}

/// A name and a number of each row, read past the host.
async fn rows(place: &Place, sql: &'static str) -> BTreeMap<String, i64> {
    let file = SqliteConnectOptions::new().filename(place.path(".wharf/ledger.db")).read_only(true);
    let mut connection = SqliteConnection::connect_with(&file).await.unwrap();
    let rows: Vec<(String, i64)> = sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows.into_iter().collect()
}

/// When the kills come: random, and the same again for the same `KILL_SEED`.
struct Moments(u64);

impl Moments {
    fn drawn() -> Self {
        let given = std::env::var_os("KILL_SEED").and_then(|seed| seed.to_str()?.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one("moments"));
        println!("the moments again: KILL_SEED={seed}");
        Self(seed | 1)
    }

    fn next(&mut self) -> Duration {
        for shift in [13_i32, -7, 17] {
            let shifted = if shift > 0 { self.0 << shift } else { self.0 >> -shift };
            self.0 ^= shifted;
        }
        Duration::from_millis(MOMENTS.start + self.0 % (MOMENTS.end - MOMENTS.start))
    }
}
