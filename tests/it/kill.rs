//! The promise that everything else serves: kill the process at any moment, as often as you like,
//! and every event that was published has had its effects, exactly once where that is promised.
//! Two hosts share a ledger; while one is killed, the other goes on.

#![expect(clippy::print_stdout, reason = "shown when the test fails")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::future::{join, join_all};
use reqwest::Client;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use tokio::sync::Mutex;
use wharf_tests::built;
use wharf_tests::dice::Dice;
use wharf_tests::host::for_postgres;
use wharf_tests::tally::Tally;

use crate::errands::{self, Database, Errand, Judged, Seen, judge};
use crate::program::{Place, Running};

const KILLS: usize = 50;
/// Of each host.
const PRODUCERS: usize = 24;
/// A kill counts when the host that it hits has so many events in progress, as its metrics say right
/// before, and when so many that its Dapr had taken are not in the ledger right after.
const IN_FLIGHT: usize = 20;
/// More than this many events are not on their way, so that the end is in sight when the last kill
/// is done.
const WINDOW: usize = 1000;
const SUBJECTS: u32 = 397;
/// One kill in so many comes before the host serves; these do not count.
const STARTS: usize = 8;
/// After one kill in so many, a minute passes: what the dead had claimed is free again, and so is
/// what the other host is just running.
const MINUTES: u64 = 3;

/// One suite after the other: a kill counts only when enough is in flight, which takes a busy
/// machine long.
static ALONE: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn fifty_kills_of_two_hosts_on_one_sqlite_file_lose_nothing_and_do_nothing_twice() {
    let _alone = ALONE.lock().await;
    let places = [place(), place()];
    let ledger = places[0].path(".wharf/ledger.db");
    std::fs::create_dir_all(places[1].path(".wharf")).unwrap();
    std::os::unix::fs::symlink(&ledger, places[1].path(".wharf/ledger.db")).unwrap();
    Box::pin(survives("kill, SQLite", &places, Database::Sqlite(ledger))).await;
}

wharf_test_postgres::tests_with_postgres! {
    #[tokio::test]
    async fn fifty_kills_of_two_hosts_on_one_postgresql_lose_nothing_and_do_nothing_twice() {
        let _alone = ALONE.lock().await;
        let url = wharf_test_postgres::schema("kill").await.url;
        let places = [place().with("DATABASE_URL", &url), place().with("DATABASE_URL", &url)];
        Box::pin(survives("kill, PostgreSQL", &places, Database::Postgres(url))).await;
    }
}

/// A folder with the audit component, whose log has no key that would hide what happens twice, and
/// with the errands.
pub fn place() -> Place {
    let place = Place::new().known_contract("cloudevents").contract("errands", errands::CONTRACT);
    place.edit("components/audit/component.toml", "ON CONFLICT DO NOTHING", "");
    place.edit("components/audit/component.toml", "time = \"1s\"", "time = \"10s\"");
    place.component("errands", built::ERRANDS, errands::MANIFEST);
    for (database, tables) in
        [("sqlite", errands::TABLES.to_owned()), ("postgres", for_postgres(errands::TABLES))]
    {
        let migration = format!("components/audit/migrations/{database}/0001_audit_log.sql");
        place.edit(&migration, ",\n    PRIMARY KEY (contract, source, event_id, type)", "");
        let migration = format!("components/errands/migrations/{database}/0001_tables.sql");
        place.write(&migration, &tables);
    }
    // Two processes wait for each other; and a lane whose effect died with its host goes on soon.
    let place = place.with("WHARF_LEDGER__BUSY_TIMEOUT", 10).with("WHARF_RELAY__LEASE", 1);
    place.with("WHARF_DAPR__NOTIFY_URL", errands::NOBODY)
}

async fn survives(suite: &str, places: &[Place; 2], ledger: Database) {
    // The first start makes the ledger, and compiles the components.
    for place in places {
        stop(place, place.start().await).await;
    }
    let mut dice = Dice::thrown(suite);
    let began = Instant::now();
    let world = World::new(ledger.clone(), &mut dice);
    let mut draws = [dice.split(), dice.split()];
    let running = async {
        let [first, second] = &mut draws;
        join(world.kill(&places[0], 0, first), world.kill(&places[1], 1, second)).await;
        println!("{} kills in {:.0?}", world.kills.get(), began.elapsed());
        // The last ones' claims hold until their lease is over.
        pass_a_minute(&ledger).await;
        let running = [places[0].start().await, places[1].start().await];
        for (site, running) in running.iter().enumerate() {
            world.daprs[site].set(Some(running.dapr));
        }
        running
    };
    let producers = join_all((0..2 * PRODUCERS).map(|number| world.produce(number % 2)));
    let (running, _) = Box::pin(world.watched(join(running, producers))).await;
    world.settle().await;
    for (place, running) in places.iter().zip(running) {
        stop(place, running).await;
    }
    println!("settled after {:.0?}", began.elapsed());

    let daprs: Vec<PathBuf> = places.iter().map(|place| place.path(".wharf")).collect();
    let seen = Seen::of(&ledger, &daprs).await;
    let sent = world.sent.into_inner();
    let mut tally = Tally::new(suite);
    tally.injected(format!("kill -9, {IN_FLIGHT} events or more in progress"), world.kills.get());
    tally.injected("kill -9 of a start", world.kills_of_starts.get());
    tally.injected("leases end, of the dead and the living", world.minutes.get());
    tally.injected("the same event again, at either host", world.repeats.get());
    tally.injected("publish without an answer, repeated", world.unanswered.get());
    let count = |which: fn(&&Errand) -> bool| sent.iter().filter(which).count();
    tally.injected("handler fails, and is parked", count(|errand| errand.is_parked()));
    tally.injected("handler fails for good", count(|errand| errand.succeeds().is_none()));
    judge(&mut tally, &sent, &seen, Judged::AcrossHosts);
    tally.finish();
}

pub async fn stop(place: &Place, running: Running) {
    assert_eq!(running.signal("TERM").await.code(), Some(0), "{}", place.stderr());
}

/// What producers know, and what is known of the events that they published.
struct World {
    ledger: Database,
    http: Client,
    /// Where each host is published to, while it serves.
    daprs: [Cell<Option<SocketAddr>>; 2],
    dice: RefCell<Dice>,
    sent: RefCell<BTreeSet<Errand>>,
    /// By the host whose Dapr has said that it has them.
    taken: [RefCell<BTreeSet<String>>; 2],
    /// Those that are in the ledger, as last looked; and how many are done or dead.
    durable: RefCell<BTreeSet<String>>,
    ended: Cell<usize>,
    repeats: Cell<usize>,
    unanswered: Cell<usize>,
    kills: Cell<usize>,
    kills_of_starts: Cell<usize>,
    minutes: Cell<usize>,
}

const STATUSES: &str = "SELECT event_id, status FROM wharf_deliveries \
    WHERE component = 'errands' AND event_type = 'com.errands.run.v1'";
/// How many are audited, how many jobs have fired, and how much is left to do.
const SETTLED: &str = "SELECT \
    CAST((SELECT count(DISTINCT event_id) FROM audit_log WHERE type = 'com.errands.run.v1') AS TEXT), \
    CAST((SELECT count(DISTINCT what) FROM errand_news WHERE kind = 'fired') AS TEXT), \
    CAST((SELECT count(*) FROM wharf_deliveries WHERE status = 'parked') AS TEXT), \
    CAST((SELECT count(*) FROM wharf_outbox WHERE status = 'waiting') AS TEXT)";

impl World {
    fn new(ledger: Database, dice: &mut Dice) -> Self {
        Self {
            ledger,
            http: Client::builder().timeout(Duration::from_secs(10)).build().unwrap(),
            daprs: Default::default(),
            dice: RefCell::new(dice.split()),
            sent: RefCell::default(),
            taken: Default::default(),
            durable: RefCell::default(),
            ended: Cell::new(0),
            repeats: Cell::new(0),
            unanswered: Cell::new(0),
            kills: Cell::new(0),
            kills_of_starts: Cell::new(0),
            minutes: Cell::new(0),
        }
    }

    fn enough(&self) -> bool {
        self.kills.get() >= KILLS
    }

    /// Starts a host and kills it, until there were kills enough.
    async fn kill(&self, place: &Place, site: usize, dice: &mut Dice) {
        for round in 1..=4 * KILLS {
            if self.enough() {
                return;
            }
            if round.is_multiple_of(STARTS) {
                place.start_and_kill(Duration::from_millis(dice.within(0..200))).await;
                add_one(&self.kills_of_starts);
                continue;
            }
            let running = place.start().await;
            let before = self.durable.borrow().len();
            self.daprs[site].set(Some(running.dapr));
            tokio::time::sleep(Duration::from_millis(dice.within(50..400))).await;
            // A busy machine is slow to have so many in progress. And something must have come to
            // the ledger meanwhile, or the same events were hit again and again.
            let mut in_progress = in_progress(&running).await;
            for _ in 0..500 {
                let goes_on = self.durable.borrow().len() > before;
                if (in_progress >= IN_FLIGHT && goes_on) || self.enough() {
                    break;
                }
                in_progress = self::in_progress(&running).await;
            }
            running.kill().await;
            self.daprs[site].set(None);
            self.look().await;
            let lost = self.taken[site].borrow().difference(&self.durable.borrow()).count();
            if in_progress.min(lost) >= IN_FLIGHT {
                add_one(&self.kills);
            }
            if dice.one_in(MINUTES) {
                add_one(&self.minutes);
                pass_a_minute(&self.ledger).await;
            }
        }
        assert!(self.enough(), "only {} kills came in time", self.kills.get());
    }

    /// Publishes one event after the other, each until it is acknowledged.
    async fn produce(&self, site: usize) {
        while !self.enough() {
            if self.sent.borrow().len() >= self.ended.get() + WINDOW {
                pause().await;
                continue;
            }
            let number = u32::try_from(self.sent.borrow().len()).unwrap();
            let errand = Errand { number, subjects: SUBJECTS };
            self.sent.borrow_mut().insert(errand);
            self.until_its_turn(errand).await;
            let mut at = site;
            while !self.publish(at, errand).await {
                add_one(&self.unanswered);
                at = self.any_site();
            }
            if self.dice.borrow_mut().one_in(6) {
                add_one(&self.repeats);
                self.publish(self.any_site(), errand).await;
            }
        }
    }

    /// Waits until the one before of its subject is in the ledger: then there is an order, wherever
    /// either comes to.
    async fn until_its_turn(&self, errand: Errand) {
        if let Some(number) = errand.number.checked_sub(SUBJECTS) {
            let before = Errand { number, ..errand }.id();
            while !self.durable.borrow().contains(&before) {
                pause().await;
            }
        }
    }

    fn any_site(&self) -> usize {
        usize::from(self.dice.borrow_mut().one_in(2))
    }

    /// Gives whether it was acknowledged. Waits for a host that is away.
    async fn publish(&self, site: usize, errand: Errand) -> bool {
        let dapr = loop {
            match self.daprs[site].get() {
                Some(dapr) => break dapr,
                None => pause().await,
            }
        };
        let url = format!("http://{dapr}/v1.0/publish/todo-pubsub/{}", errands::TOPIC);
        let request = self.http.post(url).header("content-type", "application/cloudevents+json");
        let answer = request.body(errand.event().to_string()).send().await;
        let Ok(answer) = answer else { return false };
        assert_eq!(answer.status(), 204);
        self.taken[site].borrow_mut().insert(errand.id());
        true
    }

    /// What has become of the events.
    async fn look(&self) {
        let statuses = self.ledger.rows(STATUSES).await;
        let ended = statuses.iter().filter(|row| row[1] == "done" || row[1] == "dead");
        self.ended.set(ended.count());
        self.durable.replace(statuses.into_iter().map(|row| row[0].clone()).collect());
    }

    /// Looks, for as long as something is going on.
    async fn watched<T>(&self, going_on: impl Future<Output = T>) -> T {
        let watching = async {
            loop {
                self.look().await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            ended = going_on => ended,
            () = watching => unreachable!("it watches without an end"),
        }
    }

    /// Waits until nothing is left to do. Not for ever: what is missing then, is found.
    async fn settle(&self) {
        let sent = self.sent.borrow().clone();
        let plans = sent.iter().filter(|one| one.plans() && one.succeeds().is_some()).count();
        let expected = [sent.len(), plans, 0, 0].map(|number| number.to_string()).to_vec();
        for _ in 0..3000 {
            let found = self.ledger.rows(SETTLED).await.remove(0);
            self.look().await;
            if found == expected && self.ended.get() == sent.len() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        println!("it did not settle: {expected:?}, {:?}", self.ledger.rows(SETTLED).await);
    }
}

/// How many events a host has in its hands, as it says.
async fn in_progress(running: &Running) -> usize {
    let metrics = running.admin("/metrics").await;
    let of = |line: &str| line.strip_prefix("wharf_ingress_events ")?.parse::<f64>().ok();
    metrics.lines().find_map(of).map_or(0, |events| events as usize)
}

/// A minute passes for whatever is claimed or waits for its time, and for nothing else.
pub async fn pass_a_minute(ledger: &Database) {
    for sql in A_MINUTE {
        match ledger {
            Database::Sqlite(file) => {
                let file = SqliteConnectOptions::new().filename(file);
                let mut connection = SqliteConnection::connect_with(&file).await.unwrap();
                sqlx::query(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
            Database::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                // It touches many rows in no order, and may be the one that has to give way.
                while let Err(error) = sqlx::query(sql).execute(&mut connection).await {
                    let code = error.as_database_error().and_then(|error| error.code());
                    assert_eq!(code.as_deref(), Some("40P01"), "{error}");
                }
                connection.close().await.unwrap();
            }
        }
    }
}

const A_MINUTE: [&str; 2] = [
    "UPDATE wharf_deliveries SET next_attempt_at = next_attempt_at - 60000000 \
     WHERE status = 'parked'",
    "UPDATE wharf_outbox SET next_attempt_at = next_attempt_at - 60000000 \
     WHERE status = 'waiting'",
];

fn add_one(count: &Cell<usize>) {
    count.set(count.get() + 1);
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}
