//! What fences a run: its memory, its effects, and what is kept of its output.

mod output;

use wasmtime::ResourceLimiter;

use super::Failure;
use crate::effect::Effect;
use crate::manifest::Limits;

pub use self::output::{Output, Stream};

/// Sums up linear memories and tables. Initial sizes are counted too.
pub struct Memory {
    limit: usize,
    held: usize,
    /// The last wish for more was refused.
    pub exhausted: bool,
}

/// A table element is a pointer.
const ELEMENT: usize = size_of::<usize>();

impl Memory {
    pub fn new(limit: usize) -> Self {
        Self { limit, held: 0, exhausted: false }
    }

    /// Memory never shrinks, so this is also the most that was held.
    pub fn held(&self) -> usize {
        self.held
    }

    fn grow(&mut self, more: usize) -> bool {
        let held = self.held.checked_add(more).filter(|held| *held <= self.limit);
        self.exhausted = held.is_none();
        self.held = held.unwrap_or(self.held);
        !self.exhausted
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current)))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current).saturating_mul(ELEMENT)))
    }
}

/// The effects of a run, in order. They are held outside of the guest's memory, so that their
/// bytes are bounded as well as their number.
pub struct Effects {
    list: Vec<Effect>,
    bytes: usize,
    limit: u32,
    bytes_limit: usize,
}

/// A limit was passed that ends the run, whatever the guest would make of an error.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Stop(pub Failure);

impl Effects {
    pub fn new(limits: &Limits) -> Self {
        Self { list: Vec::new(), bytes: 0, limit: limits.effects, bytes_limit: limits.memory }
    }

    /// Those recorded so far, in order.
    pub fn list(&self) -> &[Effect] {
        &self.list
    }

    /// The position that the next effect will have.
    pub fn next_index(&self) -> u32 {
        u32::try_from(self.list.len()).unwrap_or(u32::MAX)
    }

    /// Records an effect; `size` is about how many bytes it holds.
    pub fn record(&mut self, effect: Effect, size: usize) -> Result<(), Stop> {
        if self.next_index() >= self.limit {
            return Err(Stop(Failure::TooManyEffects(self.limit)));
        }
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.bytes_limit {
            return Err(Stop(Failure::EffectsTooLarge(self.bytes_limit)));
        }
        self.list.push(effect);
        Ok(())
    }

    pub fn into_list(self) -> Vec<Effect> {
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_a_sum() {
        let mut memory = Memory::new(1000);
        assert!(memory.memory_growing(0, 600, None).unwrap());
        assert!(memory.table_growing(0, 50, None).unwrap());
        assert_eq!(memory.held(), 1000);
        assert!(!memory.memory_growing(600, 601, None).unwrap());
        assert!(memory.exhausted);
        assert_eq!(memory.held(), 1000);
    }
}
