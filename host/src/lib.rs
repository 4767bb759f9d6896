//! Wharf runs event consumers as sandboxed WebAssembly components beside a Dapr sidecar.
//!
//! A handler is a function from an event, and what it reads, to effects. Effects do nothing until
//! they are committed together with the fact that the event was handled, in one SQL transaction.
//!
//! The map, lowest layer first; a module uses only layers below its own:
//!
//! | layer | modules |
//! | --- | --- |
//! | vocabulary: no I/O | [`name`], [`clock`], [`event`], [`delivery`], [`effect`], [`problem`], [`config`], [`manifest`], [`failpoint`] |
//! | policy: pure | [`contract`], [`route`], [`grant`], [`retry`], [`schedule`], [`sidecar`] (what daprd makes of its own files) |
//! | ports | [`backend`] (what Dapr does for us), [`ledger`] (what must not be lost), [`telemetry`] |
//! | sandbox | [`runtime`] |
//! | snapshot | [`catalog`]: components, routes and contracts, immutable |
//! | pipeline | [`dispatch`] (an event's way through), [`due`] (a loop's rhythm); below them [`work`] (what is in progress), [`recorder`] (what was given, read and decided) |
//! | loops | [`relay`] (performs effects), [`sweep`] (parked deliveries), [`prune`] (what is old) |
//! | edges | [`ingress`] (daprd calls), [`admin`] (people call) |
//! | composition | [`app`] |
//! | command line | [`cli`] |

#![cfg_attr(
    test,
    expect(clippy::duplicate_mod, reason = "the ledger's tests are compiled for each database")
)]

pub mod clock;
pub mod config;
pub mod delivery;
pub mod effect;
pub mod event;
pub mod failpoint;
pub mod manifest;
pub mod name;
pub mod problem;

pub mod contract;
pub mod grant;
pub mod retry;
pub mod route;
pub mod schedule;
pub mod sidecar;

pub mod backend;
pub mod ledger;
pub mod telemetry;

pub mod runtime;

pub mod catalog;

pub mod dispatch;
pub mod due;
pub mod places;
pub mod prune;
pub mod recorder;
pub mod relay;
pub mod sweep;
pub mod work;

pub mod admin;
pub mod ingress;

pub mod app;
pub mod cli;
