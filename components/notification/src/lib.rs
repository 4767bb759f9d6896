//! Sends due reminders through a binding, and says what became of them. This file speaks with the
//! host; [`sending`] decides.

pub mod sending;

use sending::{Decision, FILE};
use todo::{Event, Failure, host, world};

struct Notification;

impl world::Guest for Notification {
    fn handle(event: Event) -> Result<(), Failure> {
        let now = host::now();
        let acts = match sending::decide(&event, now, &mut host::read)? {
            Decision::Send(sending) => {
                let binding = host::config("binding").unwrap_or_else(|| FILE.to_owned());
                let effect_id = host::invoke(&binding, "create", sending.body()?.as_bytes())?;
                sending.recorded(&binding, &effect_id, now)?
            }
            Decision::Do(acts) => acts,
        };
        host::perform(acts, host::no_job)
    }
}

world::export!(Notification);
