//! A bad wire between Wharf and its sidecar: calls get lost on their way there or on their way back,
//! come twice, or take their time.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::bail;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use reqwest::Client;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use wharf_tests::dice::Dice;
use wharf_tests::faults::Fault;

/// One call in so many has a fault.
const ONE_IN: u64 = 4;
const MOST: usize = 64 << 20;

/// A proxy before a port of this machine. It ends with this value.
pub struct Between {
    pub port: u16,
    wire: Arc<Wire>,
    listening: AbortHandle,
}

struct Wire {
    target: u16,
    http: Client,
    dice: Mutex<Dice>,
    came: Mutex<BTreeMap<Fault, usize>>,
}

impl Between {
    pub async fn before(target: u16, dice: Dice) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, wharf_test_real::port::free()?)).await?;
        let port = listener.local_addr()?.port();
        let http = Client::builder().no_proxy().build()?;
        let (dice, came) = (Mutex::new(dice), Mutex::default());
        let wire = Arc::new(Wire { target, http, dice, came });
        let listening = tokio::spawn(listen(listener, Arc::clone(&wire))).abort_handle();
        Ok(Self { port, wire, listening })
    }

    /// Those faults that never came.
    pub fn idle(&self) -> Vec<Fault> {
        let came = self.wire.came.lock().unwrap();
        Fault::ALL.into_iter().filter(|fault| !came.contains_key(fault)).collect()
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, wire: Arc<Wire>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(connection(stream, Arc::clone(&wire)));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, wire: Arc<Wire>) {
    let service = service_fn(|request| wire.pass(request));
    // An error cuts the connection without an answer, which is what it is for.
    _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Wire {
    async fn pass(&self, request: Request<Incoming>) -> anyhow::Result<Response<Body>> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(Body::new(body), MOST).await?;
        let request = Request::from_parts(parts, body);
        match self.draw(request.method()) {
            None => self.forward(&request).await,
            Some(Fault::Lost) => bail!("lost"),
            Some(Fault::AnswerLost) => {
                self.forward(&request).await?;
                bail!("its answer is lost")
            }
            Some(Fault::Repeated) => {
                let (first, _) = futures::join!(self.forward(&request), self.forward(&request));
                first
            }
            Some(Fault::Delayed) => {
                let most = self.dice.lock().unwrap().within(20..400);
                tokio::time::sleep(Duration::from_millis(most)).await;
                self.forward(&request).await
            }
        }
    }

    /// Questions pass: daprd asks for the subscriptions once in its life.
    fn draw(&self, method: &Method) -> Option<Fault> {
        let mut dice = self.dice.lock().unwrap();
        if method == Method::GET || method == Method::OPTIONS || !dice.one_in(ONE_IN) {
            return None;
        }
        let mut came = self.came.lock().unwrap();
        // In turn, so that none stays away.
        let fault = *Fault::ALL.get(came.values().sum::<usize>() % Fault::ALL.len())?;
        *came.entry(fault).or_default() += 1;
        Some(fault)
    }

    async fn forward(&self, request: &Request<Bytes>) -> anyhow::Result<Response<Body>> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let url = format!("http://127.0.0.1:{}{path}", self.target);
        let call = self.http.request(request.method().clone(), url);
        let call = call.headers(request.headers().clone()).body(request.body().clone());
        let answer = call.send().await?;
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            // It is sent as a whole.
            if name != "transfer-encoding" {
                response = response.header(name, value);
            }
        }
        Ok(response.body(Body::from(answer.bytes().await?))?)
    }
}
