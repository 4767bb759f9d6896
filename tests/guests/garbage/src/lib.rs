//! Hands the host what is malformed or monstrous, and logs the answers.

wit_bindgen::generate!({ path: "../../../wit", world: "worker", generate_all });
export!(Component);

use wharf::worker::publish::{self, NewEvent};
use wharf::worker::sql::{self, Value};

struct Component;

impl Guest for Component {
    fn handle(event: Event) -> Result<(), Failure> {
        if event.data == r#""monstrous""# {
            return Err(Failure::Retry("ä".repeat(1 << 20)));
        }
        for (time, data) in [(None, "{"), (None, ""), (Some("yesterday"), "{}")] {
            let event = NewEvent {
                ty: "com.todo.granted.v1".into(),
                subject: None,
                time: time.map(str::to_owned),
                data: data.into(),
            };
            println!("{:?}", publish::publish(&event));
        }
        println!("{:?}", sql::execute("insert", &[], None));
        println!("{:?}", sql::execute("insert", &[Value::Json("{".into())], None));
        println!("{:?}", sql::execute("insert", &[Value::Float(f64::NAN)], None));
        Ok(())
    }
}
