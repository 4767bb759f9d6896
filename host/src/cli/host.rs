//! What `wharf dev` and `wharf serve` have in common: ports, signals, and the lock of the data folder.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A port that this host has and does not listen on yet: a port in use is said at once, and nobody
/// is let in before everything is loaded. Dapr asks for the subscriptions as soon as it is.
pub struct Port {
    socket: TcpSocket,
    taken: String,
}

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

impl Port {
    /// `variable` sets the address of `what`.
    pub fn reserve(address: SocketAddr, what: &str, variable: &str) -> anyhow::Result<Self> {
        let taken = format!(
            "the {what} listener cannot have {address}; stop what uses that port, or give another \
             address with {variable}=127.0.0.1:PORT"
        );
        let reserved = || {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4(),
                SocketAddr::V6(_) => TcpSocket::new_v6(),
            }?;
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            std::io::Result::Ok(socket)
        };
        let socket = reserved().with_context(|| taken.clone())?;
        Ok(Self { socket, taken })
    }

    pub fn listen(self) -> anyhow::Result<TcpListener> {
        self.socket.listen(BACKLOG).context(self.taken)
    }
}

/// What asks the host to stop, from the moment at which a build may have to be ended.
pub struct Signals {
    pub interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub fn listen() -> anyhow::Result<Self> {
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Self { interrupt: signal(interrupt)?, terminate: signal(terminate)? })
    }

    pub async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// One host at a time may use a data folder; `remedy` names another one. The lock goes with the process, however it ends.
pub fn lock(folder: &Path, remedy: &str) -> anyhow::Result<File> {
    std::fs::create_dir_all(folder).with_context(|| {
        format!(
            "the data folder {} cannot be made; name another one with {remedy}",
            folder.display()
        )
    })?;
    let path = folder.join("lock");
    let cannot =
        || format!("{} cannot be written; name another folder with {remedy}", path.display());
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = file.with_context(cannot)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0)?;
            file.rewind()?;
            write!(file, "{}", std::process::id())?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder)?;
            Err(anyhow!(
                "another `wharf` (process {holder}) uses {}; stop it, or give this one a folder of its \
                 own with {remedy}",
                folder.display()
            ))
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| {
            format!(
                "{} cannot be locked; name a folder on a disk of this machine with {remedy}",
                path.display()
            )
        }),
    }
}
