//! Deliveries of one component with one subject take turns, in the order in which they came.

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

/// A place in a subject's queue. The next one comes when this is dropped.
pub struct Turn {
    queue: Arc<Mutex<Queue>>,
    subject: Subject,
    number: u64,
    before: Option<oneshot::Receiver<()>>,
    _over: oneshot::Sender<()>,
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
            _over: sender,
        }
    }
}

impl Turn {
    /// Waits until everyone before is through.
    pub async fn come(&mut self) {
        if let Some(before) = self.before.as_mut() {
            // The sender never sends: it is dropped when the turn is over, which is an error here.
            let _ended = before.await;
            self.before = None;
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
        first.come().await;
        other.come().await;
        assert!(futures::poll!(std::pin::pin!(second.come())).is_pending());
        drop(first);
        second.come().await;
        drop((second, other));
        assert!(order.last.lock().unwrap().tails.is_empty());
    }
}
