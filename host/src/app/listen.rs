//! Serves a router on a listener. By hand, since axum's own server takes no more than a hundred
//! headers: daprd makes a header of each of a record's, and a record that is refused is sent for ever.

use std::pin::pin;

use axum::Router;
use axum::serve::{Listener as _, ListenerExt as _};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Of one request. Room for them is made for each, so it is not without a bound.
const MAX_HEADERS: usize = 4096;

/// Of one request's headers together, in bytes: about what hyper takes by HTTP/1.
const MAX_HEAD: u32 = 400 * 1024;

/// Serves until `close`; then each connection ends after the answer it is at.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    services: TaskTracker,
    close: CancellationToken,
) {
    let mut listener = listener.tap_io(|stream| {
        // Answers are small; waiting to fill a packet would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "nodelay is not set");
        }
    });
    while let Some((stream, _)) = close.run_until_cancelled(listener.accept()).await {
        services.spawn(connection(stream, router.clone(), close.clone()));
    }
}

async fn connection(stream: TcpStream, router: Router, close: CancellationToken) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().max_headers(MAX_HEADERS);
    builder.http2().max_header_list_size(MAX_HEAD);
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = match close.run_until_cancelled(connection.as_mut()).await {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    let Err(error) = ended else { return };
    match error.downcast_ref::<hyper::Error>() {
        Some(error) if error.is_parse_too_large() => tracing::warn!(
            "a request with more than {MAX_HEADERS} headers, or {} KiB of them, is answered 431; \
             if it is a record of Kafka's, its partition waits: let excludeHeaderMetaRegex of the \
             pubsub leave headers out",
            MAX_HEAD / 1024,
        ),
        _ => tracing::debug!(%error, "a connection failed"),
    }
}
