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
mod by_hand;
mod calls;
mod conformance;
mod crash;
mod dapr_files;
mod deploy;
mod dev;
mod effects;
mod errands;
mod failpoints;
mod failures;
mod faults;
mod flood;
mod flows;
mod full;
mod hosts;
mod jobs;
mod kill;
mod new;
mod order;
mod overload;
mod program;
mod prune;
mod raw;
mod relay;
mod sandbox;
mod serve;
mod sidecar;
mod slips;
mod stall;
mod swap;
mod tidy;
mod watch;
mod wire;
