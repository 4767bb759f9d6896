//! What the components of the todo system share. It is no component itself.
//!
//! | module | holds |
//! | --- | --- |
//! | [`task`], [`reminder`] | the canonical events' data |
//! | [`recurrence`] | when a recurring task is due next |
//! | [`id`], [`time`] | ids that are derived, and instants |
//! | [`act`], [`row`] | what a decision reads and wants done |
//! | [`host`] | the only module that speaks with the host |
//!
//! Everything but `host` is pure, so that the components are tested without a sandbox.

pub mod act;
pub mod host;
pub mod id;
pub mod lenient;
pub mod recurrence;
pub mod reminder;
pub mod row;
pub mod task;
pub mod time;

pub mod world {
    //! Generated from `wit/`.
    #![expect(clippy::too_many_arguments, reason = "an event crosses it field by field")]

    wit_bindgen::generate!({
        path: "../../wit",
        world: "worker",
        generate_all,
        pub_export_macro: true,
        default_bindings_module: "todo::world",
        additional_derives: [PartialEq],
    });
}

pub use world::wharf::worker::sql::{Row, Value};
pub use world::wharf::worker::types::{Event, Failure};
