//! What may stand between a host and its server: a pool that drops options, or who counts bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// Ends with this value.
pub struct Between {
    /// The server's address by this way.
    pub url: String,
    came: Arc<AtomicUsize>,
    _listening: AbortOnDropHandle<()>,
}

impl Between {
    /// As pgbouncer with `ignore_startup_parameters = options`.
    pub async fn without_options(url: &str) -> Self {
        Self::before(url, false).await
    }

    pub async fn counting(url: &str) -> Self {
        Self::before(url, true).await
    }

    /// How many bytes came from the server.
    pub fn came(&self) -> usize {
        self.came.load(Ordering::Relaxed)
    }

    async fn before(url: &str, keeps_options: bool) -> Self {
        let server: PgConnectOptions = url.parse().unwrap();
        let server = format!("{}:{}", server.get_host(), server.get_port());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().to_string();
        let url = format!("{}&sslmode=disable", url.replacen(&server, &own, 1));
        let came = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&came);
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(pass(client, server, keeps_options, Arc::clone(&counted)));
            }
        });
        Self { url, came, _listening: AbortOnDropHandle::new(listening) }
    }
}

async fn pass(client: TcpStream, server: TcpStream, keeps: bool, came: Arc<AtomicUsize>) {
    let (mut asks, mut told) = client.into_split();
    let (mut answers, mut hears) = server.into_split();
    // Who goes away first takes the other along.
    tokio::select! {
        _ = async {
            greet(&mut asks, &mut hears, keeps).await?;
            copy(&mut asks, &mut hears).await
        } => {}
        _ = async {
            let mut bytes = vec![0; 1 << 16];
            loop {
                let many = answers.read(&mut bytes).await?;
                if many == 0 {
                    return std::io::Result::Ok(());
                }
                came.fetch_add(many, Ordering::Relaxed);
                told.write_all(&bytes[..many]).await?;
            }
        } => {}
    }
}

/// The first message: its length, the protocol, then names and values that end with a zero byte.
async fn greet(
    asks: &mut (impl AsyncRead + Unpin),
    hears: &mut (impl AsyncWrite + Unpin),
    keeps_options: bool,
) -> std::io::Result<()> {
    let length = usize::try_from(asks.read_u32().await?).unwrap();
    let mut message = vec![0; length - 4];
    asks.read_exact(&mut message).await?;
    let (protocol, parameters) = message.split_at(4);
    let words: Vec<_> = parameters.split(|byte| *byte == 0).collect();
    let kept = words.chunks(2).filter(|pair| keeps_options || pair[0] != b"options");
    let kept: Vec<u8> = kept
        .take_while(|pair| !pair[0].is_empty())
        .flat_map(|pair| [pair[0], &[0], pair[1], &[0]].concat())
        .collect();
    let message = [protocol, &kept, &[0]].concat();
    hears.write_u32(u32::try_from(message.len() + 4).unwrap()).await?;
    hears.write_all(&message).await
}
