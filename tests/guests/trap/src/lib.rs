//! Dies of one event of many: by a panic, by running out of stack, or by leaving.

wit_bindgen::generate!({ path: "../../../wit", world: "worker", generate_all });
export!(Component);

struct Component;

impl Guest for Component {
    fn handle(event: Event) -> Result<(), Failure> {
        println!("looking at {}", event.id);
        match event.data.as_str() {
            r#""panic""# => digest(&event.id),
            r#""recurse""# => println!("{}", recurse(1)),
            r#""exit""# => std::process::exit(3),
            _ => {}
        }
        Ok(())
    }
}

#[inline(never)]
fn digest(id: &str) {
    panic!("cannot digest {id}");
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let page = std::hint::black_box([depth; 128]);
    if depth == 0 { 0 } else { recurse(depth + 1) + page[5] }
}
