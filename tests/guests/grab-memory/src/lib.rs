//! Takes memory until there is none.

wit_bindgen::generate!({ path: "../../../wit", world: "worker", generate_all });
export!(Component);

struct Component;

impl Guest for Component {
    fn handle(_: Event) -> Result<(), Failure> {
        let mut held = Vec::new();
        loop {
            held.push(std::hint::black_box(vec![1_u8; 64 << 10]));
        }
    }
}
