//! PostgreSQL behind a network that breaks: connections are cut at any byte, before a COMMIT or
//! before its answer; they are slow, silent, or gone. Nothing is acknowledged meanwhile that is not
//! durable, an answer comes within a bounded time, and afterwards everything goes on by itself.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use reqwest::Method;
use wharf_tests::dice::Dice;
use wharf_tests::host::{Host, Setup, event};
use wharf_tests::proxy::{Cut, Proxy, Weather};
use wharf_tests::tally::Tally;

use crate::calls;
use crate::errands::{self, Database, Errand, Judged, Seen, judge};

const CREATED: &str = "com.todo.task.created.v1";

/// How long what must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// How long the ledger is waited for, as `[ingress] patience` is set here.
const WAITS: Duration = Duration::from_secs(5);

/// Of a whole answer: a busy machine needs some time on top.
const BOUND: Duration = Duration::from_secs(WAITS.as_secs() + 10);

/// A host whose database is behind a proxy, and what was sent to it.
struct Story {
    host: Host,
    proxy: Proxy,
    /// Past the proxy.
    database: Database,
    sent: BTreeSet<Errand>,
    dice: Dice,
    /// Events for the audit component that were tried by hand.
    tried: Cell<u32>,
}

impl Story {
    async fn new(mut setup: Setup, dice: Dice) -> Self {
        let direct = wharf_test_postgres::schema("proxy").await.url;
        let (server, through) = parts(&direct);
        let proxy = Proxy::before(server.await).await;
        let ledger = &mut setup.config.ledger;
        ledger.url = Some(through(proxy.address));
        setup.config.ingress.patience = WAITS;
        let host = setup.start().await;
        let database = Database::Postgres(direct);
        Self { host, proxy, database, sent: BTreeSet::new(), dice, tried: Cell::new(0) }
    }

    /// Publishes some errands more.
    async fn publish(&mut self, number: usize) {
        for _ in 0..number {
            let number = u32::try_from(self.sent.len()).unwrap();
            let errand = Errand { number, subjects: 11 };
            self.host.publish(errands::TOPIC, &errand.event()).await;
            self.sent.insert(errand);
        }
    }

    /// Lets some time pass; not while something is going on, unless that hangs.
    async fn pass(&self) {
        let ended = self.host.app.work().ended();
        if tokio::time::timeout(Duration::from_millis(50), ended).await.is_ok() {
            self.host.clock.advance(Duration::from_millis(250));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }

    async fn is_done(&self) -> bool {
        const LEFT: &str = "SELECT CAST(count(*) AS TEXT) FROM ( \
            SELECT 1 FROM wharf_outbox WHERE status = 'waiting' UNION ALL \
            SELECT 1 FROM wharf_deliveries WHERE status = 'parked') AS remaining";
        self.host.embedded().waiting().await.unwrap() == 0
            && self.host.jobs().await.is_empty()
            && self.database.rows(LEFT).await == [["0"]]
    }

    async fn until_all_is_done(&self) {
        let began = Instant::now();
        loop {
            self.host.app.work().ended().await;
            if self.is_done().await {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "it does not go on by itself");
            self.pass().await;
        }
    }

    /// Cuts connections while errands come in; `draw` says where.
    async fn cut(&mut self, many: usize, draw: impl Fn(&mut Dice) -> Cut) {
        for _ in 0..many {
            let cut = draw(&mut self.dice);
            self.proxy.cut(cut);
            let began = Instant::now();
            while self.proxy.waits_to_cut() {
                assert!(began.elapsed() < PATIENCE, "{cut:?} did not come");
                self.publish(1).await;
                self.pass().await;
            }
        }
    }

    /// Something new comes in by hand: how it is answered, within the bound.
    async fn deliver(&self) -> String {
        self.tried.set(self.tried.get() + 1);
        let began = Instant::now();
        let event = event(CREATED, self.tried.get()).to_string();
        let (status, answer) = self.host.deliver("task-events", event).await;
        assert!(began.elapsed() < BOUND, "the answer took {:?}", began.elapsed());
        assert_eq!(status, 200);
        answer["status"].as_str().unwrap().to_owned()
    }

    /// While nothing gets through, everything is answered RETRY; then the weather is fine again.
    async fn storm(&mut self, weather: Weather) {
        self.publish(10).await;
        self.proxy.weather(weather);
        self.publish(10).await;
        for _ in 0..2 {
            assert_eq!(self.deliver().await, "RETRY", "{weather:?}");
            self.pass().await;
        }
        let bulk = [event(CREATED, 1000), event(CREATED, 1001)];
        let began = Instant::now();
        assert_eq!(self.host.deliver_bulk("task-events", &bulk).await, ["RETRY"; 2]);
        assert!(began.elapsed() < BOUND, "the answer took {:?}", began.elapsed());
        self.proxy.weather(Weather::Fine);
        let began = Instant::now();
        while self.deliver().await != "SUCCESS" {
            assert!(began.elapsed() < PATIENCE, "it does not go on by itself");
            self.pass().await;
        }
    }

    async fn end(self, fault: &str, times: usize) {
        self.until_all_is_done().await;
        let mut tally = Tally::new("PostgreSQL behind a proxy");
        tally.injected(fault, times);
        let seen = Seen::of(&self.database, &[self.host.data().to_owned()]).await;
        judge(&mut tally, &self.sent, &seen, Judged::AsSent);
        self.host.stop().await;
        tally.finish();
    }
}

/// Where the server of an address is, and the same address by way of another.
fn parts(url: &str) -> (BoxFuture<'static, SocketAddr>, impl Fn(SocketAddr) -> String + use<>) {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, path) = rest.split_once('/').unwrap();
    let (user, server) = authority.rsplit_once('@').unwrap_or(("", authority));
    let server = if server.contains(':') { server.to_owned() } else { format!("{server}:5432") };
    let (scheme, user, path) = (scheme.to_owned(), user.to_owned(), path.to_owned());
    let lookup = async move {
        let mut found = tokio::net::lookup_host(server).await.unwrap();
        found.next().expect("the server of DATABASE_URL has an address")
    };
    // The proxy reads what passes.
    let through =
        move |proxy: SocketAddr| format!("{scheme}://{user}@{proxy}/{path}&sslmode=disable");
    (Box::pin(lookup), through)
}

/// Silence is noticed after 3 seconds instead of 7.
async fn story(suite: &str) -> Story {
    story_within(suite, Duration::from_secs(1)).await
}

/// The same, with so much time for the components' statements of one commit together.
async fn story_within(suite: &str, query_timeout: Duration) -> Story {
    let mut dice = Dice::thrown(suite);
    let dice = dice.split();
    let mut setup = calls::plain();
    setup.config.ledger.query_timeout = query_timeout;
    Box::pin(Story::new(setup, dice)).await
}

#[tokio::test]
async fn connections_that_break_anywhere_change_nothing() {
    let mut story = story("proxy, cut at any byte").await;
    story.cut(25, |dice| Cut::AfterAsking(dice.within(1..12_000))).await;
    story.cut(25, |dice| Cut::AfterAnswering(dice.within(1..4_000))).await;
    let cuts = story.proxy.cuts();
    story.end("connection cut at any byte", cuts).await;
}

#[tokio::test]
async fn a_commit_that_does_not_arrive_is_made_again() {
    let mut story = story("proxy, before COMMIT").await;
    story.cut(20, |_| Cut::BeforeCommit).await;
    let cuts = story.proxy.cuts();
    story.end("cut before the server sees COMMIT", cuts).await;
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_found_to_be_made() {
    let mut story = story("proxy, answer of COMMIT").await;
    story.cut(20, |_| Cut::AnswerOfCommit).await;
    let cuts = story.proxy.cuts();
    story.end("COMMIT is done, its answer cut", cuts).await;
}

#[tokio::test]
async fn a_slow_network_only_takes_longer() {
    let mut story = story_within("proxy, slow", Duration::from_secs(30)).await;
    story.publish(5).await;
    story.proxy.weather(Weather::Slow(Duration::from_millis(5)));
    let before = story.proxy.commits();
    story.publish(55).await;
    story.until_all_is_done().await;
    let commits = story.proxy.commits() - before;
    story.proxy.weather(Weather::Fine);
    story.end("transaction, 5 ms each way for each piece", commits).await;
}

#[tokio::test]
async fn a_silent_server_is_given_up_and_found_again() {
    let mut story = story("proxy, silent").await;
    for _ in 0..2 {
        story.storm(Weather::Stalled).await;
    }
    story.end("server is silent for seconds", 2).await;
}

#[tokio::test]
async fn a_server_that_is_away_is_found_again() {
    let mut story = story("proxy, away").await;
    for _ in 0..4 {
        story.storm(Weather::Away).await;
        story.until_all_is_done().await;
    }
    story.end("server is away", 4).await;
}

#[tokio::test]
async fn health_tells_of_a_server_that_is_away() {
    let mut story = story("proxy, health").await;
    let health = async |host: &Host| host.ingress(Method::GET, "/health").await.0;
    assert_eq!(health(&story.host).await, 200);
    story.proxy.weather(Weather::Away);
    assert_eq!(health(&story.host).await, 503);
    story.proxy.weather(Weather::Fine);
    let began = Instant::now();
    while health(&story.host).await != 200 {
        assert!(began.elapsed() < PATIENCE, "health does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    story.publish(3).await;
    story.end("server is away, health is asked", 1).await;
}
