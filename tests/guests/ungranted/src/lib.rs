//! Calls what its manifest does not grant, and either says so or pretends that all is well.

wit_bindgen::generate!({ path: "../../../wit", world: "worker", generate_all });
export!(Component);

use wharf::worker::publish::{self, NewEvent};
use wharf::worker::sql;

struct Component;

impl Guest for Component {
    fn handle(event: Event) -> Result<(), Failure> {
        let ty = "com.todo.secret.v1".to_owned();
        let published =
            publish::publish(&NewEvent { ty, subject: None, time: None, data: "{}".into() });
        let executed = sql::execute("drop-everything", &[], None);
        match event.data.as_str() {
            r#""honest""# => Err(Failure::Reject(format!("{published:?} {executed:?}"))),
            _ => Ok(()),
        }
    }
}
