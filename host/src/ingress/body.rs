//! Reads a callback's body, within a time and a size.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};

use crate::dispatch::room::Share;
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
    /// Too much is in progress; nothing was kept.
    NoRoom,
}

/// Up to `max` bytes, as far as the share has room for them.
pub async fn read(body: Body, max: usize, share: &Share) -> Result<Read, NotTaken> {
    match tokio::time::timeout(PATIENCE, collected(body, max, share)).await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(NotTaken(format!("the body ended early: {error}"))),
        Err(_) => Err(NotTaken(format!("the body did not come within {PATIENCE:?}"))),
    }
}

async fn collected(mut body: Body, max: usize, share: &Share) -> Result<Read, axum::Error> {
    // What it says of its length is taken at once: better none of it than a part.
    let said = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut reserved = said.min(max);
    let mut has_room = share.bytes(reserved);
    let (mut kept, mut size, mut hasher) = (BytesMut::new(), 0_usize, None);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        size = size.saturating_add(data.len());
        if size > reserved && size <= max && has_room {
            has_room = share.bytes(size - reserved);
            reserved = size;
        }
        if !has_room {
            // Read to its end all the same, so that the sender sees the answer.
            kept = BytesMut::new();
            continue;
        }
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
    if !has_room {
        share.keep(0);
        return Ok(Read::NoRoom);
    }
    share.keep(kept.len());
    let Some(hasher) = hasher else { return Ok(Read::Whole(kept.freeze())) };
    Ok(Read::TooLarge { beginning: kept.freeze(), hash: hex(&hasher.finalize()) })
}
