//! How much may be in progress at a time, over all callbacks. What comes beyond is answered RETRY at
//! once: daprd keeps it and sends it again, where this host would only pile it up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A number of events, and their bytes as they came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    pub events: usize,
    pub bytes: usize,
}

/// Clones are the same room.
#[derive(Clone)]
pub struct Room {
    most: Amount,
    taken: Arc<Mutex<Amount>>,
}

/// What one callback takes up, until the last of its deliveries is through.
pub struct Share {
    room: Room,
    own: Mutex<Amount>,
}

impl Room {
    pub fn new(most: Amount) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// A callback comes in, with nothing yet.
    pub fn enter(&self) -> Share {
        Share { room: self.clone(), own: Mutex::default() }
    }

    pub fn taken(&self) -> Amount {
        *lock(&self.taken)
    }
}

impl Share {
    /// Room for so many more bytes, or `false`. A callback that is alone gets it always: one that is
    /// larger than the room would otherwise never get in.
    #[must_use]
    pub fn bytes(&self, more: usize) -> bool {
        let (mut taken, mut own) = (lock(&self.room.taken), lock(&self.own));
        let after = taken.bytes.saturating_add(more);
        let fits = after <= self.room.most.bytes || taken.bytes == own.bytes;
        if fits {
            taken.bytes = after;
            own.bytes = own.bytes.saturating_add(more);
        }
        fits
    }

    /// Room for events, as many of those wanted as there is. The rest must not overtake these, so it
    /// is the end of a bulk that comes again.
    pub fn events(&self, wanted: usize) -> usize {
        let (mut taken, mut own) = (lock(&self.room.taken), lock(&self.own));
        let given = wanted.min(self.room.most.events.saturating_sub(taken.events));
        taken.events += given;
        own.events += given;
        given
    }

    /// Gives back all bytes but these, which were not kept.
    pub fn keep(&self, bytes: usize) {
        let (mut taken, mut own) = (lock(&self.room.taken), lock(&self.own));
        let back = own.bytes.saturating_sub(bytes);
        taken.bytes = taken.bytes.saturating_sub(back);
        own.bytes -= back;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let (mut taken, own) = (lock(&self.room.taken), lock(&self.own));
        taken.events = taken.events.saturating_sub(own.events);
        taken.bytes = taken.bytes.saturating_sub(own.bytes);
    }
}

fn lock(amount: &Mutex<Amount>) -> MutexGuard<'_, Amount> {
    amount.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_full_takes_no_more_until_something_is_given_back() {
        let room = Room::new(Amount { events: 5, bytes: 100 });
        let (first, second) = (room.enter(), room.enter());
        assert_eq!((first.events(3), first.bytes(60)), (3, true));
        assert_eq!((second.events(3), second.bytes(41)), (2, false));
        assert!(second.bytes(40));
        assert_eq!(room.taken(), Amount { events: 5, bytes: 100 });
        assert_eq!((room.enter().events(1), room.enter().bytes(1)), (0, false));
        first.keep(10);
        assert!(room.enter().bytes(50));
        drop(first);
        assert_eq!(room.taken(), Amount { events: 2, bytes: 40 });
        drop(second);
        assert_eq!(room.taken(), Amount::default());
    }

    #[test]
    fn what_is_larger_than_the_room_gets_in_alone() {
        let room = Room::new(Amount { events: 5, bytes: 100 });
        let (large, small) = (room.enter(), room.enter());
        assert!(large.bytes(90) && large.bytes(90));
        assert!(!small.bytes(1));
        drop(large);
        assert!(small.bytes(1));
        assert!(!room.enter().bytes(180));
    }
}
