//! Ports that stay free while a program that listens there is away.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::bail;

/// Below those that the system takes for outgoing connections: one of these could take the port
/// before a program listens there, or while it restarts.
const PORTS: Range<u32> = 12_000..32_000;

/// A port of 127.0.0.1 that is free, and that this process gives only once.
pub fn free() -> anyhow::Result<u16> {
    static NEXT: OnceLock<AtomicU32> = OnceLock::new();
    // Several processes may look for some at the same moment.
    let next = NEXT.get_or_init(|| {
        let drawn = RandomState::new().hash_one(std::process::id()) % u64::from(u16::MAX);
        AtomicU32::new(u32::try_from(drawn).unwrap_or_default())
    });
    let many = PORTS.end - PORTS.start;
    for _ in PORTS {
        let port = PORTS.start + next.fetch_add(1, Ordering::Relaxed) % many;
        let port = u16::try_from(port)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port of {PORTS:?} is free on 127.0.0.1")
}
