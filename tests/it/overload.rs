//! More than a component can take, and things that are away: what cannot be done yet is parked, or
//! answered RETRY within a bounded time; it never piles up in memory, and nothing is lost.

use std::process::Command;
use std::time::{Duration, Instant};

use futures::future::{join, join_all};
use serde_json::{Value, json};
use wharf::clock::Clock as _;
use wharf_tests::built;
use wharf_tests::host::{Host, Setup, THING, event, thing};

use crate::faults::until_all_is_taken;

const CREATED: &str = "com.todo.task.created.v1";

/// One place, which a handler keeps while it reads a secret that does not come.
fn one_place(limits: &str) -> Setup {
    let manifest = format!(
        "name = \"caps\"\nversion = \"1\"\norder = \"none\"\n[[on]]\nevent = \"{THING}\"\n\
         [grants]\npublish = [\"com.things.said.v1\"]\nstate = [\"todo-statestore\"]\n\
         secrets = {{ todo-secrets = [\"database-url\"] }}\njobs = [\"caps-*\"]\n\
         bindings = [\"notify-file\"]\n\
         [limits]\nmemory = \"32MiB\"\ntime = \"10s\"\nconcurrency = 1\n{limits}\n"
    );
    Setup::bare().things().guest("caps", built::CAPABILITIES, &manifest)
}

/// Where the secrets should be, a pipe that nobody writes to: whoever reads waits.
struct Held(std::path::PathBuf);

impl Held {
    fn new(host: &Host) -> Self {
        let pipe = host.ledger_file().with_file_name("secrets.json");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        Self(pipe)
    }

    /// Lets go of whoever reads now, and of all who will.
    fn release(self) {
        self.open(r#"{"todo-secrets": {"database-url": "there"}}"#);
    }

    /// Opened both ways, which waits for nobody. Who waits has a writer by that, and then its end.
    fn open(&self, secrets: &str) {
        let open = std::fs::OpenOptions::new().read(true).write(true).open(&self.0);
        let mut pipe = open.unwrap();
        let file = self.0.with_extension("new");
        std::fs::write(&file, secrets).unwrap();
        std::fs::rename(&file, &self.0).unwrap();
        std::io::Write::write_all(&mut pipe, secrets.as_bytes()).unwrap();
    }
}

/// A test that fails would wait for the reader without end.
impl Drop for Held {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.open("{}");
        }
    }
}

async fn answer(host: &Host, thing: Value) -> (Value, Duration) {
    let started = Instant::now();
    let (_, answer) = host.deliver("things", thing.to_string()).await;
    (answer["status"].clone(), started.elapsed())
}

/// Keeps the component's only place.
fn holding(number: u32) -> Value {
    let secret = json!({ "do": "secret", "store": "todo-secrets", "key": "database-url" });
    thing(number, &format!("s-{number}"), secret)
}

/// Needs the place for a moment.
fn quick(number: u32) -> Value {
    thing(number, &format!("s-{number}"), json!([]))
}

async fn until_it_runs(host: &Host) {
    host.until("the place is taken", async |host| {
        host.admin("/components/caps").await.1["in_flight"] == 1
    })
    .await;
}

#[tokio::test]
async fn past_max_parked_a_callback_is_held_and_then_answered_retry() {
    let host = one_place("max_parked = 1").start().await;
    let held = Held::new(&host);
    let story = async {
        until_it_runs(&host).await;
        // The first that finds no place is parked, due now, and has used up no attempt.
        let (status, took) = answer(&host, quick(2)).await;
        assert_eq!(status, "SUCCESS");
        assert!(took < Duration::from_secs(3), "{took:?}");
        let parked = host.rows("SELECT attempts FROM wharf_deliveries WHERE status = 'parked'");
        assert_eq!(parked.await, [["0"]]);
        // Another is more than may be parked.
        let (status, took) = answer(&host, quick(3)).await;
        assert_eq!(status, "RETRY");
        assert!(took > Duration::from_secs(5) && took < Duration::from_secs(8), "{took:?}");
        assert_eq!(host.rows("SELECT count(*) FROM wharf_deliveries").await, [["1"]]);
        // One that is held goes on as soon as there is a place.
        let waiting = answer(&host, quick(4));
        let freed = async {
            tokio::time::sleep(Duration::from_millis(600)).await;
            held.release();
        };
        let ((status, took), ()) = join(waiting, freed).await;
        assert_eq!(status, "SUCCESS");
        assert!(took < Duration::from_secs(5), "{took:?}");
    };
    let ((status, _), ()) = join(answer(&host, holding(1)), story).await;
    assert_eq!(status, "SUCCESS");
    assert_eq!(answer(&host, quick(3)).await.0, "SUCCESS");
    host.settle().await;
    let states = host.rows("SELECT status, attempts, count(*) FROM wharf_deliveries GROUP BY 1, 2");
    assert_eq!(states.await, [["done", "1", "4"]]);
    host.stop().await;
}

#[tokio::test]
async fn what_finds_no_room_is_answered_retry_at_once() {
    let mut setup = one_place("");
    setup.config.ingress.max_events = 2;
    setup.config.ingress.max_bytes = 10_000;
    let host = setup.start().await;
    let held = Held::new(&host);
    let turned_away = async |room: &str| {
        host.count(&format!("wharf_ingress_turned_away_total{{room=\"{room}\"}}")).await
    };
    let story = async {
        until_it_runs(&host).await;
        assert_eq!(host.count("wharf_ingress_events").await, 1);
        // Of a bulk the beginning is taken, so that nothing is overtaken.
        let bulk = [quick(2), quick(3), quick(4)];
        let started = Instant::now();
        assert_eq!(host.deliver_bulk("things", &bulk).await, ["SUCCESS", "RETRY", "RETRY"]);
        assert_eq!(turned_away("events").await, 2);
        // Nothing is kept of a body for which there is no room.
        let large = thing(5, "s-5", "x".repeat(20_000));
        assert_eq!(answer(&host, large.clone()).await.0, "RETRY");
        let bulk = host.deliver_raw_bulk("things", &[large]).await;
        assert_eq!(bulk, json!({ "status": "RETRY" }), "to daprd, every entry comes again");
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
        assert_eq!(turned_away("bytes").await, 2);
        held.release();
    };
    let ((status, _), ()) = join(answer(&host, holding(1)), story).await;
    assert_eq!(status, "SUCCESS");
    until_all_is_taken(&host).await;
    // Alone, one that is larger than the room gets in.
    let large = thing(5, "s-5", "x".repeat(20_000));
    assert_eq!(answer(&host, large).await.0, "SUCCESS");
    // What was said of them comes back through the ingress, and may have to wait, too.
    until_all_is_taken(&host).await;
    assert_eq!(host.deliver_bulk("things", &[quick(3), quick(4)]).await, ["SUCCESS"; 2]);
    until_all_is_taken(&host).await;
    assert_eq!(host.rows("SELECT count(*) FROM wharf_deliveries").await, [["5"]]);
    for gauge in ["wharf_ingress_events", "wharf_ingress_bytes"] {
        assert_eq!(host.count(gauge).await, 0, "{gauge}");
    }
    host.stop().await;
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_room_behind() {
    let host = one_place("").start().await;
    let held = Held::new(&host);
    tokio::select! {
        answered = answer(&host, holding(1)) => panic!("{answered:?}"),
        () = until_it_runs(&host) => {}
    }
    assert_eq!(host.count("wharf_ingress_events").await, 1, "its delivery goes on");
    held.release();
    host.settle().await;
    assert_eq!(host.count("wharf_ingress_events").await, 0);
    assert_eq!(host.deliveries().await, [["caps done 1", ""]]);
    host.stop().await;
}

#[tokio::test]
async fn a_locked_ledger_is_answered_retry_within_seconds_however_much_comes() {
    let host = Setup::audit().start().await;
    let mut other = host.other_program().await;
    other.lock().await;
    let started = Instant::now();
    let bulks = (0..8).map(|bulk| {
        let events: Vec<_> = (0..100).map(|n| event(CREATED, bulk * 100 + n)).collect();
        let host = &host;
        async move { host.deliver_bulk("task-events", &events).await }
    });
    let answers = join_all(bulks).await.concat();
    let took = started.elapsed();
    println!("800 events at a locked ledger: RETRY within {took:?}");
    assert_eq!(answers, vec!["RETRY"; 800]);
    // Four groups, a second each, and the time that it takes to run them.
    assert!(took < Duration::from_secs(12), "{took:?}");
    other.unlock().await;
    assert_eq!(host.deliver_bulk("task-events", &[event(CREATED, 1)]).await, ["SUCCESS"]);
    host.stop().await;
}

#[tokio::test]
async fn a_ledger_that_does_not_answer_is_waited_for_no_longer_than_said() {
    let mut setup = Setup::audit();
    setup.config.ledger.busy_timeout = Duration::from_secs(60);
    setup.config.ledger.query_timeout = Duration::from_secs(60);
    setup.config.ingress.patience = Duration::from_millis(500);
    let host = setup.start().await;
    let mut other = host.other_program().await;
    other.lock().await;
    let started = Instant::now();
    let one = event(CREATED, 1);
    assert_eq!(host.deliver_bulk("task-events", std::slice::from_ref(&one)).await, ["RETRY"]);
    let (status, _) = host.callback("/job/nobody", &[], "{}").await;
    assert_eq!(status.as_u16(), 500);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert_eq!(host.count("wharf_ingress_events").await, 1, "it is in memory, and has its room");
    // It was written after all, when that was possible; what comes again is a repeat.
    other.unlock().await;
    host.until("it is written", async |host| {
        host.rows("SELECT count(*) FROM audit_log").await == [["1"]]
    })
    .await;
    assert_eq!(host.deliver_bulk("task-events", &[one]).await, ["SUCCESS"]);
    assert_eq!(host.rows("SELECT count(*) FROM audit_log").await, [["1"]]);
    assert_eq!(host.count("wharf_repeats_total{component=\"audit\"}").await, 1);
    until_all_is_taken(&host).await;
    assert_eq!(host.count("wharf_ingress_events").await, 0);
    host.stop().await;
}

#[tokio::test]
async fn what_is_away_is_asked_ever_less_often_and_nobody_dies_of_it() {
    let host = one_place("").start().await;
    host.write_data("secrets.json", "{ broken");
    for number in 1..=2 {
        assert_eq!(answer(&host, holding(number)).await.0, "SUCCESS");
    }
    host.settle().await;
    let runs = "wharf_sandbox_duration_seconds_count{component=\"caps\"}";
    let mut waits = Vec::new();
    let mut before = host.clock.now();
    while waits.len() < 18 {
        let due = host.clock.next_wake().unwrap();
        let ran = host.count(runs).await;
        host.advance((due - host.clock.now()).to_std().unwrap()).await;
        if host.count(runs).await > ran {
            waits.push((host.clock.now() - before).as_seconds_f64());
            before = host.clock.now();
        }
    }
    // Of two deliveries: every second or so, and in the end about twice a minute.
    let (early, late): (f64, f64) = (waits[..4].iter().sum(), waits[14..].iter().sum());
    assert!(early < 5.0 && late > 100.0, "{waits:?}");
    let states = host.rows("SELECT status, attempts FROM wharf_deliveries").await;
    assert_eq!(states, [["parked", "0"], ["parked", "0"]]);
    // They do not come back at the same moment.
    let due = host.rows("SELECT count(DISTINCT next_attempt_at) FROM wharf_deliveries").await;
    assert_eq!(due, [["2"]]);
    host.write_data("secrets.json", r#"{"todo-secrets": {"database-url": "there"}}"#);
    host.advance(Duration::from_secs(80)).await;
    let states = host.rows("SELECT status, attempts FROM wharf_deliveries").await;
    assert_eq!(states, [["done", "1"], ["done", "1"]]);
    host.stop().await;
}

#[tokio::test]
async fn a_stop_leaves_a_handler_that_does_not_end_and_its_event_comes_again() {
    let mut setup = one_place("");
    setup.config.drain = Duration::from_millis(300);
    let host = setup.start().await;
    let held = Held::new(&host);
    host.publish("things", &holding(1)).await;
    until_it_runs(&host).await;
    let started = Instant::now();
    let host = host.restart().await;
    let took = started.elapsed();
    println!("a stop with a handler that does not end, and a start: {took:?}");
    assert!(took < Duration::from_secs(12), "{took:?}");
    held.release();
    until_all_is_taken(&host).await;
    host.advance(Duration::from_secs(80)).await;
    assert_eq!(host.deliveries().await, [["caps done 1", ""]]);
    assert_eq!(host.messages("echoes").await.len(), 1);
    host.stop().await;
}
