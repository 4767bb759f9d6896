//! Writes more than anyone wants to read, on every way out.

wit_bindgen::generate!({ path: "../../../wit", world: "worker", generate_all });
export!(Component);

use wasi::logging::logging::{Level, log};

struct Component;

impl Guest for Component {
    fn handle(_: Event) -> Result<(), Failure> {
        for line in 0..2_000 {
            println!("line {line}: {}", "x".repeat(100));
            eprint!("{}", "y".repeat(100));
            log(Level::Info, "flood", &"z".repeat(100));
        }
        Ok(())
    }
}
