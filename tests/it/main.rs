//! One test binary for everything that goes through the front door.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(test)]
mod admin;
mod audit;
mod bad_input;
mod failures;
mod faults;
mod order;
mod sandbox;
mod tidy;
mod wire;
