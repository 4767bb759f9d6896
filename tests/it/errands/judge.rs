//! What must hold of errands when everything has settled, whatever went wrong before.

use std::collections::{BTreeMap, BTreeSet};

use wharf_tests::tally::{Promise, Tally};

use super::seen::{Attempt, Note, Out, Seen, Times};
use super::{Errand, TOPIC};

/// What a suite can say of the order of its errands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// One host, and one producer: each subject's events take effect as they were sent, and each
    /// sees what the one before it did.
    AsSent,
    /// Several hosts. An event comes to each of them behind the one before it of its subject, or when
    /// that one is in the ledger: they take effect as they were sent. What it reads may be older; and
    /// a host that is late may repeat what another has performed meanwhile.
    AcrossHosts,
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
    let ended = dead.len() + seen.refused.len();
    tally.found(Promise::Effects, calls + ended, effects(sent, seen, &dead));
    tally.found(Promise::Uncommitted, calls, uncommitted(seen, &done, &dead));
    let broken = match judged {
        Judged::AsSent => [not_as_sent(seen), not_as_read(seen), out_of_order(seen)].concat(),
        Judged::AcrossHosts => [not_as_sent(seen), overtaken(seen)].concat(),
    };
    tally.found(Promise::Order, seen.notes.len() + calls, broken);
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
    // A refused state is reported as well; a call is told to its component alone.
    let reports = dead.len() + sent.iter().filter(|errand| errand.is_refused()).count();
    if seen.reported.len() != reports {
        broken.push(format!("{} reports of {reports}", seen.reported.len()));
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
    let refused = doing(Errand::is_refused).len();
    if seen.failed.len() != refused {
        broken.push(format!("{} calls are told to have failed of {refused}", seen.failed.len()));
    }
    broken.extend(seen.failed.iter().filter(|(_, times)| **times > 1).map(told("failed")));
    broken
}

/// At least once, and always under the same id; dead where they can never succeed, and only there.
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
    let refused = sent.iter().filter(|errand| errand.is_refused());
    let refused = refused.flat_map(|one| ["state", "invoke"].map(|kind| (one.id(), kind)));
    let refused = refused.map(|(id, kind)| format!("{id} {kind}")).collect();
    broken.extend(exactly_once("a dead effect", &refused, &seen.refused));
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
    misplaced(seen, |note, before| before.is_some_and(|before| before.0 > note.attempt.0))
}

/// Each sees what the one before it did.
fn not_as_read(seen: &Seen) -> Vec<String> {
    misplaced(seen, |note, before| before != note.before.as_ref())
}

/// Rows that are wrong behind the one before of their subject.
fn misplaced(seen: &Seen, wrong: fn(&Note, Option<&Attempt>) -> bool) -> Vec<String> {
    let mut last: BTreeMap<&String, &Attempt> = BTreeMap::new();
    let mut broken = Vec::new();
    for note in &seen.notes {
        let before = last.insert(&note.subject, &note.attempt);
        if wrong(note, before) {
            broken.push(format!("{note:?} came after {before:?}"));
        }
    }
    broken
}

/// What each subject's rows say of the order in which it is to come out.
fn turns(seen: &Seen) -> BTreeMap<&String, Vec<&Attempt>> {
    let mut turns: BTreeMap<&String, Vec<&Attempt>> = BTreeMap::new();
    for note in &seen.notes {
        turns.entry(&note.subject).or_default().push(&note.attempt);
    }
    turns
}

/// Of one subject, publishes come for the first time in the order of its rows, at whichever Dapr.
fn overtaken(seen: &Seen) -> Vec<String> {
    let turns = turns(seen);
    let mut published: Vec<_> = seen.published.iter().flatten().collect();
    published.sort_by_key(|out| out.time);
    let mut came: BTreeMap<&String, Vec<&Attempt>> = BTreeMap::new();
    for out in published {
        let of_subject = came.entry(&out.subject).or_default();
        if !of_subject.contains(&&out.attempt) {
            of_subject.push(&out.attempt);
        }
    }
    differing(&turns, &came)
}

fn differing(
    turns: &BTreeMap<&String, Vec<&Attempt>>,
    came: &BTreeMap<&String, Vec<&Attempt>>,
) -> Vec<String> {
    let wrong = came.iter().filter(|(subject, came)| turns.get(*subject) != Some(*came));
    let told = wrong.map(|(subject, came)| {
        format!("{subject} came as {came:?} and not as {:?}", turns.get(subject))
    });
    told.collect()
}

/// Of one subject, publishes come in the order of its rows; a repeat comes before the next one. The
/// state is what the last one set.
fn out_of_order(seen: &Seen) -> Vec<String> {
    let turns = turns(seen);
    let mut broken = Vec::new();
    for published in &seen.published {
        let mut came: BTreeMap<&String, Vec<&Attempt>> = BTreeMap::new();
        for out in published {
            let of_subject = came.entry(&out.subject).or_default();
            if of_subject.last() != Some(&&out.attempt) {
                of_subject.push(&out.attempt);
            }
        }
        broken.extend(differing(&turns, &came));
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

    use super::*;

    /// What is changed, and the promises that are then broken.
    type Tampered = (fn(&mut Seen), &'static [Promise]);

    fn errand(number: u32) -> Errand {
        Errand { number, subjects: 3 }
    }

    /// Of number 0, which calls and plans; 3, which succeeds on its second attempt; 6, of which two
    /// effects are refused; and 15, which is rejected; all of one subject.
    fn all_is_well() -> (BTreeSet<Errand>, Seen) {
        let sent = [0, 3, 6, 15].map(errand);
        let [first, second, third, rejected] = sent.map(Errand::id);
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
            time: 0,
        };
        let once = |ids: &[&String]| ids.iter().map(|id| ((*id).clone(), 1)).collect::<Times>();
        let ended = |id: &String, status: &str, attempts| (id.clone(), (status.into(), attempts));
        let seen = Seen {
            deliveries: [
                ended(&first, "done", 1),
                ended(&second, "done", 2),
                ended(&third, "done", 1),
                ended(&rejected, "dead", 1),
            ]
            .into(),
            audited: once(&[&first, &second, &third, &rejected]),
            reported: once(&[&"a report".into(), &"of a state".into()]),
            notes: vec![
                note(&first, 1, "a call", None),
                note(&second, 2, "", Some((first.clone(), 1))),
                note(&third, 1, "", Some((second.clone(), 2))),
            ],
            counts: [(subject.clone(), 3)].into(),
            fired: once(&[&first]),
            called: once(&[&"a call".into()]),
            failed: once(&[&"another call".into()]),
            refused: ["state", "invoke"].map(|kind| (format!("{third} {kind}"), 1)).into(),
            published: vec![vec![
                out("one", &first, 1),
                out("one", &first, 1),
                out("two", &second, 2),
                out("three", &third, 1),
            ]],
            calls: vec![out("a call", &first, 1)],
            kept: vec![[(subject.clone(), (third.clone(), 1))].into()],
            letters: once(&[&rejected]),
            left: Vec::new(),
        };
        (sent.into(), seen)
    }

    /// The promises that are broken by a change.
    fn found(judged: Judged, change: fn(&mut Seen)) -> Vec<Promise> {
        let (sent, mut seen) = all_is_well();
        change(&mut seen);
        let mut tally = Tally::new("judge");
        judge(&mut tally, &sent, &seen, judged);
        tally.broken()
    }

    #[test]
    fn across_hosts_nothing_is_overtaken_and_what_is_late_may_come_again() {
        let found = |change| found(Judged::AcrossHosts, change);
        let late = |seen: &mut Seen| {
            let mut again = seen.published[0][0].clone();
            again.time = 9;
            seen.published.push(vec![again]);
            seen.notes[1].before = None;
            seen.kept[0].values_mut().for_each(|kept| *kept = seen.notes[0].attempt.clone());
        };
        assert_eq!(found(late), []);
        assert_eq!(found(|seen| seen.published[0].swap(2, 3)), [Order]);
        let earlier_elsewhere = |seen: &mut Seen| {
            seen.published[0].iter_mut().for_each(|out| out.time = 5);
            let mut elsewhere = seen.published[0].pop().unwrap();
            elsewhere.time = 4;
            seen.published.push(vec![elsewhere]);
        };
        assert_eq!(found(earlier_elsewhere), [Order]);
        assert_eq!(found(|seen| seen.notes.swap(0, 1)), [Order]);
    }

    #[test]
    fn each_way_to_break_a_promise_is_found() {
        let found = |change| found(Judged::AsSent, change);
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
            (|seen| *seen.counts.values_mut().next().unwrap() = 4, &[Sql]),
            (|seen| *seen.fired.values_mut().next().unwrap() = 2, &[Sql]),
            (|seen| seen.fired.clear(), &[Sql]),
            (|seen| seen.called.clear(), &[Sql]),
            (|seen| seen.failed.clear(), &[Sql]),
            (|seen| *seen.failed.values_mut().next().unwrap() = 2, &[Sql]),
            (|seen| drop(seen.refused.pop_first()), &[Effects]),
            (|seen| seen.refused.extend([("run-000003 state".into(), 1)]), &[Effects]),
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
