//! The load: connections that each send the next request when the answer to the last one is there,
//! as daprd does. The same for everyone, and as cheap as can be: it shares the cores with what it
//! measures.

use std::cell::Cell;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures::future::try_join_all;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use wharf_bench::event::{self, IN_BULK};

/// How long an answer may take; far above what any contestant needs.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most events of one turn, so that nothing grows without an end on a faster machine.
const MOST: u64 = 300_000;

/// How events come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// So many requests at once, an event in each.
    Single(usize),
    /// So many requests at once, `IN_BULK` events in each.
    Bulk(usize),
}

/// What a turn has seen.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    /// Events that were acknowledged.
    pub events: u64,
    /// Events that were answered otherwise.
    pub refused: u64,
    /// From the first request to the last answer.
    pub took: Duration,
    /// Of each request, until its whole answer.
    pub latencies: Vec<Duration>,
}

impl Shape {
    /// As the tables call it.
    pub fn name(self) -> String {
        match self {
            Self::Single(connections) => format!("{connections} in flight"),
            Self::Bulk(1) => format!("bulks of {IN_BULK}"),
            Self::Bulk(connections) => format!("bulks of {IN_BULK}, {connections} at once"),
        }
    }

    fn connections(self) -> usize {
        let (Self::Single(connections) | Self::Bulk(connections)) = self;
        connections
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (connections, shape): (&str, fn(usize) -> Self) = match text.strip_prefix("bulk") {
            Some("") => ("1", Self::Bulk),
            Some(rest) => (rest.trim_start_matches('*'), Self::Bulk),
            None => (text, Self::Single),
        };
        let connections = connections.parse().ok().filter(|count| (1..=256).contains(count));
        connections.map(shape).ok_or_else(|| "expected 1 to 256, `bulk` or `bulk*4`".to_owned())
    }
}

/// Sends events for `length`, numbered from `next` on.
pub async fn drive(
    address: SocketAddr,
    shape: Shape,
    next: &Cell<u64>,
    length: Duration,
) -> anyhow::Result<Turn> {
    let mut ours = JoinSet::new();
    let mut connections = Vec::new();
    for _ in 0..shape.connections() {
        connections.push(connect(address, &mut ours).await?);
    }
    let (began, first) = (Instant::now(), next.get());
    let run = connections.into_iter().map(async |mut connection| {
        let mut turn = Turn::default();
        while began.elapsed() < length && next.get() - first < MOST {
            send(&mut connection, address, shape, next, &mut turn).await?;
        }
        anyhow::Ok(turn)
    });
    let turns = try_join_all(run).await?;
    let mut whole = Turn { took: began.elapsed(), ..Turn::default() };
    for turn in turns {
        whole.events += turn.events;
        whole.refused += turn.refused;
        whole.latencies.extend(turn.latencies);
    }
    Ok(whole)
}

type Connection = SendRequest<Full<Bytes>>;

async fn connect(address: SocketAddr, ours: &mut JoinSet<()>) -> anyhow::Result<Connection> {
    let stream =
        TcpStream::connect(address).await.with_context(|| format!("no one at {address}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    ours.spawn(async move {
        // A failure shows where the answer is awaited.
        _ = connection.await;
    });
    Ok(sender)
}

async fn send(
    connection: &mut Connection,
    address: SocketAddr,
    shape: Shape,
    next: &Cell<u64>,
    turn: &mut Turn,
) -> anyhow::Result<()> {
    let first = next.get();
    let (content_type, body, events) = match shape {
        Shape::Single(_) => (event::SINGLE, event::single(first), 1),
        Shape::Bulk(_) => (event::BULK, event::bulk(first), IN_BULK as u64),
    };
    next.set(first + events);
    let request = Request::post(event::PATH)
        .header("host", address.to_string())
        .header("content-type", content_type)
        .header("pubsubname", "todo-pubsub")
        .body(Full::new(Bytes::from(body)))?;
    let sent = Instant::now();
    let answered = timeout(PATIENCE, async {
        connection.ready().await?;
        let answer = connection.send_request(request).await?;
        let status = answer.status();
        Ok::<_, hyper::Error>((status, answer.into_body().collect().await?.to_bytes()))
    });
    let (status, answer) = match answered.await {
        Ok(answer) => answer.context("a connection broke")?,
        Err(_) => bail!("no answer within {PATIENCE:?}"),
    };
    turn.latencies.push(sent.elapsed());
    let acknowledged = if status.is_success() { count(&answer).min(events) } else { 0 };
    turn.events += acknowledged;
    turn.refused += events - acknowledged;
    Ok(())
}

/// How many events an answer acknowledges, single or bulk.
fn count(answer: &[u8]) -> u64 {
    const WORD: &[u8] = b"\"SUCCESS\"";
    answer.windows(WORD.len()).filter(|window| *window == WORD).count() as u64
}
