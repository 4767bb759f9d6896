//! Chance that can be had again: every suite that draws prints its seed, and `FAULTS_SEED` sets it.

#![expect(clippy::print_stdout, reason = "a test that fails must show its seed")]

use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;

/// A xorshift generator; the same draws for the same seed.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// By `FAULTS_SEED`, else by a seed of its own, which is printed.
    pub fn thrown(suite: &str) -> Self {
        let given = std::env::var_os("FAULTS_SEED").and_then(|seed| seed.to_str()?.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(suite));
        println!("{suite}, the same again: FAULTS_SEED={seed}");
        Self::of(seed)
    }

    pub fn of(seed: u64) -> Self {
        let mut dice = Self(seed | 1);
        // Small seeds differ in few bits.
        for _ in 0..8 {
            dice.next();
        }
        dice
    }

    /// Another one, whose draws do not depend on how often this one is asked.
    pub fn split(&mut self) -> Self {
        Self::of(self.next())
    }

    /// A number in the range, which must not be empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// Yes, once in so many times.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.within(0..times) == 0
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 1
    }
}
