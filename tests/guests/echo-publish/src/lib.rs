//! Publishes an event for each event, with the same subject and data.

wit_bindgen::generate!({ path: "../../../wit", world: "worker", generate_all });
export!(Component);

use wharf::worker::publish::{self, NewEvent};

struct Component;

impl Guest for Component {
    fn handle(event: Event) -> Result<(), Failure> {
        let echo = NewEvent {
            ty: "com.todo.echo.v1".into(),
            subject: event.subject,
            time: None,
            data: event.data,
        };
        publish::publish(&echo).map_err(|error| Failure::Reject(format!("{error:?}")))?;
        Ok(())
    }
}
