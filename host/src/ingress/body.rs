//! Reads a callback's body, within a time and a size.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};

use crate::ingress::BEGINNING;
use crate::ingress::reply::NotTaken;
use crate::name::hex;

/// How long a body may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A body as far as it was kept.
pub enum Read {
    Whole(Bytes),
    /// Its beginning, and the hash of all of it.
    TooLarge {
        beginning: Bytes,
        hash: String,
    },
}

/// Up to `max` bytes.
pub async fn read(body: Body, max: usize) -> Result<Read, NotTaken> {
    match tokio::time::timeout(PATIENCE, collected(body, max)).await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(NotTaken(format!("the body ended early: {error}"))),
        Err(_) => Err(NotTaken(format!("the body did not come within {PATIENCE:?}"))),
    }
}

async fn collected(mut body: Body, max: usize) -> Result<Read, axum::Error> {
    let (mut kept, mut size, mut hasher) = (BytesMut::new(), 0, None);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        size += data.len();
        if size <= max {
            kept.extend_from_slice(&data);
            continue;
        }
        let hasher = hasher.get_or_insert_with(|| Sha256::new_with_prefix(&kept));
        hasher.update(&data);
        let room = BEGINNING.saturating_sub(kept.len());
        kept.extend_from_slice(data.get(..room).unwrap_or(&data));
        kept.truncate(BEGINNING);
    }
    let Some(hasher) = hasher else { return Ok(Read::Whole(kept.freeze())) };
    Ok(Read::TooLarge { beginning: kept.freeze(), hash: hex(&hasher.finalize()) })
}
