//! What must hold of errands when everything has settled, whatever went wrong before.

use std::collections::{BTreeMap, BTreeSet};

use wharf_tests::tally::{Promise, Tally};

use super::seen::{Attempt, Out, Seen, Times};
use super::{Errand, TOPIC};

/// What a suite can say of the order of its errands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// One host: lanes follow the order of the commits.
    InOrder,
    /// Several hosts, whose commits have no order among them.
    InAnyOrder,
}

/// Compares what was sent with what there is to see. Each errand must have been acknowledged.
pub fn judge(tally: &mut Tally, sent: &BTreeSet<Errand>, seen: &Seen, judged: Judged) {
    let done: BTreeMap<_, _> =
        sent.iter().filter_map(|errand| Some((errand.id(), errand.succeeds()?))).collect();
    let dead: BTreeSet<_> =
        sent.iter().filter(|errand| errand.succeeds().is_none()).map(|one| one.id()).collect();
    tally.found(Promise::Decided, sent.len(), decided(sent, seen, &dead));
    tally.found(Promise::Sql, sent.len() + seen.counts.len(), sql(sent, seen, &done));
    let calls: usize = seen.calls.len() + seen.published.iter().map(Vec::len).sum::<usize>();
    tally.found(Promise::Effects, calls + dead.len(), effects(sent, seen, &dead));
    tally.found(Promise::Uncommitted, calls, uncommitted(seen, &done, &dead));
    if judged == Judged::InOrder {
        tally.found(Promise::Order, calls, out_of_order(seen));
    }
    tally.found(Promise::GoesOn, sent.len(), seen.left.clone());
}

/// Audit rows exactly once; statuses and attempts as each errand has it.
fn decided(sent: &BTreeSet<Errand>, seen: &Seen, dead: &BTreeSet<String>) -> Vec<String> {
    let ids = sent.iter().map(|errand| errand.id()).collect();
    let mut broken = exactly_once("an audit row", &ids, &seen.audited);
    for errand in sent {
        let expected = match errand.succeeds() {
            Some(attempt) => Some(("done".to_owned(), attempt)),
            None if errand.is_parked() => Some(("dead".to_owned(), 3)),
            None => Some(("dead".to_owned(), 1)),
        };
        let found = seen.deliveries.get(&errand.id());
        if found != expected.as_ref() {
            broken.push(format!("{} is {found:?} and not {expected:?}", errand.id()));
        }
    }
    if seen.deliveries.len() != sent.len() {
        broken.push(format!("{} deliveries of {} events", seen.deliveries.len(), sent.len()));
    }
    broken.extend(seen.reported.iter().filter(|(_, times)| **times > 1).map(told("reported")));
    if seen.reported.len() != dead.len() {
        broken.push(format!("{} reports of {} dead", seen.reported.len(), dead.len()));
    }
    broken
}

/// A row for each that is done, and for each thing that it set going; counters are their number.
fn sql(sent: &BTreeSet<Errand>, seen: &Seen, done: &BTreeMap<String, u32>) -> Vec<String> {
    let mut noted = Times::new();
    for note in &seen.notes {
        *noted.entry(note.attempt.0.clone()).or_default() += 1;
    }
    let mut broken = exactly_once("a row", &done.keys().cloned().collect(), &noted);
    let mut counts = BTreeMap::new();
    for errand in sent.iter().filter(|errand| errand.succeeds().is_some()) {
        *counts.entry(errand.subject()).or_default() += 1;
    }
    if counts != seen.counts {
        let of = |subject: &String| (counts.get(subject), seen.counts.get(subject));
        let wrong = counts.keys().filter(|subject| of(subject).0 != of(subject).1);
        broken.extend(wrong.map(|subject| format!("{subject} counts {:?}", of(subject))));
    }
    let doing = |which: fn(Errand) -> bool| {
        let doing =
            sent.iter().filter(move |errand| errand.succeeds().is_some() && which(**errand));
        doing.map(|errand| errand.id()).collect::<BTreeSet<_>>()
    };
    broken.extend(exactly_once("a firing", &doing(Errand::plans), &seen.fired));
    let calls = seen.notes.iter().map(|note| note.call.clone()).filter(|call| !call.is_empty());
    let calls: BTreeSet<_> = calls.collect();
    if calls.len() != doing(Errand::calls).len() {
        broken.push(format!("{} calls of {}", calls.len(), doing(Errand::calls).len()));
    }
    broken.extend(exactly_once("a call's result", &calls, &seen.called));
    broken
}

/// At least once, and always under the same id.
fn effects(sent: &BTreeSet<Errand>, seen: &Seen, dead: &BTreeSet<String>) -> Vec<String> {
    let mut broken = Vec::new();
    let ids = |outs: &mut dyn Iterator<Item = &Out>| {
        let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for out in outs {
            ids.entry(out.attempt.0.clone()).or_default().insert(out.id.clone());
        }
        ids
    };
    let published = ids(&mut seen.published.iter().flatten());
    let called = ids(&mut seen.calls.iter());
    for errand in sent.iter().filter(|errand| errand.succeeds().is_some()) {
        let id = errand.id();
        match published.get(&id).map_or(0, BTreeSet::len) {
            1 => {}
            number => broken.push(format!("{id} is published under {number} ids")),
        }
        match called.get(&id).map_or(0, BTreeSet::len) {
            number if number == usize::from(errand.calls()) => {}
            number => broken.push(format!("{id} is called under {number} ids")),
        }
    }
    // A fired job and a kept value were performed; that they are there is seen in `sql` and here.
    let subjects = seen.counts.keys();
    let lost = subjects.filter(|subject| !seen.kept.iter().any(|kept| kept.contains_key(*subject)));
    broken.extend(lost.map(|subject| format!("the state of {subject} is lost")));
    let unsent = dead.iter().filter(|id| !seen.letters.contains_key(*id));
    broken.extend(unsent.map(|id| format!("{id} has no dead letter")));
    broken
}

/// What is seen carries the attempt that committed.
fn uncommitted(seen: &Seen, done: &BTreeMap<String, u32>, dead: &BTreeSet<String>) -> Vec<String> {
    let committed = |attempt: &Attempt| done.get(&attempt.0) == Some(&attempt.1);
    let mut broken = Vec::new();
    let outs = seen.published.iter().flatten().chain(&seen.calls).map(|out| &out.attempt);
    let kept = seen.kept.iter().flat_map(BTreeMap::values);
    let all = outs.chain(kept).chain(seen.notes.iter().map(|note| &note.attempt));
    broken.extend(all.filter(|attempt| !committed(attempt)).map(|a| format!("an effect of {a:?}")));
    let of_living = seen.letters.keys().filter(|id| !dead.contains(*id));
    broken
        .extend(of_living.map(|id| format!("a letter to {TOPIC}-dlq of {id}, which did not die")));
    broken
}

/// Of one subject, publishes come in the order of its rows; a repeat comes before the next one. The
/// state is what the last one set.
fn out_of_order(seen: &Seen) -> Vec<String> {
    let mut turns: BTreeMap<&String, Vec<&Attempt>> = BTreeMap::new();
    for note in &seen.notes {
        turns.entry(&note.subject).or_default().push(&note.attempt);
    }
    let mut broken = Vec::new();
    for published in &seen.published {
        let mut came: BTreeMap<&String, Vec<&Attempt>> = BTreeMap::new();
        for out in published {
            let of_subject = came.entry(&out.subject).or_default();
            if of_subject.last() != Some(&&out.attempt) {
                of_subject.push(&out.attempt);
            }
        }
        let wrong = came.iter().filter(|(subject, came)| turns.get(*subject) != Some(*came));
        broken.extend(wrong.map(|(subject, came)| {
            format!("{subject} came as {came:?} and not as {:?}", turns.get(subject))
        }));
    }
    for kept in &seen.kept {
        let wrong = kept.iter().filter(|(subject, attempt)| {
            turns.get(subject).and_then(|turns| turns.last()) != Some(attempt)
        });
        broken.extend(wrong.map(|(subject, attempt)| format!("{subject} is left at {attempt:?}")));
    }
    broken
}

/// Each of these once, and nothing else.
fn exactly_once(what: &str, expected: &BTreeSet<String>, found: &Times) -> Vec<String> {
    let lost = expected.iter().filter(|id| !found.contains_key(*id));
    let lost = lost.map(|id| format!("{id} has not {what}"));
    let strange = found.keys().filter(|id| !expected.contains(*id));
    let strange = strange.map(|id| format!("{id} has {what} and should not"));
    let twice = found.iter().filter(|(_, times)| **times > 1).map(told(what));
    lost.chain(strange).chain(twice).collect()
}

fn told(what: &str) -> impl Fn((&String, &usize)) -> String {
    move |(id, times)| format!("{id}: {what}, {times} times")
}
