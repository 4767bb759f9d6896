//! One test binary for everything that goes through the front door.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(test)]
mod audit;
mod dev;
mod kill;
mod program;
mod sandbox;
mod tidy;
