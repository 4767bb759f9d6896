//! Creates the next occurrence of a completed recurring task, once, whatever triggers it. This
//! file speaks with the host; [`occurrence`] decides.

pub mod occurrence;

use todo::{Event, Failure, host, world};

struct Recurring;

impl world::Guest for Recurring {
    fn handle(event: Event) -> Result<(), Failure> {
        host::perform(occurrence::decide(&event, host::now(), &mut host::read)?, host::job)
    }
}

world::export!(Recurring);
