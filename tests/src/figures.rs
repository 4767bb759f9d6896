//! How benchmarks measure and print: one line for each thing measured, with the same logic run
//! natively in turns beside it, the ratio of the two, how busy the machine was, and the budget.

#![expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]

use std::fs;
use std::time::{Duration, Instant};

/// One line.
pub struct Line<'a> {
    pub name: &'a str,
    pub wharf: Figure,
    pub native: Option<Figure>,
    pub budget: Option<Budget>,
}

/// What was measured of one thing.
#[derive(Debug, Clone, Copy)]
pub enum Figure {
    /// Half of the calls, and 99 of 100, took no longer.
    Latency { p50: Duration, p99: Duration },
    /// Per second.
    Rate(f64),
    /// On average, such as processor time.
    Mean(Duration),
}

/// What the design allows.
#[derive(Debug, Clone, Copy)]
pub enum Budget {
    /// p50 and p99; or the mean.
    AtMost { p50: Duration, p99: Option<Duration> },
    /// Per second.
    AtLeast(f64),
}

/// Begins a benchmark's lines.
pub fn heading(title: &str) {
    println!(
        "\n{title:<44}{:>21}{:>20}{:>8}{:>6}  budget",
        "wharf p50 / p99", "native", "ratio", "load"
    );
}

/// Something beside the lines, in words.
pub fn note(text: &str) {
    println!("  {text}");
}

impl Line<'_> {
    pub fn print(&self) {
        let native = self.native.map_or_else(|| "–".to_owned(), Figure::text);
        let ratio = self.native.map(|native| self.wharf.number() / native.number());
        let ratio = ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}×"));
        let budget = self.budget.map_or_else(|| "–".to_owned(), |budget| budget.text(self.wharf));
        let (name, wharf, load) = (self.name, self.wharf.text(), load());
        println!("  {name:<42}{wharf:>21}{native:>20}{ratio:>8}{load:>6}  {budget}");
    }
}

impl Figure {
    fn text(self) -> String {
        match self {
            Self::Latency { p50, p99 } => format!("{:.1} / {:.1} µs", micros(p50), micros(p99)),
            Self::Rate(rate) => format!("{rate:.0} /s"),
            Self::Mean(mean) => format!("{:.1} µs", micros(mean)),
        }
    }

    fn number(self) -> f64 {
        match self {
            Self::Latency { p50, .. } => p50.as_secs_f64(),
            Self::Rate(rate) => rate,
            Self::Mean(mean) => mean.as_secs_f64(),
        }
    }
}

impl Budget {
    fn text(self, figure: Figure) -> String {
        let (text, is_met) = match self {
            Self::AtMost { p50, p99 } => {
                let of_p99 = p99.map_or_else(String::new, |p99| format!(" / {:.0}", micros(p99)));
                let within = match (figure, p99) {
                    (Figure::Latency { p99, .. }, Some(limit)) => p99 <= limit,
                    _ => true,
                };
                let is_met = within && figure.number() <= p50.as_secs_f64();
                (format!("≤ {:.0}{of_p99} µs", micros(p50)), is_met)
            }
            Self::AtLeast(rate) => (format!("≥ {rate:.0} /s"), figure.number() >= rate),
        };
        format!("{text}, {}", if is_met { "met" } else { "missed" })
    }
}

/// Times single calls of two things in turns, a block of each at a time, so that a busy machine
/// slows both. What `prepare` gives is not timed.
pub async fn in_turns<T>(
    calls: usize,
    mut prepare: impl FnMut() -> T,
    mut wharf: impl AsyncFnMut(T),
    mut native: impl AsyncFnMut(T),
) -> (Figure, Figure) {
    const BLOCK: usize = 100;
    let (mut ours, mut theirs) = (Vec::with_capacity(calls), Vec::with_capacity(calls));
    while ours.len() < calls {
        for _ in 0..BLOCK {
            let prepared = prepare();
            let began = Instant::now();
            wharf(prepared).await;
            ours.push(began.elapsed());
        }
        for _ in 0..BLOCK {
            let prepared = prepare();
            let began = Instant::now();
            native(prepared).await;
            theirs.push(began.elapsed());
        }
    }
    (latency(ours), latency(theirs))
}

/// Of single times.
pub fn latency(mut times: Vec<Duration>) -> Figure {
    times.sort_unstable();
    let at = |percent| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    Figure::Latency { p50: at(50), p99: at(99) }
}

/// How many times per second something ran.
pub fn rate(count: usize, took: Duration) -> Figure {
    Figure::Rate(count as f64 / took.as_secs_f64())
}

/// Processor time that this process has used, on all cores, in steps of 10 ms. `None` where there
/// is no `/proc`.
pub fn cpu() -> Option<Duration> {
    cpu_of("self")
}

/// The same of another process, by its number.
pub fn cpu_of(process: &str) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program may hold anything, hence the last parenthesis.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().ok());
    Some(Duration::from_millis(ticks.sum::<Option<u64>>()? * 10))
}

/// How many programs wanted a core in the last minute.
fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("–").to_owned()
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
