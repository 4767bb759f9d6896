//! The proxy between a client and a server that speak just enough of the protocol.

use std::io;

use super::*;

fn message(ty: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[ty], length.to_be_bytes().as_slice(), body].concat()
}

/// Answers each query by its own text, and remembers what it was asked.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<_>>>::default());
        let heard = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&heard)));
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, asked: Arc<Mutex<Vec<String>>>) -> io::Result<()> {
    // No encryption.
    stream.read_exact(&mut [0; 8]).await?;
    stream.write_all(b"N").await?;
    let length = stream.read_u32().await?;
    stream.read_exact(&mut vec![0; length as usize - 4]).await?;
    stream.write_all(&message(b'Z', b"I")).await?;
    loop {
        let (ty, length) = (stream.read_u8().await?, stream.read_u32().await?);
        let mut body = vec![0; length as usize - 4];
        stream.read_exact(&mut body).await?;
        let text = String::from_utf8_lossy(&body).replace('\0', " ").trim().to_owned();
        asked.lock().unwrap().push(format!("{} {text}", char::from(ty)));
        let tag = if text.contains("commit") { "COMMIT\0" } else { "SELECT 1\0" };
        stream.write_all(&message(b'C', tag.as_bytes())).await?;
    }
}

async fn session(proxy: &Proxy) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(proxy.address).await?;
    stream.write_all(&[&8_u32.to_be_bytes()[..], &80_877_103_u32.to_be_bytes()].concat()).await?;
    assert_eq!(stream.read_u8().await?, b'N');
    stream
        .write_all(&[&9_u32.to_be_bytes()[..], &196_608_u32.to_be_bytes(), &[0]].concat())
        .await?;
    stream.read_exact(&mut [0; 6]).await?;
    Ok(stream)
}

async fn ask(stream: &mut TcpStream, ty: u8, body: &str) -> io::Result<String> {
    stream.write_all(&message(ty, body.as_bytes())).await?;
    let (_, length) = (stream.read_u8().await?, stream.read_u32().await?);
    let mut tag = vec![0; length as usize - 4];
    stream.read_exact(&mut tag).await?;
    Ok(String::from_utf8_lossy(&tag).trim_end_matches('\0').to_owned())
}

#[tokio::test]
async fn in_fine_weather_everything_passes() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.address).await;
    let mut stream = session(&proxy).await.unwrap();
    assert_eq!(ask(&mut stream, b'Q', "select\0").await.unwrap(), "SELECT 1");
    assert_eq!(ask(&mut stream, b'Q', "commit\0").await.unwrap(), "COMMIT");
    proxy.weather(Weather::Slow(Duration::from_millis(1)));
    assert_eq!(ask(&mut stream, b'Q', "commit\0").await.unwrap(), "COMMIT");
    assert_eq!((proxy.connections(), proxy.cuts(), proxy.commits()), (1, 0, 2));
}

#[tokio::test]
async fn a_cut_before_commit_keeps_it_from_the_server() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.address).await;
    let mut stream = session(&proxy).await.unwrap();
    proxy.cut(Cut::BeforeCommit);
    // Prepared once, and then only named.
    ask(&mut stream, b'P', "s1\0commit\0\0\0").await.unwrap();
    assert!(proxy.waits_to_cut());
    ask(&mut stream, b'B', "\0s2\0").await.unwrap();
    ask(&mut stream, b'B', "\0s1\0").await.unwrap_err();
    assert_eq!(server.asked(), ["P s1 commit", "B s2"]);
    assert_eq!((proxy.cuts(), proxy.waits_to_cut()), (1, false));
    // The next one passes.
    let mut stream = session(&proxy).await.unwrap();
    assert_eq!(ask(&mut stream, b'Q', "commit\0").await.unwrap(), "COMMIT");
}

#[tokio::test]
async fn a_cut_answer_keeps_a_commit_from_the_client() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.address).await;
    let mut stream = session(&proxy).await.unwrap();
    proxy.cut(Cut::AnswerOfCommit);
    ask(&mut stream, b'Q', "select\0").await.unwrap();
    ask(&mut stream, b'Q', "begin; commit\0").await.unwrap_err();
    assert_eq!(server.asked(), ["Q select", "Q begin; commit"]);
    assert_eq!((proxy.cuts(), proxy.commits()), (1, 1));
}

#[tokio::test]
async fn a_cut_may_come_within_a_message() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.address).await;
    let mut stream = session(&proxy).await.unwrap();
    proxy.cut(Cut::AfterAsking(20));
    ask(&mut stream, b'Q', "select\0").await.unwrap();
    ask(&mut stream, b'Q', "select too\0").await.unwrap_err();
    assert_eq!(server.asked(), ["Q select"]);

    let mut stream = session(&proxy).await.unwrap();
    proxy.cut(Cut::AfterAnswering(3));
    stream.write_all(&message(b'Q', b"last\0")).await.unwrap();
    let mut told = Vec::new();
    // A reset may come as an error, after what was told before it.
    let _ = stream.read_to_end(&mut told).await;
    assert!(told.len() <= 3, "{told:?}");
    assert_eq!(server.asked(), ["Q select", "Q last"]);
}

#[tokio::test]
async fn what_stalls_passes_later_and_what_is_away_is_cut() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.address).await;
    let mut stream = session(&proxy).await.unwrap();
    proxy.weather(Weather::Stalled);
    let mut asking = Box::pin(ask(&mut stream, b'Q', "select\0"));
    let soon = tokio::time::timeout(Duration::from_millis(30), &mut asking).await;
    assert!(soon.is_err() && server.asked().is_empty());
    proxy.weather(Weather::Fine);
    assert_eq!(asking.await.unwrap(), "SELECT 1");

    proxy.weather(Weather::Away);
    ask(&mut stream, b'Q', "select\0").await.unwrap_err();
    session(&proxy).await.unwrap_err();
    proxy.weather(Weather::Fine);
    session(&proxy).await.unwrap();
}
