//! Places for work that holds memory: so many at a time, and about so many bytes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What all of them may hold together. One that holds more is alone.
const MOST_KIB: u32 = 64 << 10;

/// Gives out places. Clones are the same ones.
#[derive(Clone)]
pub struct Places {
    count: usize,
    free: Arc<Semaphore>,
    kib: Arc<Semaphore>,
}

/// A place, until it is dropped.
pub struct Place {
    _free: OwnedSemaphorePermit,
    kib: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Places {
    pub fn new(count: usize) -> Self {
        let kib = usize::try_from(MOST_KIB).unwrap_or(usize::MAX);
        Self { count, free: Arc::new(Semaphore::new(count)), kib: Arc::new(Semaphore::new(kib)) }
    }

    /// One, as soon as there is one, and all others that are free.
    pub async fn all_free(&self) -> Vec<Place> {
        let first = Arc::clone(&self.free).acquire_owned().await;
        let mut places = vec![self.place(first.expect("nobody closes the places"))];
        places.extend((1..self.count).map_while(|_| self.try_one()));
        places
    }

    /// One, if it is free now.
    pub fn try_one(&self) -> Option<Place> {
        Arc::clone(&self.free).try_acquire_owned().ok().map(|free| self.place(free))
    }

    fn place(&self, free: OwnedSemaphorePermit) -> Place {
        Place { _free: free, kib: Arc::clone(&self.kib), held: None }
    }
}

impl Place {
    /// Waits until it may hold so many bytes.
    pub async fn hold(&mut self, bytes: usize) {
        let held = Arc::clone(&self.kib).acquire_many_owned(kib(bytes)).await;
        self.held = held.ok();
    }

    /// If it may hold so many bytes now; else it is given back.
    pub fn try_hold(mut self, bytes: usize) -> Option<Self> {
        self.held = Some(Arc::clone(&self.kib).try_acquire_many_owned(kib(bytes)).ok()?);
        Some(self)
    }
}

fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX).min(MOST_KIB)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const MIB: usize = 1 << 20;

    #[tokio::test]
    async fn places_are_as_many_as_they_are_and_hold_so_many_bytes() {
        let places = Places::new(3);
        let [first, second, mut third] =
            <[Place; 3]>::try_from(places.all_free().await).ok().unwrap();
        assert!(places.try_one().is_none());
        let first = first.try_hold(40 * MIB).unwrap();
        assert!(second.try_hold(40 * MIB).is_none());
        let second = places.try_one().unwrap().try_hold(24 * MIB).unwrap();
        assert!(third.hold(1).now_or_never().is_none());
        drop(first);
        third.hold(40 * MIB).await;
        drop((second, third));
        let alone = places.try_one().unwrap().try_hold(100 * MIB);
        assert!(alone.is_some(), "it fits when it is alone");
        assert!(places.try_one().unwrap().try_hold(1).is_none());
    }
}
