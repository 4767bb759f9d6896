//! What must hold of errands when everything has settled, whatever went wrong before.

use std::collections::{BTreeMap, BTreeSet};

use wharf_tests::tally::{Promise, Tally};

use super::seen::{Attempt, Out, Seen, Times};
use super::{Errand, TOPIC};

/// What a suite can say of the order of its errands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// One host, and one producer: each subject's events take effect as they were sent, and each
    /// sees what the one before it did.
    AsSent,
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
    if judged == Judged::AsSent {
        let broken = [not_as_sent(seen), out_of_order(seen)].concat();
        tally.found(Promise::Order, seen.notes.len() + calls, broken);
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

/// Ids grow with each event that is sent.
fn not_as_sent(seen: &Seen) -> Vec<String> {
    let mut last: BTreeMap<&String, &Attempt> = BTreeMap::new();
    let mut broken = Vec::new();
    for note in &seen.notes {
        let before = last.insert(&note.subject, &note.attempt);
        if before.is_some_and(|before| before.0 > note.attempt.0) || before != note.before.as_ref()
        {
            broken.push(format!("{note:?} came after {before:?}"));
        }
    }
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

#[cfg(test)]
mod tests {
    use Promise::{Decided, Effects, GoesOn, Order, Sql, Uncommitted};

    use super::super::seen::Note;
    use super::*;

    /// What is changed, and the promises that are then broken.
    type Tampered = (fn(&mut Seen), &'static [Promise]);

    fn errand(number: u32) -> Errand {
        Errand { number, subjects: 3 }
    }

    /// Of number 0, which calls and plans; 3, which succeeds on its second attempt; and 15, which
    /// is rejected; all of one subject.
    fn all_is_well() -> (BTreeSet<Errand>, Seen) {
        let sent = [0, 3, 15].map(errand);
        let [first, second, third] = sent.map(Errand::id);
        let subject = sent[0].subject();
        let note = |id: &String, attempt, call: &str, before| Note {
            attempt: (id.clone(), attempt),
            subject: subject.clone(),
            call: call.to_owned(),
            before,
        };
        let out = |id: &str, errand: &String, attempt| Out {
            id: id.to_owned(),
            attempt: (errand.clone(), attempt),
            subject: subject.clone(),
        };
        let once = |ids: &[&String]| ids.iter().map(|id| ((*id).clone(), 1)).collect::<Times>();
        let ended = |id: &String, status: &str, attempts| (id.clone(), (status.into(), attempts));
        let seen = Seen {
            deliveries: [
                ended(&first, "done", 1),
                ended(&second, "done", 2),
                ended(&third, "dead", 1),
            ]
            .into(),
            audited: once(&[&first, &second, &third]),
            reported: Times::from([("a report".into(), 1)]),
            notes: vec![
                note(&first, 1, "a call", None),
                note(&second, 2, "", Some((first.clone(), 1))),
            ],
            counts: [(subject.clone(), 2)].into(),
            fired: once(&[&first]),
            called: Times::from([("a call".into(), 1)]),
            published: vec![vec![
                out("one", &first, 1),
                out("one", &first, 1),
                out("two", &second, 2),
            ]],
            calls: vec![out("a call", &first, 1)],
            kept: vec![[(subject.clone(), (second.clone(), 2))].into()],
            letters: once(&[&third]),
            left: Vec::new(),
        };
        (sent.into(), seen)
    }

    #[test]
    fn each_way_to_break_a_promise_is_found() {
        let (sent, well) = all_is_well();
        let found = |change: fn(&mut Seen)| {
            let mut seen = well.clone();
            change(&mut seen);
            let mut tally = Tally::new("judge");
            judge(&mut tally, &sent, &seen, Judged::AsSent);
            tally.broken()
        };
        assert_eq!(found(|_| ()), []);
        let broken: &[Tampered] = &[
            (|seen| *seen.audited.values_mut().next().unwrap() = 2, &[Decided]),
            (|seen| drop(seen.audited.pop_last()), &[Decided]),
            (|seen| drop(seen.deliveries.pop_first()), &[Decided]),
            (|seen| seen.deliveries.values_mut().last().unwrap().0 = "done".into(), &[Decided]),
            (|seen| seen.deliveries.values_mut().last().unwrap().1 = 2, &[Decided]),
            (|seen| seen.reported.clear(), &[Decided]),
            (|seen| *seen.reported.values_mut().next().unwrap() = 2, &[Decided]),
            (|seen| seen.notes.push(seen.notes[1].clone()), &[Sql, Order]),
            (|seen| drop(seen.notes.pop()), &[Sql, Order]),
            (|seen| *seen.counts.values_mut().next().unwrap() = 3, &[Sql]),
            (|seen| *seen.fired.values_mut().next().unwrap() = 2, &[Sql]),
            (|seen| seen.fired.clear(), &[Sql]),
            (|seen| seen.called.clear(), &[Sql]),
            (|seen| drop(seen.published[0].pop()), &[Effects, Order]),
            (|seen| seen.published[0][1].id = "other".into(), &[Effects]),
            (|seen| seen.calls.clear(), &[Effects]),
            (|seen| seen.letters.clear(), &[Effects]),
            (|seen| seen.kept[0].clear(), &[Effects]),
            (|seen| seen.published[0][2].attempt.1 = 1, &[Uncommitted, Order]),
            (|seen| seen.calls[0].attempt.1 = 2, &[Uncommitted]),
            (|seen| seen.letters = seen.audited.clone(), &[Uncommitted]),
            (|seen| seen.notes[1].before = None, &[Order]),
            (|seen| seen.published[0].swap(1, 2), &[Order]),
            (
                |seen| *seen.kept[0].values_mut().next().unwrap() = seen.notes[0].attempt.clone(),
                &[Order],
            ),
            (|seen| seen.left.push("something".into()), &[GoesOn]),
        ];
        for (number, (change, promises)) in broken.iter().enumerate() {
            assert_eq!(found(*change), *promises, "the change at {number}");
        }
    }
}
