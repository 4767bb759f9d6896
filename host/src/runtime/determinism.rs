//! Time and randomness of a run: fixed by its call, so that running it again gives the same.
//! They take the place of WASI's own, and need no WASI context unless the guest sleeps.

use sha2::{Digest as _, Sha256};
use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::clocks::WasiClocksView as _;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};

use super::invoke::Run;
use crate::clock::Timestamp;

pub fn link(linker: &mut Linker<Run>) -> wasmtime::Result<()> {
    wall_clock::add_to_linker::<Run, Whole>(linker, |run| run)?;
    monotonic_clock::add_to_linker::<Run, Whole>(linker, |run| run)?;
    random::add_to_linker::<Run, Drawn>(linker, |run| &mut run.randomness)?;
    insecure::add_to_linker::<Run, Drawn>(linker, |run| &mut run.randomness)?;
    insecure_seed::add_to_linker::<Run, Drawn>(linker, |run| &mut run.randomness)
}

struct Whole;

impl HasData for Whole {
    type Data<'a> = &'a mut Run;
}

struct Drawn;

impl HasData for Drawn {
    type Data<'a> = &'a mut Randomness;
}

impl wall_clock::Host for Run {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        Ok(datetime(self.call.now))
    }

    fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        Ok(wall_clock::Datetime { seconds: 0, nanoseconds: 1_000 })
    }
}

impl monotonic_clock::Host for Run {
    fn now(&mut self) -> wasmtime::Result<u64> {
        let nanoseconds = self.call.now.timestamp_nanos_opt().unwrap_or_default();
        Ok(u64::try_from(nanoseconds).unwrap_or_default())
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1_000)
    }

    /// A sleep is over at once: time stands still, so it could only use up the deadline.
    fn subscribe_instant(&mut self, _when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        monotonic_clock::Host::subscribe_duration(&mut self.clocks(), 0)
    }

    fn subscribe_duration(&mut self, _duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        monotonic_clock::Host::subscribe_duration(&mut self.clocks(), 0)
    }
}

fn datetime(now: Timestamp) -> wall_clock::Datetime {
    wall_clock::Datetime {
        seconds: u64::try_from(now.timestamp()).unwrap_or_default(),
        nanoseconds: now.timestamp_subsec_nanos().min(999_999_999),
    }
}

/// Bytes drawn from a seed: SHA-256 of the seed and a counter, block after block. A draw begins
/// with a new block.
pub struct Randomness {
    seed: [u8; 32],
    counter: u64,
}

/// More than this at once is no sane wish; the host would have to hold it.
const MOST_AT_ONCE: u64 = 1 << 20;

impl Randomness {
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, counter: 0 }
    }

    fn bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        if len > MOST_AT_ONCE {
            wasmtime::bail!("{len} random bytes at once; at most {MOST_AT_ONCE} are given");
        }
        let len = usize::try_from(len)?;
        let mut bytes = Vec::with_capacity(len.next_multiple_of(32));
        while bytes.len() < len {
            bytes.extend(self.block());
        }
        bytes.truncate(len);
        Ok(bytes)
    }

    fn number(&mut self) -> u64 {
        let block = self.block();
        let number = block.first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(number)
    }

    fn block(&mut self) -> [u8; 32] {
        let hash = Sha256::new().chain_update(self.seed).chain_update(self.counter.to_le_bytes());
        self.counter += 1;
        hash.finalize().into()
    }
}

impl random::Host for Randomness {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(len)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.number())
    }
}

impl insecure::Host for Randomness {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.number())
    }
}

impl insecure_seed::Host for Randomness {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((self.number(), self.number()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_bytes_in_the_same_order() {
        let draw = |seed| {
            let mut randomness = Randomness::new([seed; 32]);
            (randomness.bytes(40).unwrap(), randomness.number())
        };
        let (bytes, number) = draw(1);
        assert_eq!(draw(1), (bytes.clone(), number));
        assert_ne!(draw(2).0, bytes);
        assert_eq!(bytes.len(), 40);
        assert_ne!(bytes[..8], number.to_le_bytes());
    }

    #[test]
    fn absurd_amounts_are_refused() {
        assert!(Randomness::new([0; 32]).bytes(u64::MAX).is_err());
    }
}
