//! Keeps reminders, and says when one is due. This file speaks with the host; [`reminders`]
//! decides.

pub mod dialect;
pub mod reminders;

use todo::{Event, Failure, host, world};

use dialect::Dialect;

struct Reminding;

impl world::Guest for Reminding {
    fn handle(event: Event) -> Result<(), Failure> {
        let dialect = Dialect::of(&event.contract, &host::configs());
        host::perform(reminders::decide(&event, &dialect, host::now(), &mut host::read)?, host::job)
    }
}

world::export!(Reminding);
