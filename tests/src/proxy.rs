//! A proxy before a PostgreSQL server that lets connections break, stall and slow down, at moments
//! that a test chooses or draws.
//!
//! It reads both sides' messages as far as it must; see `messages`. So it knows when a client asks
//! for COMMIT, and can cut the connection before the server sees it, or when the server has done it
//! and before the client hears of it.
//!
//! It repeats nothing: a statement that came twice would be another statement to the server. Who
//! repeats a transaction in earnest is a client that was not told how it ended; for that, see
//! [`Cut::AnswerOfCommit`].

mod messages;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use messages::{Answers, Asks};

/// What the proxy does with what comes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Everything passes at once.
    Fine,
    /// Every piece passes so much later.
    Slow(Duration),
    /// Nothing passes, and nobody is told: a network that swallows packets. What was held passes
    /// when the weather changes, also when its sender has given up by then.
    Stalled,
    /// Open connections are cut, and new ones are taken and cut at once.
    Away,
}

/// Where a connection is cut: the first that it fits, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// When so many bytes have come from clients: in the middle of a message, as likely as not.
    AfterAsking(u64),
    /// When so many bytes have come from the server.
    AfterAnswering(u64),
    /// Before the server sees COMMIT.
    BeforeCommit,
    /// When the server has done COMMIT; the client never hears of it.
    AnswerOfCommit,
}

/// A running proxy; it ends with this value, and every connection with it.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    listening: AbortHandle,
}

struct Shared {
    server: SocketAddr,
    weather: watch::Sender<Weather>,
    next_cut: Mutex<Option<Cut>>,
    connections: AtomicUsize,
    cuts: AtomicUsize,
    commits: AtomicUsize,
}

impl Proxy {
    /// Listens on a free port of this machine.
    pub async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared {
            server,
            weather: watch::Sender::new(Weather::Fine),
            next_cut: Mutex::default(),
            connections: AtomicUsize::new(0),
            cuts: AtomicUsize::new(0),
            commits: AtomicUsize::new(0),
        });
        let listening = tokio::spawn(listen(listener, Arc::clone(&shared))).abort_handle();
        Self { address, shared, listening }
    }

    pub fn weather(&self, weather: Weather) {
        self.shared.weather.send_replace(weather);
    }

    /// Asks for a cut, in place of one that has not come yet.
    pub fn cut(&self, cut: Cut) {
        *self.shared.next_cut() = Some(cut);
    }

    /// Whether the cut that was asked for has yet to come.
    pub fn waits_to_cut(&self) -> bool {
        self.shared.next_cut().is_some()
    }

    /// Connections that were made so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Connections that were cut so far.
    pub fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::Relaxed)
    }

    /// Transactions that the server has committed so far.
    pub fn commits(&self) -> usize {
        self.shared.commits.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Shared {
    fn next_cut(&self) -> MutexGuard<'_, Option<Cut>> {
        self.next_cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the cut if it comes now; otherwise leaves of it what `now` leaves.
    fn cut(&self, now: impl Fn(Cut) -> Result<(), Cut>) -> Option<Cut> {
        let mut next = self.next_cut();
        let cut = (*next)?;
        *next = now(cut).err();
        next.is_none().then_some(cut)
    }

    /// Waits until what came may pass.
    async fn passes(&self) {
        let mut weather = self.weather.subscribe();
        let now = *weather.borrow_and_update();
        if let Weather::Slow(wait) = now {
            tokio::time::sleep(wait).await;
        }
        // The sender lives as long as this does.
        let _ = weather.wait_for(|weather| *weather != Weather::Stalled).await;
    }

    /// Returns when open connections are to be cut.
    async fn away(&self) {
        let _ = self.weather.subscribe().wait_for(|weather| *weather == Weather::Away).await;
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::Relaxed);
        connections.spawn(connection(client, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(mut client: TcpStream, shared: Arc<Shared>) {
    let was_cut = match TcpStream::connect(shared.server).await {
        Ok(mut server) => {
            for stream in [&client, &server] {
                // Half a message must be on its way before the cut.
                let _ = stream.set_nodelay(true);
            }
            let ((asking, to_client), (answering, to_server)) = (client.split(), server.split());
            tokio::select! {
                was_cut = ask(asking, to_server, &shared) => was_cut,
                was_cut = answer(answering, to_client, &shared) => was_cut,
                () = shared.away() => true,
            }
        }
        Err(_) => true,
    };
    if was_cut {
        shared.cuts.fetch_add(1, Ordering::Relaxed);
        // Gone without a goodbye.
        let _ = client.set_zero_linger();
    }
}

/// From the client to the server; gives whether it was cut.
async fn ask(mut client: ReadHalf<'_>, mut server: WriteHalf<'_>, shared: &Shared) -> bool {
    let (mut asks, mut piece) = (Asks::default(), vec![0; 16 << 10]);
    loop {
        let Some(read) = next(&mut client, &mut piece).await else { return false };
        shared.passes().await;
        let commits = asks.commits(read);
        let cut = shared.cut(|cut| match cut {
            Cut::AfterAsking(bytes) => {
                still(bytes, read).map_or(Ok(()), |left| Err(Cut::AfterAsking(left)))
            }
            Cut::BeforeCommit if commits => Ok(()),
            Cut::BeforeCommit | Cut::AnswerOfCommit | Cut::AfterAnswering(_) => Err(cut),
        });
        if let Some(cut) = cut {
            if let Cut::AfterAsking(bytes) = cut {
                let _ = server.write_all(first(read, bytes)).await;
            }
            return true;
        }
        if server.write_all(read).await.is_err() {
            return false;
        }
    }
}

/// From the server to the client; gives whether it was cut.
async fn answer(mut server: ReadHalf<'_>, mut client: WriteHalf<'_>, shared: &Shared) -> bool {
    let (mut answers, mut piece) = (Answers::default(), vec![0; 16 << 10]);
    loop {
        let Some(read) = next(&mut server, &mut piece).await else { return false };
        let committed = answers.committed(read);
        shared.commits.fetch_add(usize::from(committed), Ordering::Relaxed);
        shared.passes().await;
        let cut = shared.cut(|cut| match cut {
            Cut::AfterAnswering(bytes) => {
                still(bytes, read).map_or(Ok(()), |left| Err(Cut::AfterAnswering(left)))
            }
            Cut::AnswerOfCommit if committed => Ok(()),
            Cut::AnswerOfCommit | Cut::BeforeCommit | Cut::AfterAsking(_) => Err(cut),
        });
        if let Some(cut) = cut {
            if let Cut::AfterAnswering(bytes) = cut {
                let _ = client.write_all(first(read, bytes)).await;
            }
            return true;
        }
        if client.write_all(read).await.is_err() {
            return false;
        }
    }
}

async fn next<'a>(from: &mut ReadHalf<'_>, piece: &'a mut [u8]) -> Option<&'a [u8]> {
    let count = from.read(piece).await.ok().filter(|count| *count > 0)?;
    piece.get(..count)
}

/// How many bytes are still to pass after these; none when the cut is within them.
fn still(bytes: u64, read: &[u8]) -> Option<u64> {
    bytes.checked_sub(read.len() as u64).filter(|left| *left > 0)
}

fn first(read: &[u8], bytes: u64) -> &[u8] {
    usize::try_from(bytes).ok().and_then(|bytes| read.get(..bytes)).unwrap_or(read)
}

#[cfg(test)]
mod tests;
