//! Ten times what a component can take, offered to the real program for some seconds.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use futures::future::{join, join_all};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use wharf_tests::built;
use wharf_tests::host::{THING, THINGS, bulk, thing};

use crate::errands::Database;
use crate::program::{Place, Running, until};

const EVENTS: u32 = 1500;
/// The lone events have higher numbers.
const COUNTED: &str = "SELECT CAST(count(*) AS TEXT), CAST(sum(n) AS TEXT) FROM tally \
                       WHERE CAST(substr(id, 7) AS INTEGER) < 1500";
/// Connections, each with one callback at a time. Every third one sends bulks.
const SENDERS: usize = 300;
const IN_A_BULK: usize = 20;
/// Each event is about so large.
const BYTES: usize = 16 << 10;
/// What the program may have in progress.
const MAX_EVENTS: u64 = 200;
const MAX_BYTES: u64 = 4 << 20;
const MAX_PARKED: u64 = 500;
/// What all of it may cost beyond an idle host, whatever is offered and for however long: half of it
/// are the buffers of the connections, and instances that are used for the first time.
const MEMORY: u64 = 256 << 20;
/// So much more may it be in the second half.
const CREEP: u64 = 64 << 20;
/// daprd's policy has a second; so much more is offered.
const PAUSE: Duration = Duration::from_millis(100);

fn place() -> Place {
    let place = Place::new().own_contracts();
    place.write("contracts/things/contract.toml", THINGS);
    let manifest = format!(
        "name = \"tally\"\nversion = \"1\"\norder = \"none\"\n[[on]]\nevent = \"{THING}\"\n\
         [grants]\npublish = [\"com.things.said.v1\"]\nstate = [\"todo-statestore\"]\n\
         bindings = [\"notify-file\"]\ntables = {{ tally = \"write\" }}\n\
         [sql.add]\nexecute = \"INSERT INTO tally (id, n) VALUES ($1, 1) \
         ON CONFLICT (id) DO UPDATE SET n = tally.n + 1\"\n\
         [limits]\ntime = \"5s\"\nfuel = 1_000_000_000\nconcurrency = 1\nmax_parked = {MAX_PARKED}\n"
    );
    place.component("tally", built::TALLY, &manifest);
    let table = "CREATE TABLE tally (id TEXT PRIMARY KEY, n INTEGER NOT NULL)";
    for database in ["sqlite", "postgres"] {
        place.write(&format!("components/tally/migrations/{database}/0001_tables.sql"), table);
    }
    place
        .with("WHARF_INGRESS__MAX_EVENTS", MAX_EVENTS)
        .with("WHARF_INGRESS__MAX_BYTES", MAX_BYTES)
        .with("RUST_LOG", "warn,wharf::dispatch::report=error")
}

/// Some milliseconds of work each.
fn slow(number: u32) -> Value {
    let data = json!({ "turns": 4_000_000, "filler": "x".repeat(BYTES) });
    thing(number, &format!("s-{number}"), data)
}

/// One at a time: they measure.
static ALONE: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn ten_times_what_a_component_can_take_is_neither_piled_up_nor_lost() {
    let _alone = ALONE.lock().await;
    let place = place();
    let ledger = Database::Sqlite(place.path(".wharf/ledger.db"));
    flood(&place, &ledger).await;
}

wharf_test_postgres::tests_with_postgres! {
    #[tokio::test]
    async fn ten_times_what_a_component_can_take_is_neither_piled_up_nor_lost_on_postgresql() {
        let _alone = ALONE.lock().await;
        let url = wharf_test_postgres::schema("flood").await.url;
        flood(&place().with("DATABASE_URL", &url), &Database::Postgres(url)).await;
    }
}

#[expect(clippy::print_stdout, reason = "tests/README.md tells what it found")]
async fn flood(place: &Place, ledger: &Database) {
    let running = place.start().await;
    let calm = latency(&running, EVENTS).await;
    let idle = running.resident();

    let dapr = Senders::new(&running);
    let started = Instant::now();
    let over = Cell::new(false);
    let sending = async {
        join_all((0..SENDERS).map(|sender| dapr.send(sender))).await;
        over.set(true);
    };
    let (seen, ()) = join(watch(&running, &over), sending).await;
    let (half, peak) = (most(&seen[..seen.len() / 2]), most(&seen));
    let took = started.elapsed();
    let (offered, taken) = (dapr.offered.get(), EVENTS);
    let rate = |events: u64| (events as f64 / took.as_secs_f64()) as u64;
    println!(
        "{taken} events taken in {took:.1?}, {}/s; offered {offered}, {}/s: {:.1} times as many",
        rate(u64::from(taken)),
        rate(offered),
        offered as f64 / f64::from(taken),
    );
    println!(
        "idle {} MiB; at most {} MiB ({} in the first half), {} events and {} KiB in progress, {} parked, {} waiting to \
         go out",
        idle >> 20,
        peak.resident >> 20,
        half.resident >> 20,
        peak.events,
        peak.bytes >> 10,
        peak.parked,
        peak.outbox,
    );
    until("all that was parked is done", async || gauges(&running).await.parked == 0).await;
    let drained = started.elapsed();
    let after = latency(&running, EVENTS + 1000).await;
    println!("drained after {drained:.1?}; a lone event took {calm:?} before, and {after:?} after");

    assert_eq!(ledger.rows(COUNTED).await, [[EVENTS.to_string(), EVENTS.to_string()]]);
    assert!(peak.resident < idle + MEMORY, "{} MiB", peak.resident >> 20);
    assert!(peak.resident < half.resident + CREEP, "{} MiB", peak.resident >> 20);
    assert!(peak.events <= MAX_EVENTS && peak.events > MAX_EVENTS / 2, "{} events", peak.events);
    assert!(peak.bytes <= MAX_BYTES, "{} bytes", peak.bytes);
    // Those that looked at the same moment may all be parked.
    assert!(peak.parked <= MAX_PARKED + MAX_EVENTS, "{} parked", peak.parked);
    assert!(offered >= 10 * u64::from(taken), "only {offered} were offered");
    assert!(after < calm * 5 + Duration::from_millis(100), "{after:?}, and {calm:?} before");
    assert_eq!(running.signal("TERM").await.code(), Some(0), "{}", place.stderr());
}

/// Half of some lone events were answered within this.
async fn latency(running: &Running, from: u32) -> Duration {
    let (http, url) = (reqwest::Client::new(), url(running));
    let mut took = Vec::new();
    for number in from..from + 15 {
        let started = Instant::now();
        let data = json!({ "turns": 0 });
        let event = thing(number, &format!("s-{number}"), data);
        assert_eq!(post(&http, &url, &[event]).await, [true]);
        took.push(started.elapsed());
    }
    took.sort();
    took[took.len() / 2]
}

fn url(running: &Running) -> String {
    format!("http://{}/events/things", running.ingress)
}

/// Calls as daprd does, and says which of the events were taken.
async fn post(http: &reqwest::Client, url: &str, events: &[Value]) -> Vec<bool> {
    let (kind, body) = match events {
        [event] => ("application/cloudevents+json", event.to_string()),
        events => ("application/json", bulk("things", events).to_string()),
    };
    let request = http.post(url).header("content-type", kind).header("pubsubName", "todo-pubsub");
    let answer = request.body(body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    match answer["statuses"].as_array() {
        Some(statuses) => statuses.iter().map(|entry| entry["status"] == "SUCCESS").collect(),
        None => vec![answer["status"] == "SUCCESS"; events.len()],
    }
}

/// Many daprds that send again what was not taken.
struct Senders {
    http: reqwest::Client,
    url: String,
    left: RefCell<VecDeque<u32>>,
    offered: Cell<u64>,
}

impl Senders {
    fn new(running: &Running) -> Self {
        let left = RefCell::new((0..EVENTS).collect());
        Self { http: reqwest::Client::new(), url: url(running), left, offered: Cell::new(0) }
    }

    /// Takes the next of what is left.
    fn next(&self, many: usize) -> Vec<u32> {
        let mut left = self.left.borrow_mut();
        let many = many.min(left.len());
        left.drain(..many).collect()
    }

    async fn send(&self, sender: usize) {
        let many = if sender.is_multiple_of(3) { IN_A_BULK } else { 1 };
        loop {
            let numbers = self.next(many);
            if numbers.is_empty() {
                return;
            }
            let mut events: Vec<_> = numbers.into_iter().map(slow).collect();
            while !events.is_empty() {
                self.offered.set(self.offered.get() + events.len() as u64);
                let mut taken = post(&self.http, &self.url, &events).await.into_iter();
                events.retain(|_| taken.next() != Some(true));
                if !events.is_empty() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

#[derive(Default)]
struct Gauges {
    resident: u64,
    events: u64,
    bytes: u64,
    parked: u64,
    outbox: u64,
}

async fn gauges(running: &Running) -> Gauges {
    let metrics = running.admin("/metrics").await;
    let gauge = |series: &str| {
        let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse::<f64>().unwrap() as u64)
    };
    Gauges {
        resident: running.resident(),
        events: gauge("wharf_ingress_events"),
        bytes: gauge("wharf_ingress_bytes"),
        parked: gauge("wharf_deliveries{component=\"tally\",status=\"parked\"}"),
        outbox: gauge("wharf_outbox{status=\"waiting\"}"),
    }
}

/// What there is, again and again.
async fn watch(running: &Running, over: &Cell<bool>) -> Vec<Gauges> {
    let mut seen = Vec::new();
    while !over.get() {
        seen.push(gauges(running).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    seen
}

/// The most of each.
fn most(seen: &[Gauges]) -> Gauges {
    seen.iter().fold(Gauges::default(), |most, now| Gauges {
        resident: most.resident.max(now.resident),
        events: most.events.max(now.events),
        bytes: most.bytes.max(now.bytes),
        parked: most.parked.max(now.parked),
        outbox: most.outbox.max(now.outbox),
    })
}
