//! One test binary for everything that goes through the front door.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod admin;
mod audit;
mod bad_input;
mod calls;
mod dev;
mod effects;
mod errands;
mod failures;
mod faults;
mod flows;
mod kill;
mod new;
mod order;
mod program;
mod sandbox;
mod swap;
mod tidy;
mod watch;
mod wire;
