//! The same stories on PostgreSQL: the harness sees which binary it is in, and gives each host a
//! schema of its own. What is SQLite's own, or needs no ledger, runs in `it` only.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

wharf_test_postgres::tests_with_postgres! {
    #[path = "../it/admin.rs"]
    mod admin;
    #[path = "../it/audit.rs"]
    mod audit;
    #[path = "../it/bad_input.rs"]
    mod bad_input;
    #[path = "../it/by_hand.rs"]
    mod by_hand;
    #[path = "../it/calls.rs"]
    mod calls;
    #[path = "../it/effects.rs"]
    mod effects;
    #[path = "../it/errands.rs"]
    mod errands;
    #[path = "../it/failpoints.rs"]
    mod failpoints;
    #[path = "../it/failures.rs"]
    mod failures;
    #[path = "../it/faults.rs"]
    mod faults;
    #[path = "../it/flows.rs"]
    mod flows;
    #[path = "../it/hosts.rs"]
    mod hosts;
    #[path = "../it/jobs.rs"]
    mod jobs;
    #[path = "../it/order.rs"]
    mod order;
    #[path = "../it/overload.rs"]
    mod overload;
    #[path = "../it/proxy.rs"]
    mod proxy;
    #[path = "../it/prune.rs"]
    mod prune;
    #[path = "../it/relay.rs"]
    mod relay;
    #[path = "../it/sandbox.rs"]
    mod sandbox;
    #[path = "../it/swap.rs"]
    mod swap;
    #[path = "../it/wire.rs"]
    mod wire;
}
