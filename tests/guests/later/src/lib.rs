//! Imports an interface of the world that the host does not link.

wit_bindgen::generate!({ path: "../../../wit", world: "worker", generate_all });
export!(Component);

use wharf::worker::state;

struct Component;

impl Guest for Component {
    fn handle(_: Event) -> Result<(), Failure> {
        _ = state::delete("store", "key");
        Ok(())
    }
}
