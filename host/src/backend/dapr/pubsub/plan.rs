//! Which events go out in one call.

use std::collections::{BTreeMap, HashMap};

use super::exact::is_exact;
use crate::effect::OutgoingEvent;

/// The content type of what has an envelope already.
pub const CLOUD_EVENT: &str = "application/cloudevents+json";

/// The most events of one call, and the most bytes: daprd takes 4 MiB unless told otherwise.
const MOST_EVENTS: usize = 100;
const MOST_BYTES: usize = 1 << 20;

/// One call, with the events' places in the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publishing {
    Singly(usize),
    Bulk(Vec<usize>),
}

/// For each topic the rounds that go one after the other; the calls of a round go side by side, and
/// hold at most one event of a lane.
pub fn rounds(batch: &[OutgoingEvent]) -> Vec<Vec<Vec<Publishing>>> {
    let mut topics: BTreeMap<_, Vec<Vec<usize>>> = BTreeMap::new();
    let mut seen: HashMap<_, usize> = HashMap::new();
    for (place, event) in batch.iter().enumerate() {
        let topic = (&event.pubsub, &event.topic);
        let lane = event.partition_key.as_deref();
        let round = match lane {
            Some(lane) => {
                let next = seen.entry((topic, lane)).or_default();
                *next += 1;
                *next - 1
            }
            None => 0,
        };
        let rounds = topics.entry(topic).or_default();
        while rounds.len() <= round {
            rounds.push(Vec::new());
        }
        if let Some(round) = rounds.get_mut(round) {
            round.push(place);
        }
    }
    let topics = topics.into_values();
    topics.map(|rounds| rounds.iter().map(|round| calls(batch, round)).collect()).collect()
}

/// Small CloudEvents go together, unless a bulk would change their numbers.
fn calls(batch: &[OutgoingEvent], round: &[usize]) -> Vec<Publishing> {
    let mut calls = Vec::new();
    let (mut bulk, mut bytes) = (Vec::new(), 0);
    for place in round {
        let Some(event) = batch.get(*place) else { continue };
        let size = event.payload.len();
        if event.content_type != CLOUD_EVENT || size > MOST_BYTES || !is_exact(&event.payload) {
            calls.push(Publishing::Singly(*place));
            continue;
        }
        if bulk.len() == MOST_EVENTS || bytes + size > MOST_BYTES {
            calls.push(of(std::mem::take(&mut bulk)));
            bytes = 0;
        }
        bulk.push(*place);
        bytes += size;
    }
    if !bulk.is_empty() {
        calls.push(of(bulk));
    }
    calls
}

fn of(places: Vec<usize>) -> Publishing {
    match places.as_slice() {
        [place] => Publishing::Singly(*place),
        _ => Publishing::Bulk(places),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{Pubsub, Topic};

    fn event(topic: &str, key: Option<&str>, payload: &str) -> OutgoingEvent {
        OutgoingEvent {
            pubsub: Pubsub::new("p").unwrap(),
            topic: Topic::new(topic).unwrap(),
            id: "i".into(),
            content_type: CLOUD_EVENT.into(),
            payload: payload.to_owned().into(),
            partition_key: key.map(str::to_owned),
        }
    }

    #[test]
    fn a_lane_has_one_event_in_a_call() {
        let batch = [
            event("a", Some("1"), "{}"),
            event("a", Some("2"), "{}"),
            event("b", Some("1"), "{}"),
            event("a", Some("1"), "{}"),
            event("a", None, "{}"),
            event("a", None, "{}"),
        ];
        let expected = vec![
            vec![vec![Publishing::Bulk(vec![0, 1, 4, 5])], vec![Publishing::Singly(3)]],
            vec![vec![Publishing::Singly(2)]],
        ];
        assert_eq!(rounds(&batch), expected);
    }

    #[test]
    fn what_a_bulk_would_change_or_refuse_goes_by_itself() {
        let mut batch = vec![
            event("a", None, "{}"),
            event("a", None, r#"{"n":9007199254740993}"#),
            event("a", None, &format!("\"{}\"", "x".repeat(MOST_BYTES))),
            event("a", None, "{}"),
            event("a", None, "{}"),
        ];
        batch[4].content_type = "text/plain".into();
        let single = Publishing::Singly;
        let expected = vec![single(1), single(2), single(4), Publishing::Bulk(vec![0, 3])];
        assert_eq!(rounds(&batch), vec![vec![expected]]);
    }

    #[test]
    fn a_call_stays_below_its_limits() {
        let batch: Vec<_> = (0..201).map(|_| event("a", None, "{}")).collect();
        let sizes = |batch: &[OutgoingEvent]| -> Vec<usize> {
            let calls = rounds(batch).into_iter().flatten().flatten();
            let size = |call| match call {
                Publishing::Singly(_) => 1,
                Publishing::Bulk(places) => places.len(),
            };
            calls.map(size).collect()
        };
        assert_eq!(sizes(&batch), [100, 100, 1]);
        let half = format!("\"{}\"", "x".repeat(MOST_BYTES / 2 - 10));
        let batch: Vec<_> = (0..5).map(|_| event("a", None, &half)).collect();
        assert_eq!(sizes(&batch), [2, 2, 1]);
    }
}
