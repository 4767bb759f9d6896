//! Publishes without end: many small events, or few huge ones.

wit_bindgen::generate!({ path: "../../../wit", world: "worker", generate_all });
export!(Component);

use wharf::worker::publish::{self, NewEvent};

struct Component;

impl Guest for Component {
    fn handle(event: Event) -> Result<(), Failure> {
        let data = match event.data.as_str() {
            r#""huge""# => format!("\"{}\"", "x".repeat(1 << 20)),
            _ => "{}".into(),
        };
        let event = NewEvent { ty: "com.todo.flood.v1".into(), subject: None, time: None, data };
        loop {
            _ = publish::publish(&event);
        }
    }
}
