//! When jobs tick, what is refused, and what failures lead to.

use super::*;
use crate::clock::{Clock as _, ManualClock};

fn now() -> Timestamp {
    ManualClock::default().now()
}

fn text(text: &str) -> Option<String> {
    Some(text).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn job(schedule: &str, due_time: &str, ttl: &str, repeats: Option<u32>) -> AskedJob {
    let (schedule, due_time, ttl) = (text(schedule), text(due_time), text(ttl));
    AskedJob { schedule, due_time, ttl, repeats, ..AskedJob::default() }
}

/// The seconds after now of all ticks, up to four, each delivered.
fn ticks(asked: &AskedJob) -> Vec<i64> {
    let plan = plan(asked, now()).unwrap();
    let after = |tick: &Tick| after_tick(asked, plan.expires, *tick);
    let ticks = std::iter::successors(plan.first, after).take(4);
    ticks.map(|tick| (tick.due - now()).num_seconds()).collect()
}

#[test]
fn a_job_ticks_when_it_was_asked_to() {
    for (asked, expected) in [
        (job("", "5s", "", None), vec![5]),
        (job("", "-5s", "", Some(1)), vec![-5]),
        (job("@every 10s", "", "", None), vec![10, 20, 30, 40]),
        (job("@every 10s", "3s", "", None), vec![3, 13, 23, 33]),
        (job("@every 10s", "3s", "", Some(2)), vec![3, 13]),
        // What passed meanwhile is not left out.
        (job("@every 10s", "-15s", "", None), vec![-15, -5, 5, 15]),
        // The ttl counts from the due time, and its instant still counts.
        (job("@every 10s", "3s", "20s", None), vec![3, 13, 23]),
        (job("@every 10s", "", "20s", None), vec![10, 20]),
        (job("@every 10s", "", "5s", None), vec![]),
        (job("0 * * * * *", "", "", Some(2)), vec![60, 120]),
        (job("0 * * * * *", "30s", "", Some(3)), vec![30, 60, 120]),
    ] {
        assert_eq!(ticks(&asked), expected, "{asked:?}");
    }
}

#[test]
fn what_cannot_be_scheduled_is_refused_in_the_schedulers_words() {
    for (asked, says) in [
        (job("", "5s", "", Some(2)), "job must have a schedule to repeat"),
        (job("@every 1s", "", "", Some(0)), "defined repeats must be greater than 0"),
        (job("", "5s", "1h", None), "job must have a schedule to have a ttl"),
        (job("sometimes", "", "", None), "six cron fields"),
        (job("", "soon", "", None), "due time format not recognized"),
        (job("", "R2/PT1S", "", None), "repeats not supported for due time"),
        (job("@every 1s", "", "soon", None), "ttl format not recognized"),
        (job("@every 1s", "10s", "-1s", None), "ttl must be greater than due time"),
        (job("0 0 0 30 2 *", "", "", None), "that day never comes"),
    ] {
        let error = plan(&asked, now()).unwrap_err();
        assert!(error.contains(says), "{asked:?}: {error}");
    }
}

#[test]
fn a_failed_attempt_follows_the_policy() {
    let every = job("@every 10s", "", "", None);
    let once = job("", "5s", "", None);
    let at = |seconds| now() + Duration::from_secs(seconds);
    let tick = |due, attempt_at, ticks, attempts| Tick {
        due: at(due),
        attempt_at: at(attempt_at),
        ticks,
        attempts,
    };
    let constant = |interval: Option<u64>, max_retries| FailurePolicy::Constant {
        interval: interval.map(Duration::from_secs),
        max_retries,
    };
    for (asked, policy, failed, expected) in [
        (&every, FailurePolicy::default(), tick(10, 10, 0, 0), Some(tick(10, 13, 0, 1))),
        (&every, FailurePolicy::default(), tick(10, 12, 0, 2), Some(tick(10, 13, 0, 3))),
        (&every, FailurePolicy::default(), tick(10, 12, 0, 3), Some(tick(20, 20, 1, 0))),
        (&once, FailurePolicy::default(), tick(5, 8, 0, 3), None),
        (&every, FailurePolicy::Drop, tick(10, 10, 0, 0), Some(tick(20, 20, 1, 0))),
        (&once, FailurePolicy::Drop, tick(5, 5, 0, 0), None),
        (&once, constant(None, Some(1)), tick(5, 5, 0, 0), Some(tick(5, 12, 0, 1))),
        (&once, constant(Some(5), None), tick(5, 5, 0, 9_999), Some(tick(5, 17, 0, 10_000))),
    ] {
        let asked = AskedJob { policy, ..asked.clone() };
        assert_eq!(after_failure(&asked, None, failed, at(12)), expected, "{asked:?} {failed:?}");
    }
}

/// Each of these was once arithmetic beyond the calendar, which ended the loop of all jobs.
#[test]
fn nothing_that_is_asked_for_lies_beyond_the_calendar() {
    let oldest = format!("-{}s", (now() - Timestamp::MIN_UTC).num_seconds());
    let newest = format!("{}s", (Timestamp::MAX_UTC - now()).num_seconds());
    for due in [&oldest, &newest] {
        assert!(plan(&job("", due, "", None), now()).is_err(), "{due}");
    }
    for due in [&oldest, &newest, "-17300000h", "69900000h", "0000-01-01T00:00:00Z", "P7900Y"] {
        for schedule in [
            "@every 1s",
            "@every 5000000000000h",
            "CRON_TZ=Asia/Tokyo 0 0 8 * * *",
            "CRON_TZ=America/New_York 0 30 2 29 2 *",
        ] {
            let asked = job(schedule, due, "", None);
            let Ok(Plan { first: Some(tick), expires }) = plan(&asked, now()) else { continue };
            let next = after_tick(&asked, expires, tick).unwrap_or(tick);
            after_failure(&asked, expires, next, now());
        }
    }
    let interval = Some(Duration::from_secs(9_000_000_000_000));
    let policy = FailurePolicy::Constant { interval, max_retries: None };
    let asked = AskedJob { policy, ..job("", "5s", "", None) };
    let tick = Tick { due: now(), attempt_at: now(), ticks: 0, attempts: 0 };
    let again = after_failure(&asked, None, tick, now()).unwrap();
    assert_eq!(again.attempt_at, Timestamp::MAX_UTC);
}
