//! Tells what a component sees of the world: time, chance, and that there is nothing else.

wit_bindgen::generate!({ path: "../../../wit", world: "worker", generate_all });
export!(Component);

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::time::{Duration, Instant, SystemTime};

struct Component;

impl Guest for Component {
    fn handle(_: Event) -> Result<(), Failure> {
        let began = Instant::now();
        std::thread::sleep(Duration::from_secs(3600));
        println!("slept {:?}", began.elapsed());
        println!("time {:?}", SystemTime::now().duration_since(SystemTime::UNIX_EPOCH));
        println!("chance {:x}", RandomState::new().hash_one(1));
        println!("environment {}", std::env::vars().count() + std::env::args().count());
        println!("file {:?}", std::fs::read("/etc/passwd").map_err(|error| error.kind()));
        let connection = std::net::TcpStream::connect("127.0.0.1:1").map(|_| ());
        println!("network {:?}", connection.map_err(|error| error.kind()));
        Ok(())
    }
}
