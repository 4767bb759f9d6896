//! Greets every new task. This file speaks with the host; [`greeting`] decides what is said.

pub mod greeting;

mod world {
    //! Generated from `wit/`.
    #![expect(unsafe_code, reason = "a component's border is memory shared with the host")]
    #![expect(clippy::too_many_arguments, reason = "an event crosses it field by field")]

    wit_bindgen::generate!({ path: "{wit}", world: "worker", generate_all });

    use super::Component;
    export!(Component with_types_in self);
}

use world::wasi::logging::logging::{self, Level};
use world::wharf::worker::types::{Event, Failure};

struct Component;

impl world::Guest for Component {
    fn handle(event: Event) -> Result<(), Failure> {
        let greeting = greeting::of(&event.data)
            .map_err(|error| Failure::Reject(format!("the task cannot be read: {error}")))?;
        logging::log(Level::Info, "", &greeting);
        Ok(())
    }
}
