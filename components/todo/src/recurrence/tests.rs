//! Tables of dates, and what holds for all of them.

use chrono::{DateTime, Datelike as _, Duration, NaiveDate, Timelike as _, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;
use rrule::RRule;

use super::rule::Rule;
use super::{Series, wall};
use crate::time;

fn at(text: &str) -> DateTime<Utc> {
    time::parse(text).unwrap()
}

fn series<'a>(rule: &'a str, zone: &'a str, first: Option<DateTime<Utc>>) -> Series<'a> {
    Series { rule, zone: Some(zone), first, made: 1 }
}

/// The due dates of a series from its first, each reached from the one before; at most `most`.
fn run(rule: &str, zone: &str, first: &str, most: usize) -> Vec<String> {
    let first = at(first);
    let series = series(rule, zone, Some(first));
    let next = |due: &DateTime<Utc>| series.after(*due).unwrap().map(|upcoming| upcoming.next);
    std::iter::successors(Some(first), next).skip(1).take(most).map(time::text).collect()
}

fn error(rule: &str, zone: &str) -> String {
    let first = at("2026-01-15T09:00:00Z");
    series(rule, zone, Some(first)).after(first).unwrap_err()
}

#[test]
fn one_word_rules_keep_the_wall_clock() {
    for (rule, zone, first, next) in [
        ("daily", "UTC", "2026-03-01T10:00:00Z", "2026-03-02T10:00:00Z"),
        ("Weekly", "UTC", "2026-03-01T10:00:00Z", "2026-03-08T10:00:00Z"),
        ("monthly", "", "2026-12-15T10:00:00Z", "2027-01-15T10:00:00Z"),
        ("yearly", "UTC", "2026-03-01T10:00:00Z", "2027-03-01T10:00:00Z"),
        // The clock is set forward on 29 March, and back on 25 October.
        ("daily", "Europe/Berlin", "2026-03-28T08:00:00Z", "2026-03-29T07:00:00Z"),
        ("weekly", "Europe/Berlin", "2026-10-20T07:00:00Z", "2026-10-27T08:00:00Z"),
        ("monthly", "America/New_York", "2026-02-20T15:00:00Z", "2026-03-20T14:00:00Z"),
        // 02:30 is skipped: 03:30 summer time. 02:30 comes twice: the first.
        ("daily", "Europe/Berlin", "2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z"),
        ("daily", "Europe/Berlin", "2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z"),
        // Half an hour is skipped.
        ("daily", "Australia/Lord_Howe", "2026-10-02T15:45:00Z", "2026-10-03T15:45:00Z"),
        // A whole day was skipped.
        ("daily", "Pacific/Apia", "2011-12-29T20:00:00Z", "2011-12-30T20:00:00Z"),
    ] {
        assert_eq!(run(rule, zone, first, 1), [next], "{rule} {zone} {first}");
    }
}

#[test]
fn a_skipped_time_comes_back_the_day_after() {
    let days = run("daily", "Europe/Berlin", "2026-03-28T01:30:00Z", 3);
    assert_eq!(days, ["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"]);
}

#[test]
fn a_day_that_a_month_lacks_is_its_last() {
    let months = run("monthly", "UTC", "2026-01-31T10:00:00Z", 3);
    assert_eq!(months, ["2026-02-28T10:00:00Z", "2026-03-31T10:00:00Z", "2026-04-30T10:00:00Z"]);
    let years = run("yearly", "UTC", "2024-02-29T10:00:00Z", 4);
    let expected = ["2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"];
    assert_eq!(years, expected.map(|day| format!("{day}T10:00:00Z")));
}

#[test]
fn without_the_first_the_last_day_stays() {
    let upcoming = series("monthly", "UTC", None).after(at("2026-02-28T10:00:00Z"));
    assert_eq!(upcoming.unwrap().unwrap().next, at("2026-03-28T10:00:00Z"));
}

#[test]
fn a_due_date_that_was_moved_goes_on_from_there() {
    let series = series("monthly", "UTC", Some(at("2026-01-31T10:00:00Z")));
    let upcoming = series.after(at("2026-02-12T18:00:00Z")).unwrap().unwrap();
    assert_eq!(upcoming.next, at("2026-03-12T18:00:00Z"));
    assert_eq!(upcoming.then, Some(at("2026-04-12T18:00:00Z")));
}

#[test]
fn none_repeats_nothing() {
    for rule in ["none", "None", "", " "] {
        assert_eq!(series(rule, "UTC", None).after(at("2026-03-01T10:00:00Z")), Ok(None));
    }
}

#[test]
fn rules_of_rfc_5545() {
    for (rule, first, dates) in [
        ("FREQ=DAILY;INTERVAL=10", "2026-03-01T10:00:00Z", ["2026-03-11", "2026-03-21"]),
        ("RRULE:FREQ=WEEKLY;BYDAY=MO,FR;", "2026-03-02T10:00:00Z", ["2026-03-06", "2026-03-09"]),
        (
            "freq=weekly;interval=2;wkst=su;byday=su,mo",
            "2026-03-01T10:00:00Z",
            ["2026-03-02", "2026-03-15"],
        ),
        ("FREQ=MONTHLY;BYDAY=-1FR", "2026-01-30T10:00:00Z", ["2026-02-27", "2026-03-27"]),
        ("FREQ=MONTHLY;BYMONTHDAY=31", "2026-01-31T10:00:00Z", ["2026-03-31", "2026-05-31"]),
        ("FREQ=MONTHLY;BYMONTHDAY=-1", "2026-01-31T10:00:00Z", ["2026-02-28", "2026-03-31"]),
        (
            "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
            "2026-01-30T10:00:00Z",
            ["2026-02-27", "2026-03-31"],
        ),
        (
            "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29",
            "2024-02-29T10:00:00Z",
            ["2028-02-29", "2032-02-29"],
        ),
        ("FREQ=YEARLY;BYYEARDAY=-1", "2026-12-31T10:00:00Z", ["2027-12-31", "2028-12-31"]),
        ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "2026-05-11T10:00:00Z", ["2027-05-17", "2028-05-15"]),
        ("FREQ=YEARLY;INTERVAL=3", "2020-03-01T10:00:00Z", ["2023-03-01", "2026-03-01"]),
    ] {
        let dates = dates.map(|date| format!("{date}T10:00:00Z"));
        assert_eq!(run(rule, "UTC", first, 2), dates, "{rule}");
    }
    let times = run("FREQ=HOURLY;INTERVAL=6;BYMINUTE=15", "UTC", "2026-03-01T10:00:00Z", 2);
    assert_eq!(times, ["2026-03-01T10:15:00Z", "2026-03-01T16:15:00Z"]);
}

#[test]
fn a_rule_ends() {
    let count = |rule: &str| run(rule, "Europe/Berlin", "2026-03-02T10:00:00Z", 100).len();
    assert_eq!(count("FREQ=DAILY;COUNT=1"), 0);
    assert_eq!(count("FREQ=DAILY;COUNT=5"), 4);
    // The first task counts, although it is not one of the rule's dates.
    assert_eq!(count("FREQ=WEEKLY;BYDAY=FR;COUNT=5"), 4);
    assert_eq!(count("FREQ=DAILY;UNTIL=20260304T100000Z"), 2);
    assert_eq!(count("FREQ=DAILY;UNTIL=20260304T095959Z"), 1);
    assert_eq!(count("FREQ=DAILY;UNTIL=20260304T110000"), 2);
    assert_eq!(count("FREQ=DAILY;UNTIL=20260304"), 2);
    assert_eq!(count("FREQ=DAILY;UNTIL=20200101"), 0);
}

#[test]
fn without_the_first_a_count_goes_by_the_tasks_made() {
    let after = |made| {
        let series = Series { rule: "FREQ=DAILY;COUNT=3", zone: None, first: None, made };
        series.after(at("2026-03-02T10:00:00Z")).unwrap()
    };
    assert_eq!(after(2).map(|upcoming| upcoming.then), Some(None));
    assert_eq!(after(3), None);
}

#[test]
fn what_is_wrong_is_named_with_what_is_allowed() {
    for (rule, parts) in [
        ("fortnightly", ["`fortnightly`", "FREQ=WEEKLY;INTERVAL=2"]),
        ("INTERVAL=2", ["FREQ is missing", "YEARLY, MONTHLY"]),
        ("FREQ=OFTEN", ["FREQ=OFTEN", "YEARLY, MONTHLY"]),
        ("FREQ=DAILY;FREQ=DAILY", ["FREQ is given twice", "once"]),
        ("FREQ=DAILY;EVERY=2", ["EVERY is not a part", "INTERVAL"]),
        ("FREQ=DAILY;x", ["`X` is not a part", "NAME=value"]),
        ("FREQ=DAILY;INTERVAL=0", ["INTERVAL=0", "from 1 to 1000"]),
        ("FREQ=DAILY;COUNT=0", ["COUNT=0", "from 1 to"]),
        ("FREQ=DAILY;COUNT=2;UNTIL=20270101", ["COUNT does not go with UNTIL", "one of them"]),
        ("FREQ=DAILY;UNTIL=20270230", ["UNTIL=20270230", "such as 2026"]),
        ("FREQ=DAILY;UNTIL=2027-01-01", ["UNTIL=2027-01-01", "such as 2026"]),
        ("FREQ=DAILY;BYMONTH=13", ["BYMONTH=13", "from 1 to 12"]),
        ("FREQ=MONTHLY;BYMONTHDAY=32", ["BYMONTHDAY=32", "from 1 to 31"]),
        ("FREQ=MONTHLY;BYMONTHDAY=0", ["BYMONTHDAY=0", "from -31 to -1"]),
        ("FREQ=WEEKLY;BYMONTHDAY=1", ["BYMONTHDAY", "use BYDAY"]),
        ("FREQ=MONTHLY;BYYEARDAY=1", ["BYYEARDAY", "use FREQ=YEARLY"]),
        ("FREQ=MONTHLY;BYWEEKNO=1", ["BYWEEKNO", "FREQ=YEARLY only"]),
        ("FREQ=WEEKLY;BYDAY=1MO", ["BYDAY with a number", "MONTHLY or YEARLY"]),
        ("FREQ=MONTHLY;BYDAY=6MO", ["BYDAY", "-5 to 5"]),
        ("FREQ=WEEKLY;BYDAY=XX", ["BYDAY=XX", "such as MO"]),
        ("FREQ=WEEKLY;BYDAY=ÄMO", ["BYDAY", "such as MO"]),
        ("FREQ=WEEKLY;WKST=1", ["WKST=1", "MO, TU"]),
        ("FREQ=DAILY;BYHOUR=24", ["BYHOUR=24", "from 0 to 23"]),
        ("FREQ=DAILY;BYSETPOS=1", ["BYSETPOS needs", "BYDAY"]),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30,31", ["BYMONTHDAY=30,31", "BYMONTH=2"]),
        ("FREQ=MONTHLY;BYMONTHDAY=1;BYSETPOS=2", ["BYSETPOS=2", "at most 1"]),
        ("FREQ=WEEKLY;BYDAY=MO,TU;BYSETPOS=3,-4", ["BYSETPOS=3,-4", "at most 2"]),
        ("FREQ=DAILY;BYHOUR=1,2,3,4,5;BYMINUTE=1,2,3,4,5", ["BYHOUR", "24 times a day"]),
    ] {
        let error = error(rule, "UTC");
        assert!(parts.iter().all(|part| error.contains(part)), "{rule}: {error}");
        assert!(error.contains("recurrence `"), "{error}");
    }
    assert!(error(&format!("FREQ=DAILY{}", ";".repeat(2000)), "UTC").contains("longer than 1000"));
}

#[test]
fn a_zone_that_does_not_exist_is_named() {
    for rule in ["daily", "FREQ=DAILY"] {
        let error = error(rule, "Mars/Base");
        assert!(error.contains("`Mars/Base`") && error.contains("Europe/Berlin"), "{error}");
    }
}

#[test]
fn what_can_never_come_ends_all_the_same() {
    for rule in [
        "FREQ=YEARLY;BYWEEKNO=1;BYMONTH=7",
        "FREQ=YEARLY;BYYEARDAY=1;BYMONTH=2",
        "FREQ=MONTHLY;BYDAY=5MO;BYMONTHDAY=1",
        "FREQ=DAILY;INTERVAL=7;BYDAY=MO",
        "FREQ=MONTHLY;INTERVAL=12;BYMONTH=2",
        "FREQ=HOURLY;INTERVAL=24;BYHOUR=3",
        "FREQ=SECONDLY;INTERVAL=60;BYSECOND=3",
        "FREQ=MINUTELY;BYMONTH=2;BYYEARDAY=300",
        "FREQ=SECONDLY;BYMONTH=2;BYYEARDAY=300",
    ] {
        assert!(error(rule, "UTC").contains("no date was found"), "{rule}");
    }
}

/// Periods that hold many dates, and never enough: they are not looked through.
#[test]
fn a_position_beyond_every_period_is_found_at_once() {
    let numbers = |numbers: std::ops::RangeInclusive<u32>| {
        numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(",")
    };
    let [all, from_april] = [numbers(1..=240), numbers(91..=300)];
    for (rule, most) in [
        (format!("FREQ=YEARLY;BYSETPOS=366;BYYEARDAY={all}"), "at most 240"),
        (format!("FREQ=YEARLY;BYSETPOS=-5;BYYEARDAY={}1,2,3", "1,".repeat(200)), "at most 3"),
        (format!("FREQ=YEARLY;BYSETPOS=40;BYMONTH=1,4;BYYEARDAY={from_april}"), "at most 30"),
        (
            format!("FREQ=MONTHLY;BYSETPOS=30;BYMONTH=2;BYMONTHDAY={}", numbers(1..=31)),
            "at most 29",
        ),
        ("FREQ=YEARLY;BYSETPOS=54;BYDAY=MO".into(), "at most 53"),
        ("FREQ=YEARLY;BYSETPOS=8;BYDAY=1MO,-1FR;BYMONTH=1,6,9".into(), "at most 6"),
        // From 2026 on, no such year is a leap year.
        ("FREQ=YEARLY;INTERVAL=4;BYSETPOS=366;BYDAY=MO,TU,WE,TH,FR,SA,SU".into(), "at most 365"),
        (format!("FREQ=YEARLY;BYSETPOS=360;BYWEEKNO={}", numbers(1..=50)), "at most 35"),
    ] {
        let error = error(&rule, "UTC");
        assert!(error.contains("BYSETPOS=") && error.contains(most), "{error}");
    }
}

/// What is found has to be no less than what there is.
#[test]
fn the_last_position_of_the_fullest_period_is_there() {
    for rule in [
        "FREQ=YEARLY;BYSETPOS=366;BYDAY=MO,TU,WE,TH,FR,SA,SU",
        "FREQ=YEARLY;BYSETPOS=53;BYDAY=MO",
        "FREQ=YEARLY;BYSETPOS=6;BYDAY=1MO,-1FR;BYMONTH=1,6,9",
        "FREQ=YEARLY;BYSETPOS=3;BYDAY=1MO,20TU,-1FR",
        "FREQ=YEARLY;BYSETPOS=8;BYWEEKNO=20,-1;BYDAY=MO,TU,WE,TH",
        "FREQ=YEARLY;BYSETPOS=3;BYYEARDAY=1,-1,366,60",
        "FREQ=MONTHLY;BYSETPOS=5;BYDAY=MO",
        "FREQ=MONTHLY;BYSETPOS=31;BYDAY=MO,TU,WE,TH,FR,SA,SU",
        "FREQ=MONTHLY;BYSETPOS=2;BYDAY=FR;BYMONTHDAY=13,20,29",
        "FREQ=WEEKLY;BYSETPOS=14;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYHOUR=1,2",
        "FREQ=DAILY;BYSETPOS=4;BYHOUR=1,2;BYMINUTE=1,2",
        "FREQ=HOURLY;BYSETPOS=2;BYMINUTE=1,2",
        "FREQ=MINUTELY;BYSETPOS=2;BYSECOND=1,2",
    ] {
        assert_eq!(run(rule, "UTC", "2026-01-15T09:00:00Z", 2).len(), 2, "{rule}");
    }
}

#[test]
fn two_dates_at_one_instant_are_one_task() {
    // On 29 March the clock goes from 02:00 to 03:00.
    let first = "2026-03-28T02:00:00Z";
    let dates = ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z", "2026-03-30T01:00:00Z"];
    assert_eq!(run("FREQ=DAILY;BYHOUR=2,3", "Europe/Berlin", first, 3), dates);
    assert_eq!(run("FREQ=DAILY;BYHOUR=2,3;COUNT=4", "Europe/Berlin", first, 9), dates);
    let upcoming = series("FREQ=DAILY;BYHOUR=2,3", "Europe/Berlin", Some(at(first)));
    let upcoming = upcoming.after(at(first)).unwrap().unwrap();
    assert_eq!((upcoming.next, upcoming.then), (at(dates[0]), Some(at(dates[1]))));
}

const ZONES: [&str; 6] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/Sao_Paulo",
];

fn instants() -> impl Strategy<Value = DateTime<Utc>> {
    // From 1990 to 2050.
    (631_152_000_i64..2_524_608_000).prop_map(|at| DateTime::from_timestamp(at, 0).unwrap())
}

/// Every other one is within a few hours of a change of the zone's clock.
fn firsts() -> impl Strategy<Value = (&'static str, DateTime<Utc>)> {
    let near = -6 * 4..=6 * 4_i64;
    let (any, changing) = ((zones(), instants()), (zones(), instants(), near));
    prop_oneof![
        any,
        changing.prop_map(|(zone, from, quarters)| {
            let quarters = Duration::minutes(15 * quarters);
            (zone, change(zone, from).map_or(from, |change| change + quarters))
        }),
    ]
}

/// The next change of the zone's clock, to the hour.
fn change(zone: &str, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let zone: Tz = zone.parse().unwrap();
    let offset = |at: DateTime<Utc>| wall::of(at, zone) - at.naive_utc();
    let from = from.with_minute(0)?.with_second(0)?;
    let changes = |unit: Duration| move |at: &DateTime<Utc>| offset(*at) != offset(*at + unit);
    let days = std::iter::successors(Some(from), |at| Some(*at + Duration::days(1)));
    let day = days.take(400).find(changes(Duration::days(1)))?;
    let hours = std::iter::successors(Some(day), |at| Some(*at + Duration::hours(1)));
    Some(hours.take(24).find(changes(Duration::hours(1)))? + Duration::hours(1))
}

fn zones() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(ZONES.as_slice())
}

fn rules() -> impl Strategy<Value = String> {
    let by = prop_oneof![
        Just(String::new()),
        Just(";BYDAY=MO,TH".to_owned()),
        (1..=12_u32).prop_map(|month| format!(";BYMONTH={month}")),
        (0..24_u32, 0..24_u32).prop_map(|(one, two)| format!(";BYHOUR={one},{two}")),
    ];
    let freq = proptest::sample::select(["YEARLY", "MONTHLY", "WEEKLY", "DAILY"].as_slice());
    (freq, 1..5_u32, by, proptest::sample::select(["MO", "SU", "WE"].as_slice())).prop_map(
        |(freq, interval, by, start)| format!("FREQ={freq};INTERVAL={interval};WKST={start}{by}"),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn next_is_later_and_in_order(
        rule in prop_oneof![
            rules(),
            proptest::sample::select(["daily", "weekly", "monthly", "yearly"].as_slice())
                .prop_map(str::to_owned),
        ],
        (zone, first) in firsts(),
        later in prop_oneof![Just(0), 0..2000_i64],
    ) {
        let due = first + Duration::days(later);
        let after = |due| series(&rule, zone, Some(first)).after(due);
        // The month of a rule may have no such day.
        prop_assume!(!rule.contains("BYMONTH") || after(due).is_ok());
        let upcoming = after(due).unwrap().unwrap();
        prop_assert!(upcoming.next > due);
        prop_assert!(upcoming.then.is_some_and(|then| then > upcoming.next));
        let from_there = after(upcoming.next).unwrap();
        prop_assert_eq!(from_there.map(|upcoming| upcoming.next), upcoming.then);
    }

    #[test]
    fn monthly_is_in_the_next_month_at_the_same_time((zone, due) in firsts()) {
        let tz: Tz = zone.parse().unwrap();
        let next = series("monthly", zone, Some(due)).after(due).unwrap().unwrap().next;
        let (due, next) = (wall::of(due, tz), wall::of(next, tz));
        let months = |date: NaiveDate| date.year() * 12 + date.month0().cast_signed();
        prop_assert_eq!(months(next.date()), months(due.date()) + 1);
        prop_assert!(next.day() <= due.day());
        // Only a time that the clock skips is another one.
        prop_assert!(next.time() == due.time() || next.time() - due.time() <= Duration::hours(1));
    }

    #[test]
    fn the_wall_clock_is_kept(
        (zone, first) in firsts(),
        rule in proptest::sample::select(
            ["daily", "weekly", "FREQ=DAILY", "FREQ=WEEKLY;INTERVAL=2"].as_slice()
        ),
    ) {
        let tz: Tz = zone.parse().unwrap();
        let series = series(rule, zone, Some(first));
        let mut due = first;
        for _ in 0..60 {
            due = series.after(due).unwrap().unwrap().next;
            let shown = wall::of(due, tz);
            let meant = shown.date().and_time(wall::of(first, tz).time());
            prop_assert_eq!(wall::instant(meant, tz), Some(due));
        }
    }

    #[test]
    fn from_date_to_date_is_the_rules_own_iteration(rule in rules(), first in instants()) {
        let mut due = first;
        for expected in iterated(&rule, first) {
            let next = series(&rule, "UTC", Some(first)).after(due).unwrap().unwrap().next;
            prop_assert_eq!(next, expected);
            due = next;
        }
    }

    #[test]
    fn from_any_time_it_is_the_rules_own_next(
        rule in rules(), first in instants(), later in 0..300_i64,
    ) {
        let due = first + Duration::days(later);
        let expected = iterated(&rule, first).into_iter().find(|date| *date > due);
        prop_assume!(expected.is_some());
        let next = series(&rule, "UTC", Some(first)).after(due).unwrap();
        prop_assert_eq!(next.map(|upcoming| upcoming.next), expected);
    }

    #[test]
    fn a_count_gives_one_less(rule in rules(), (zone, first) in firsts(), count in 1..20_usize) {
        let rule = format!("{rule};COUNT={count}");
        let ok = series(&rule, zone, Some(first)).after(first).is_ok();
        prop_assume!(!rule.contains("BYMONTH") || ok);
        prop_assert_eq!(run(&rule, zone, &time::text(first), 100).len(), count - 1);
    }

    #[test]
    fn until_is_never_passed(
        rule in rules(), (zone, first) in firsts(), days in 0..500_i64,
    ) {
        let until = first + Duration::days(days);
        let rule = format!("{rule};UNTIL={}", until.format("%Y%m%dT%H%M%SZ"));
        let ok = series(&rule, zone, Some(first)).after(first).is_ok();
        prop_assume!(!rule.contains("BYMONTH") || ok);
        let dates = run(&rule, zone, &time::text(first), 1000);
        prop_assert!(dates.iter().all(|date| at(date) <= until));
        // And nothing before it is left out.
        let endless = rule.split(";UNTIL").next().unwrap();
        let last = dates.last().map_or(first, |date| at(date));
        let beyond = series(endless, zone, Some(first)).after(last).unwrap().unwrap().next;
        prop_assert!(beyond > until);
    }
}

/// The first dates after the first due date, by rrule alone.
fn iterated(text: &str, first: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let rule = Rule::read(text).unwrap();
    let months: Vec<_> =
        rule.months.iter().map(|month| chrono::Month::try_from(*month).unwrap()).collect();
    let set = RRule::new(rule.freq)
        .interval(rule.interval)
        .week_start(rule.week_start)
        .by_month(&months)
        .by_weekday(rule.days)
        .by_hour(rule.hours)
        .build(first.with_nanosecond(0).unwrap().with_timezone(&rrule::Tz::UTC))
        .unwrap();
    let dates = set.limit().into_iter().map(|date| date.to_utc());
    dates.filter(|date| *date > first).take(30).collect()
}
