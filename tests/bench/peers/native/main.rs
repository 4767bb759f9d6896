//! What one would write by hand in Rust, with axum and sqlx: the same row of `audit_log`, with one
//! insert for each event, or with the promise that Wharf keeps.

mod envelope;
mod store;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use bytes::Bytes;
use clap::Parser;
use serde_json::json;
use tokio::net::TcpListener;

use envelope::{Bulk, Incoming};
use store::{Promise, Store};

/// As in Wharf's own program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A consumer of task events, written by hand
#[derive(Parser)]
struct Arguments {
    /// Where it takes callbacks
    #[arg(long)]
    listen: SocketAddr,
    /// `postgres://…` or `sqlite:FILE`; the tables are there
    #[arg(long)]
    database: String,
    /// Connections to PostgreSQL
    #[arg(long)]
    connections: u32,
    /// What it promises
    #[arg(long, value_enum)]
    promise: Promise,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let store = Store::open(&arguments.database, arguments.connections, arguments.promise).await?;
    let router = Router::new()
        .route("/health", get(async || Json(json!({ "status": "healthy" }))))
        .route("/events/task-events", post(receive))
        .with_state(Arc::new(store));
    let listener = TcpListener::bind(arguments.listen).await?;
    let listener = listener.tap_io(|stream| {
        // A failure costs speed only.
        _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await?;
    Ok(())
}

async fn receive(State(store): State<Arc<Store>>, headers: HeaderMap, body: Bytes) -> Response {
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    let done = match content_type {
        Some(b"application/json") => bulk(&store, &body).await,
        _ => single(&store, &body).await,
    };
    // daprd sends again what it got no 2xx for.
    done.unwrap_or_else(|error| {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response()
    })
}

async fn single(store: &Store, body: &Bytes) -> anyhow::Result<Response> {
    store.take(Incoming::parse(body)?).await?;
    Ok(Json(json!({ "status": "SUCCESS" })).into_response())
}

async fn bulk(store: &Store, body: &Bytes) -> anyhow::Result<Response> {
    let bulk: Bulk<'_> = serde_json::from_slice(body)?;
    let events = bulk.entries.iter().map(|entry| Incoming::parse(entry.event.get().as_bytes()));
    store.take_all(events.collect::<Result<_, _>>()?).await?;
    let statuses =
        bulk.entries.iter().map(|entry| json!({ "entryId": entry.entry_id, "status": "SUCCESS" }));
    Ok(Json(json!({ "statuses": statuses.collect::<Vec<_>>() })).into_response())
}
