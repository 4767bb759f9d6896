//! One test binary for everything that goes through the front door.

#[cfg(test)]
mod sandbox;
