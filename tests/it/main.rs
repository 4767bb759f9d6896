//! One test binary for everything that goes through the front door.

mod sandbox;
