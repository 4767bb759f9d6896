//! Deliveries of one component with one subject take turns, in the order in which they came. One
//! that is to come again leaves a gap: whoever queued behind it comes again too, after it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::name::ComponentId;

type Subject = (ComponentId, String);

/// Gives out turns.
#[derive(Clone, Default)]
pub struct Order {
    last: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    given: u64,
    tails: HashMap<Subject, Tail>,
}

struct Tail {
    number: u64,
    over: oneshot::Receiver<()>,
}

/// What a turn comes after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Everyone who queued before is in the ledger.
    Taken,
    /// Someone is not, and will come again.
    Gap,
}

/// A place in a subject's queue. The next one comes when this is dropped; unless it was
/// [`taken`](Self::taken) before, it comes after a gap.
pub struct Turn {
    queue: Arc<Mutex<Queue>>,
    subject: Subject,
    number: u64,
    before: Option<oneshot::Receiver<()>>,
    over: Option<oneshot::Sender<()>>,
}

impl Order {
    /// Takes the next place; who calls first goes first.
    pub fn join(&self, component: &ComponentId, subject: &str) -> Turn {
        let subject = (component.clone(), subject.to_owned());
        let (sender, over) = oneshot::channel();
        let mut queue = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        queue.given += 1;
        let number = queue.given;
        let before = queue.tails.insert(subject.clone(), Tail { number, over });
        Turn {
            queue: Arc::clone(&self.last),
            subject,
            number,
            before: before.map(|tail| tail.over),
            over: Some(sender),
        }
    }
}

impl Turn {
    /// Waits until everyone before is through.
    pub async fn come(&mut self) -> Before {
        let Some(before) = self.before.as_mut() else { return Before::Taken };
        let taken = before.await.is_ok();
        self.before = None;
        if taken { Before::Taken } else { Before::Gap }
    }

    /// It is in the ledger.
    pub fn taken(mut self) {
        if let Some(over) = self.over.take() {
            // Nobody may be waiting.
            let _nobody = over.send(());
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.tails.get(&self.subject).is_some_and(|tail| tail.number == self.number) {
            queue.tails.remove(&self.subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_subject_goes_in_order_and_others_beside_it() {
        let order = Order::default();
        let audit = ComponentId::new("audit").unwrap();
        let mut first = order.join(&audit, "1");
        let mut second = order.join(&audit, "1");
        let mut other = order.join(&audit, "2");
        assert_eq!(first.come().await, Before::Taken);
        assert_eq!(other.come().await, Before::Taken);
        assert!(futures::poll!(std::pin::pin!(second.come())).is_pending());
        first.taken();
        assert_eq!(second.come().await, Before::Taken);
        drop((second, other));
        assert!(order.last.lock().unwrap().tails.is_empty());
    }

    #[tokio::test]
    async fn whoever_queued_behind_a_gap_knows_of_it() {
        let order = Order::default();
        let audit = ComponentId::new("audit").unwrap();
        let [first, mut second, mut third] = [(); 3].map(|()| order.join(&audit, "1"));
        drop(first);
        assert_eq!(second.come().await, Before::Gap);
        drop(second);
        assert_eq!(third.come().await, Before::Gap);
        drop(third);
        assert_eq!(order.join(&audit, "1").come().await, Before::Taken, "it comes again");
    }
}
