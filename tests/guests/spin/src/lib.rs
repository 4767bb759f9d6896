//! Never returns.

wit_bindgen::generate!({ path: "../../../wit", world: "worker", generate_all });
export!(Component);

struct Component;

impl Guest for Component {
    fn handle(_: Event) -> Result<(), Failure> {
        let mut turns = 0_u64;
        loop {
            turns = std::hint::black_box(turns.wrapping_add(1));
        }
    }
}
